"""Pictures, pages and bundles: what a history of a host looks like to somebody who must be persuaded."""

from __future__ import annotations

import logging

# Matplotlib speaks while it is imported: where HOME cannot be written, and while it looks for fonts. It helps itself in both.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
