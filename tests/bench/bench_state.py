"""What remembering costs: ``PYTHONPATH=lib python tests/bench/bench_state.py`` prints CPU milliseconds per run, full file against empty."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time

from memtriage.state import LIMIT, Sample, remember


def cpu_ms(rounds: int = 40) -> tuple[float, float, int]:
    """Returns the median CPU time of one run with an empty and with a full history, and the bytes of the full file."""
    base = tempfile.mkdtemp()
    folder = os.path.join(base, str(os.geteuid()))
    file = os.path.join(folder, "bench.json")

    def sample(moment: int) -> Sample:
        return Sample(
            "0c9d2f0e-7f34-4d27-9c52-2b7d8bb1a1c5", moment * 60.0, {f"cache_{key:03}": 10**8 + 7919 * moment * key for key in range(92)}
        )

    def median(times: list[float]) -> float:
        return sorted(times)[len(times) // 2] * 1000

    try:
        empty, full = [], []
        for moment in range(rounds):
            if os.path.exists(file):
                os.unlink(file)
            start = time.process_time()
            assert remember(folder, "bench", sample(moment)).stored
            empty.append(time.process_time() - start)
        size = 0
        for moment in range(rounds, rounds + 400):
            start = time.process_time()
            assert remember(folder, "bench", sample(moment)).stored
            if os.path.getsize(file) > LIMIT * 0.9:
                full.append(time.process_time() - start)
                size = max(size, os.path.getsize(file))
        return median(empty), median(full), size
    finally:
        shutil.rmtree(base)


def main() -> None:
    empty, full, size = cpu_ms()
    sys.stdout.write(f"state: {empty:.2f} ms CPU empty, {full:.2f} ms full ({size} bytes), {full - empty:.2f} ms for the history\n")


if __name__ == "__main__":
    main()
