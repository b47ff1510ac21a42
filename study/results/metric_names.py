"""The study's metric as text and as table column. Scores are maximized: the score of ``nll`` is the negative loss."""

from typing import TYPE_CHECKING

from drft.config.trial_config import Metric

if TYPE_CHECKING:  # the progress display prints scores without importing pandas
    import pandas as pd


_NAMES: dict[Metric, str] = {
    "accuracy": "accuracy",
    "qwk": "quadratic weighted kappa",
    "balanced_accuracy": "balanced accuracy",
    "nll": "negative log likelihood",
}


def metric_name(metric: Metric) -> str:
    """Return the full name of a metric."""
    return _NAMES[metric]


def score_text(metric: Metric, score: float, decimals: int = 3) -> str:
    """Return a score with its metric: ``accuracy 0.612``, ``nll 1.043`` for a score of -1.043."""
    return f"{metric} {displayed_score(metric, score):.{decimals}f}"


def displayed_score(metric: Metric, score: float) -> float:
    """Return the value that users read: the score, or the negative log likelihood in nats."""
    return 0.0 - score if metric == "nll" else score  # 0.0 - score: a score of 0 becomes 0.0, not -0.0


def epoch_scores(epochs: "pd.DataFrame", metric: Metric) -> "pd.Series[float]":
    """Return the validation score of each epoch, higher is better, from a table with the columns of ``epochs.csv``."""
    return -epochs["val_loss"] if metric == "nll" else epochs[f"val_{metric}"]
