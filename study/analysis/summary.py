"""All statistics of one study, computed from its tables."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drft.errors import StudyError
from study.analysis.backbones import BackboneRow, backbone_table
from study.analysis.best_of_k import EqualDepths, equal_depths
from study.analysis.confirmation import Confirmed, confirmed
from study.analysis.cost import Cost, cost
from study.analysis.depth import Curve, DepthRow, depth_curves, depth_table
from study.analysis.design import EVEN_SAMPLERS, depth_design
from study.analysis.early import Early, early
from study.analysis.ensembles_on_test import EnsemblesOnTest, ensembles_on_test
from study.analysis.estimators.calibration import Calibration, calibration
from study.analysis.estimators.crossfit import CrossFitted, cross_fitted
from study.analysis.estimators.grading import Grading, grading
from study.analysis.estimators.intervals import Withheld
from study.analysis.estimators.referable import Referable, referable
from study.analysis.generalization_gap import Gaps, gaps
from study.analysis.history import TrialPoint, history
from study.analysis.importance import Importance, importance
from study.analysis.indistinguishable import Indistinguishable, alike
from study.analysis.label_errors import LabelErrors, Said, collect, suspects
from study.analysis.noise import Noise, noise
from study.analysis.overtuning import Overtuning, overtuning_by_halves
from study.analysis.peak import BestVersusLast, Peak, best_versus_last, peak
from study.analysis.phases import Phases, phases
from study.analysis.predictions import at_best_steps, stored_candidates
from study.analysis.pruning import PrunerAudit, pruner_audit
from study.analysis.selection import CorrectedScore, corrected_selection
from study.analysis.somers_d import Association, gap_associations
from study.analysis.survival import PeakSurvival, peak_survival
from study.analysis.sweep_on_test import SweepOnTest, swept
from study.results.retrained import read_test_set
from study.results.study_results import StudyResults
from study.results.test_set import HeldOutTestSet, read_confirmation

COMPARED = 20
"""How many of the best trials are compared with the best one, image by image."""

CROSS_FITTED = 5
"""How many of the best trials are cross-fitted, step by step."""

GRADERS = 10
"""How many of the best trials are asked which labels are suspect."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a report says in figures; a statistic that would be invalid is ``Withheld``."""

    history: tuple[TrialPoint, ...] | Withheld
    depths: tuple[DepthRow, ...] | Withheld
    """Of the best trial's backbone, where there are several; so are ``curves``, ``gaps`` and ``equal_depths``."""
    backbones: tuple[BackboneRow, ...] | Withheld
    curves: tuple[Curve, ...] | Withheld
    peak: Peak | Withheld
    best_versus_last: BestVersusLast | Withheld
    noise: Noise | Withheld
    score_importance: Importance | Withheld
    gap_importance: Importance | Withheld
    score_fanova: Importance | Withheld
    gap_fanova: Importance | Withheld
    gaps: Gaps | Withheld
    phases: Phases | Withheld
    peak_survival: PeakSurvival | Withheld
    cross_fitted: tuple[CrossFitted, ...] | Withheld
    early: Early | Withheld
    equal_depths: EqualDepths | Withheld
    gap_associations: tuple[Association, ...] | Withheld
    pruner: PrunerAudit | Withheld
    cost: Cost | Withheld
    corrected: CorrectedScore | Withheld
    overtuning: Overtuning | Withheld
    alike: Indistinguishable | Withheld
    grading: Grading | Withheld
    """Of the best trial at its best step, on the validation images that chose both; so are the next two."""
    referable: Referable | Withheld
    calibration: Calibration | Withheld
    suspects: LabelErrors | Withheld
    test: Confirmed | Withheld | None
    """None as long as the test set is sealed."""
    swept: SweepOnTest | Withheld | None
    """Likewise."""
    mixtures: EnsemblesOnTest | Withheld | None
    """Of ``drft-study soup``; None as long as there are none, or the test set is sealed to them."""


