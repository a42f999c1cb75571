"""Every parser of the package, found by walking it, raises nothing but ProcfsError, whatever it is given."""

import inspect
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memtriage.procfs import files
from tests.procfs.parsers import Parser, failure, modules, parsers
from tests.procfs.samples import ALL

FOUND = parsers()
EXAMPLES = int(os.environ.get("MEMTRIAGE_EXAMPLES", "150"))
WITHOUT_PARSER = {"files", "hugepages", "pid", "slab_aliases", "oom_tables"}  # reading, listing, links, a part of oom_report


def test_every_module_has_a_parser_and_samples() -> None:
    have = {name.partition(":")[0] for name in FOUND if not name.startswith("files:")}
    assert have == set(modules()) - WITHOUT_PARSER
    assert have == set(ALL)


def test_every_module_reads_from_a_folder_it_is_given() -> None:
    for name, module in modules().items():
        if name in ("pid", "keyed", "files", "oom_tables"):
            continue
        first = next(iter(inspect.signature(module.read).parameters.values()))
        assert first.default in ("/proc", "/sys", "/dev"), name


@pytest.mark.parametrize("name", sorted(FOUND))
def test_own_samples_are_understood(name: str) -> None:
    for sample in ALL.get(name.partition(":")[0], []):
        FOUND[name](sample)


@pytest.mark.parametrize("parser", [pytest.param(parser, id=name) for name, parser in sorted(FOUND.items())])
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=400))
def test_arbitrary_bytes(parser: Parser, data: bytes) -> None:
    assert failure(parser, data) is None


@st.composite
def mutated(draw: st.DrawFn, own: "list[bytes]") -> bytes:
    data = draw(st.sampled_from(own))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 30)))
        piece = draw(
            st.one_of(
                st.binary(max_size=8), st.sampled_from([b"", b"\n", b"-1", b":", b"\0", b")", b"9" * 5000, b"\xff", data[start:end] * 2])
            )
        )
        data = data[:start] + piece + data[end:]
    return data


@pytest.mark.parametrize("name", sorted(name for name in FOUND if not name.startswith("files:")))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(draw=st.data())
def test_mutated_samples(name: str, draw: st.DataObject) -> None:
    assert failure(FOUND[name], draw.draw(mutated(ALL[name.partition(":")[0]]))) is None


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_cut_is_survived(name: str) -> None:
    for sample in ALL[name]:
        # The lines of a long file are alike: of those behind its beginning a cut here and there.
        for end in (*range(min(len(sample), 1500)), *range(1500, len(sample), 1 + len(sample) // 2000)):
            for member in FOUND:
                if member.partition(":")[0] == name:
                    assert failure(FOUND[member], sample[:end]) is None


def test_a_megabyte_without_newlines_is_survived() -> None:
    for name, parser in FOUND.items():
        for byte in (b"\0", b"9", b":", b" ", b"\n", b"\\", b")"):
            assert failure(parser, byte * 1_000_000) is None, name


def test_the_discovery_sees_a_failing_parser() -> None:
    assert failure(int, b"x") == "ValueError: invalid literal for int() with base 10: b'x'"
    assert failure(lambda data: "\ud800", b"") is not None

    def refuse(data: bytes) -> None:
        raise files.Malformed("x", "y")

    assert failure(refuse, b"") is None
