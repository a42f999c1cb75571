"""The picture at the top of the README: a real leak in a real kernel, recorded and drawn. A quarter of an hour; needs QEMU.

A virtual machine of 512 MiB reads files with four ``httpd`` processes. ``memtriage simulate slab-lock`` begins to lose kernel memory,
then a backup that would have fitted starts, and the OOM killer comes. The recorder sees all of it (tests/guest/leak.py).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.guest import guest  # noqa: E402 - as tests/guest/recorder.py, run as a script


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--out", default=str(ROOT / "docs/leak.png"))
    reader.add_argument("--rate", type=int, default=460, help="KiB lost a second")
    reader.add_argument("--keep", metavar="FILE", help="keep the recording here")
    args = reader.parse_args()
    if guest.missing():
        print(f"needs {', '.join(guest.missing())}")
        return 1
    guest.build()
    result = guest.run("leak.py", str(args.rate), limit=1500)
    if result.code:
        raise SystemExit(f"the guest failed: {result.said[-2000:]}\n{result.console[-1000:]}")
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(args.keep or f"{folder}/recording")
        guest.fetch(result, "recording", recording)
        guest.clean(result)
        return subprocess.run([sys.executable, "-m", "memtriage", "plot", str(recording), "-o", args.out], timeout=120, check=False,
                              env={"PYTHONPATH": str(ROOT / "lib"), "TZ": "UTC", "PATH": "/usr/bin:/bin"}).returncode


if __name__ == "__main__":
    sys.exit(main())
