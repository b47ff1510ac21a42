"""The chapters on depth, the best epoch, importance and pruning."""

import numpy as np
import pytest
from optuna.trial import TrialState

from study.analysis import Estimate, Withheld, summarize
from study.analysis.estimators.crossfit import CrossFitted
from study.analysis.pruning import PrunerAudit, Savings
from study.report.chapters import depth, importance, peak, pruning
from study.report.chapters.parts import Table
from study.results.study_results import read_study

FLAGGED = Estimate(0.4, 0.12, 0.74, 10)
AUDIT = PrunerAudit(
    control=10,
    flagged=FLAGGED,
    winners=Estimate(0.25, 0.006, 0.81, 4),
    killed_best=True,
    regret=0.012,
    missed=Estimate(7.5, 0.19, 24.2, 4),
    savings=Savings(pruned=30, epochs_run=800, epochs_saved=180, share=0.184, hours=0.5),
)


@pytest.fixture(scope="module")
def study(make_study, tmp_path_factory):
    states = [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED] * 30
    results = read_study("even", make_study(tmp_path_factory.mktemp("even"), "even", states, sampler="random"))
    return results, summarize(results)


def test_depths_at_equal_numbers_of_trials_are_drawn_with_p_and_note(study):
    figure = {figure.id: figure for figure in depth.chapter(*study).figures}["equal-depths"]
    assert "p = " in figure.caption
    assert "the best score so far counts for 30 pruned trials" in figure.caption
    (points,) = figure.drawings["wide"].data
    assert len(points.x) == len(study[1].equal_depths.depths)


def test_gaps_in_loss_and_kappa_have_a_row_per_depth(study):
    table = [part for part in depth.chapter(*study).parts if isinstance(part, Table)][-1]
    assert len(table.rows) == len(study[1].gaps.by_depth)
    assert all(len(row) == len(table.headings) for row in table.rows)


def test_survival_curve_falls_from_all_within_its_band(study):
    figure = {figure.id: figure for figure in peak.search_chapter(*study).figures}["rising"]
    low, high, curve = (np.array(trace.y) for trace in figure.drawings["wide"].data)
    assert curve[0] == 1
    assert (np.diff(curve) <= 0).all()
    assert ((low <= curve) & (curve <= high)).all()
    assert "Kaplan-Meier" in figure.caption


def test_associations_have_p_values_when_the_sampler_ignores_scores(study):
    (table,) = (part for part in importance.chapter(*study).parts if isinstance(part, Table))
    assert "Holm" in table.caption
    assert all(row[-1] for row in table.rows)


def test_pruning_text():
    text = pruning.pruning_text(AUDIT)
    assert "saved 180 epochs, 18.4% of all" in text
    assert "would have stopped 4 of them (exact 95% interval 12.0% to 74.0%)" in text
    assert "1 ended among the study's best five" in text
    assert "One of them is the best trial of the study." in text
    assert "about 8 would have ended as high as the current fifth best; 0 to 24 are compatible" in text


def test_cost_of_pruning_is_unknown_without_stopped_control_trials():
    nothing = Withheld("none")
    assert "do not show what pruning costs" in pruning.pruning_text(AUDIT._replace(winners=nothing, missed=nothing))
    assert pruning.pruning_text(Withheld("the study ran without a pruner")).endswith("without a pruner.")


def test_cross_fitted_text():
    trial = CrossFitted(7, 83, Estimate(0.06, 0.0, 0.12, 83), Estimate(0.02, -0.05, 0.08, 83), 0.04)
    text = peak.cross_fitted_text((trial,))
    assert "trial 7 beats the last one by 6.0 points" in text
    assert "2.0 points remain" in text
    assert "4.0 points are due to selecting the highest" in text
