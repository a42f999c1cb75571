"""memtriage: what is eating a Linux host's memory, and when it will be gone."""

__version__ = "0.1.0"
