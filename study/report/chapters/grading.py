"""How well the confidence of the best trial is calibrated, and how well it finds referable retinopathy."""

from study.analysis import Estimate, Statistics, Withheld
from study.analysis.estimators.calibration import Calibration
from study.analysis.estimators.referable import Referable
from study.report import figures
from study.report.chapters.confusion import HEADINGS, Row, decimal, measure_row
from study.report.chapters.parts import Chapter, Part, Table, Text, make_figure
from study.report.wording import number, percent
from study.results.study_results import StudyInfo, StudyResults


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show what the probabilities of the best trial are worth, beyond the most probable class."""
    calibration = make_figure(
        "reliability", "Calibration", statistics.calibration, figures.reliability_curve, _reliability_caption
    )
    parts = (*_table(results, statistics), calibration)
    return Chapter("grading", "Probabilities", "What the probabilities of the best trial are worth", parts)


def _table(results: StudyResults, statistics: Statistics) -> tuple[Part, ...]:
    referable, calibration, split = statistics.referable, statistics.calibration, results.info.split
    if isinstance(calibration, Withheld) and isinstance(referable, Withheld):
        return (Text(f"Not shown: {calibration.reason}."),)
    best = results.eligible.iloc[0]
    folds = (
        f" The probabilities are those of {split['folds']} models, one for each fold, which may differ in scale."
        if "folds" in split
        else ""
    )
    intro = (
        f"Trial {best['number']} at epoch {best['best_step']}, on the validation images that selected both: every "
        f"value here is optimistic.{folds}"
    )
    rows: list[Row] = []
    if not isinstance(referable, Withheld):
        rows.append(measure_row("referable: sensitivity", referable.sensitivity, percent, "Clopper and Pearson"))
        rows.append(measure_row("referable: specificity", referable.specificity, percent, "Clopper and Pearson"))
        rows.append(measure_row("referable: AUROC", referable.auroc, decimal, "DeLong"))
    if not isinstance(calibration, Withheld):
        rows.append(measure_row("Brier score (0 is best, 2 worst)", calibration.brier, decimal, "Student's t"))
    return Text(intro), Table("Probabilities", _table_caption(referable, results.info), HEADINGS, rows)


def _table_caption(referable: Referable | Withheld, info: StudyInfo) -> str:
    if not info.is_retinopathy:
        return "Lower is better: the squared distance of the probabilities from the truth, summed over classes."
    if isinstance(referable, Withheld):
        return f"Referable retinopathy is not shown: {referable.reason}."
    return (
        "Referable means grade 2 or worse, predicted when the summed probability of these grades reaches "
        f"{number(referable.threshold, 2)}; that threshold was chosen on the same images (Youden), which makes "
        "sensitivity and specificity more optimistic."
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
        else f" (95% interval {decimal(temperature.low)} to {decimal(temperature.high)})"
    )
    return (
        f"The best temperature would be {decimal(temperature.value)}{interval}; above 1 means overconfident. It is "
        "not applied."
    )
