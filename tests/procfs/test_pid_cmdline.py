import pytest

from memtriage.procfs.pid import cmdline
from tests.procfs import samples


@pytest.mark.parametrize(
    ("data", "argv"),
    [
        (samples.CMDLINE, ["/usr/bin/java", "-Xmx4g", "", "-jar", "a b.jar"]),
        (b"", []),
        (b"\0\0", []),
        (b"nginx: worker process", ["nginx: worker process"]),
        (b"postgres: writer process   ", ["postgres: writer process"]),
        (b"sshd: root@pts/0\0\0\0\0", ["sshd: root@pts/0"]),
        (b"a\nb\0\xff\0", ["a\nb", "\\xff"]),
        (b"cut\0in the mid", ["cut", "in the mid"]),
    ],
)
def test_argv(data: bytes, argv: "list[str]") -> None:
    assert cmdline.parse(data) == argv
