"""Names of samplers and goals; a module of their own, so that ``--help`` does not import Optuna."""

from typing import Literal, get_args

SAMPLERS = ("tpe", "random", "qmc", "gp", "cmaes", "grid")
"""The samplers of this program; a user's own one is named ``module:function``."""

Goal = Literal["depth", "best"]
"""What the trainings of a study are spent on: ``depth`` answers how deep to fine-tune, with equally many trials at
every depth and a cross-validation of the best configuration of each; ``best`` looks for the highest score."""

GOALS: tuple[Goal, ...] = get_args(Goal)
