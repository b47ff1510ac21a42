"""Plain functions from tables to named tuples: each figure with its n, its interval and when it is valid."""

from study.report.statistics.depth import Curve, DepthRow, depth_curves, depth_table
from study.report.statistics.history import TrialPoint, history
from study.report.statistics.importance import Bar, Importance, importance
from study.report.statistics.intervals import (
    Estimate,
    Withheld,
    bootstrap_mean,
    bootstrap_median,
    mean_estimate,
    proportion,
)
from study.report.statistics.noise import Noise, detectable_difference, discordance, noise
from study.report.statistics.peak import BestVersusLast, Pair, Peak, StepCount, best_versus_last, peak
from study.report.statistics.summary import Statistics, summarize

__all__ = [
    "Bar",
    "BestVersusLast",
    "Curve",
    "DepthRow",
    "Estimate",
    "Importance",
    "Noise",
    "Pair",
    "Peak",
    "Statistics",
    "StepCount",
    "TrialPoint",
    "Withheld",
    "best_versus_last",
    "bootstrap_mean",
    "bootstrap_median",
    "depth_curves",
    "depth_table",
    "detectable_difference",
    "discordance",
    "history",
    "importance",
    "mean_estimate",
    "noise",
    "peak",
    "proportion",
    "summarize",
]
