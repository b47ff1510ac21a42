"""The choice of the finalists: by what all trials together say, not by the luck of one."""

import numpy as np
import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from drft.config.trial_config import TrialConfig, with_values
from study.design.choose_finalists import SettingsEncoder, choose_finalists, final_scores
from study.results.finalists_plan import FOLDS, UNTUNED
from study.results.study_results import read_study
from study.space import Space

SPACE = """
search:
  depth: {type: int, low: 0, high: all}
  depth_phase.lr: {type: float, low: 1e-4, high: 1e-2, log: true}
  depth_phase.layer_decay: {type: float, low: 0.5, high: 1, when: {depth: {min: 2}}}
  batch_norm: {type: categorical, choices: [frozen, adapt]}
"""


class Searched:
    """A finished search of four blocks: what ``choose_finalists`` needs of ``StudyResults``."""

    class info:  # noqa: N801 (stands for an attribute)
        base_config = TrialConfig().model_dump(mode="json")
        blocks = range(4)
        metric = "accuracy"
        classes = ("0", "1", "2", "3", "4")

    def __init__(self, truth, trials=120, noise=0.05, seed=0):
        rng = np.random.default_rng(seed)
        rows, easy = [], rng.normal(0, 0.05, trials)
        for number in range(trials):
            block = number // 5
            depth, rate, norm = number % 5, 10 ** rng.uniform(-4, -2), rng.choice(["frozen", "adapt"])
            decay = rng.uniform(0.5, 1) if depth >= 2 else np.nan
            score = truth(depth, np.log10(rate), norm) + easy[block] + rng.normal(0, noise)
            rows.append((number, "COMPLETE", block, depth, rate, decay, norm, score, 12))
        columns = ["depth_phase.lr", "depth_phase.layer_decay", "batch_norm", "score", "last_step"]
        self.trials = pd.DataFrame(rows, columns=["number", "state", "block", "depth", *columns])
        self.complete = self.finished = self.trials
        numbers, scores = self.trials["number"], self.trials["score"]
        self.epochs = pd.DataFrame({"trial": numbers, "val_accuracy": scores, "val_loss": 1.0})


def bound(text=SPACE):
    return Space.parse(text, "space.yaml").bind(TrialConfig(), 4)


def test_each_depth_has_a_finalist_and_the_untuned_configuration_is_one_more():
    finalists = choose_finalists(Searched(lambda *_: 0.5), bound())
    assert [finalist.depth for finalist in finalists[:-1]] == [0, 1, 2, 3, 4]
    assert [finalist.config.depth for finalist in finalists[:-1]] == [0, 1, 2, 3, 4]
    untuned = finalists[-1]
    assert (untuned.name, untuned.trial, untuned.config.depth_phase.lr) == (UNTUNED, None, TrialConfig().depth_phase.lr)
    assert {finalist.config.seed for finalist in finalists} == {0}


def test_the_settings_are_those_that_score_best_at_the_depth():
    """The best learning rate falls from 1e-2 at depth 1 to 1e-4 at depth 4; adapting norms is worth five points."""

    def best_rate(depth):
        return -2 - 2 * (depth - 1) / 3

    def truth(depth, log_rate, norm):
        return 0.6 - 0.1 * abs(log_rate - best_rate(depth)) + 0.05 * (norm == "adapt")

    for seed in range(5):
        finalists = choose_finalists(Searched(truth, seed=seed), bound())[1:-1]
        assert [finalist.config.batch_norm for finalist in finalists] == ["adapt"] * 4
        rates = [np.log10(finalist.config.depth_phase.lr) for finalist in finalists]
        losses = [0.1 * abs(rate - best_rate(depth)) for depth, rate in enumerate(rates, start=1)]
        assert np.mean(losses) < 0.05  # a random learning rate loses 0.08 on average


def test_a_setting_that_was_active_in_no_trial_is_that_of_the_base_configuration():
    study = Searched(lambda *_: 0.5)
    study.finished = study.finished.drop(columns="depth_phase.layer_decay")
    for finalist in choose_finalists(study, bound()):
        assert finalist.config.depth_phase.layer_decay == TrialConfig().depth_phase.layer_decay


def test_the_next_best_settings_differ_and_score_nearly_as_well():
    def truth(_depth, log_rate, norm):
        return 0.6 - 0.1 * abs(log_rate + 3) + 0.05 * (norm == "adapt")

    for finalist in choose_finalists(Searched(truth, noise=0.02), bound())[1:-1]:
        others = [with_values(finalist.config, settings) for settings in finalist.next_best]
        assert len({str(config) for config in (finalist.config, *others)}) == FOLDS + 1
        assert {config.depth for config in others} == {finalist.depth}
        assert np.mean([truth(0, np.log10(config.depth_phase.lr), config.batch_norm) for config in others]) > 0.62


