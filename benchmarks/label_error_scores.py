"""How well scores detect wrong labels, as figures and in words."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from scipy import stats

from study.analysis import Withheld
from study.analysis.estimators.auroc import binary_auroc
from study.analysis.estimators.calibration import normalized
from study.analysis.label_errors import LabelErrors, OutOfSamplePredictions, find_label_errors, normalized_margins

Floats = NDArray[np.float64]
Interval = tuple[float, float | None, float | None]
"""Estimate, lower and upper end of its interval; None without an interval."""

_RESAMPLES = 2000
_MIN_PROBABILITY = 1e-4
"""Smallest probability in a loss: stored probabilities are float16."""


class DetectionScore(BaseModel):
    """How well wrong labels were detected in one set of labels."""

    name: str
    n: int
    """Images."""
    wrong: int
    accuracies: list[float]
    """Out-of-fold accuracy of each configuration on the labels that it was trained on."""
    study: Interval
    """AUROC of the study's score, with DeLong's interval."""
    best: Interval
    """AUROC of the loss of the configuration with the best accuracy."""
    single: list[float]
    """AUROC of the loss of each configuration."""
    averaged: float
    """AUROC of the loss of the averaged probabilities: separates the effect of averaging from that of the margin."""
    ahead: tuple[float, float, float]
    """AUROC of the study less that of the best configuration, with a bootstrap interval over images."""
    first: tuple[int, int]
    """Wrong labels among the top k, with k the number of wrong labels: by the study's score, by the best
    configuration's loss."""
    listed: tuple[int, int] | None
    """Wrong labels among those that the report lists, and the length of its list; None when it gives no list."""
    beyond: tuple[int, int] | None
    """The same of the labels that the report calls beyond chance."""
    withheld: str = ""
    """Why the report gives no list."""


def score_detection(
    name: str, ids: tuple[str, ...], grades: NDArray[np.int64], wrong: NDArray[np.bool_], probabilities: Floats
) -> DetectionScore:
    """Rank images by suspicion and compare with the truth.

    Args:
        name: of the set of labels.
        ids: of the images.
        grades: labels on which the configurations were trained, shape (images,).
        wrong: which of these labels are wrong, shape (images,).
        probabilities: class probabilities from trainings that did not see the image, shape (configurations, images,
            grades).

    Raises:
        RuntimeError: when no label is wrong, or all are.
    """
    probabilities = np.stack([normalized(configuration) for configuration in probabilities])
    accuracies = (probabilities.argmax(axis=2) == grades).mean(axis=1)
    averaged = normalized(probabilities.mean(axis=0))
    margin_score = -normalized_margins(grades, averaged)
    of_grade = np.stack([*probabilities, averaged])[:, np.arange(len(grades)), grades]
    *losses, averaged_loss = -np.log(np.clip(of_grade, _MIN_PROBABILITY, 1))
    best_loss = losses[accuracies.argmax()]
    report = find_label_errors(OutOfSamplePredictions(ids, grades, probabilities))
    is_wrong = dict(zip(ids, wrong.tolist(), strict=True))
    listed = report.suspects if isinstance(report, LabelErrors) else None
    beyond = None if listed is None else [suspect for suspect in listed if suspect.beyond_chance]
    return DetectionScore(
        name=name,
        n=len(ids),
        wrong=int(wrong.sum()),
        accuracies=accuracies.tolist(),
        study=_auroc_interval(wrong, margin_score),
        best=_auroc_interval(wrong, best_loss),
        single=[_auroc(wrong, loss) for loss in losses],
        averaged=_auroc(wrong, averaged_loss),
        ahead=_auroc_difference(wrong, margin_score, best_loss),
        first=(_wrong_in_top(wrong, margin_score), _wrong_in_top(wrong, best_loss)),
        listed=None if listed is None else (sum(is_wrong[suspect.id] for suspect in listed), len(listed)),
        beyond=None if beyond is None else (sum(is_wrong[suspect.id] for suspect in beyond), len(beyond)),
        withheld=report.reason if isinstance(report, Withheld) else "",
    )


def _auroc_interval(wrong: NDArray[np.bool_], scores: Floats) -> Interval:
    area = binary_auroc(wrong, scores)
    if isinstance(area, Withheld):
        raise RuntimeError(area.reason)  # noqa: TRY004 (not a wrong type: no label is wrong, or all are)
    return area.value, area.low, area.high


def _auroc(wrong: NDArray[np.bool_], scores: Floats) -> float:
    """Return the area by ranks; scikit-learn's ``roc_auc_score`` takes ten times as long, too long to resample."""
    ranks = stats.rankdata(scores)
    positive, negative = int(wrong.sum()), int((~wrong).sum())
    return float((ranks[wrong].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _auroc_difference(wrong: NDArray[np.bool_], score: Floats, other: Floats) -> tuple[float, float, float]:
    """Return the difference of two areas; wrong and right labels are resampled separately."""
    rng = np.random.default_rng(0)
    strata = np.flatnonzero(wrong), np.flatnonzero(~wrong)
    differences = []
    for _ in range(_RESAMPLES):
        drawn = np.concatenate([rng.choice(stratum, len(stratum)) for stratum in strata])
        differences.append(_auroc(wrong[drawn], score[drawn]) - _auroc(wrong[drawn], other[drawn]))
    low, high = np.quantile(differences, (0.025, 0.975))
    return _auroc(wrong, score) - _auroc(wrong, other), float(low), float(high)


def _wrong_in_top(wrong: NDArray[np.bool_], scores: Floats) -> int:
    return int(wrong[np.argsort(-scores, kind="stable")[: wrong.sum()]].sum())


def rows(scores: Sequence[DetectionScore]) -> list[tuple[str, ...]]:
    """Return the cells of the table, one row for each set of labels."""
    return [
        (
            score.name,
            f"{score.wrong} of {score.n}",
            _interval_cell(score.study),
            _interval_cell(score.best),
            f"{np.mean(score.single):.3f}",
            f"{score.averaged:.3f}",
            f"{score.ahead[0]:+.3f} ({score.ahead[1]:+.3f} to {score.ahead[2]:+.3f})",
            f"{score.first[0]} / {score.first[1]}",
            _count_cell(score.listed),
            _count_cell(score.beyond),
        )
        for score in scores
    ]


def _interval_cell(interval: Interval) -> str:
    value, low, high = interval
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def _count_cell(counts: tuple[int, int] | None) -> str:
    return "none listed" if counts is None else f"{counts[0]} of {counts[1]}"


def notes(scores: Sequence[DetectionScore]) -> Iterator[str]:
    """Yield a sentence for each set of labels, and the definitions."""
    for score in scores:
        low, high = score.ahead[1:]
        relation = "ranks better than" if low > 0 else "ranks worse than" if high < 0 else "is indistinguishable from"
        withheld = f" Nothing is listed: {score.withheld}." if score.withheld else ""
        yield (
            f"{score.name}: the study's score {relation} the loss of the best single configuration (accuracy "
            f"{max(score.accuracies):.3f} on these labels); by chance {score.wrong**2 / score.n:.1f} of the first "
            f"{score.wrong} would be wrong.{withheld}"
        )
    yield (
        "AUROC with DeLong's 95% interval: the probability that a wrong label ranks before a right one. The difference "
        f"has a percentile interval over {_RESAMPLES} resamples of images. Predictions are of the epoch with the "
        "best validation accuracy on the labels as given, as in a study. Random errors replace a grade by any other "
        "with equal probability; errors of human graders are different."
    )
