"""All statistics of one study, computed from its tables and stored predictions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drft.errors import StudyError
from study.analysis.backbones import BackboneRow, backbone_table
from study.analysis.best_of_k import EqualDepths, equal_depths
from study.analysis.confirmation import Confirmed, score_retrained
from study.analysis.cost import Cost, cost
from study.analysis.depth import Curve, DepthRow, depth_curves, depth_table
from study.analysis.design import depth_design, is_adaptive
from study.analysis.early import EarlyRanking, early_ranking
from study.analysis.ensembles_on_test import EnsemblesOnTest, ensembles_on_test
from study.analysis.estimators.calibration import Calibration, calibration
from study.analysis.estimators.crossfit import CrossFitted, cross_fitted
from study.analysis.estimators.grading import Grading, grading
from study.analysis.estimators.intervals import Withheld
from study.analysis.estimators.referable import Referable, referable
from study.analysis.evidence import Evidence, find_evidence, judge
from study.analysis.floor import FloorScores, score_floor
from study.analysis.generalization_gap import Gaps, gaps
from study.analysis.history import TrialPoint, history
from study.analysis.importance import Importance, importance
from study.analysis.indistinguishable import Indistinguishable, indistinguishable_trials
from study.analysis.label_errors import LabelErrors, TrialPredictions, collect_predictions, find_label_errors
from study.analysis.noise import Noise, noise
from study.analysis.overtuning import Overtuning, overtuning_by_halves
from study.analysis.peak import BestVersusLast, Peak, Phases, best_versus_last, peak, phases
from study.analysis.predictions import at_best_epochs, stored_candidates
from study.analysis.promise_on_test import PromiseOnTest, promise_on_test
from study.analysis.pruning import PrunerAudit, pruner_audit
from study.analysis.recommended import RecommendedDepth, read_recommended
from study.analysis.selection import CorrectedScore, corrected_selection
from study.analysis.somers_d import Association, gap_associations
from study.analysis.survival import PeakSurvival, peak_survival
from study.analysis.sweep_on_test import SweepOnTest, sweep_on_test
from study.analysis.verdict import Verdict
from study.results.retrained import read_test_set
from study.results.study_results import StudyInfo, StudyResults
from study.results.test_set import HeldOutTestSet, read_confirmation, read_opened_test_set

COMPARED = 20
"""How many of the best trials are compared with the best one, image by image."""

CROSS_FITTED = 5
"""How many of the best trials are cross-fitted, epoch by epoch."""

GRADERS = 10
"""How many of the best trials grade the images whose labels may be wrong, where no depth is cross-validated."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """The figures of a report; a statistic that would be invalid is ``Withheld``."""

    verdict: Verdict | Withheld
    recommended: RecommendedDepth | Withheld
    """The cross-validated trainings that the verdict recommends."""
    history: tuple[TrialPoint, ...] | Withheld
    depths: tuple[DepthRow, ...] | Withheld
    """Of the best trial's backbone, where there are several; so are ``curves``, ``gaps`` and ``equal_depths``."""
    backbones: tuple[BackboneRow, ...] | Withheld
    floor: FloorScores | Withheld
    """Of a linear model on frozen features; ``summary.json`` has it beside the statistics."""
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
    early: EarlyRanking | Withheld
    equal_depths: EqualDepths | Withheld
    gap_associations: tuple[Association, ...] | Withheld
    pruner: PrunerAudit | Withheld
    cost: Cost | Withheld
    corrected: CorrectedScore | Withheld
    overtuning: Overtuning | Withheld
    alike: Indistinguishable | Withheld
    """The name is a key of ``summary.json``; so are ``swept`` (the sweep on test) and ``mixtures`` (ensembles)."""
    grading: Grading | Withheld
    """Of the best trial at its best epoch, on the validation images that chose both; so are the next two."""
    referable: Referable | Withheld
    calibration: Calibration | Withheld
    suspects: LabelErrors | Withheld
    promise_on_test: PromiseOnTest | Withheld | None
    """Of a study with the goal depth; None as long as the test set is held out."""
    test: Confirmed | Withheld | None
    """Of retrained trials; None as long as the test set is held out."""
    swept: SweepOnTest | Withheld | None
    """Likewise."""
    mixtures: EnsemblesOnTest | Withheld | None
    """Of ``drft-study soup``; None as long as there are none, or the test set is held out."""


