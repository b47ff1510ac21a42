"""The statistics of a comparison, from studies to named tuples."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from drft.errors import StudyError
from study.analysis import Curve, DepthRow, Withheld
from study.analysis.depth import depth_curves, depth_table
from study.analysis.estimators.intervals import Estimate, difference_of_proportions
from study.analysis.estimators.resampling import Candidates
from study.analysis.evidence import Evidence, find_evidence, judge
from study.analysis.floor import FloorScores, score_floor
from study.analysis.predictions import stored_candidates
from study.analysis.selection import corrected_difference, corrected_selection
from study.analysis.verdict import Verdict
from study.analysis.verdict_difference import paired_difference_of_depths
from study.compare.changes import SettingDifference, changes
from study.results.study_results import StudyInfo, StudyResults, read_study

MOST = 8
"""The most studies that a reader can distinguish in one figure."""


class BestTrial(NamedTuple):
    """The trial that a study without a verdict selected, without its score: that is the maximum of many."""

    trial: int
    depth: int
    blocks: int
    """Of its backbone."""
    trainable_fraction: float
    step: int
    last_step: int


class ComparedStudy(NamedTuple):
    """One study of a comparison."""

    name: str
    completed: int
    """Completed trials of the search."""
    finished: int
    trainings: int
    """Trainings of the search and, if there is a verdict, of the cross-validation that it rests on."""
    verdict: Verdict | Withheld
    expected: Estimate | Withheld
    """Expected accuracy on new images: of one training at the recommended depth or, without a verdict, of the best
    trial, corrected for its selection."""
    best: BestTrial | Withheld
    """Of the search; None of its scores is compared."""
    floor: FloorScores | Withheld
    """Of a linear model on frozen features."""
    curve: Curve | Withheld
    """Over the completed trials of all depths."""
    depths: tuple[DepthRow, ...] | Withheld
    """Of the best trial's backbone, where there are several, as in the report."""


class StudyDifference(NamedTuple):
    """The expected accuracy of one study minus that of another."""

    one: str
    other: str
    difference: Estimate | Withheld
    unpaired: str | None
    """Why the difference is not one image by image; None if it is."""


class _Read(NamedTuple):
    """A study with what its expected accuracy rests on."""

    side: ComparedStudy
    data: str
    """Fingerprint of the data set."""
    source: Evidence | Candidates | Withheld
    """Out-of-fold predictions; those of the search if there is no verdict."""
    depth: int | None
    """The recommended depth, if there is a verdict."""
    images: tuple[str, ...]
    """Names of the images of the source, in its order."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Studies side by side."""

    infos: tuple[StudyInfo, ...]
    sides: tuple[ComparedStudy, ...]
    against: tuple[StudyDifference, ...]
    changes: tuple[SettingDifference, ...]


def compare(studies: Sequence[str], results: Path = Path("results"), storage: str | None = None) -> Comparison:
    """Read studies and compare them.

    Args:
        studies: two or more, each as in :func:`study.results.study_results.read_study`.
        results: folder of studies.
        storage: URL of an Optuna storage that holds them all; None for the ``study.db`` of each.

    Raises:
        StudyError: when there is no such study, one is named twice, or there are too few or too many.
    """
    if not 2 <= len(studies) <= MOST:
        raise StudyError(f"name 2 to {MOST} studies to compare, not {len(studies)}")
    loaded = [read_study(study, results, storage) for study in studies]
    names = [study.info.name for study in loaded]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise StudyError(f"study {twice[0]!r} is named twice: name different studies, with different names")
    read = [_read(study) for study in loaded]
    return Comparison(
        infos=tuple(study.info for study in loaded),
        sides=tuple(study.side for study in read),
        against=tuple(_difference(one, other) for one, other in combinations(read, 2)),
        changes=changes([study.info for study in loaded]),
    )


def _read(study: StudyResults) -> _Read:
    """Return the figures of a study; the best score of a search is never one of them."""
    complete, finished = study.complete, study.finished
    trainings = int(finished["folds"].fillna(1).sum())
    evidence = find_evidence(study)
    source: Evidence | Candidates | Withheld
    verdict: Verdict | Withheld
    expected: Estimate | Withheld
    depth: int | None = None
    images: tuple[str, ...] = ()
    if isinstance(evidence, Withheld):
        verdict, source = evidence, stored_candidates(study)
        corrected = source if isinstance(source, Withheld) else corrected_selection(source, scored_by="accuracy")
        expected = corrected if isinstance(corrected, Withheld) else corrected.corrected
        if not isinstance(source, Withheld):
            predictions = study.predictions(int(source.trials[0]))
            images = predictions.ids if predictions else ()
    else:
        verdict, source, images = judge(evidence, study.floor), evidence, evidence.images
        expected, depth = verdict.accuracy, verdict.recommended_depth
        finalists = (*evidence.depths, *([evidence.untuned] if evidence.untuned else []))
        trainings += sum(len(finalist.gaps) for finalist in finalists)
    curves = depth_curves(complete.assign(depth=0), study.epochs)
    side = ComparedStudy(
        name=study.info.name,
        completed=len(complete),
        finished=len(finished),
        trainings=trainings,
        verdict=verdict,
        expected=expected,
        best=_best(study),
        floor=score_floor(study.floor, ordinal=study.info.ordinal),
        curve=curves if isinstance(curves, Withheld) else curves[0],
        depths=depth_table(study.of_best_backbone(complete), int(study.info.split["n_validation"])),
    )
    return _Read(side, str(study.info.dataset["fingerprint"]), source, depth, images)


def _best(study: StudyResults) -> BestTrial | Withheld:
    if study.eligible.empty:
        return Withheld(study.no_best)
    row = study.eligible.iloc[0].to_dict()
    return BestTrial(
        trial=int(row["number"]),
        depth=int(row["depth"]),
        blocks=study.info.block_count(row.get("backbone.name")),
        trainable_fraction=float(row["trainable_fraction"]),
        step=int(row["best_step"]),
        last_step=int(row["last_step"]),
    )


def _difference(one: _Read, other: _Read) -> StudyDifference:
    """Return the difference of two studies, image by image where both were scored on the same images."""
    names, expected, other_expected = (one.side.name, other.side.name), one.side.expected, other.side.expected
    if isinstance(expected, Withheld):
        return StudyDifference(*names, Withheld(f"{names[0]} has no expected accuracy: {expected.reason}"), None)
    if isinstance(other_expected, Withheld):
        return StudyDifference(*names, Withheld(f"{names[1]} has no expected accuracy: {other_expected.reason}"), None)
    if one.data != other.data:
        reason = "their data are not the same"
    elif one.images != other.images:
        shared = len({*one.images} & {*other.images})
        reason = f"they were scored on different images, {len(one.images)} and {len(other.images)} ({shared} in common)"
    else:
        match one.source, other.source:
            case Evidence() as evidence, Evidence() as other_evidence:
                assert one.depth is not None
                assert other.depth is not None
                paired = paired_difference_of_depths(evidence.depths, one.depth, other_evidence.depths, other.depth)
                return StudyDifference(*names, paired, None)
            case Candidates() as candidates, Candidates() as other_candidates:
                return StudyDifference(*names, corrected_difference(candidates, other_candidates), None)
        reason = "only one of them has a verdict"
    return StudyDifference(*names, difference_of_proportions(expected, other_expected), reason)
