"""Pruners, by name."""