def summarize(results: StudyResults) -> Statistics:
    """Compute all statistics of a study."""
    info, trials, complete, epochs = results.info, results.trials, results.complete, results.epochs
    n_validation = int(info.split["n_validation"])
    candidates = stored_candidates(results)
    design = depth_design(info.space, info.samplers, int(trials["state"].eq("PRUNED").sum()))
    predicted = _predictions(results)
    best = _of_best_trial(results, predicted)
    one_backbone = results.of_best_backbone(complete)
    evidence = find_evidence(results)
    graders = _graders(evidence, predicted)
    verdict: Verdict | Withheld
    recommended: RecommendedDepth | Withheld
    if isinstance(evidence, Withheld):
        verdict = recommended = evidence
    else:
        verdict = judge(evidence, results.floor)
        recommended = read_recommended(results, evidence, verdict.recommended_depth)
    return Statistics(
        verdict=verdict,
        recommended=recommended,
        history=history(trials),
        depths=depth_table(one_backbone, n_validation),
        backbones=backbone_table(complete, info.backbones, n_validation),
        floor=score_floor(results.floor, ordinal=info.ordinal),
        curves=depth_curves(one_backbone, epochs),
        peak=peak(complete),
        best_versus_last=best_versus_last(complete),
        noise=noise(results.eligible, n_validation, None if results.splits_change else _correct(predicted))
        if predicted
        else Withheld(results.no_best),
        score_importance=importance(complete, info.dimensions, "score"),
        gap_importance=importance(complete, info.dimensions, "gap_last"),
        score_fanova=importance(complete, info.dimensions, "score", "fanova"),
        gap_fanova=importance(complete, info.dimensions, "gap_last", "fanova"),
        gaps=gaps(one_backbone, epochs, ordinal=info.ordinal),
        phases=phases(complete, epochs),
        peak_survival=peak_survival(trials, epochs, info.base_config, info.metric),
        cross_fitted=_cross_fitted(results),
        early=early_ranking(trials, complete, epochs, info.base_config, info.metric),
        equal_depths=equal_depths(results.of_best_backbone(trials), design),
        gap_associations=gap_associations(complete, info.dimensions, adaptive=is_adaptive(info.samplers)),
        pruner=pruner_audit(trials, complete, epochs, info.base_config, info.pruners),
        cost=cost(complete, epochs, n_validation, one_backbone),
        corrected=candidates if isinstance(candidates, Withheld) else corrected_selection(candidates),
        overtuning=candidates if isinstance(candidates, Withheld) else overtuning_by_halves(candidates),
        alike=candidates
        if isinstance(candidates, Withheld)
        else indistinguishable_trials(at_best_epochs(candidates, results)),
        grading=best if isinstance(best, Withheld) else grading(*best, ordinal=info.ordinal),
        referable=_referable(best, info),
        calibration=best if isinstance(best, Withheld) else calibration(*best),
        suspects=find_label_errors(collect_predictions(graders))
        if graders
        else Withheld("no trial with stored predictions has completed"),
        promise_on_test=score_promise(results),
        test=score_test_set(results),
        swept=score_sweep(results),
        mixtures=score_ensembles(results),
    )


def _referable(
    best: tuple[NDArray[np.int64], NDArray[np.floating]] | Withheld, info: StudyInfo
) -> Referable | Withheld:
    """Estimate how well referable retinopathy is detected, of grades of retinopathy alone."""
    if not info.is_retinopathy:
        return Withheld("the classes are no grades of retinopathy")
    return best if isinstance(best, Withheld) else referable(*best)


def _cross_fitted(results: StudyResults) -> tuple[CrossFitted, ...] | Withheld:
    if results.info.metric != "accuracy":
        return Withheld(f"halves choose by accuracy, and this study chose its epochs by {results.info.metric}")
    stored = {int(number): results.predictions(int(number)) for number in results.eligible["number"].head(CROSS_FITTED)}
    return cross_fitted({n: trial.probabilities.argmax(axis=2) == trial.grades for n, trial in stored.items() if trial})


