"""How long validation keeps rising, with pruned trials counted for as long as they were watched."""

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from drft.config.trial_config import Metric
from study.analysis.estimators.intervals import LEVEL, Estimate, Withheld
from study.analysis.planned_steps import head_steps, planned_steps
from study.results.metric_names import epoch_scores

MIN_TRIALS = 10
"""Below ten trials at risk the intervals of a survival curve span nearly everything."""


class Rising(NamedTuple):
    """Share of trials that peak later than one step."""

    step: int
    share: Estimate
    """Kaplan-Meier; ``n`` is the number still watched at this step."""


class PeakSurvival(NamedTuple):
    """When validation peaks, over completed and pruned trials."""

    patience: int
    """Epochs of the depth phase without a new best after which a peak counts as lasting."""
    n: int
    peaked: int
    """Trials whose lasting peak was seen."""
    pruned: int
    """Trials that were pruned before theirs was."""
    unseen: int
    """Pruned trials that were not watched long enough to count at all, besides the n."""
    median: Estimate | Withheld
    """Median step of the lasting peak; an end is None where the curve's band does not cross one half."""
    curve: tuple[Rising, ...]
    at_least: float
    """Median best step if no pruned trial had risen again ..."""
    at_most: float
    """... and if every one had risen to its planned last step: true without any assumption about them."""


def peak_survival(
    trials: pd.DataFrame, epochs: pd.DataFrame, base_config: Mapping[str, Any], metric: Metric
) -> PeakSurvival | Withheld:
    """Estimate when validation peaks, with the pruned trials counted as censored (Kaplan & Meier 1958).

    The best step of a pruned trial is neither known nor known to lie after its end, so it cannot be censored there.
    A *lasting peak* can: a new best score that the next epochs of the depth phase, a third of them, do not beat; early
    stopping would keep that epoch. Whether it has come is known at every step from the past alone. A peak in the head
    phase counts at the last head step, since the depth phase may still surpass it. A trial that ends without one has
    its peak later than its last step minus these epochs, and is censored there. A lasting peak may come before the
    best step, never after it.

    Intervals are pointwise (log-log, Greenwood's variance); the median's are where the band crosses one half
    (Brookmeyer & Crowley 1982). Valid if the pruned trials would have peaked as those that went on. Pruning stops
    trials with low scores, not those that have stopped rising, but the two may go together: ``at_least`` and
    ``at_most`` bound the median of the best steps without that assumption.
    """
    ended = trials[trials["state"].isin(["COMPLETE", "PRUNED"]) & trials["best_step"].notna()]
    patience = _patience(base_config)
    watched = _watched(
        ended, epochs.assign(score=epoch_scores(epochs, metric)), head_steps(ended, base_config), patience
    )
    stopped = watched["ending"].eq("early_stopped") & ~watched["peaked"]
    if stopped.any():
        return Withheld(
            f"early stopping ended {int(stopped.sum())} trials because they did not rise, before a peak lasted"
        )
    told = watched[watched["peaked"] | (watched["time"] >= watched["head"])]
    if len(told) < MIN_TRIALS or not told["peaked"].any():
        return Withheld(
            f"a survival curve needs at least {MIN_TRIALS} trials watched long enough, there are {len(told)}"
        )
    pruned = ended["state"].eq("PRUNED")
    best = ended["best_step"].astype(float)
    curve = kaplan_meier(told["time"].to_numpy(dtype=np.int64), told["peaked"].to_numpy(dtype=np.bool_))
    return PeakSurvival(
        patience=patience,
        n=len(told),
        peaked=int(told["peaked"].sum()),
        pruned=int((~told["peaked"] & told["ending"].eq("pruned")).sum()),
        unseen=len(watched) - len(told),
        median=_median(curve, len(told)),
        curve=curve,
        at_least=float(best.median()),
        at_most=float(best.where(~pruned, planned_steps(ended, base_config)).median()),
    )


def kaplan_meier(times: NDArray[np.int64], seen: NDArray[np.bool_]) -> tuple[Rising, ...]:
    """Return the survival curve at every distinct time: share whose event comes later.

    Args:
        times: time of the event where it was ``seen``, else the time after which it is known to come, shape (n,).
        seen: whether the event was seen, shape (n,).
    """
    survival = stats.ecdf(stats.CensoredData(times[seen], right=times[~seen])).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where all or none are left there is no interval
        band = survival.confidence_interval(LEVEL, method="log-log")
    low, high = (np.asarray(end.probabilities, dtype=np.float64) for end in (band.low, band.high))
    return tuple(
        Rising(int(step), Estimate(float(share), _end(below), _end(above), int((times >= step).sum())))
        for step, share, below, above in zip(survival.quantiles, survival.probabilities, low, high, strict=True)
    )


def _end(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _median(curve: tuple[Rising, ...], n: int) -> Estimate | Withheld:
    middle = _crossing([(rising.step, rising.share.value) for rising in curve])
    if middle is None:
        return Withheld("more than half of the trials had not peaked when they ended")
    low = _crossing([(rising.step, rising.share.low) for rising in curve])
    high = _crossing([(rising.step, rising.share.high) for rising in curve])
    return Estimate(middle, middle if low is None else min(low, middle), high, n)


def _crossing(points: list[tuple[int, float | None]]) -> float | None:
    """Return the first step at which a falling curve is at one half or below."""
    return next((float(step) for step, share in points if share is not None and share <= 0.5), None)


def _watched(ended: pd.DataFrame, epochs: pd.DataFrame, head: pd.Series, patience: int) -> pd.DataFrame:
    """Return time and kind of what each trial showed: ``head``, ``ending``, ``peaked``, ``time``."""
    curves = {int(str(trial)): group.to_numpy() for trial, group in epochs.groupby("trial")["score"]}
    seen = [
        lasting_peak(curves[int(number)], int(steps), patience)
        for number, steps in zip(ended["number"], head, strict=True)
    ]
    return pd.DataFrame(
        {
            "head": head.to_numpy(),
            "ending": ended["ending"].to_numpy(),
            "peaked": [peak is not None for peak in seen],
            "time": [
                int(last) - patience if peak is None else peak
                for last, peak in zip(ended["last_step"], seen, strict=True)
            ],
        }
    )


def lasting_peak(scores: NDArray[np.float64], head: int, patience: int) -> int | None:
    """Return the step of the first lasting peak of one trial, or None if it showed none.

    Args:
        scores: validation score at each step, shape (steps,).
        head: steps of the head phase; a peak within them counts at the last one.
        patience: epochs of the depth phase without a new best after which a peak is lasting.
    """
    best, at = -np.inf, 0
    for step, score in enumerate(scores, start=1):
        if score > best:
            best, at = score, step
        if step - max(at, head) >= patience:
            return max(at, head)
    return None


def _patience(base_config: Mapping[str, Any]) -> int:
    """Return a third of the depth phase, or what early stopping allows where that is less."""
    third = max(2, int(base_config["depth_phase"]["epochs"]) // 3)
    allowed = int(base_config.get("early_stopping", {}).get("patience", 0))
    return min(third, allowed) if allowed else third
