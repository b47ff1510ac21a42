"""The seal: broken by a confirmation that is over and by nothing else."""

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from rich.console import Console

from drft.errors import StudyError
from study.analysis import summarize
from study.callbacks.progress_reporter import PlainProgress
from study.confirm.prepare import undertake
from study.results.confirmation_plan import BASELINE, PLANNED, Candidate, ConfirmationPlan, SeedAndSplit
from study.results.locate import find_study
from study.results.retrained import read_test_set
from study.results.study_folder import StudyFolder
from study.results.study_results import read_study
from study.results.test_set import OpenedTestSet, confirmation_place, read_confirmation
from study.storage.open import open_storage
from study.tuner.stopping import StoppingCriterion
from study.tuner.trial_scheduler import TrialScheduler
from study.tuner.tuner import Tuner
from tests.helpers import ROOT
from tests.helpers.fake_training import DIVERGES, HANGS, RAISES, scripted
from tests.helpers.small_study import InProcess, metadata

DRAWS = (SeedAndSplit(1, 2), SeedAndSplit(3, 4))


@pytest.fixture
def study(make_study, tmp_path):
    return read_study("demo", make_study(tmp_path, states=[TrialState.COMPLETE] * 3))


def planned(study, trouble=0.0):
    best = int(study.complete["number"][0])
    candidates = (
        Candidate(BASELINE, None, None, scripted(depth=1)),
        Candidate(f"trial {best}", best, 0.6, scripted(trouble, depth=3)),
    )
    return ConfirmationPlan(study.info.name, 1, len(DRAWS), DRAWS, candidates)


def retrain(study, plan, executor=None, **goal):
    """Carry out a plan as the command does, with trainings that take no time."""
    confirmation = read_confirmation(study)
    place = confirmation_place(study.place)
    told = metadata(
        name=place.name, space=plan.text, space_fingerprint=plan.fingerprint, sampler=PLANNED,
        base_config=plan.config(0), trials_wanted=plan.size,
    )  # fmt: skip
    sampler, pruner = optuna.samplers.RandomSampler(), optuna.pruners.NopPruner()
    scheduler = TrialScheduler(told, plan, open_storage(place.url), sampler, pruner, max_retries=1)
    folder = StudyFolder(place.folder)
    folder.write_study(plan.text, {})
    for attributes in plan.queue(confirmation.taken if confirmation else ()):
        scheduler.enqueue(**attributes)
    aim = StoppingCriterion(plan.size, checkpoints=0, queued_only=True, **goal)
    Tuner(scheduler, executor or InProcess(), folder, PlainProgress(Console(quiet=True)), aim).run()
    return read_confirmation(study)


def test_the_seal_holds_until_the_confirmation_is_over(study):
    with pytest.raises(StudyError, match="sealed until its confirmation is over"):
        OpenedTestSet(study, read_confirmation(study))
    plan = planned(study)
    half = retrain(study, plan, seconds=0.0)
    assert not half.over
    with pytest.raises(StudyError, match="sealed until"):
        OpenedTestSet(study, half)
    assert read_test_set(study) is None
    assert summarize(study).test is None

    over = retrain(study, plan)
    assert (over.over, sorted(over.done)) == (True, [0, 1, 2, 3])
    assert OpenedTestSet(study, over).retrained(0).ids == ("test/0", "test/1")
    opened = read_test_set(study)
    assert [one.name for one in opened.configurations] == [BASELINE, f"trial {study.complete['number'][0]}"]
    assert [one.predicted.shape for one in opened.configurations] == [(2, 2)] * 2
    np.testing.assert_array_equal(opened.grades, [0, 1])


def test_the_seal_of_one_study_is_not_that_of_another(study, make_study, tmp_path):
    over = retrain(study, planned(study))
    other = read_study("other", make_study(tmp_path, "other", [TrialState.COMPLETE]))
    with pytest.raises(StudyError, match="'other' are sealed"):
        OpenedTestSet(other, over)


