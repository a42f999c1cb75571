"""Writes each check's --help into its page, between the marks; ``python docs/help.py --check`` only compares. Run by ``make docs``."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- help: made by make docs -->\n```\n", "```\n<!-- end of help -->\n"


def renewed(page: Path) -> str:
    """The page's text with the help block as the check prints it now."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    after = rest.partition(END)[2]
    command = [sys.executable, str(ROOT / "checks" / (page.stem + ".py")), "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if shown.returncode != 3 or not before or not after:
        raise SystemExit(f"{page.name}: no help block, or --help failed: {shown.stdout}")
    return before + START + shown.stdout + END + after


if __name__ == "__main__":
    for path in sorted((ROOT / "docs").glob("check_*.md")):
        new = renewed(path)
        if new != path.read_text(encoding="utf-8"):
            if "--check" in sys.argv:
                raise SystemExit(f"{path.name}: the help block is old; run make docs")
            path.write_text(new, encoding="utf-8")
