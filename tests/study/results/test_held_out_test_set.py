"""The held-out test set: its predictions are read only after the confirmation is finished."""

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from rich.console import Console

from drft.errors import StudyError
from study.analysis import summarize
from study.callbacks.progress_reporter import PlainProgress
from study.confirm.prepare import plan_confirmation
from study.results.confirmation_plan import BASELINE, Candidate, ConfirmationPlan, SeedAndSplit
from study.results.locate import find_study
from study.results.planned_study import PLANNED
from study.results.retrained import read_test_set
from study.results.study_folder import StudyFolder
from study.results.study_results import read_study
from study.results.test_set import HeldOutTestSet, confirmation_location, read_confirmation
from study.storage.open import open_storage
from study.tuner.stopping import StoppingCriterion
from study.tuner.trial_scheduler import TrialScheduler
from study.tuner.tuner import Tuner
from tests.helpers import ROOT
from tests.helpers.fake_training import DIVERGES, HANGS, RAISES, scripted
from tests.helpers.small_study import InProcess, metadata

SEEDS_AND_SPLITS = (SeedAndSplit(1, 2), SeedAndSplit(3, 4))


@pytest.fixture
def study(make_study, tmp_path):
    return read_study("demo", make_study(tmp_path, states=[TrialState.COMPLETE] * 3))


def make_plan(study, trouble=0.0):
    best = int(study.complete["number"][0])
    candidates = (
        Candidate(BASELINE, None, None, scripted(depth=1)),
        Candidate(f"trial {best}", best, 0.6, scripted(trouble, depth=3)),
    )
    return ConfirmationPlan(study.info.name, 1, len(SEEDS_AND_SPLITS), SEEDS_AND_SPLITS, candidates)


def retrain(study, plan, executor=None, **goal):
    """Run a plan as the command does, with fake trainings."""
    confirmation = read_confirmation(study)
    location = confirmation_location(study.location)
    attributes = metadata(
        name=location.name, space=plan.text, space_fingerprint=plan.fingerprint, sampler=PLANNED,
        base_config=plan.config(0), trials_wanted=plan.size,
    )  # fmt: skip
    sampler, pruner = optuna.samplers.RandomSampler(), optuna.pruners.NopPruner()
    scheduler = TrialScheduler(attributes, plan, open_storage(location.url), sampler, pruner, max_retries=1)
    folder = StudyFolder(location.folder)
    folder.write_study(plan.text, {})
    taken = confirmation.taken if confirmation else ()
    for user_attributes in plan.queue([index for index in range(plan.size) if index not in taken]):
        scheduler.enqueue(**user_attributes)
    criterion = StoppingCriterion(plan.size, checkpoints=0, queued_only=True, **goal)
    Tuner(scheduler, executor or InProcess(), folder, [PlainProgress(Console(quiet=True))], criterion).run()
    return read_confirmation(study)


def test_predictions_are_not_read_before_the_confirmation_is_finished(study):
    with pytest.raises(StudyError, match="not read before its confirmation is finished"):
        HeldOutTestSet(study, read_confirmation(study))
    plan = make_plan(study)
    half = retrain(study, plan, seconds=0.0)
    assert not half.finished
    with pytest.raises(StudyError, match="not read before"):
        HeldOutTestSet(study, half)
    assert read_test_set(study) is None
    assert summarize(study).test is None

    confirmation = retrain(study, plan)
    assert (confirmation.finished, sorted(confirmation.done)) == (True, [0, 1, 2, 3])
    assert HeldOutTestSet(study, confirmation).retrained(0).ids == ("test/0", "test/1")
    test_set = read_test_set(study)
    best = f"trial {study.complete['number'][0]}"
    assert [configuration.name for configuration in test_set.configurations] == [BASELINE, best]
    assert [configuration.predicted.shape for configuration in test_set.configurations] == [(2, 2)] * 2
    np.testing.assert_array_equal(test_set.grades, [0, 1])


def test_the_confirmation_of_another_study_does_not_count(study, make_study, tmp_path):
    confirmation = retrain(study, make_plan(study))
    other = read_study("other", make_study(tmp_path, "other", [TrialState.COMPLETE]))
    with pytest.raises(StudyError, match="'other' are not read before"):
        HeldOutTestSet(other, confirmation)


def test_one_module_writes_test_predictions_and_one_reads_them():
    modules = [
        path.relative_to(ROOT).as_posix()
        for package in ("drft", "study")
        for path in (ROOT / package).rglob("*.py")
        if "sealed_test" in path.read_text()
    ]
    assert sorted(modules) == ["study/results/study_folder.py", "study/results/test_set.py"]


