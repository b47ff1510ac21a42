"""Intervals and other statistical tools that do not depend on studies."""
