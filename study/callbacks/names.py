"""Names of logger callbacks. ``--help`` imports this file and no logger."""

from typing import Literal, get_args

Log = Literal["tensorboard", "mlflow", "wandb"]

LOGS: tuple[Log, ...] = get_args(Log)
