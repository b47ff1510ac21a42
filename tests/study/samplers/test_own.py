"""Samplers and pruners of the user, named ``module:function``."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from drft.config.trial_config import TrialConfig
from drft.errors import ConfigError
from study.pruners.factory import make_pruner
from study.samplers.factory import make_sampler
from study.samplers.names import Goal
from study.space import BoundSpace, Space

SPACE = """
search:
  depth: {type: int, low: 0, high: 4}
  depth_phase.lr: {type: float, low: 1e-5, high: 1e-2, log: true}
  batch_norm: {type: categorical, choices: [frozen, adapt]}
  depth_phase.layer_decay: {type: float, low: 0.5, high: 1, when: {depth: {min: 2}}}
"""
OWN_SEARCH = """
import optuna

made = []

class Sampler(optuna.samplers.RandomSampler):
    def __init__(self, space, seed):
        super().__init__(seed)
        self.space, self.seed, self.drawn, self.started = space, seed, set(), []
        made.append(self)

    def before_trial(self, study, trial):
        self.started.append(trial.number)

    def sample_independent(self, study, trial, name, distribution):
        self.drawn.add(name)
        return super().sample_independent(study, trial, name, distribution)

sampler = Sampler

class Pruner(optuna.pruners.BasePruner):
    def prune(self, study, trial):
        return True

def pruner(first_epoch, last_epoch):
    global epochs
    epochs = first_epoch, last_epoch
    return Pruner()

class Tired(Sampler):
    def sample_independent(self, study, trial, name, distribution):
        return self.plan[name]  # it has none

class TiredPruner(optuna.pruners.BasePruner):
    def prune(self, study, trial):
        raise ValueError("no more\\nof this")

def tired_pruner(first_epoch, last_epoch):
    return TiredPruner()

def fails(one, two):
    return 1 / 0

def needs_nothing():
    return Sampler(None, 0)

def nothing(one, two):
    return None

def wrong_class(one, two):
    return Sampler
"""


def bound() -> BoundSpace:
    return Space.parse(SPACE, "space.yaml").bind(TrialConfig(), 8)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


@pytest.fixture
def own_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the user with functions that make samplers and pruners."""
    (tmp_path / "own_search.py").write_text(OWN_SEARCH)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_search", raising=False)


@pytest.mark.usefixtures("own_search")
def test_a_sampler_of_ones_own_gets_the_space_and_a_seed_that_changes_when_a_study_is_resumed() -> None:
    space = bound()
    for finished in (0, 0, 5):
        make_sampler("own_search:sampler", seed=0, space=space, finished_trials=finished)
    samplers = sys.modules["own_search"].made
    assert [sampler.space is space for sampler in samplers] == [True, True, True]
    assert samplers[0].seed == samplers[1].seed != samplers[2].seed


@pytest.mark.usefixtures("own_search")
def test_a_sampler_of_ones_own_draws_all_dimensions_but_the_depth() -> None:
    space = bound()
    sampler = make_sampler("own_search:sampler", seed=0, space=space, finished_trials=0, goal="depth")
    study = optuna.create_study(study_name="toy", direction="maximize", sampler=sampler)
    for _ in range(10):
        trial = study.ask()
        study.tell(trial, 0.1 * space.suggest(trial).depth)
    assert Counter(trial.params["depth"] for trial in study.trials) == dict.fromkeys(range(5), 2)
    own = sys.modules["own_search"].made[0]
    assert own.drawn == {"depth_phase.lr", "batch_norm", "depth_phase.layer_decay"}
    assert own.started == list(range(10))


@pytest.mark.usefixtures("own_search")
def test_a_pruner_of_ones_own_is_asked_after_the_head_phase() -> None:
    pruner = make_pruner("own_search:pruner", first_step=4, last_step=10)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    trial = study.ask()
    answers = []
    for step in range(1, 7):
        trial.report(0.5, step)
        answers.append(trial.should_prune())
    assert answers == [False, False, False, True, True, True]
    assert sys.modules["own_search"].epochs == (4, 10)


@pytest.mark.usefixtures("own_search")
@pytest.mark.parametrize(
    ("name", "message"),
    {
        "no_such_module:f": "cannot be imported: .*name its folder in PYTHONPATH",
        "own_search:missing": "has no function missing",
        "own_search:fails": r"failed: ZeroDivisionError: division by zero \(own_search.py, line \d+\)",
        "own_search:needs_nothing": r"failed: TypeError: needs_nothing\(\) takes 0 positional arguments but 2",
        "own_search:nothing": r"should return an optuna\.\w+\.Base\w+, and returned None",
        "own_search:wrong_class": r"should return an optuna\.\w+\.Base\w+, and returned <class",
    }.items(),
)
def test_faults_of_functions_are_told_in_one_line(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^--sampler {name}: .*{message}") as caught:
        make_sampler(name, seed=0, space=bound(), finished_trials=0, goal="depth")
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=f"^--pruner {name}: .*{message}") as caught:
        make_pruner(name, first_step=4, last_step=10)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("own_search")
@pytest.mark.parametrize("goal", ["best", "depth"])
def test_a_sampler_that_fails_while_it_draws_is_one_line(goal: Goal) -> None:
    space = bound()
    sampler = make_sampler("own_search:Tired", seed=0, space=space, finished_trials=0, goal=goal)
    study = optuna.create_study(study_name="toy", direction="maximize", sampler=sampler)
    message = r"^--sampler own_search:Tired: sample_independent of the sampler failed: AttributeError: .*plan.* "
    with pytest.raises(ConfigError, match=message + r"\(own_search.py, line \d+\)$"):
        space.suggest(study.ask())


@pytest.mark.usefixtures("own_search")
def test_a_pruner_that_fails_is_one_line() -> None:
    pruner = make_pruner("own_search:tired_pruner", first_step=1, last_step=10)
    trial = optuna.create_study(direction="maximize", pruner=pruner).ask()
    trial.report(0.5, 2)
    message = r"^--pruner own_search:tired_pruner: prune of the pruner failed: ValueError: no more \(own_search.py"
    with pytest.raises(ConfigError, match=message) as caught:
        trial.should_prune()
    assert "\n" not in str(caught.value)
