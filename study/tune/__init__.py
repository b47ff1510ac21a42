"""The pieces of a study for a ``ray.tune.Tuner`` of one's own: trainable, search space, searcher, and its study.

All functions take the same search space, data source and options, which are fields of ``RunOptions``::

    from ray import tune
    from study.tune import search_space, trainable, write_study

    tuner = tune.Tuner(trainable("default", "images/"), param_space=search_space("default"))
    write_study(tuner.fit(), "default", "images/", "mine")  # then: drft-study report mine
"""

import importlib.util

from drft.errors import UsageError
from drft.extras import install_command

if importlib.util.find_spec("ray") is None:
    raise UsageError(f"study.tune needs Ray: {install_command('ray')}")

from study.tune.searcher import search_space, searcher
from study.tune.trainable import TwoPhaseTraining, trainable
from study.tune.write import write_study

__all__ = ["TwoPhaseTraining", "search_space", "searcher", "trainable", "write_study"]
