"""Atomic writes, locks between processes, sizes and digests of files."""