def test_the_next_best_settings_are_those_of_networks_that_can_be_averaged():
    space = (
        SPACE
        + """
  image_size: {type: categorical, choices: [64, 96]}
  depth_phase.epochs: {type: int, low: 3, high: 4}
"""
    )
    study = Searched(lambda _depth, log_rate, _norm: 0.5 - 0.1 * abs(log_rate + 3))
    rng = np.random.default_rng(1)
    study.trials["image_size"] = rng.choice([64, 96], len(study.trials))
    study.trials["depth_phase.epochs"] = rng.choice([3, 4], len(study.trials))
    for finalist in choose_finalists(study, bound(space))[:-1]:
        assert len(finalist.next_best) == FOLDS
        assert not {"image_size", "depth_phase.epochs"} & {path for row in finalist.next_best for path in row}


def test_a_search_of_the_depth_alone_has_no_other_settings():
    space = "search:\n  depth: {type: int, low: 0, high: all}\n"
    finalists = choose_finalists(Searched(lambda *_: 0.5), bound(space))
    assert [finalist.next_best for finalist in finalists] == [()] * 6


def test_one_lucky_trial_decides_nothing():
    study = Searched(lambda _depth, log_rate, _norm: 0.5 - 0.1 * abs(log_rate + 3), noise=0.03)
    worst = study.trials["depth_phase.lr"].sub(1e-2).abs().idxmin()
    lucky = study.trials["score"].max() + 0.01
    study.trials.loc[worst, "score"] = study.epochs.loc[worst, "val_accuracy"] = lucky
    finalists = choose_finalists(study, bound())
    assert worst not in {finalist.trial for finalist in finalists}
    assert all(finalist.expected < study.trials["score"].max() for finalist in finalists[:-1])


def test_likelihoods_decide_where_the_accuracy_is_noise():
    """The same learning rates are best by both; the likelihood shows it with a tenth of the noise."""

    def truth(_depth, log_rate, _norm):
        return 0.5 - 0.1 * abs(log_rate + 3)

    def loss(rate):
        return 0.1 * abs(np.log10(rate) + 3)

    lost = {"accuracy alone": [], "both": []}
    for seed in range(6):
        study = Searched(truth, trials=45, noise=0.1, seed=seed)
        finalists = {"accuracy alone": choose_finalists(study, bound())}
        noise = np.random.default_rng(seed).normal(0, 0.02, 45)
        study.epochs["val_loss"] = 1 + 2 * study.trials["depth_phase.lr"].map(loss) + noise
        finalists["both"] = choose_finalists(study, bound())
        for name, chosen in finalists.items():
            lost[name].append(np.mean([loss(finalist.config.depth_phase.lr) for finalist in chosen[:-1]]))
    assert np.mean(lost["both"]) < 0.6 * np.mean(lost["accuracy alone"])


def test_a_certain_error_does_not_outweigh_all_other_trials():
    study = Searched(lambda _depth, log_rate, _norm: 0.5 - 0.1 * abs(log_rate + 3), noise=0.03)
    before = choose_finalists(study, bound())
    study.epochs["val_loss"] = 1 + study.trials["score"].max() - study.trials["score"]
    worst = int(study.trials["score"].idxmin())
    study.epochs.loc[worst, "val_loss"] = 1e6
    after = choose_finalists(study, bound())
    for one, other in zip(before[:-1], after[:-1], strict=True):
        assert abs(np.log10(one.config.depth_phase.lr) - np.log10(other.config.depth_phase.lr)) < 0.5


def test_trials_without_epochs_are_left_out():
    study = Searched(lambda *_: 0.5)
    study.epochs = study.epochs.iloc[10:]
    finalists = choose_finalists(study, bound())
    assert all(finalist.trial is None or finalist.trial >= 10 for finalist in finalists)


def test_many_depths_are_thinned_out():
    space = Space.parse(SPACE, "space.yaml").bind(TrialConfig(), 20)
    finalists = choose_finalists(Searched(lambda *_: 0.5), space)
    depths = [finalist.depth for finalist in finalists[:-1]]
    assert (len(depths), depths[0], depths[-1]) == (9, 0, 20)


def test_pruned_trials_gain_what_completed_ones_gained_afterwards(make_study, tmp_path):
    make_study(tmp_path, states=[TrialState.COMPLETE] * 4 + [TrialState.PRUNED] * 2)
    study = read_study("demo", tmp_path)
    trials = study.finished
    scores = final_scores(study, trials, "accuracy")
    completed = trials["state"] == "COMPLETE"
    assert scores[completed] == pytest.approx(trials.loc[completed, "score"].to_numpy(dtype=float))
    assert (scores >= trials["score"].to_numpy(dtype=float)).all()


def test_settings_become_numbers_from_minus_one_to_one():
    encoder = SettingsEncoder(
        {
            "rate": FloatDistribution(1e-4, 1e-2, log=True),
            "count": IntDistribution(2, 6),
            "kind": CategoricalDistribution(("a", "b")),
        }
    )
    rows = [{"rate": 1e-3, "count": 2, "kind": "b"}, {"rate": 1.0, "count": 6, "kind": "a"}]
    assert encoder.encode(rows) == pytest.approx(np.array([[0, -1, 0, 1], [1, 1, 1, 0]]))
