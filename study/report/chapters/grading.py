"""How well the best trial grades."""

from collections.abc import Callable, Sequence

from drft.data.dataset import GRADES
from study.analysis import Estimate, Statistics, Withheld
from study.analysis.estimators.calibration import Calibration
from study.analysis.estimators.grading import Grading
from study.analysis.estimators.referable import Referable
from study.report import figures
from study.report.chapters.parts import Chapter, FigurePair, Part, Table, Text, make_figure
from study.report.wording import number, percent
from study.results.study_results import StudyResults

HEADINGS = ("measure", "value", "95% interval", "n", "method of the interval")

Row = tuple[str, str, str, str, str]


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show how well the best trial agrees with the true grades, and how well its confidence is calibrated."""
    names = grade_names(results)
    pair = FigurePair(
        make_figure(
            "confusion",
            "Confusion matrix",
            statistics.grading,
            lambda grading: figures.confusion_map(grading, names),
            _confusion_caption,
        ),
        make_figure(
            "reliability", "Calibration", statistics.calibration, figures.reliability_curve, _reliability_caption
        ),
    )
    return Chapter("grading", "Grading", "How well the best trial grades", (*_table(results, statistics, names), pair))


def grade_names(results: StudyResults) -> Sequence[str]:
    """Return the names of the grades; those of the international scale when the study recorded none."""
    names: Sequence[str] = results.info.dataset.get("grades", GRADES)
    return names


def _table(results: StudyResults, statistics: Statistics, names: Sequence[str]) -> tuple[Part, ...]:
    grading, split = statistics.grading, results.info.split
    if isinstance(grading, Withheld):
        return (Text(f"Not shown: {grading.reason}."),)
    best = results.eligible.iloc[0]
    folds = (
        " Each image was graded by the model of its fold: AUROC and calibration pool the probabilities of "
        f"{split['folds']} models, which may differ in scale."
        if "folds" in split
        else ""
    )
    intro = (
        f"Trial {best['number']} at epoch {best['best_step']}, on the {grading.n} validation images. These images "
        "selected both the trial and the epoch, so every value here is optimistic, and the intervals do not include "
        f"this optimism.{folds}"
    )
    rows = _rows(statistics, grading, names)
    return Text(intro), Table("Grading", _table_caption(statistics.referable), HEADINGS, rows)


def _table_caption(referable: Referable | Withheld) -> str:
    if isinstance(referable, Withheld):
        return f"Referable retinopathy is not shown: {referable.reason}."
    chosen = (
        "chosen on the same images (Youden), which makes sensitivity and specificity more optimistic"
        if referable.optimistic
        else "fixed"
    )
    return (
        "Referable means grade 2 or worse, predicted when the summed probability of these grades reaches "
        f"{number(referable.threshold, 2)}; that threshold was {chosen}."
    )


def _rows(statistics: Statistics, grading: Grading, names: Sequence[str]) -> list[Row]:
    referable, calibration = statistics.referable, statistics.calibration
    rows = [
        _row("accuracy", grading.accuracy, percent, "Wilson"),
        _row("quadratic weighted kappa", grading.qwk, _decimal, "bootstrap"),
        _row("balanced accuracy", grading.balanced_accuracy, percent, "Wilson, combined"),
        _row("macro AUROC", grading.auroc, _decimal, "DeLong"),
    ]
    for name, recall in zip(names, grading.recall, strict=True):
        rows.append(_row(f"recall, {name}", recall, percent, "Clopper and Pearson"))
    if not isinstance(referable, Withheld):
        rows.append(_row("referable: sensitivity", referable.sensitivity, percent, "Clopper and Pearson"))
        rows.append(_row("referable: specificity", referable.specificity, percent, "Clopper and Pearson"))
        rows.append(_row("referable: AUROC", referable.auroc, _decimal, "DeLong"))
    if not isinstance(calibration, Withheld):
        rows.append(_row("Brier score (0 is best, 2 worst)", calibration.brier, _decimal, "Student's t"))
    return rows


def _row(name: str, estimate: Estimate | Withheld, write: Callable[[float], str], method: str) -> Row:
    if isinstance(estimate, Withheld):
        return name, f"none: {estimate.reason}", "", "", ""
    if estimate.low is None or estimate.high is None:
        return name, write(estimate.value), "none", str(estimate.n), ""
    interval = f"{write(estimate.low)} to {write(estimate.high)}"
    return name, write(estimate.value), interval, str(estimate.n), method


def _decimal(value: float) -> str:
    return number(value, 2)


def _confusion_caption(grading: Grading) -> str:
    cells = [
        (row, column, count) for row, counts in enumerate(grading.confusion) for column, count in enumerate(counts)
    ]
    near = sum(count for row, column, count in cells if abs(row - column) == 1)
    wrong = grading.n - round(grading.accuracy.value * grading.n)
    return (
        "Images by true and predicted grade; the stronger the colour, the larger the share of the true grade. "
        f"{wrong} of {grading.n} images are graded wrongly, {near} of them by one grade."
    )


def _reliability_caption(calibration: Calibration) -> str:
    verdict = "is miscalibrated" if calibration.ece > calibration.ece_limit else "is not shown to be miscalibrated"
    return (
        f"Bins of about {calibration.n // len(calibration.bins)} images of similar confidence, with Wilson intervals. "
        "Above the diagonal the trial is underconfident, below it overconfident. The expected calibration error is "
        f"{percent(calibration.ece)}. On so few images, perfect calibration would give "
        f"{percent(calibration.ece_by_chance)} on average and exceed {percent(calibration.ece_limit)} in one of twenty "
        f"cases, so the trial {verdict}. {_temperature(calibration.temperature)}"
    )


def _temperature(temperature: Estimate | Withheld) -> str:
    if isinstance(temperature, Withheld):
        return f"No temperature is shown: {temperature.reason}."
    interval = (
        ""
        if temperature.low is None or temperature.high is None
        else f" (95% interval {_decimal(temperature.low)} to {_decimal(temperature.high)})"
    )
    return (
        f"The best temperature would be {_decimal(temperature.value)}{interval}; above 1 means overconfident. It is "
        "not applied."
    )
