"""Names the command line offers, apart from what they stand for: ``--help`` imports this and no Optuna."""

from typing import Literal, get_args

Sampler = Literal["tpe", "random", "qmc", "gp", "cmaes", "grid"]
Pruner = Literal["asha", "hyperband", "median", "predictive", "wilcoxon", "none"]
Log = Literal["tensorboard", "mlflow", "wandb"]

SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)
PRUNERS: tuple[Pruner, ...] = get_args(Pruner)
LOGS: tuple[Log, ...] = get_args(Log)
