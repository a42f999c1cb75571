"""A host in a few files, as check_oom_kill reads it: the counter, how long it has been up, and when that was."""

from __future__ import annotations

from pathlib import Path

from tests.checks.command import FIXTURES, Answer, environment
from tests.checks.forked import run

LOGS = FIXTURES / "oom"
NOW = 1764037200
"""2025-11-25 03:20 in CET: eight minutes after what the logs in tests/fixtures/oom tell."""
UP = 1800.0
BOOT = "11111111-2222-3333-4444-555555555555"


class Host:
    """``Host(folder).at(up, kills)`` lets time pass; ``check(...)`` runs the check on it, which remembers in the same folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.boot = BOOT
        self.at(UP, 0)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def at(self, up: float, kills: int | None, boot: str = "") -> Host:
        """``kills`` is the counter; ``None`` for a kernel without one."""
        self.boot = boot or self.boot
        counter = "" if kills is None else f"oom_kill {kills}\n"
        self.write("proc/vmstat", f"nr_free_pages 1000\npgfault 5\n{counter}drop_slab 0\n")
        self.write("proc/uptime", f"{up:.2f} 1.00\n")
        self.write("proc/stat", f"cpu  1 2 3 4 5 6 7 8 9 10\nbtime {int(NOW - UP)}\n")
        self.write("proc/sys/kernel/random/boot_id", self.boot + "\n")
        return self

    def check(self, *options: str, limit: int = 4096, started: bool = False) -> Answer:
        return run("check_oom_kill", "--procfs", str(self.folder / "proc"), "--state-dir", str(self.state), *options,
                   env=environment(TZ="CET-1"), started=started).sound(limit)
