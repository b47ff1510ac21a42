"""Comparison of studies: the command ``drft-study compare``."""
