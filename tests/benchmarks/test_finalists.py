"""The simulation of searches: its trials, and that the choice of finalists beats the luck of the highest score."""

import pandas as pd
import pytest

from benchmarks.finalists import BLOCKS, MadeUpScores, choose, run, search, table
from drft.config.trial_config import TrialConfig, with_values
from study.space import Space
from study.space.space import shipped_spaces


@pytest.fixture(scope="module")
def space():
    return Space.parse(shipped_spaces()["default"].read_text(), "default").bind(TrialConfig(), BLOCKS)


def test_a_search_has_blocks_of_equal_depths_and_noisy_scores(space):
    truth = MadeUpScores(space, 1)
    trials = search(space, truth, "random", 18, seed=1)
    assert trials.groupby("block")["depth"].apply(sorted).tolist() == [list(range(9))] * 2
    true = [truth(int(row["depth"]), {k: v for k, v in row.items() if not pd.isna(v)}) for _, row in trials.iterrows()]
    assert 0.02 < (trials["score"] - true).std() < 0.12
    equal = search(space, truth, "random", 18, seed=1)
    pd.testing.assert_frame_equal(trials, equal)


def test_the_true_score_of_a_configuration_is_that_of_its_settings(space):
    truth = MadeUpScores(space, 2)
    assert truth.of(with_values(space.base, {"depth": 4})) == truth(4, {}) == truth(4, truth.base)


def test_without_noise_the_highest_score_is_the_true_one(space, monkeypatch):
    monkeypatch.setattr("benchmarks.finalists.IMAGE_NOISE", 0.0)
    monkeypatch.setattr("benchmarks.finalists.SPLIT_NOISE", 0.0)
    truth = MadeUpScores(space, 3)
    trials = search(space, truth, "random", 27, seed=3)
    assert choose(space, truth, trials, "highest") == pytest.approx(trials.groupby("depth")["score"].max().mean())


def test_expected_scores_choose_better_than_the_highest_ones():
    results = run(45, 8)
    mean = pd.DataFrame(results).mean()
    assert mean["tpe, expected"] > mean["tpe, highest"]
    assert mean["random, expected"] > mean["random, highest"]
    rows = table({"45": results})[1]
    assert {row[:3] for row in rows} >= {("45", "untuned", ""), ("45", "qmc", "highest")}
    assert rows[1][4] == ""
