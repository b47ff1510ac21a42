"""Regularizers: penalties, noise and weight averages. Each is off unless ``TrialConfig.regularization`` sets it."""
