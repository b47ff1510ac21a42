"""Trainings in a ``ray.tune.Tuner`` of one's own, with ASHA and a logger.

``python examples/own_tuner.py [DATA] [TRIALS]``
"""

import sys
from pathlib import Path

from ray import tune
from ray.tune.logger import LoggerCallback
from ray.tune.schedulers import ASHAScheduler

from study import write_report
from study.tune import searcher, trainable, write_study

data, trials = sys.argv[1] if len(sys.argv) > 1 else "synthetic", int(sys.argv[2]) if len(sys.argv) > 2 else 18
what = {"space": "default", "data": data, "settings": {"image_size": 96, "depth_phase.epochs": 5}}


class Print(LoggerCallback):
    """Print each epoch."""

    def log_trial_result(self, iteration, trial, result):  # noqa: D102
        print(f"depth {result['config']['depth']}, epoch {result['epoch']}: {result['val_accuracy']:.1%}")


grid = tune.Tuner(
    trainable(**what),
    tune_config=tune.TuneConfig(
        metric="best_score", mode="max", num_samples=trials, reuse_actors=True,
        search_alg=searcher(**what),  # as many trials at every depth
        scheduler=ASHAScheduler(grace_period=4, reduction_factor=2),
    ),
    run_config=tune.RunConfig(storage_path=str(Path("ray_results").absolute()), callbacks=[Print()], verbose=0),
).fit()  # fmt: skip
write_study(grid, name="own-tuner", **what)
print("Report:", write_report("own-tuner"))