def summarize(results: StudyResults) -> Statistics:
    """Compute all statistics of a study."""
    info, trials, complete, epochs = results.info, results.trials, results.complete, results.epochs
    n_validation = int(info.split["n_validation"])
    candidates = stored_candidates(results)
    design = depth_design(info.space, info.sampler, int(trials["state"].eq("PRUNED").sum()))
    said = _said(results)
    best = _best(results, said)
    one_backbone = results.of_best_backbone(complete)
    return Statistics(
        history=history(trials),
        depths=depth_table(one_backbone, n_validation),
        backbones=backbone_table(complete, info.backbones, n_validation),
        curves=depth_curves(one_backbone, epochs),
        peak=peak(complete),
        best_versus_last=best_versus_last(complete),
        noise=noise(results.eligible, n_validation, _correct(said)) if said else Withheld(results.no_best),
        score_importance=importance(complete, info.dimensions, "score"),
        gap_importance=importance(complete, info.dimensions, "gap_last"),
        score_fanova=importance(complete, info.dimensions, "score", "fanova"),
        gap_fanova=importance(complete, info.dimensions, "gap_last", "fanova"),
        gaps=gaps(one_backbone, epochs),
        phases=phases(complete, epochs),
        peak_survival=peak_survival(trials, epochs, info.base_config, info.metric),
        cross_fitted=_cross_fitted(results),
        early=early(trials, complete, epochs, info.base_config, info.metric),
        equal_depths=equal_depths(results.of_best_backbone(trials), design),
        gap_associations=gap_associations(complete, info.dimensions, even=info.sampler in EVEN_SAMPLERS),
        pruner=pruner_audit(trials, complete, epochs, info.base_config, info.pruner),
        cost=cost(complete, epochs, n_validation, one_backbone),
        corrected=candidates if isinstance(candidates, Withheld) else corrected_selection(candidates),
        overtuning=candidates if isinstance(candidates, Withheld) else overtuning_by_halves(candidates),
        alike=candidates if isinstance(candidates, Withheld) else alike(at_best_steps(candidates, results)),
        grading=best if isinstance(best, Withheld) else grading(*best),
        referable=best if isinstance(best, Withheld) else referable(*best),
        calibration=best if isinstance(best, Withheld) else calibration(*best),
        suspects=_suspects([one for one in said[:GRADERS] if one]),
        test=score_test_set(results),
        swept=score_sweep(results),
        mixtures=score_mixtures(results),
    )


def _cross_fitted(results: StudyResults) -> tuple[CrossFitted, ...] | Withheld:
    if results.info.metric != "accuracy":
        return Withheld(f"halves choose by accuracy, and this study chose its steps by {results.info.metric}")
    told = {int(number): results.predictions(int(number)) for number in results.eligible["number"].head(CROSS_FITTED)}
    return cross_fitted(
        {
            trial: found.probabilities.argmax(axis=2) == found.grades
            for trial, found in told.items()
            if found is not None
        }
    )


def score_test_set(results: StudyResults) -> Confirmed | Withheld | None:
    """Score what was confirmed of a study on the test images; None as long as they are sealed."""
    try:
        opened = read_test_set(results)
    except StudyError as error:
        return Withheld(str(error))
    return opened and confirmed(opened.configurations, opened.grades, int(results.info.split["n_validation"]))


def score_sweep(results: StudyResults) -> SweepOnTest | Withheld | None:
    """Score the sweep's own trials on the test images; None as long as they are sealed."""
    confirmation = read_confirmation(results)
    if confirmation is None or not confirmation.finished:
        return None
    opened = HeldOutTestSet(results, confirmation)
    rows = results.eligible.sort_values("number")
    found = []
    for number, depth, step in zip(rows["number"], rows["depth"], rows["best_step"], strict=True):
        seen, unseen = results.predictions(int(number)), opened.searched(int(number))
        if seen is not None and unseen is not None:
            right = (one.probabilities[int(step) - 1].argmax(axis=1) == one.grades for one in (seen, unseen))
            found.append((int(number), int(depth), *right))
    if len(found) < len(rows):
        return Withheld(f"the study's folder holds the predictions of {len(found)} of {len(rows)} completed trials")
    return swept(*(np.array(column) for column in zip(*found, strict=True))) if found else Withheld(results.no_best)


def score_mixtures(results: StudyResults) -> EnsemblesOnTest | Withheld | None:
    """Score mixtures of the sweep's trials on the test images; None where they were not asked for them."""
    confirmation = read_confirmation(results)
    if confirmation is None or not confirmation.finished:
        return None
    opened = HeldOutTestSet(results, confirmation).ensembles()
    return opened and ensembles_on_test(opened[0], opened[1].grades, opened[1].probabilities)


def _said(results: StudyResults) -> list[Said | None]:
    """What the best trials said of the validation images at their best step, best trial first; None if not stored."""
    best_first = results.eligible.head(COMPARED)
    found: list[Said | None] = []
    for number, step in zip(best_first["number"], best_first["best_step"], strict=True):
        told = results.predictions(int(number))
        found.append((told.ids, told.grades, told.probabilities[int(step) - 1]) if told else None)
    return found


def _best(
    results: StudyResults, said: Sequence[Said | None]
) -> tuple[NDArray[np.int64], NDArray[np.floating]] | Withheld:
    """Grades and probabilities of the best trial."""
    if not said:
        return Withheld(results.no_best)
    if said[0] is None:
        return Withheld(f"the folder of the best trial, {results.eligible.iloc[0]['number']}, holds no predictions")
    return said[0][1:]


def _correct(said: Sequence[Said | None]) -> NDArray[np.bool_] | None:
    """Which validation images the best trials got right, best trial first."""
    known = [one for one in said if one]
    if not known or len(known) < len(said):
        return None
    return np.array([probabilities.argmax(axis=1) == grades for _, grades, probabilities in known])


def _suspects(said: Sequence[Said]) -> LabelErrors | Withheld:
    return suspects(collect(said)) if said else Withheld("no trial with stored predictions has completed")
