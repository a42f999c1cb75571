"""The flight recorder: writes what the kernel says of memory to a ring of fixed size, every few seconds, also when nothing else can run.

Without --export or --print it records, in the foreground, until SIGTERM or SIGINT. SIGHUP opens the file anew.
"""

from __future__ import annotations

import argparse
import grp
import os
import sys
import time
from collections.abc import Iterator
from typing import Callable

from memtriage import published
from memtriage.cli import Failure
from memtriage.cli.streams import complain
from memtriage.recording import Busy, Recording, Refused, Ring, Sample, Unreadable, lock
from memtriage.wording import line

DEFAULT = "/var/log/memtriage/recording"
LEAST_INTERVAL = 0.05


_SPANS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZES = {"": 1, "B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}


def _number(text: str, units: dict[str, int], what: str) -> float:
    """A number with a unit. Not by :mod:`memtriage.threshold`: nagiosplugin has no place in the recorder's memory."""
    digits = text.rstrip("BKMGTismhd")
    factor = units.get(text[len(digits):])
    if factor is None or not digits.isascii() or not digits.replace(".", "", 1).isdigit() or len(digits) > 15:
        raise argparse.ArgumentTypeError(f"'{text}' is no {what}")
    return float(digits) * factor


def _span(text: str) -> float:
    value = _number(text, _SPANS, "time span such as 10, 30m or 4h")
    if not LEAST_INTERVAL <= value <= 366 * 86400:
        raise argparse.ArgumentTypeError(f"'{text}' is not within {LEAST_INTERVAL} s and 366 d")
    return value


def _bytes(text: str) -> int:
    value = _number(text, _SIZES, "size such as 256MiB")
    if value >= 2**44:
        raise argparse.ArgumentTypeError(f"'{text}' is more than 16 TiB")
    return int(value)


def options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--output", metavar="FILE", default=os.environ.get("MEMTRIAGE_RECORDING") or DEFAULT,
        help=f"the recording (default: $MEMTRIAGE_RECORDING, else {DEFAULT})")
    add("--interval", metavar="SECONDS", type=_span, default=10.0, help="between samples (default: 10s)")
    add("--fast-interval", metavar="SECONDS", type=_span, help="between samples while memory is short (default: 1s)")
    add("--size", type=_bytes, default=256 * 1024**2, help="of the file, made in full at the start (default: 256MiB)")
    add("--sync", metavar="SECONDS", type=_span, default=5.0, help="a power cut costs the samples of so long (default: 5s)")
    add("--cgroups-above", metavar="SIZE", type=_bytes, default=64 * 1024**2, help="record control groups this large (default: 64MiB)")
    add("--publish", metavar="FILE", help=f"keep a copy of slabinfo there for check_slab_growth, 0640 (usually {published.SLABINFO})")
    add("--group", help="the group that owns the published copy")
    add("--passive", choices=("icinga2", "nrdp", "nsca", "file"),
        help="also ask the checks and deliver their results, unasked, in this way")
    add("--passive-config", metavar="FILE", default="/etc/memtriage/passive.conf",
        help="where to, and with which secret; its owner's alone (default: /etc/memtriage/passive.conf)")
    add("--no-lock", action="store_true", help="do not lock memory")
    add("--no-priority", action="store_true", help="leave nice, scheduler, I/O priority and oom_score_adj as they are")
    add("--samples", metavar="N", type=int, default=0, help="end after N samples")
    add("--procfs", metavar="DIR", default="/proc", help="record this tree instead of /proc")
    add("--export", choices=("jsonl", "csv"), help="write the recording to stdout in this form instead of recording")
    add("--print", action="store_true", help="show a line a sample of whatever uses much, and what it grew, instead of recording")
    add("--above", metavar="SIZE", type=_bytes, default=100 * 1024**2, help="with --print: what uses much (default: 100MiB)")
    add("--grew", metavar="SIZE", type=_bytes, default=1024**2, help="with --print: also what changed by so much (default: 1MiB)")
    add("--since", metavar="SPAN", type=_span, help="with --export and --print: only the last so long, such as 2h")
    add("--follow", action="store_true", help="with --export and --print: go on as the recording grows")


def run(args: argparse.Namespace) -> int:
    if args.export or args.print:
        return _show(args)
    if args.fast_interval is None:
        args.fast_interval = min(1.0, args.interval)
    if args.fast_interval > args.interval:
        raise Failure("--fast-interval must not be longer than --interval")
    return _record(args)


