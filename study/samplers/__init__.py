"""Samplers, by name."""
