"""Which trainings the finalists of a study still need, and when its model does not change any more."""

from types import SimpleNamespace

import pytest
from rich.console import Console

from drft.config.trial_config import TrialConfig
from study.analysis import remaining_finalists
from study.analysis.remaining_finalists import are_finished, next_trainings
from study.design import run_finalists
from study.results.finalists_plan import UNTUNED, Finalist, FinalistsPlan
from study.results.progress import StudyProgress
from study.setup.options import RunOptions
from study.tuner.stopping import RunOutcome

FINALISTS = (
    *(Finalist(f"depth {depth}", depth, depth, 0.6, TrialConfig()) for depth in (0, 2, 4)),
    Finalist(UNTUNED, 1, None, None, TrialConfig()),
)
PLAN = FinalistsPlan("demo", 0, 10, folds=5, rounds=2, finalists=FINALISTS)
FIRST = PLAN.indices(0, range(4))


@pytest.fixture
def verdict(monkeypatch):
    """A verdict for which depth 2 leads after the first round, and which recommends depth 0 in the end."""
    rows = [SimpleNamespace(depth=depth, probability_within=share) for depth, share in ((0, 0.8), (2, 0.9), (4, 0.1))]
    decided = SimpleNamespace(by_depth=rows, recommended_depth=0)
    monkeypatch.setattr(remaining_finalists, "read_evidence", lambda *_: SimpleNamespace(depths=rows))
    monkeypatch.setattr(remaining_finalists, "decide_depth", lambda _depths: decided)
    monkeypatch.setattr(remaining_finalists, "CONTENDERS", 1)
    return decided


def after(over, diverged=0):
    return SimpleNamespace(
        plan=PLAN, done={index: index for index in over[diverged:]}, diverged=frozenset(over[:diverged])
    )


@pytest.mark.parametrize("diverged", [0, 2])
def test_leading_depths_are_in_the_second_round_and_the_recommended_one_is_in_all_rounds(verdict, diverged):
    leading, recommended = PLAN.indices(1, [1]), PLAN.indices(1, [0])
    assert next_trainings(PLAN, None) == FIRST
    wanted = [*FIRST, *leading, *recommended]
    for over, missing in (
        (FIRST[:7], FIRST[7:]),
        (FIRST, leading),
        ([*FIRST, *leading[:2]], leading[2:]),
        ([*FIRST, *leading], recommended),
        (wanted, []),
    ):
        assert next_trainings(PLAN, after(over, diverged)) == missing
        assert are_finished(after(over, diverged)) == (not missing)


def test_a_recommended_depth_that_leads_needs_no_more_trainings(verdict):
    verdict.recommended_depth = 2
    assert are_finished(after([*FIRST, *PLAN.indices(1, [1])]))


def test_all_that_older_versions_have_trained_counts(verdict):
    assert are_finished(after([*FIRST, *PLAN.indices(1, [0, 1, 2])]))


def test_a_training_that_fails_for_good_is_queued_once_and_keeps_no_other_from_its_rounds(verdict, monkeypatch):
    hopeless, done, queues = FIRST[3], {}, []

    def train(planned, options, choice, console, queue):
        queues.append(sorted(entry["place"] for entry in queue))
        done.update({index: index for index in queues[-1] if index != hopeless})
        return RunOutcome("done", StudyProgress(), 1.0)

    storage = SimpleNamespace(get_trials=lambda **_: [])
    study = SimpleNamespace(finished=range(10), location=SimpleNamespace(open=lambda: storage))
    kept = SimpleNamespace(plan=PLAN, done=done, diverged=frozenset(), taken=frozenset())
    monkeypatch.setattr(run_finalists, "read_finalists", lambda _study: kept)
    monkeypatch.setattr(run_finalists, "run_trials", train)
    monkeypatch.setattr(run_finalists, "_study_plan", lambda *_: None)
    monkeypatch.setattr(run_finalists, "_drop_checkpoints", lambda *_: None)
    outcome = run_finalists.run_finalists(study, None, RunOptions(), None, Console(quiet=True))
    assert outcome is not None
    assert queues == [FIRST, PLAN.indices(1, [1]), PLAN.indices(1, [0])]
