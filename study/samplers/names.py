"""Names of samplers; a module of their own, so that ``--help`` does not import Optuna."""

from typing import Literal, get_args

Sampler = Literal["tpe", "random", "qmc", "gp", "cmaes", "grid"]

SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)
