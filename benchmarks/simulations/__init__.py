"""Simulations with a known truth, which check the statistics of a report.

Every module here except ``base`` and ``synthetic_candidates`` has ``SIMULATIONS``, a tuple of
:class:`benchmarks.simulations.base.Simulation`; ``python -m benchmarks.coverage`` runs them all.
"""
