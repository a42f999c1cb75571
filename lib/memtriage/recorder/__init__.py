"""The flight recorder: samples kernel files as they are, every few seconds, also when nothing else can run (docs/record.md)."""
