"""Pretraining of the embedded weights."""
