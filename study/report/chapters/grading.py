"""How well the best trial grades."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import plotly.graph_objects as go

from drft.data.dataset import GRADES
from study.analysis import Calibration, Estimate, Grading, Referable, Statistics, Withheld
from study.report import figures
from study.report.chapters.parts import Chapter, FigurePair, Part, Table, Text, exhibit, wide
from study.report.wording import number, percent
from study.results.study_results import StudyResults

HEADINGS = ("figure", "value", "95% interval", "n", "interval after")

Row = tuple[str, str, str, str, str]


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show the agreement of the best trial with the true grades, and how much its confidence is worth."""
    names = grade_names(results)
    pair = FigurePair(
        exhibit(
            "confusion",
            "What was taken for what",
            statistics.grading,
            lambda told: _confusion(told, names),
            _confusion_caption,
        ),
        exhibit("reliability", "What confidence is worth", statistics.calibration, _reliability, _reliability_caption),
    )
    parts = (*_table(results, statistics, names), pair)
    return Chapter("grading", "Grading", "How well the best trial grades", parts)


def grade_names(results: StudyResults) -> Sequence[str]:
    """Return the names of the grades; a study that recorded none has those of the international scale."""
    names: Sequence[str] = results.info.dataset.get("grades", GRADES)
    return names


def _table(results: StudyResults, statistics: Statistics, names: Sequence[str]) -> tuple[Part, ...]:
    grading = statistics.grading
    if isinstance(grading, Withheld):
        return (Text(f"Not shown: {grading.reason}."),)
    best = results.eligible.iloc[0]
    intro = (
        f"Trial {best['number']} at step {best['best_step']}, on the {grading.n} validation images. They chose "
        "both the trial and the step, so that every figure here is optimistic, and no interval knows of it."
        f"{_graders(results)}"
    )
    rows = [*_grading_rows(grading, names), *_referable_rows(statistics.referable), *_brier(statistics.calibration)]
    return Text(intro), Table("Grading", _table_caption(statistics.referable), HEADINGS, rows)


def _graders(results: StudyResults) -> str:
    """Say of a study with folds whose probabilities are compared with one another."""
    if "folds" not in results.info.split:
        return ""
    return (
        f" Each was graded by the model of its fold: AUROC and calibration put the probabilities of "
        f"{results.info.split['folds']} models together, which may differ in their scale."
    )


def _table_caption(referable: Referable | Withheld) -> str:
    if isinstance(referable, Withheld):
        return f"Referable retinopathy is not among the figures: {referable.reason}."
    chosen = "chosen on these same images (Youden), which flatters them further" if referable.optimistic else "fixed"
    return (
        f"Referable is grade 2 or worse, called where the summed probability of these grades reaches "
        f"{number(referable.threshold, 2)}; that threshold was {chosen}."
    )


def _grading_rows(grading: Grading, names: Sequence[str]) -> Iterator[Row]:
    yield _row("accuracy", grading.accuracy, percent, "Wilson")
    yield _row("quadratic weighted kappa", grading.qwk, _decimal, "bootstrap")
    yield _row("balanced accuracy", grading.balanced_accuracy, percent, "Wilson, combined")
    yield _row("macro AUROC", grading.auroc, _decimal, "DeLong")
    for name, recall in zip(names, grading.recall, strict=True):
        yield _row(f"recall, {name}", recall, percent, "Clopper and Pearson")


def _referable_rows(referable: Referable | Withheld) -> Iterator[Row]:
    if not isinstance(referable, Withheld):
        yield _row("referable: sensitivity", referable.sensitivity, percent, "Clopper and Pearson")
        yield _row("referable: specificity", referable.specificity, percent, "Clopper and Pearson")
        yield _row("referable: AUROC", referable.auroc, _decimal, "DeLong")


def _brier(calibration: Calibration | Withheld) -> Iterator[Row]:
    if not isinstance(calibration, Withheld):
        yield _row("Brier score (0 is best, 2 worst)", calibration.brier, _decimal, "Student's t")


def _row(name: str, told: Estimate | Withheld, write: Callable[[float], str], method: str) -> Row:
    if isinstance(told, Withheld):
        return name, f"none: {told.reason}", "", "", ""
    if told.low is None or told.high is None:
        return name, write(told.value), "none", str(told.n), ""
    return name, write(told.value), f"{write(told.low)} to {write(told.high)}", str(told.n), method


def _decimal(value: float) -> str:
    return number(value, 2)


def _confusion(grading: Grading, names: Sequence[str]) -> Mapping[str, go.Figure]:
    return wide(figures.confusion_map(grading, names))


def _confusion_caption(grading: Grading) -> str:
    near = sum(
        count
        for row, counts in enumerate(grading.confusion)
        for column, count in enumerate(counts)
        if abs(row - column) == 1
    )
    wrong = grading.n - round(grading.accuracy.value * grading.n)
    return (
        f"Images by true and predicted grade; the darker, the larger the share of its true grade. {wrong} of "
        f"{grading.n} are graded wrongly, {near} of them by one grade."
    )


def _reliability(calibration: Calibration) -> Mapping[str, go.Figure]:
    return wide(figures.reliability_curve(calibration))


def _reliability_caption(calibration: Calibration) -> str:
    shown = "is miscalibrated" if calibration.ece > calibration.ece_limit else "is not shown to be miscalibrated"
    return (
        f"Bins of about {calibration.n // len(calibration.bins)} images of neighbouring confidence, with Wilson "
        "intervals; above the diagonal the trial is right more often than it says, below it is too sure. The expected "
        f"calibration error is {percent(calibration.ece)}; perfect calibration would show "
        f"{percent(calibration.ece_by_chance)} on average on so few images and exceed "
        f"{percent(calibration.ece_limit)} in one of twenty cases, so the trial {shown}. "
        f"{_temperature(calibration.temperature)}"
    )


def _temperature(told: Estimate | Withheld) -> str:
    if isinstance(told, Withheld):
        return f"A temperature is not said: {told.reason}."
    sure = (
        ""
        if told.low is None or told.high is None
        else f" (95% interval {_decimal(told.low)} to {_decimal(told.high)})"
    )
    return (
        f"The temperature that would fit is {_decimal(told.value)}{sure}; above 1 is too sure. It is applied nowhere."
    )
