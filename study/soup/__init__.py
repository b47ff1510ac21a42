"""Combine the best trials of a study without training: model soups, WiSE-FT, ensembles and temperature scaling."""
