"""Suspect labels: images that the best trials agree to grade differently from the data set."""

from collections.abc import Sequence

from study.analysis import Statistics, Withheld
from study.analysis.label_errors import LabelErrors, SuspectLabel
from study.report.chapters.parts import Chapter, ImageGallery, Part, Text
from study.report.wording import percent
from study.results.study_results import StudyResults

SHOWN = 24
"""Most images on the page, at about 5 kB each. ``suspects.csv`` lists all suspect labels."""


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show the images with suspect labels."""
    return Chapter("suspects", "Labels", "Which labels are suspect", _parts(statistics.suspects, results))


def _parts(errors: LabelErrors | Withheld, results: StudyResults) -> tuple[Part, ...]:
    if isinstance(errors, Withheld):
        return (Text(f"Not shown: {errors.reason}."),)
    if not errors.suspects:
        return (Text(_text(errors, results)),)
    names = results.info.classes
    entries = [(suspect.id, _line(suspect, names)) for suspect in errors.suspects[:SHOWN]]
    rest = len(errors.suspects) - len(entries)
    more = f" The first {SHOWN} are shown; suspects.csv has {rest} more." if rest else ""
    return Text(_text(errors, results) + more), ImageGallery("Suspect labels", entries)


def _text(errors: LabelErrors, results: StudyResults) -> str:
    if results.info.goal == "depth":
        subject = f"Each of the {errors.n_images} images was predicted by {errors.n_trials} models not trained on it."
    elif "folds" in results.info.split:
        subject = (
            f"Each of the {errors.n_images} images was predicted by models of the {errors.n_trials} best trials that "
            "were not trained on it."
        )
    else:
        subject = f"The {errors.n_trials} best trials were not trained on the {errors.n_images} validation images."
    beyond = (
        f"{errors.beyond_chance} of them are more than the usual errors of such trials explain"
        if errors.beyond_chance
        else "None of them is more than the usual errors of such trials explain"
    )
    return (
        f"{subject} Their mean probabilities agree with the given label of {percent(errors.accuracy.value)} of the "
        f"images and disagree on {errors.otherwise}; most of these are errors of the trials. "
        "Confident learning (Northcutt, Jiang & Chuang 2021) and a majority of the trials mark "
        f"{len(errors.suspects)} labels as suspect, most suspect first. {beyond} (false discovery rate 10%). "
        "The trials share training images and backbone, so their errors agree too: the list is for a person who can "
        "judge the images. On IDRiD such a list found randomly changed labels no better than the loss of one training, "
        "and it did not find those that differ in another copy of the data set (results/benchmarks/label_errors.md). "
        "Enter decisions in the last column of suspects.csv: keep, exclude, or relabel (to the class in the column "
        "proposed). A new study applies them with --exclude suspects.csv --relabel suspects.csv."
    )


def _line(suspect: SuspectLabel, names: Sequence[str]) -> str:
    beyond = "; beyond chance" if suspect.beyond_chance else ""
    return (
        f"given {names[suspect.grade]} ({percent(suspect.given_probability.value)}), {suspect.agree} of "
        f"{suspect.trials} trials predict {names[suspect.proposed]} ({percent(suspect.proposed_probability.value)}); "
        f"{percent(suspect.chance)} of correct labels have so low a probability{beyond}"
    )
