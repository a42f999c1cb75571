"""Definitions for monitoring engines, sudo and systemd, made from the checks' own option tables."""
