"""Which classes are recognised, and which are taken for each other."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from study.analysis import Estimate, Statistics, Withheld
from study.analysis.estimators.grading import Grading
from study.report import figures
from study.report.chapters.parts import Chapter, Part, Table, Text, make_figure
from study.report.wording import number, percent
from study.results.study_results import StudyResults

HEADINGS = ("measure", "value", "95% interval", "n", "method of the interval")

Row = tuple[str, str, str, str, str]

_TABLE_CAPTION = "The recall of a class is the share of its images that are recognised."


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show confusion and recall of the recommended depth, or of the best trial; first the classes without any."""
    recommended = statistics.recommended
    found = statistics.grading if isinstance(recommended, Withheld) else recommended.grading
    return Chapter("confusion", "Confusion", "Which classes are recognised", tuple(_parts(found, results, statistics)))


def _parts(found: Grading | Withheld, results: StudyResults, statistics: Statistics) -> Iterator[Part]:
    if isinstance(found, Withheld):
        yield Text(f"Not shown: {found.reason}.")
        return
    names = results.info.classes
    if text := never_recognised(found, names):
        yield Text(text)
    yield Text(_source(found, results, statistics))
    yield make_figure(
        "confusion",
        "Confusion matrix",
        found,
        lambda grading: figures.confusion_map(grading, names),
        partial(_confusion_caption, ordinal=results.info.ordinal),
    )
    kappa = measure_row("quadratic weighted kappa", found.qwk, decimal, "bootstrap")
    rows = [
        *(
            measure_row(f"recall, {name}", recall, percent, "Clopper and Pearson")
            for name, recall in zip(names, found.recall, strict=True)
        ),
        measure_row("accuracy", found.accuracy, percent, "Wilson"),
        *([kappa] if results.info.ordinal else []),
        measure_row("balanced accuracy", found.balanced_accuracy, percent, "Wilson, combined"),
        measure_row("macro AUROC", found.auroc, decimal, "DeLong"),
    ]
    yield Table("Recall and agreement", _TABLE_CAPTION, HEADINGS, rows)


def never_recognised(found: Grading, names: Sequence[str]) -> str:
    """Return a sentence for each class that has images and is never recognised; empty if there is none."""
    return " ".join(
        f'The class "{name}" is never recognised: 0 of {recall.n} image{"" if recall.n == 1 else "s"}.'
        for name, recall in zip(names, found.recall, strict=True)
        if not isinstance(recall, Withheld) and recall.value == 0
    )


def _source(found: Grading, results: StudyResults, statistics: Statistics) -> str:
    recommended, split = statistics.recommended, results.info.split
    if not isinstance(recommended, Withheld):
        rounds = recommended.rounds
        several = (
            f", once in each of {rounds} rounds; the probabilities of the rounds are averaged" if rounds > 1 else ""
        )
        return (
            f"Each of {found.n} images is predicted by a training at depth {recommended.depth} that has not seen "
            f"it{several}. The other folds chose the epoch. The search chose the settings on the same images, "
            "which makes the values slightly optimistic."
        )
    best = results.eligible.iloc[0]
    folds = (
        " Each image was predicted by the model of its fold: AUROC pools the probabilities of "
        f"{split['folds']} models, which may differ in scale."
        if "folds" in split
        else ""
    )
    return (
        f"Trial {best['number']} at epoch {best['best_step']}, on the {found.n} validation images. These images "
        "selected both the trial and the epoch, so every value here is optimistic, and the intervals do not include "
        f"this optimism.{folds}"
    )


def measure_row(name: str, estimate: Estimate | Withheld, write: Callable[[float], str], method: str) -> Row:
    """Return a row of a table of measures, in the order of ``HEADINGS``."""
    if isinstance(estimate, Withheld):
        return name, f"none: {estimate.reason}", "", "", ""
    if estimate.low is None or estimate.high is None:
        return name, write(estimate.value), "none", str(estimate.n), ""
    interval = f"{write(estimate.low)} to {write(estimate.high)}"
    return name, write(estimate.value), interval, str(estimate.n), method


def decimal(value: float) -> str:
    """Format a measure between 0 and 1: ``0.61``."""
    return number(value, 2)


def _confusion_caption(grading: Grading, *, ordinal: bool) -> str:
    cells = [
        (row, column, count) for row, counts in enumerate(grading.confusion) for column, count in enumerate(counts)
    ]
    near = sum(count for row, column, count in cells if abs(row - column) == 1)
    wrong = grading.n - round(grading.accuracy.value * grading.n)
    return (
        "Images by true and predicted class; the stronger the colour, the larger the share of the true class. "
        f"{wrong} of {grading.n} images are classified wrongly{f', {near} of them by one grade' if ordinal else ''}."
    )
