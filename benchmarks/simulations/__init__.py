"""Simulations with a known truth, by which the statistics of a report are checked.

Every module here but ``base`` (what a simulation is) and ``made`` (made-up trials) has ``SIMULATIONS``, a tuple of
:class:`benchmarks.simulations.base.Simulation`; ``python -m benchmarks.coverage`` runs them all.
"""
