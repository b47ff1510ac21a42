"""Plotly figures of the report. Each takes statistics of ``study.analysis`` and nothing else."""

from study.report.figures.comparison import accuracy_of_studies, gap_of_studies
from study.report.figures.cost import cost_front
from study.report.figures.curves import MAX_PANELS, curve_panels, evenly_spaced
from study.report.figures.depth import accuracy_by_depth, best_of_k, gap_by_depth, verdict_accuracy, verdict_gap
from study.report.figures.early import early_ranks, early_recall
from study.report.figures.grading import confusion_map, reliability_curve
from study.report.figures.history import trial_history
from study.report.figures.importance import importance_bars
from study.report.figures.peak import best_steps, best_versus_last, kept_against_last, kept_epochs, still_rising
from study.report.figures.selection import incumbent_path, indistinguishable_trials
from study.report.figures.test_set import test_scores, validation_against_test

__all__ = [
    "MAX_PANELS",
    "accuracy_by_depth",
    "accuracy_of_studies",
    "best_of_k",
    "best_steps",
    "best_versus_last",
    "confusion_map",
    "cost_front",
    "curve_panels",
    "early_ranks",
    "early_recall",
    "evenly_spaced",
    "gap_by_depth",
    "gap_of_studies",
    "importance_bars",
    "incumbent_path",
    "indistinguishable_trials",
    "kept_against_last",
    "kept_epochs",
    "reliability_curve",
    "still_rising",
    "test_scores",
    "trial_history",
    "validation_against_test",
    "verdict_accuracy",
    "verdict_gap",
]
