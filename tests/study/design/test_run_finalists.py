"""When the finalists of a study are finished, so that its model does not change any more."""

from types import SimpleNamespace

import pytest

from drft.config.trial_config import TrialConfig
from study.design import run_finalists
from study.design.run_finalists import are_finished
from study.results.finalists_plan import UNTUNED, Finalist, FinalistsPlan

FINALISTS = (
    *(Finalist(f"depth {depth}", depth, depth, 0.6, TrialConfig()) for depth in (0, 1)),
    Finalist(UNTUNED, 1, None, None, TrialConfig()),
)
PLAN = FinalistsPlan("demo", 0, 10, folds=5, rounds=2, finalists=FINALISTS)


@pytest.mark.parametrize("diverged", [0, 2])
def test_they_are_finished_after_the_last_training_of_the_contenders(monkeypatch, diverged):
    """All are in the first round; depth 1 alone is in the second one."""
    monkeypatch.setattr(run_finalists, "_contenders", lambda _plan, _finalists, number: [[0, 1, 2], [1]][number])
    wanted = PLAN.indices(0, [0, 1, 2]) + PLAN.indices(1, [1])
    assert len(wanted) == 20
    for count in (0, 15, 19, 20):
        over = wanted[:count]
        finalists = SimpleNamespace(
            plan=PLAN, done={index: index for index in over[diverged:]}, diverged=frozenset(over[:diverged])
        )
        assert are_finished(finalists) == (count == 20)
