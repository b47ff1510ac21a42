"""Which labels are suspect."""

from collections.abc import Sequence

from study.analysis import LabelErrors, Statistics, SuspectLabel, Withheld
from study.report.chapters.grading import grade_names
from study.report.chapters.parts import Chapter, ImageGallery, Part, Text
from study.report.wording import percent
from study.results.study_results import StudyResults

SHOWN = 24
"""Images on the page at most: they are about 5 kB each. ``suspects.csv`` has all."""


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """List the images that the best trials agree to grade otherwise."""
    return Chapter("suspects", "Labels", "Which labels are suspect", _parts(statistics.suspects, results))


def _parts(found: LabelErrors | Withheld, results: StudyResults) -> tuple[Part, ...]:
    if isinstance(found, Withheld):
        return (Text(f"Not said: {found.reason}."),)
    if not found.suspects:
        return (Text(_words(found, results)),)
    names = grade_names(results)
    entries = [(one.id, _line(one, names)) for one in found.suspects[:SHOWN]]
    rest = len(found.suspects) - len(entries)
    more = f" The first {SHOWN} are shown; suspects.csv has {rest} more." if rest else ""
    return Text(_words(found, results) + more), ImageGallery("Suspect labels", entries)


def _words(found: LabelErrors, results: StudyResults) -> str:
    sure = (
        "None of them is more than such trials' errors explain"
        if not found.beyond_chance
        else f"{found.beyond_chance} of them are more than such trials' errors explain"
    )
    return (
        f"The {found.n_trials} best trials {_unseen(found, results)}. Averaged, "
        f"they grade {percent(found.accuracy.value)} of them as given and {found.otherwise} otherwise; most of these "
        "will be their own errors. Confident learning (Northcutt, Jiang & Chuang 2021) and a majority of the trials "
        f"doubt {len(found.suspects)} labels, most suspect first. {sure} (false discovery rate 10%). The trials share "
        "training images and backbone and so agree in their errors too: a list for someone who can grade. "
        "On IDRiD such a list found grades that were changed at random, no better than the loss of one training does, "
        "and did not find those that a copy of the set had changed (results/benchmarks/label_errors.md). "
        "Decisions go into the last column of suspects.csv: keep, exclude, or relabel to the grade in the column "
        "proposed; a new study takes them with --exclude suspects.csv --relabel suspects.csv."
    )


def _unseen(found: LabelErrors, results: StudyResults) -> str:
    if "folds" in results.info.split:
        return f"graded each of the {found.n_images} images by a model that was not trained on it"
    return f"were not trained on the {found.n_images} validation images"


def _line(one: SuspectLabel, names: Sequence[str]) -> str:
    beyond = "; beyond chance" if one.beyond_chance else ""
    return (
        f"given {names[one.grade]} ({percent(one.given_probability.value)}), {one.agree} of {one.trials} trials say "
        f"{names[one.proposed]} ({percent(one.proposed_probability.value)}); {percent(one.chance)} by chance{beyond}"
    )
