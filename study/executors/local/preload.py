"""Imports of the workers, done once in the process that they are forked from."""

import gc
import importlib

gc.disable()  # imports make no garbage, and the collector would take a fifth of their time
importlib.import_module("study.executors.objective")
gc.enable()