def test_one_command_reads_the_test_predictions_of_finalists():
    """Only ``confirm`` opens the test set; only it and the statistics of the report's test section see it opened."""
    users = {}
    for path in (ROOT / "study").rglob("*.py"):
        for name in ("predict_by_ensemble", "read_opened_test_set"):
            if name in path.read_text():
                users.setdefault(name, set()).add(path.relative_to(ROOT / "study").as_posix())
    assert users["predict_by_ensemble"] == {"results/test_set.py", "confirm/promise.py"}
    assert users["read_opened_test_set"] == {"results/test_set.py", "confirm/run.py", "analysis/summary.py"}


def test_each_training_runs_the_planned_configuration(study):
    plan = make_plan(study)
    confirmation = retrain(study, plan)
    trained = {trial.user_attrs["place"]: trial.user_attrs["config"] for trial in confirmation.trials}
    assert trained == {index: plan.config(index).model_dump_json() for index in range(plan.size)}


def test_a_retried_training_keeps_its_index(study):
    plan = make_plan(study, HANGS)
    confirmation = retrain(study, plan, trial_seconds=0.01)
    assert not confirmation.finished
    assert sorted(confirmation.done) == [0, 2]
    assert [trial.user_attrs["place"] for trial in confirmation.trials] == [0, 1, 2, 3, 1, 3]
    again = retrain(study, plan, trial_seconds=0.01)
    assert sorted(again.done) == [0, 2]
    assert len(again.trials) == len(confirmation.trials) + 4


def test_diverged_trainings_are_not_repeated_and_are_left_out(study):
    confirmation = retrain(study, make_plan(study, DIVERGES))
    assert (confirmation.finished, sorted(confirmation.done), sorted(confirmation.diverged)) == (True, [0, 2], [1, 3])
    assert [configuration.name for configuration in read_test_set(study).configurations] == [BASELINE]


def test_failed_trainings_leave_the_confirmation_unfinished(study):
    failed = retrain(study, make_plan(study, RAISES))
    assert (failed.finished, failed.taken) == (False, {0, 2})


def test_a_crash_between_two_trainings_loses_no_finished_training(study):
    class Crashes(InProcess):
        def wait(self, timeout):
            if sum(len(steps) for steps in self._steps.values()) > 7:
                raise KeyboardInterrupt
            return super().wait(timeout)

    plan = make_plan(study)
    with pytest.raises(KeyboardInterrupt):
        retrain(study, plan, Crashes(slots=1))
    before = set(read_confirmation(study).done.values())
    assert 0 < len(before) < plan.size
    confirmation = retrain(study, plan)
    assert confirmation.finished
    assert before <= set(confirmation.done.values())


def test_other_values_of_top_and_seeds_are_refused(study):
    plan = make_plan(study)
    confirmation = retrain(study, plan, seconds=0.0)
    assert plan_confirmation(study, confirmation, 1, 2) == plan
    with pytest.raises(StudyError, match="has an unfinished confirmation with --top 1 --seeds 2"):
        plan_confirmation(study, confirmation, 5, 2)
    confirmation = retrain(study, plan)
    with pytest.raises(StudyError, match="was confirmed with --top 1 --seeds 2"):
        plan_confirmation(study, confirmation, 1, 3)


def test_missing_predictions_are_an_error(study):
    confirmation = retrain(study, make_plan(study))
    confirmation.results.predictions_file(0).unlink()
    with pytest.raises(StudyError, match="1 of 4 test predictions are missing"):
        read_test_set(study)


def test_a_confirmation_is_not_found_as_a_study(study, tmp_path):
    retrain(study, make_plan(study))
    (tmp_path / "demo").rename(tmp_path / "renamed")
    assert find_study("renamed", tmp_path).name == "demo"
    url = f"sqlite:///{tmp_path / 'renamed' / 'study.db'}"
    with pytest.raises(StudyError, match=r"no study 'demo.confirm'.*there are demo"):
        find_study("demo.confirm", storage=url)


def test_a_study_with_the_name_of_a_confirmation_is_refused(study, make_study, tmp_path):
    url = study.location.url
    other = optuna.create_study(study_name="demo.confirm", storage=open_storage(url))
    for key, value in study.location.open().user_attrs.items():
        other.set_user_attr(key, value)
    with pytest.raises(StudyError, match="has the name of a planned part of study 'demo'"):
        read_confirmation(study)
