"""How well scores find the labels that are wrong, as figures and in words."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from scipy import stats

from study.analysis import Estimate, LabelErrors, Votes, Withheld, normalized_margins, suspects
from study.analysis.estimators.auroc import binary_auroc
from study.analysis.estimators.calibration import normalized

Floats = NDArray[np.float64]

_RESAMPLES = 2000
_LEAST = 1e-4
"""Least probability that enters a loss: stored probabilities are float16."""


class DetectionScore(BaseModel):
    """How well the wrong labels among some were found."""

    name: str
    n: int
    """Images."""
    wrong: int
    accuracies: list[float]
    """Out-of-fold accuracy of each configuration on the labels it was given."""
    study: tuple[float, float | None, float | None]
    """AUROC of the study's score, with DeLong's interval."""
    best: tuple[float, float | None, float | None]
    """AUROC of the loss of the configuration with the best accuracy."""
    single: list[float]
    """AUROC of the loss of each configuration."""
    averaged: float
    """AUROC of the loss of the averaged probabilities: tells what averaging does from what the margin does."""
    ahead: tuple[float, float, float]
    """AUROC of the study less that of the best configuration, with a bootstrap interval over images."""
    first: tuple[int, int]
    """Wrong labels among the first as many as are wrong: by the study's score, by the best configuration's loss."""
    listed: tuple[int, int] | None
    """Wrong labels among those that the report lists, and how many it lists; None where it lists none for a reason."""
    beyond: tuple[int, int] | None
    """Likewise of those that it calls beyond chance."""
    withheld: str = ""
    """Why nothing is listed."""


def measured(
    name: str, ids: tuple[str, ...], grades: NDArray[np.int64], wrong: NDArray[np.bool_], said: Floats
) -> DetectionScore:
    """Rank images and compare with the truth.

    Args:
        name: what the labels are.
        ids: of the images.
        grades: as the trainings were given them, shape (images,).
        wrong: whether they are, likewise.
        said: class probabilities of trainings that did not see the image, shape (configurations, images,
            grades).
    """
    said = np.stack([normalized(one) for one in said])
    accuracies = (said.argmax(axis=2) == grades).mean(axis=1)
    averaged = normalized(said.mean(axis=0))
    score = -normalized_margins(grades, averaged)
    *losses, loss = -np.log(np.clip([*said, averaged], _LEAST, 1))[:, np.arange(len(grades)), grades]
    best = losses[accuracies.argmax()]
    found = suspects(Votes(ids, grades, said))
    listed = found.suspects if isinstance(found, LabelErrors) else ()
    truly = dict(zip(ids, wrong.tolist(), strict=True))
    beyond = [one for one in listed if one.beyond_chance]
    none = isinstance(found, Withheld)
    return DetectionScore(
        name=name,
        n=len(ids),
        wrong=int(wrong.sum()),
        accuracies=accuracies.tolist(),
        study=_told(binary_auroc(wrong, score)),
        best=_told(binary_auroc(wrong, best)),
        single=[_area(wrong, one) for one in losses],
        averaged=_area(wrong, loss),
        ahead=_ahead(wrong, score, best),
        first=(_first(wrong, score), _first(wrong, best)),
        listed=None if none else (sum(truly[one.id] for one in listed), len(listed)),
        beyond=None if none else (sum(truly[one.id] for one in beyond), len(beyond)),
        withheld=found.reason if isinstance(found, Withheld) else "",
    )


def rows(found: Sequence[DetectionScore]) -> list[tuple[str, ...]]:
    """Return the cells of the table, one row for each way to grade."""
    return [
        (
            one.name,
            f"{one.wrong} of {one.n}",
            _cell(one.study),
            _cell(one.best),
            f"{np.mean(one.single):.3f}",
            f"{one.averaged:.3f}",
            f"{one.ahead[0]:+.3f} ({one.ahead[1]:+.3f} to {one.ahead[2]:+.3f})",
            f"{one.first[0]} / {one.first[1]}",
            _share(one.listed),
            _share(one.beyond),
        )
        for one in found
    ]


def notes(found: Sequence[DetectionScore]) -> Iterator[str]:
    """Say what the figures come to."""
    for one in found:
        low, high = one.ahead[1:]
        than = "ranks better than" if low > 0 else "ranks worse than" if high < 0 else "cannot be told from"
        by_chance = one.wrong**2 / one.n
        lists = f" Nothing is listed: {one.withheld}." if one.withheld else ""
        yield (
            f"{one.name}: the study's score {than} the loss of the best single configuration (accuracy "
            f"{max(one.accuracies):.3f} on these labels); by chance {by_chance:.1f} of the first {one.wrong} would be "
            f"wrong.{lists}"
        )
    yield (
        "AUROC with DeLong's 95% interval: the probability that a wrong label ranks before a right one. The difference "
        f"has a percentile interval over {_RESAMPLES} resamples of images. Predictions are of the epoch with the "
        "best validation accuracy on the labels as given, as in a study. Planted errors take any other grade with "
        "equal probability, which says little of errors that graders make."
    )


def _told(area: Estimate | Withheld) -> tuple[float, float | None, float | None]:
    if isinstance(area, Withheld):
        raise RuntimeError(area.reason)  # noqa: TRY004  no label is wrong, or all are
    return area.value, area.low, area.high


def _area(wrong: NDArray[np.bool_], scores: Floats) -> float:
    ranks = stats.rankdata(scores)
    inside, outside = int(wrong.sum()), int((~wrong).sum())
    return float((ranks[wrong].sum() - inside * (inside + 1) / 2) / (inside * outside))


def _ahead(wrong: NDArray[np.bool_], score: Floats, other: Floats) -> tuple[float, float, float]:
    """Return the difference of two areas, resampling wrong and right labels apart."""
    rng = np.random.default_rng(0)
    sides = np.flatnonzero(wrong), np.flatnonzero(~wrong)
    differences = []
    for _ in range(_RESAMPLES):
        drawn = np.concatenate([rng.choice(side, len(side)) for side in sides])
        differences.append(_area(wrong[drawn], score[drawn]) - _area(wrong[drawn], other[drawn]))
    low, high = np.quantile(differences, (0.025, 0.975))
    return _area(wrong, score) - _area(wrong, other), float(low), float(high)


def _first(wrong: NDArray[np.bool_], scores: Floats) -> int:
    return int(wrong[np.argsort(-scores, kind="stable")[: wrong.sum()]].sum())


def _cell(area: tuple[float, float | None, float | None]) -> str:
    value, low, high = area
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def _share(counts: tuple[int, int] | None) -> str:
    return "none listed" if counts is None else f"{counts[0]} of {counts[1]}"
