"""What workers need, imported once for all of them, in the process that they are forked from."""

import gc
import importlib

gc.disable()  # nothing of what is imported is garbage; looking for some would take a fifth of the time
importlib.import_module("study.executors.objective")
gc.enable()
