"""Imports of the workers, done once in the process that they are forked from."""

import atexit
import ctypes
import gc
import importlib
import os
import shutil
import signal

_PR_SET_PDEATHSIG = 1

# Until the imports are done, the fork server does not notice that its tuner has ended, so the system ends it.
end_with_parent = getattr(ctypes.CDLL(None), "prctl", lambda *_: None)
end_with_parent(_PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() != int(os.environ["DRFT_TUNER"]):
    os._exit(1)  # it had ended before

gc.disable()  # imports make no garbage, and the collector would take a fifth of their time
importlib.import_module("study.executors.objective")
gc.enable()
end_with_parent(_PR_SET_PDEATHSIG, 0)  # from now on it ends by itself ...
atexit.register(shutil.rmtree, os.environ["DRFT_SCRATCH"], ignore_errors=True)  # ... and deletes the tuner's files
