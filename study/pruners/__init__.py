"""Pruners by name."""
