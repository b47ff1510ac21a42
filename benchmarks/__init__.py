"""Benchmarks of drft-study: against peers, against its size, against a lower bound, and of its statistics."""
