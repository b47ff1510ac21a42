"""The search space in Tune's distributions; the searcher gives all depths equally many trials."""

import pickle
from collections import Counter

import pytest

from drft.errors import UsageError
from study.tune import search_space, searcher

SPACE = {
    "search": {
        "depth": {"type": "int", "low": 0, "high": "all"},
        "depth_phase.lr": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True, "when": {"depth": {"min": 1}}},
        "dropout": {"type": "float", "low": 0.1, "high": 0.3},
        "augmentation.strength": {"type": "float", "low": 0.25, "high": 1.0, "step": 0.25},
        "batch_size": {"type": "int", "low": 10, "high": 26, "step": 8},
        "head_phase.epochs": {"type": "int", "low": 2, "high": 6, "step": 2},
        "depth_phase.epochs": {"type": "int", "low": 1, "high": 8, "log": True},
        "loss.label_smoothing": {"type": "categorical", "choices": [0.0, 0.1]},
    }
}


@pytest.fixture(scope="module")
def tune_space():
    return search_space(SPACE)


def test_tune_draws_the_values_of_each_dimension(tune_space):
    drawn = {path: {domain.sample() for _ in range(200)} for path, domain in tune_space.items()}
    assert drawn["depth"] == set(range(9))
    assert all(1e-4 <= rate <= 1e-2 for rate in drawn["depth_phase.lr"])
    assert sum(rate < 1e-3 for rate in drawn["depth_phase.lr"]) in range(60, 140)
    assert all(0.1 <= rate <= 0.3 for rate in drawn["dropout"])
    assert drawn["augmentation.strength"] == {0.25, 0.5, 0.75, 1.0}
    assert drawn["batch_size"] == {10, 18, 26}
    assert drawn["head_phase.epochs"] == {2, 4, 6}
    assert drawn["depth_phase.epochs"] == set(range(1, 9))
    assert drawn["loss.label_smoothing"] == {0.0, 0.1}


def test_every_depth_gets_as_many_trials_whatever_the_scores():
    search = searcher(SPACE)
    depths = Counter()
    for number in range(36):
        config = search.suggest(str(number))
        assert ("depth_phase.lr" in config) == (config["depth"] > 0)
        depths[config["depth"]] += 1
        pickle.dumps(search.__dict__)  # Tune stores the searcher while trials run
        search.on_trial_complete(str(number), {"best_score": config["depth"] / 10})
    assert depths == dict.fromkeys(range(9), 4)


def test_a_stored_searcher_goes_on_where_it_was(tmp_path):
    search, other = searcher(SPACE, sampler="random"), searcher(SPACE, sampler="random")
    for number in range(4):
        search.suggest(str(number))
    search.save(str(tmp_path / "searcher"))
    other.restore(str(tmp_path / "searcher"))
    assert other.suggest("next") == search.suggest("next")


def test_a_space_without_depth_is_refused():
    with pytest.raises(UsageError, match="the space space does not search depth"):
        searcher({"search": {"dropout": {"type": "float", "low": 0.1, "high": 0.3}}})
