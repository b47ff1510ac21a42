"""Plain functions from tables to named tuples: each figure with its n, its interval and when it is valid."""

from study.analysis.backbones import BackboneRow, backbone_table
from study.analysis.best_of_k import Contrast, DepthBest, EqualDepths, equal_depths
from study.analysis.confirmation import (
    Confirmed,
    ConfirmedScore,
    Difference,
    Survival,
    confirmed,
)
from study.analysis.cost import Cost, CostPoint, DepthCost, cost
from study.analysis.depth import Curve, DepthRow, depth_curves, depth_table
from study.analysis.design import Design, depth_design
from study.analysis.early import Early, EarlyGroup, EarlyLook, early
from study.analysis.ensembles_on_test import EnsembleOnTest, EnsemblesOnTest, ensembles_on_test
from study.analysis.estimators.agreement import rank_agreement
from study.analysis.estimators.auroc import binary_auroc, macro_auroc
from study.analysis.estimators.calibration import Bin, Calibration, calibration, cross_entropy, temperature, tempered
from study.analysis.estimators.crossfit import CrossFitted, cross_fitted
from study.analysis.estimators.grading import Grading, balanced_accuracy_estimate, grading, kappa_estimate
from study.analysis.estimators.intervals import (
    Estimate,
    Withheld,
    bootstrap_mean,
    bootstrap_median,
    difference_of_proportions,
    exact_proportion,
    mean_estimate,
    proportion,
)
from study.analysis.estimators.referable import Referable, referable, referable_threshold
from study.analysis.estimators.resampling import Candidates, resampled_weights, weighted_scores
from study.analysis.generalization_gap import DepthGaps, Gaps, MeasureGap, gaps, trial_gaps
from study.analysis.history import TrialPoint, history
from study.analysis.importance import Bar, Importance, importance
from study.analysis.indistinguishable import Compared, Indistinguishable, alike, indistinguishable_mask
from study.analysis.label_errors import (
    LabelErrors,
    Said,
    SuspectLabel,
    Votes,
    collect,
    confident_grades,
    given_by_chance,
    normalized_margins,
    suspects,
)
from study.analysis.noise import Needed, Noise, detectable_difference, discordance, images_needed, noise
from study.analysis.overtuning import Incumbent, Overtuning, overtuning, overtuning_by_halves
from study.analysis.peak import BestVersusLast, PairedEpochs, Peak, StepCount, best_versus_last, peak
from study.analysis.phases import PhasePeak, Phases, phases
from study.analysis.pruning import PrunerAudit, Savings, pruner_audit
from study.analysis.running import NoiseVerdict, RunningComparison, compare_running, noise_verdict
from study.analysis.selection import CorrectedScore, WinnersCurse, corrected_selection, winners_curse
from study.analysis.somers_d import Association, gap_associations
from study.analysis.summary import Statistics, summarize
from study.analysis.survival import PeakSurvival, Rising, peak_survival
from study.analysis.sweep_on_test import SweepOnTest, SweepPoint, swept

__all__ = [
    "Association",
    "BackboneRow",
    "Bar",
    "BestVersusLast",
    "Bin",
    "Calibration",
    "Candidates",
    "Compared",
    "Confirmed",
    "ConfirmedScore",
    "Contrast",
    "CorrectedScore",
    "Cost",
    "CostPoint",
    "CrossFitted",
    "Curve",
    "DepthBest",
    "DepthCost",
    "DepthGaps",
    "DepthRow",
    "Design",
    "Difference",
    "Early",
    "EarlyGroup",
    "EarlyLook",
    "EnsembleOnTest",
    "EnsemblesOnTest",
    "EqualDepths",
    "Estimate",
    "Gaps",
    "Grading",
    "Importance",
    "Incumbent",
    "Indistinguishable",
    "LabelErrors",
    "MeasureGap",
    "Needed",
    "Noise",
    "NoiseVerdict",
    "Overtuning",
    "PairedEpochs",
    "Peak",
    "PeakSurvival",
    "PhasePeak",
    "Phases",
    "PrunerAudit",
    "Referable",
    "Rising",
    "RunningComparison",
    "Said",
    "Savings",
    "Statistics",
    "StepCount",
    "Survival",
    "SuspectLabel",
    "SweepOnTest",
    "SweepPoint",
    "TrialPoint",
    "Votes",
    "WinnersCurse",
    "Withheld",
    "alike",
    "backbone_table",
    "balanced_accuracy_estimate",
    "best_versus_last",
    "binary_auroc",
    "bootstrap_mean",
    "bootstrap_median",
    "calibration",
    "collect",
    "compare_running",
    "confident_grades",
    "confirmed",
    "corrected_selection",
    "cost",
    "cross_entropy",
    "cross_fitted",
    "depth_curves",
    "depth_design",
    "depth_table",
    "detectable_difference",
    "difference_of_proportions",
    "discordance",
    "early",
    "ensembles_on_test",
    "equal_depths",
    "exact_proportion",
    "gap_associations",
    "gaps",
    "given_by_chance",
    "grading",
    "history",
    "images_needed",
    "importance",
    "indistinguishable_mask",
    "kappa_estimate",
    "macro_auroc",
    "mean_estimate",
    "noise",
    "noise_verdict",
    "normalized_margins",
    "overtuning",
    "overtuning_by_halves",
    "peak",
    "peak_survival",
    "phases",
    "proportion",
    "pruner_audit",
    "rank_agreement",
    "referable",
    "referable_threshold",
    "resampled_weights",
    "summarize",
    "suspects",
    "swept",
    "temperature",
    "tempered",
    "trial_gaps",
    "weighted_scores",
    "winners_curse",
]
