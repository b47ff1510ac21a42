"""The study's score in words and in tables. Scores are maximized: that of ``nll`` is the negative of what is said."""

from typing import TYPE_CHECKING

from drft.config.trial_config import Metric

if TYPE_CHECKING:  # the display of a run says scores without pandas
    import pandas as pd


_NAMES: dict[Metric, str] = {
    "accuracy": "accuracy",
    "qwk": "quadratic weighted kappa",
    "balanced_accuracy": "balanced accuracy",
    "nll": "negative log likelihood",
}


def metric_name(metric: Metric) -> str:
    """Return the name of a metric as a sentence has it."""
    return _NAMES[metric]


def score_text(metric: Metric, score: float, decimals: int = 3) -> str:
    """Write a score as its metric is known: ``accuracy 0.612``, ``nll 1.043`` for a score of -1.043."""
    return f"{metric} {shown(metric, score):.{decimals}f}"


def shown(metric: Metric, score: float) -> float:
    """Return what a score stands for: itself, or the negative log likelihood in nats."""
    return 0.0 - score if metric == "nll" else score


def epoch_scores(epochs: "pd.DataFrame", metric: Metric) -> "pd.Series[float]":
    """Return the validation score of each epoch, higher is better, from a table with the columns of ``epochs.csv``."""
    return -epochs["val_loss"] if metric == "nll" else epochs[f"val_{metric}"]
