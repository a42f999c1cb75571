"""Right at every limit that the engines have: state, first line and perfdata arrive whole, and what is cut is the end of the long output.

The checks themselves stay below all of them; so a check of the tests writes as much as it is told to, laid out by the suite's own renderer.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines import foreground, icinga2, nagios, nrpe
from tests.engines.icinga2 import Node
from tests.engines.nrpe import Nrpe
from tests.engines.services import Answer, direct, taken_apart

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.needs_root]
OLD = (1000, 1022, 1023, 1024, 1025, 2000)
"""NRPE's packets of version 2 have room for 1,023 bytes."""
NEW = (4096, 8192, 65503, 65504, 65505, 65536, 70000)
"""Those of version 4 for 64 KiB less 32 bytes."""
NEW_ROOM = 65504
READ = 4096
"""What Nagios still takes after a check's end is one read of so many bytes."""
ALONE = (4095, 4096, 4097, 8191, 8192, 8193, 12000, 65536)
TIMES = 8


@pytest.fixture(scope="module")
def probe(checkout: Path) -> Iterator[Path]:
    foreground.account()
    with foreground.folder("probe") as folder:
        shutil.copy(Path(__file__).with_name("probe.py"), folder)
        yield folder / "probe.py"


@pytest.fixture(scope="module")
def written(probe: Path, checkout: Path, debian_python: str) -> dict[int, Answer]:
    """What the check writes by itself, by size."""
    return {size: direct(command(probe, checkout, debian_python, size)) for size in {*OLD, *NEW, *ALONE}}


def command(probe: Path, checkout: Path, python: str, size: int) -> list[str]:
    return [python, str(probe), str(checkout / "lib"), str(size)]


@pytest.fixture(scope="module")
def daemon(probe: Path, checkout: Path, debian_python: str) -> Iterator[Nrpe]:
    if nrpe.programs() is None:
        pytest.skip("needs NRPE: apt-get install nagios-nrpe-server nagios-nrpe-plugin")
    lines = {f"p{size}": shlex.join(command(probe, checkout, debian_python, size)) for size in {*OLD, *NEW}}
    with foreground.folder("nrpe") as folder, Nrpe(folder, lines, foreground.account(), tls=True) as running:
        yield running


def unharmed(answer: Answer, whole: Answer) -> str:
    """Asserts that all but the end of the long output arrived; what did of that."""
    assert answer._replace(long="") == whole._replace(long="")
    assert whole.long.startswith(answer.long)
    return answer.long


@pytest.mark.parametrize("version", ["-2", "-3"])
@pytest.mark.parametrize("size", OLD)
def test_nrpe_of_old(daemon: Nrpe, written: dict[int, Answer], size: int, version: str) -> None:
    answer = daemon.ask(f"p{size}", version)
    assert len(answer.out.rstrip("\n")) == min(size - 1, nrpe.OLD_ROOM)
    unharmed(taken_apart(*answer), written[size])


@pytest.mark.parametrize("size", [*OLD, *NEW])
def test_nrpe_of_today(daemon: Nrpe, written: dict[int, Answer], size: int) -> None:
    answer = daemon.ask(f"p{size}")
    assert len(answer.out.rstrip("\n")) == min(size - 1, NEW_ROOM)
    unharmed(taken_apart(*answer), written[size])


@pytest.fixture(scope="module")
def held(probe: Path, checkout: Path, debian_python: str) -> Iterator[dict[int, list[Answer]]]:
    """What Nagios holds of outputs of many sizes, each several times, all at once."""
    def define(objects: Path) -> None:
        (objects / "probes.cfg").write_text("".join(
            nagios.service(f"p{size} {number}", shlex.join(command(probe, checkout, debian_python, size)))
            for size in ALONE for number in range(TIMES)))

    with foreground.folder("nagios") as folder, nagios.nagios(folder, define) as running:
        found = running.results()
        yield {size: [Answer(*result) for name, result in found.items() if name.startswith(f"p{size} ")] for size in ALONE}


@pytest.mark.parametrize("size", ALONE)
def test_nagios(held: dict[int, list[Answer]], written: dict[int, Answer], size: int) -> None:
    """Up to 4,096 bytes all arrives; beyond, what is still in the pipe when the check ends may be lost, by multiples of a read."""
    assert len(held[size]) == TIMES
    whole = written[size]._replace(text=written[size].text.replace(";", ":"))
    for answer in held[size]:
        lost = len(whole.long) - len(unharmed(answer, whole))
        # A newline at the end is taken off.
        assert lost == 0 or (size > READ and (size - 1 - lost) % READ in (0, READ - 1)), (size, lost)


def test_icinga_2_has_no_limit(probe: Path, checkout: Path, debian_python: str, written: dict[int, Answer]) -> None:
    with foreground.folder("icinga2") as folder:
        node = Node(folder, icinga2.MASTER, probe.parent)
        node.watch()
        objects = []
        for size in ALONE:
            words = ", ".join(f'"{word}"' for word in command(probe, checkout, debian_python, size))
            objects.append(f'object CheckCommand "p{size}" {{ command = [ {words} ] }}\nobject Service "p{size}" {{\n'
                           f'  host_name = "{icinga2.MASTER}"\n  check_command = "p{size}"\n}}\n')
        (folder / "objects.d" / "probes.conf").write_text("".join(objects))
        node.certify(node)
        with icinga2.started(node) as engine:
            engine.up()
            for name, result in engine.again().items():
                whole = written[int(name[1:])]
                assert result.output == f"{whole.text} \n{whole.long}"
                assert result.perfdata == whole.perfdata.split(" ")
