"""Statistics of a study: plain functions from tables to named tuples.

Each figure has its n, its interval and its conditions of validity, or is withheld with the reason.
"""

from study.analysis.depth import Curve, DepthRow
from study.analysis.estimators.intervals import Estimate, Withheld, proportion
from study.analysis.summary import Statistics, summarize

__all__ = ["Curve", "DepthRow", "Estimate", "Statistics", "Withheld", "proportion", "summarize"]
