"""Confirm a study: retrain its best trials on new seeds and splits, then score them once on the held-out test set."""
