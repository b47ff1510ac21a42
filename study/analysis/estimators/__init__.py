"""Intervals and other statistical tools that know nothing of studies."""