def score_promise(results: StudyResults) -> PromiseOnTest | Withheld | None:
    """Score the model of a study with the goal depth on the test images; None as long as they are held out."""
    try:
        opened = read_opened_test_set(results)
    except StudyError as error:
        return Withheld(str(error))
    return opened and promise_on_test(opened, ordinal=results.info.ordinal)


def score_test_set(results: StudyResults) -> Confirmed | Withheld | None:
    """Score the retrained configurations of a study on the test images; None as long as they are held out."""
    try:
        opened = read_test_set(results)
    except StudyError as error:
        return Withheld(str(error))
    n_validation, ordinal = int(results.info.split["n_validation"]), results.info.ordinal
    return opened and score_retrained(opened.configurations, opened.grades, n_validation, ordinal=ordinal)


def score_sweep(results: StudyResults) -> SweepOnTest | Withheld | None:
    """Score the sweep's own trials on the test images; None as long as they are held out."""
    opened = _open_test_set(results)
    if opened is None:
        return None
    rows = results.eligible.sort_values("number")
    scored = []
    for number, depth, step in zip(rows["number"], rows["depth"], rows["best_step"], strict=True):
        parts = results.predictions(int(number)), opened.searched(int(number))
        right = [part.probabilities[int(step) - 1].argmax(axis=1) == part.grades for part in parts if part]
        if len(right) == len(parts):
            scored.append((int(number), int(depth), *right))
    if len(scored) < len(rows):
        return Withheld(f"the study's folder holds the predictions of {len(scored)} of {len(rows)} completed trials")
    if not scored:
        return Withheld(results.no_best)
    numbers, depths, validation, test = zip(*scored, strict=True)
    return sweep_on_test(np.array(numbers), np.array(depths), validation, np.array(test))


def score_ensembles(results: StudyResults) -> EnsemblesOnTest | Withheld | None:
    """Score ensembles of the sweep's trials on the test images; None where there are none."""
    opened = _open_test_set(results)
    stored = opened.ensembles() if opened else None
    ordinal = results.info.ordinal
    return stored and ensembles_on_test(stored[0], stored[1].grades, stored[1].probabilities, ordinal=ordinal)


def _open_test_set(results: StudyResults) -> HeldOutTestSet | None:
    confirmation = read_confirmation(results)
    return HeldOutTestSet(results, confirmation) if confirmation and confirmation.finished else None


def _predictions(results: StudyResults) -> list[TrialPredictions | None]:
    """Return validation predictions of the best trials at their best epoch, best trial first; None if not stored."""
    rows = results.eligible.head(COMPARED)
    predicted: list[TrialPredictions | None] = []
    for number, step in zip(rows["number"], rows["best_step"], strict=True):
        stored = results.predictions(int(number))
        predicted.append((stored.ids, stored.grades, stored.probabilities[int(step) - 1]) if stored else None)
    return predicted


def _graders(evidence: Evidence | Withheld, predicted: Sequence[TrialPredictions | None]) -> Sequence[TrialPredictions]:
    """Return the predictions that may contradict labels: out of fold, else those of the best trials."""
    if isinstance(evidence, Withheld):
        return [trial for trial in predicted[:GRADERS] if trial]
    rounds = [turn for probabilities in evidence.probabilities for turn in probabilities]
    return [(evidence.images, evidence.grades, probabilities) for probabilities in rounds]


def _of_best_trial(
    results: StudyResults, predicted: Sequence[TrialPredictions | None]
) -> tuple[NDArray[np.int64], NDArray[np.floating]] | Withheld:
    """Return grades and probabilities of the best trial."""
    if not predicted:
        return Withheld(results.no_best)
    if predicted[0] is None:
        return Withheld(f"the folder of the best trial, {results.eligible.iloc[0]['number']}, holds no predictions")
    return predicted[0][1:]


def _correct(predicted: Sequence[TrialPredictions | None]) -> NDArray[np.bool_] | None:
    """Return which validation images the best trials got right, best trial first; None unless all are stored."""
    stored = [trial for trial in predicted if trial]
    if len(stored) < len(predicted):
        return None
    return np.array([probabilities.argmax(axis=1) == grades for _, grades, probabilities in stored])
