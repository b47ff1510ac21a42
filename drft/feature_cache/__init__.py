"""Activations of the frozen blocks, computed once and shared by trainings."""