def test_test_predictions_are_read_in_one_room():
    readers = [
        path.relative_to(ROOT).as_posix()
        for package in ("drft", "study")
        for path in (ROOT / package).rglob("*.py")
        if "sealed_test" in path.read_text()
    ]
    assert sorted(readers) == ["study/results/study_folder.py", "study/results/test_set.py"]


def test_each_training_is_the_one_that_was_planned(study):
    plan = planned(study)
    over = retrain(study, plan)
    trained = {trial.user_attrs["place"]: trial.user_attrs["config"] for trial in over.trials}
    assert trained == {place: plan.config(place).model_dump_json() for place in range(plan.size)}


def test_what_is_retried_keeps_its_place(study):
    plan = planned(study, HANGS)
    over = retrain(study, plan, trial_seconds=0.01)
    assert not over.over
    assert sorted(over.done) == [0, 2]
    assert [trial.user_attrs["place"] for trial in over.trials] == [0, 1, 2, 3, 1, 3]
    again = retrain(study, plan, trial_seconds=0.01)
    assert sorted(again.done) == [0, 2]
    assert len(again.trials) == len(over.trials) + 4


def test_trainings_that_diverge_are_settled_and_left_out(study):
    over = retrain(study, planned(study, DIVERGES))
    assert (over.over, sorted(over.done), sorted(over.diverged)) == (True, [0, 2], [1, 3])
    assert [one.name for one in read_test_set(study).configurations] == [BASELINE]


def test_trainings_that_fail_keep_the_seal_on(study):
    failed = retrain(study, planned(study, RAISES))
    assert (failed.over, failed.taken) == (False, {0, 2})


def test_a_crash_between_two_trainings_costs_nothing_that_was_done(study):
    class Crashes(InProcess):
        def wait(self, timeout):
            if sum(len(steps) for steps in self._steps.values()) > 7:
                raise KeyboardInterrupt
            return super().wait(timeout)

    plan = planned(study)
    with pytest.raises(KeyboardInterrupt):
        retrain(study, plan, Crashes(slots=1))
    before = set(read_confirmation(study).done.values())
    assert 0 < len(before) < plan.size
    over = retrain(study, plan)
    assert over.over
    assert before <= set(over.done.values())


def test_other_numbers_than_it_began_with_are_refused(study):
    plan = planned(study)
    retrain(study, plan, seconds=0.0)
    assert undertake(study, 1, 2).plan == plan
    with pytest.raises(StudyError, match="has begun to be confirmed with --top 1 --seeds 2"):
        undertake(study, 5, 2)
    retrain(study, plan)
    with pytest.raises(StudyError, match="is confirmed with --top 1 --seeds 2"):
        undertake(study, 1, 3)


def test_lost_predictions_are_named(study):
    over = retrain(study, planned(study))
    over.results.predictions_file(0).unlink()
    with pytest.raises(StudyError, match="1 of 4 test predictions are missing"):
        read_test_set(study)


def test_a_confirmation_is_no_study_of_its_own(study, tmp_path):
    retrain(study, planned(study))
    (tmp_path / "demo").rename(tmp_path / "renamed")
    assert find_study("renamed", tmp_path).name == "demo"
    url = f"sqlite:///{tmp_path / 'renamed' / 'study.db'}"
    with pytest.raises(StudyError, match=r"no study 'demo.confirm'.*there are demo"):
        find_study("demo.confirm", storage=url)


def test_a_study_of_that_name_that_is_something_else_is_refused(study, make_study, tmp_path):
    url = study.place.url
    other = optuna.create_study(study_name="demo.confirm", storage=open_storage(url))
    for key, value in study.place.open().user_attrs.items():
        other.set_user_attr(key, value)
    with pytest.raises(StudyError, match="is no confirmation of 'demo'"):
        read_confirmation(study)
