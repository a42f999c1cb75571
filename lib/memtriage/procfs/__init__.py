"""Parsers for the kernel's files under /proc and /sys: one kernel file, one module.

Every module has two functions. ``parse(data)`` takes the file's bytes and returns typed values in base units (bytes, seconds, counts);
``read(root)`` takes the folder that stands for /proc (or /sys) and does the reading. What a kernel does not offer is ``None``, never 0.
One odd line costs that line, not the file, and is listed in ``odd``. Only :class:`memtriage.procfs.files.ProcfsError` is raised.
"""
