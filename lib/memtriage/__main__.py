"""``python -m memtriage``: the command, from a checkout too (``PYTHONPATH=lib``)."""

import sys

from memtriage.cli import main

if __name__ == "__main__":
    sys.exit(main())
