"""tmpfiles: the folder of what the checks remember."""

from __future__ import annotations

from memtriage.integration.table import Wanted, made_by


def render(wanted: Wanted) -> dict[str, str]:
    """``memtriage-tmpfiles.conf``, for /etc/tmpfiles.d or, in a package, /usr/lib/tmpfiles.d/memtriage.conf.

    In the folder each user makes one of its own (mode 0700, by number), the sticky bit keeping them from each other's.
    """
    return {"memtriage-tmpfiles.conf": made_by("tmpfiles", "#") + "\n"
            "# What the checks remember. Each user has a folder of its own in it; without systemd:\n"
            f"#   install -d -o root -g {wanted.group} -m 1770 /var/lib/memtriage\n"
            f"d /var/lib/memtriage 1770 root {wanted.group} -\n"}
