"""Backbones: their blocks and heads, weight files, checkpoints, devices and class probabilities."""
