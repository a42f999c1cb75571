"""The night of docs/story.md, played in a virtual machine of 512 MiB and kept as tests/fixtures/story. Half an hour; needs QEMU.

    python tests/guest/story.py            plays the night and the morning after, keeps both, and renews docs/story.png and docs/story.md
    python tests/guest/story.py --keep     keeps again what was played before, which stays in $MEMTRIAGE_GUEST/story

What is played: tests/guest/night.py.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.guest import guest  # noqa: E402, I001 - it finds the library of this checkout

from memtriage.recording import FIRST, Content, Recording, Ring, Sample, Source, glance, layout, payload  # noqa: E402 - as above

OUT = guest.LAB / "story"
FIXTURE = ROOT / "tests/fixtures/story"
CLOCK = {"night": "2026-01-13T02:56:40", "morning": "2026-01-13T09:00:00"}
"""What the machine's clock is set to: nobody waits for 3 a.m."""
EVERY = 2
"""Of so many samples one is kept."""
AFTER = 7.0
"""Seconds after the first kill that are kept; then what leaks is ended, which no real night grants."""
GROUP = 64


def play(act: str) -> None:
    words = [] if act == "night" else [act]
    result = guest.run("night.py", *words, memory=512, limit=3000, counted=True,
                       network=("-net", "none", "-rtc", f"base={CLOCK[act]},clock=vm"))
    if result.code:
        raise SystemExit(f"the guest failed: {result.said[-2000:]}\n{result.console[-1000:]}")
    (OUT / act).mkdir(parents=True, exist_ok=True)
    for part in ("results", *(["recording"] if act == "night" else [])):
        guest.fetch(result, part, OUT / act / part)
    guest.clean(result)


def thinned(samples: Iterable[Sample], end: float) -> Iterator[Sample]:
    """Every so-manieth up to ``end``, with the kernel's log of those left out: it is what came since the sample before."""
    log = b""
    for place, sample in enumerate(samples):
        if sample.time > end:
            return
        sources = dict(sample.content.sources)
        if "kmsg" in sources:
            log += sources["kmsg"].data or b""
            sources["kmsg"] = sources["kmsg"]._replace(data=log)
        if place % EVERY == 0:
            yield sample._replace(content=sample.content._replace(sources=sources))
            log = b""


def meta(source: Source) -> Source:
    """The recorder's words, with the interval at which samples are now."""
    lines = [b"interval_ms %d" % (EVERY * 1000) if line.startswith(b"interval_ms ") else line for line in (source.data or b"").split(b"\n")]
    return source._replace(data=b"\n".join(lines))


def rewritten(samples: Iterable[Sample], path: Path, size: int) -> int:
    """Writes them as a recording of their own; returns how many bytes it took."""
    path.unlink(missing_ok=True)
    ring = Ring.open(str(path), size)
    kept: dict[int, Content] = {}
    for number, sample in enumerate(samples):
        sources = {**sample.content.sources, **({"meta": meta(sample.content.sources["meta"])} if "meta" in sample.content.sources else {})}
        content = sample.content._replace(sources=sources)
        place = number % GROUP
        base = number - place + (place & (place - 1)) if place else None
        raw = payload.encode(content, None if base is None else kept[base])
        stored = glance.stored(content, raw, 9)
        ring.write(layout.describe(stored, len(raw), number + 1, sample.head.real_ns, sample.head.boot_ns, EVERY * 1000,
                                   0 if number else FIRST, 0 if base is None else number - base), stored)
        kept[number] = content
    ring.close()
    return ring.offset


def recording(end: float) -> None:
    with Recording(str(OUT / "night/recording")) as whole, tempfile.TemporaryDirectory() as folder:
        taken = rewritten(thinned(whole.samples(), end), Path(folder) / "recording", 64 << 20)
        size = max(layout.SMALLEST_FILE, (taken // layout.EDGE + 2) * layout.EDGE)
        rewritten(thinned(whole.samples(), end), FIXTURE / "recording", size)
        (FIXTURE / "recording").chmod(0o644)


def clock(wall: float) -> str:
    return datetime.datetime.fromtimestamp(wall, datetime.timezone.utc).strftime("%H:%M:%S")


def answers(entries: list[dict[str, Any]]) -> str:
    """All that NRPE brought, each line with the time when it was asked and the check."""
    lines = []
    for entry in entries:
        if "check" in entry:
            name = entry["check"] if entry["check"].startswith("check_") else "check_" + entry["check"]
            lines += [f"{clock(entry['wall'])} {name}: {line}".rstrip() for line in entry["out"].rstrip("\n").split("\n")]
    return "\n".join(lines) + "\n"


def keep() -> None:
    FIXTURE.mkdir(parents=True, exist_ok=True)
    entries: list[dict[str, Any]] = [json.loads(line) for line in (OUT / "night/results").read_text().splitlines()]
    over = next(entry["wall"] for entry in entries if entry.get("note") == "load ends")
    recording(over + AFTER)
    (FIXTURE / "nrpe.log").write_text(answers(entries))
    said: dict[str, str] = {}
    for entry in entries:
        if "terminal" in entry:
            said.setdefault(entry["terminal"].split()[0], f"$ {entry['terminal']}\n{entry['out']}")  # at the first page
    for line in (OUT / "morning/results").read_text().splitlines():
        entry = json.loads(line)
        said[entry["tried"]] = "".join(f"$ {words}\n" for words in entry["script"].split("\n")) + entry["out"]
    for name, text in said.items():
        (FIXTURE / f"{name}.txt").write_text(text)
    (FIXTURE / "SOURCES").write_text("made by tests/guest/story.py: Debian 12's kernel in a virtual machine, its recording (every second "
                                    "sample) and what its commands and NRPE said\n")


def renew() -> None:
    env = {"PYTHONPATH": str(ROOT / "lib"), "TZ": "UTC", "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "-m", "memtriage", "plot", str(FIXTURE / "recording"), "--window", "20s", "--warmup", "5s", "-o",
                    str(ROOT / "docs/story.png")], check=True, timeout=120, env=env)
    subprocess.run([sys.executable, str(ROOT / "docs/help.py"), str(ROOT / "docs/story.md")], check=True, timeout=600)


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--keep", action="store_true", help="play nothing")
    args = reader.parse_args()
    if not args.keep:
        if guest.missing():
            print(f"needs {', '.join(guest.missing())}")
            return 1
        guest.build()
        for act in CLOCK:
            play(act)
    keep()
    renew()
    return 0


if __name__ == "__main__":
    sys.exit(main())