def _record(args: argparse.Namespace) -> int:
    from memtriage.recorder.loop import Recorder, Settings  # noqa: PLC0415 - reading a recording needs none of it
    from memtriage.recorder.slow import Slab  # noqa: PLC0415 - as above

    def say(text: str) -> None:
        complain(f"memtriage record: {line(text)}\n")

    sysfs = "/sys" if os.path.abspath(args.procfs) == "/proc" else os.path.join(args.procfs, os.pardir, "sys")
    try:
        held = lock(args.output)
        ring = Ring.open(args.output, args.size, say)
    except (Busy, Refused) as why:
        raise Failure(str(why)) from None
    except OSError as error:
        raise Failure(f"{error.filename or args.output}: {error.strerror}") from None
    publisher = _publisher(args, say)
    keeper = _speaker(args, [held, ring.handle], say)
    try:
        slab = Slab(args.procfs, publisher.write if publisher else None)
    except FileNotFoundError:
        slab = None
    try:
        recorder = Recorder(Settings(args.interval, args.fast_interval, args.sync, args.cgroups_above, args.procfs, sysfs,
                                     "/dev/kmsg" if sysfs == "/sys" else os.devnull, not args.no_lock, not args.no_priority, args.samples),
                            ring, slab)
    except OSError as error:
        raise Failure(f"{error.filename or args.procfs}: {error.strerror}") from None
    recorder.warm()
    for text in _limits(recorder, slab, args):
        say(text)
    recorder.run()
    done = recorder.close()
    if keeper:
        from memtriage.passive import keeper as passive  # noqa: PLC0415 - loaded already

        passive.end(keeper)
    if publisher is not None:
        publisher.close()
    os.close(held)
    if not done:
        raise Failure(f"{args.output}: {recorder.writer.problem or 'the disk does not answer'}: the last samples are not written")
    return 0


def _speaker(args: argparse.Namespace, handles: list[int], say: Callable[[str], None]) -> int:
    """Starts the process that speaks for the checks, before this one has threads; 0 where none is wanted."""
    if not args.passive:
        return 0
    from memtriage.passive import keeper  # noqa: PLC0415 - only for this

    def prepare() -> Callable[[], None]:
        from memtriage.passive import resident  # noqa: PLC0415 - in the other process: the checks have no place in the recorder's memory

        return resident.prepared(args.passive, args.passive_config, args.output, args.procfs, not args.no_lock, say)

    number, problem = keeper.start(prepare, handles, say)
    if problem:
        raise Failure(problem)
    return number


def _publisher(args: argparse.Namespace, say: Callable[[str], None]) -> published.Publisher | None:
    if not args.publish:
        return None
    from memtriage.procfs import boot_id, files  # noqa: PLC0415 - only for this

    try:
        group = grp.getgrnam(args.group).gr_gid if args.group else -1
        return published.Publisher(args.publish, boot_id.read(args.procfs), group)
    except KeyError:
        raise Failure(f"no group '{args.group}' on this host") from None
    except (OSError, files.ProcfsError) as error:
        say(f"nothing is published: {error}")
        return None


def _limits(recorder: object, slab: object, args: argparse.Namespace) -> Iterator[str]:
    """What is not permitted, or not there, said once."""
    from memtriage.recorder.loop import Recorder  # noqa: PLC0415 - as above

    assert isinstance(recorder, Recorder)
    if args.samples == 0:
        yield f"recording to {args.output}, every {args.interval:g} s, every {args.fast_interval:g} s while memory is short"
    if not args.no_lock and not recorder.locked.startswith("yes"):
        yield f"memory is not locked: {recorder.locked[4:]}"
    if not args.no_priority:
        for found in (recorder.priority, "oom_score_adj " + recorder.oom):
            if "unchanged" in found or "refused" in found:
                yield found
    if recorder.log.errno:
        yield f"the kernel's log is not recorded: {os.strerror(recorder.log.errno)}"
    if recorder.shortage.handle < 0 and args.procfs == "/proc":
        yield f"no alarm from the kernel when memory is short ({recorder.shortage.trigger}); what is left is looked at instead"
    if slab is None:
        yield "this kernel has no slabinfo"
    for file in [*recorder.files, *([slab.file] if slab is not None else [])]:  # type: ignore[attr-defined]
        if file.errno:
            yield f"{file.path} is not recorded: {os.strerror(file.errno)}"


def _show(args: argparse.Namespace) -> int:
    from memtriage.cli import samples as text  # noqa: PLC0415 - parsers, json, csv: not for the recorder

    try:
        with Recording(args.output, args.since) as recording:
            chosen = _chosen(recording, args)
            if args.print:
                lines = text.printed(recording, chosen, args.above, args.grew)
            else:
                lines = text.json_lines(chosen) if args.export == "jsonl" else text.table(chosen)
            for one in lines:
                sys.stdout.write(one + "\n")
                if args.follow:
                    sys.stdout.flush()
    except Unreadable as why:
        raise Failure(str(why)) from None
    return 0


def _chosen(recording: Recording, args: argparse.Namespace) -> Iterator[Sample]:
    yield from recording.samples_of(recording.entries if args.since is None else recording.last(args.since))
    while args.follow:
        time.sleep(0.2)
        fresh = recording.refresh()
        if fresh:
            yield from recording.samples_of(fresh)
