"""Names of samplers. ``--help`` imports this file and no Optuna."""

from typing import Literal, get_args

Sampler = Literal["tpe", "random", "qmc", "gp", "cmaes", "grid"]

SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)
