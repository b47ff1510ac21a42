"""When validation peaks, with pruned trials counted up to the epoch where they ended."""

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from drft.config.trial_config import Metric
from study.analysis.estimators.intervals import LEVEL, Estimate, Withheld
from study.analysis.planned_epochs import head_epochs, planned_epochs
from study.results.metric_names import epoch_scores
from study.results.progress import counted

MIN_TRIALS = 10
"""Below ten trials at risk the intervals of a survival curve span nearly everything."""


class SurvivalPoint(NamedTuple):
    """Share of trials that peak later than one epoch."""

    step: int
    share: Estimate
    """Kaplan-Meier; ``n`` is the number of trials at risk at this epoch."""


class PeakSurvival(NamedTuple):
    """When validation peaks, over completed and pruned trials."""

    patience: int
    """Epochs of the depth phase without a new best after which a peak counts as lasting."""
    n: int
    peaked: int
    """Trials whose lasting peak was observed."""
    pruned: int
    """Trials that were pruned before theirs was."""
    unseen: int
    """Pruned trials that ended too early to count at all, besides the n."""
    median: Estimate | Withheld
    """Median epoch of the lasting peak; an end is None where the curve's band does not cross one half."""
    curve: tuple[SurvivalPoint, ...]
    at_least: float
    """Median best epoch if no pruned trial had risen again ..."""
    at_most: float
    """... and if every one had risen to its planned last epoch: true without any assumption about them."""


def peak_survival(
    trials: pd.DataFrame, epochs: pd.DataFrame, base_config: Mapping[str, Any], metric: Metric
) -> PeakSurvival | Withheld:
    """Estimate when validation peaks, with the pruned trials counted as censored (Kaplan & Meier 1958).

    The best epoch of a pruned trial is neither known nor known to lie after its end, so it cannot be censored there. A
    *lasting peak* can: a new best score that the next epochs of the depth phase, a third of them, do not exceed; early
    stopping would keep that epoch. Whether it has come is known at every epoch from the past alone. A peak in the head
    phase counts at the last head epoch, since the depth phase may still exceed it. A trial that ends without a lasting
    peak has it later than its last epoch minus these epochs, and is censored there. A lasting peak may come before the
    best epoch, never after it.

    Intervals are pointwise (log-log, Greenwood's variance); the median's are where the band crosses one half
    (Brookmeyer & Crowley 1982).

    Valid if the pruned trials would have peaked as those that ran on. Pruning stops trials with low scores, not those
    that have stopped rising, but the two may go together: ``at_least`` and ``at_most`` bound the median of the best
    epochs without that assumption. Withheld below ``MIN_TRIALS`` trials that ran long enough, without an observed peak,
    and where early stopping ended a trial before a peak lasted: such censoring depends on the peak. The median is
    withheld where the curve stays above one half.
    """
    ended = trials[trials["state"].isin(["COMPLETE", "PRUNED"]) & trials["best_step"].notna()]
    # A third of the depth phase, or what early stopping allows where that is less.
    third = max(2, int(base_config["depth_phase"]["epochs"]) // 3)
    patience = min(third, int(base_config.get("early_stopping", {}).get("patience", 0)) or third)
    peaks = _peaks(ended, epochs.assign(score=epoch_scores(epochs, metric)), head_epochs(ended, base_config), patience)
    stopped = peaks["ending"].eq("early_stopped") & ~peaks["peaked"]
    if stopped.any():
        return Withheld(
            f"early stopping ended {counted(int(stopped.sum()), 'trial')} that did not rise, before a peak lasted"
        )
    at_risk = peaks[peaks["peaked"] | (peaks["time"] >= peaks["head"])]
    if len(at_risk) < MIN_TRIALS or not at_risk["peaked"].any():
        return Withheld(
            f"a survival curve needs at least {MIN_TRIALS} trials that ran long enough, there are {len(at_risk)}"
        )
    pruned = ended["state"].eq("PRUNED")
    best = ended["best_step"].astype(float)
    curve = kaplan_meier(at_risk["time"].to_numpy(dtype=np.int64), at_risk["peaked"].to_numpy(dtype=np.bool_))
    return PeakSurvival(
        patience=patience,
        n=len(at_risk),
        peaked=int(at_risk["peaked"].sum()),
        pruned=int((~at_risk["peaked"] & at_risk["ending"].eq("pruned")).sum()),
        unseen=len(peaks) - len(at_risk),
        median=_median(curve, len(at_risk)),
        curve=curve,
        at_least=float(best.median()),
        at_most=float(best.where(~pruned, planned_epochs(ended, base_config)).median()),
    )


def kaplan_meier(times: NDArray[np.int64], observed: NDArray[np.bool_]) -> tuple[SurvivalPoint, ...]:
    """Return the survival curve at every distinct time: share whose event comes later.

    Args:
        times: time of the event where it was ``observed``, else the time after which it is known to come, shape (n,).
        observed: whether the event was observed, shape (n,).
    """
    survival = stats.ecdf(stats.CensoredData(times[observed], right=times[~observed])).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a share of 0 or 1 has no interval: NaN
        band = survival.confidence_interval(LEVEL, method="log-log")
    points = zip(
        survival.quantiles, survival.probabilities, band.low.probabilities, band.high.probabilities, strict=True
    )
    return tuple(
        SurvivalPoint(int(step), Estimate(float(share), _finite(low), _finite(high), int((times >= step).sum())))
        for step, share, low, high in points
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _median(curve: tuple[SurvivalPoint, ...], n: int) -> Estimate | Withheld:
    median = _crossing([(point.step, point.share.value) for point in curve])
    if median is None:
        return Withheld("more than half of the trials had not peaked when they ended")
    low = _crossing([(point.step, point.share.low) for point in curve])
    high = _crossing([(point.step, point.share.high) for point in curve])
    return Estimate(median, median if low is None else min(low, median), high, n)


def _crossing(points: list[tuple[int, float | None]]) -> float | None:
    """Return the first epoch at which a falling curve is at one half or below."""
    return next((float(step) for step, share in points if share is not None and share <= 0.5), None)


def _peaks(ended: pd.DataFrame, epochs: pd.DataFrame, head: pd.Series, patience: int) -> pd.DataFrame:
    """Return one row per trial: ``head``, ``ending``, ``peaked``, and the ``time`` of its peak or of its censoring."""
    curves = {int(str(trial)): group.to_numpy() for trial, group in epochs.groupby("trial")["score"]}
    peaks = [
        lasting_peak(curves[int(number)], int(steps), patience)
        for number, steps in zip(ended["number"], head, strict=True)
    ]
    censored = ended["last_step"].astype(int) - patience
    return pd.DataFrame(
        {
            "head": head.to_numpy(),
            "ending": ended["ending"].to_numpy(),
            "peaked": [peak is not None for peak in peaks],
            "time": [end if peak is None else peak for peak, end in zip(peaks, censored, strict=True)],
        }
    )


def lasting_peak(scores: NDArray[np.float64], head: int, patience: int) -> int | None:
    """Return the epoch of the first lasting peak of one trial, or None if it showed none.

    Args:
        scores: validation score at each epoch, shape (epochs,).
        head: epochs of the head phase; a peak within them counts at the last one.
        patience: epochs of the depth phase without a new best after which a peak is lasting.
    """
    best, peak = -np.inf, 0
    for step, score in enumerate(scores, start=1):
        if score > best:
            best, peak = score, step
        if step - max(peak, head) >= patience:
            return max(peak, head)
    return None
