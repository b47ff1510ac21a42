"""The trial scheduler: correct states, complete records, and no trial lost when a tuner dies."""

import json
import math
import os
import subprocess
import sys

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drft.errors import StudyError, TrainingError
from study.results.epochs import unpack
from study.results.progress import RankedTrial
from study.results.study_metadata import SCHEMA
from study.space.seeds import CONTROL_EVERY, is_control, trial_seed
from study.storage.heartbeat import DEAD_SECONDS, Heartbeats, _start_time, beat_attribute, is_alive, this_process
from study.storage.open import open_storage
from tests.helpers import ROOT
from tests.helpers.fake_training import fake_record, fake_result, scripted
from tests.helpers.small_study import DepthSpace, Refuses, metadata, open_scheduler

COMPLETE, PRUNED, FAIL = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.FAIL


def train(scheduler, job, steps=None, accuracies=None):
    """Report epochs until told to stop; return the result and whether all were allowed."""
    records = []
    for step in range(1, (steps or 5) + 1):
        records.append(fake_record(job.config, step, accuracies[step - 1] if accuracies else None))
        if not scheduler.report(job.number, records[-1]):
            return fake_result(job.config, records, "pruned")
    return fake_result(job.config, records, "completed")


def not_control(scheduler):
    """Ask until a job is not in the control group."""
    job = scheduler.ask()
    while is_control(0, job.number):
        job = scheduler.ask()
    return job


class TestOneTrial:
    def test_a_finished_trial_has_its_best_value_and_all_records(self, tmp_path):
        scheduler = open_scheduler(tmp_path)
        job = scheduler.ask()
        scheduler.started(job.number, "cpu-0", "cpu")
        result = train(scheduler, job, accuracies=[0.3, 0.5, 0.4, 0.5, 0.2])
        scheduler.finish(job.number, result)
        (trial,) = scheduler.tally.trials()
        assert trial.state == COMPLETE
        assert trial.value == 0.5
        assert trial.intermediate_values == {1: 0.3, 2: 0.5, 3: 0.5, 4: 0.5, 5: 0.5}
        assert unpack(trial.user_attrs) == list(result.records)
        expected = {"best_step": 2, "ending": "completed", "worker": "cpu-0", "device": "cpu"}
        assert expected.items() <= trial.user_attrs.items()
        assert trial.user_attrs["depth_fraction"] == job.config.depth / 4
        assert json.loads(trial.user_attrs["config"]) == job.config.model_dump(mode="json")

    def test_the_seed_follows_from_study_seed_and_number(self, tmp_path):
        scheduler = open_scheduler(tmp_path)
        assert [scheduler.ask().config.seed for _ in range(3)] == [trial_seed(0, number) for number in range(3)]

    def test_a_failed_trial_has_a_reason_and_no_value(self, tmp_path):
        scheduler = open_scheduler(tmp_path)
        job = scheduler.ask()
        scheduler.report(job.number, fake_record(job.config, 1))
        scheduler.fail(job.number, "it broke")
        (trial,) = scheduler.tally.trials()
        assert (trial.state, trial.value, trial.user_attrs["fail_reason"]) == (FAIL, None, "it broke")
        assert [record.step for record in unpack(trial.user_attrs)] == [1]
        assert scheduler.tally.finished == scheduler.running == 0
        assert scheduler.tally.progress.best is None

    @pytest.mark.parametrize("score", [math.nan, math.inf])
    def test_a_score_that_is_not_finite_ends_the_trial_without_a_result(self, tmp_path, score):
        scheduler = open_scheduler(tmp_path)
        job = scheduler.ask()
        result = train(scheduler, job, accuracies=[0.4, score, 0.9, 0.9, 0.9])
        assert result.last.step == 2
        with pytest.raises(TrainingError, match=r"validation accuracy became (nan|inf) in epoch 2"):
            scheduler.check(job.number, result)

    def test_a_space_that_cannot_suggest_leaves_a_failed_trial(self, tmp_path):
        class Broken:
            def suggest(self, trial):
                raise ValueError("no such depth")

        scheduler = open_scheduler(tmp_path, Broken())
        with pytest.raises(ValueError, match="no such depth"):
            scheduler.ask()
        assert scheduler.tally.trials()[0].state == FAIL


class TestSplits:
    """With the goal depth, the first trials of all depths have one split, the second ones another, and so on."""

    def test_trials_are_compared_in_blocks(self, tmp_path):
        scheduler = open_scheduler(tmp_path, goal="depth")
        configs = [scheduler.ask().config for _ in range(12)]
        seeds: dict[int, list[int]] = {}
        for config in configs:
            seeds.setdefault(config.depth, []).append(config.split.seed)
        assert len(seeds) > 1
        longest = max(seeds.values(), key=len)
        assert len(set(longest)) == len(longest)
        assert longest[0] == 0  # the split of the study
        assert all(own == longest[: len(own)] for own in seeds.values())
        assert [trial.user_attrs["block"] for trial in scheduler.tally.trials()] == [
            longest.index(config.split.seed) for config in configs
        ]

    def test_a_retry_keeps_its_split_and_does_not_count(self, tmp_path):
        scheduler = open_scheduler(tmp_path, retries=1, goal="depth")
        job = scheduler.ask()
        assert scheduler.fail(job.number, "it broke")
        again = scheduler.ask()
        assert again.config.split == job.config.split
        following = [scheduler.ask().config for _ in range(20)]
        blocks = [config.split.seed for config in following if config.depth == job.config.depth]
        assert blocks
        assert job.config.split.seed not in blocks
        assert len(set(blocks)) == len(blocks)

    def test_with_the_goal_best_all_trials_have_the_split_of_the_study(self, tmp_path):
        scheduler = open_scheduler(tmp_path)
        assert {scheduler.ask().config.split.seed for _ in range(12)} == {0}


class TestPruning:
    def test_no_trial_is_pruned_in_its_head_phase_or_at_its_last_step(self, tmp_path):
        pruner = Refuses()
        scheduler = open_scheduler(tmp_path, pruner=pruner)
        job = not_control(scheduler)
        scheduler.finish(job.number, train(scheduler, job))
        assert pruner.asked == [(job.number, 3)]
        trial = scheduler.tally.trials()[job.number]
        assert (trial.state, trial.last_step) == (PRUNED, 3)
        assert scheduler.tally.finished == 1

    def test_without_a_depth_phase_nothing_is_pruned(self, tmp_path):
        pruner = Refuses()
        scheduler = open_scheduler(tmp_path, DepthSpace(head=5, epochs=0), pruner)
        job = not_control(scheduler)
        assert train(scheduler, job).ending == "completed"
        assert pruner.asked == []

    def test_the_control_group_asks_the_pruner_and_is_never_pruned(self, tmp_path):
        scheduler = open_scheduler(tmp_path, pruner=Refuses())
        jobs = [scheduler.ask() for _ in range(CONTROL_EVERY)]
        endings = {job.number: train(scheduler, job).ending for job in jobs}
        controls = [number for number, ending in endings.items() if ending == "completed"]
        assert controls == [number for number in range(CONTROL_EVERY) if is_control(0, number)]
        attributes = scheduler.tally.trials()[controls[0]].user_attrs
        assert (attributes["control"], attributes["would_prune"]) == (True, 3)

    @given(st.integers(0, 2**32), st.integers(0, 1000))
    def test_one_of_ten_trials_is_in_the_control_group(self, seed, block):
        numbers = range(block * CONTROL_EVERY, (block + 1) * CONTROL_EVERY)
        assert sum(is_control(seed, number) for number in numbers) == 1

    def test_asha_prunes_the_worse_half(self, tmp_path):
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=3, reduction_factor=2)
        scheduler = open_scheduler(tmp_path, pruner=pruner)
        endings = []
        for score in (0.6, 0.1, 0.1, 0.7):
            job = not_control(scheduler)
            endings.append(train(scheduler, job, accuracies=[score] * 5).ending)
        assert endings == ["completed", "pruned", "pruned", "completed"]


class TestResuming:
    def test_interrupted_trials_are_repeated_with_parameters_seed_and_group(self, tmp_path):
        scheduler = open_scheduler(tmp_path)
        jobs = [scheduler.ask() for _ in range(3)]
        scheduler.finish(0, train(scheduler, jobs[0]))
        assert scheduler.interrupt("interrupted") == [1, 2]
        progress = scheduler.tally.progress
        assert (progress.complete, progress.failed, progress.interrupted, progress.waiting) == (1, 0, 2, 2)
        again = open_scheduler(tmp_path)
        retries = [again.ask(), again.ask()]
        assert [job.config for job in retries] == [job.config for job in jobs[1:]]
        assert [again.tally.trials()[job.number].user_attrs["retry_of"] for job in retries] == [1, 2]
        assert again.ask().number == 5

    def test_trials_of_a_dead_tuner_are_reclaimed_once(self, tmp_path):
        script = (
            "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
            "from tests.helpers.fake_training import fake_record\n"
            "from tests.helpers.small_study import open_scheduler\n"
            "c = open_scheduler(Path(sys.argv[2])); jobs = [c.ask(), c.ask()]\n"
            "print(*(job.config.depth for job in jobs), flush=True)\n"
            "c.report(0, fake_record(jobs[0].config, 1, 0.25))\n"
            "import os; os.kill(os.getpid(), 9)"
        )
        command = [sys.executable, "-c", script, str(ROOT), str(tmp_path)]
        depths = [int(depth) for depth in subprocess.run(command, capture_output=True, check=False).stdout.split()]
        scheduler = open_scheduler(tmp_path)
        assert scheduler.reclaim() == [0, 1]
        assert scheduler.reclaim() == []
        assert scheduler.tally.trials()[0].intermediate_values == {1: 0.25}
        assert scheduler.tally.progress.interrupted == scheduler.tally.progress.waiting == 2
        assert [scheduler.ask().config.depth for _ in range(2)] == depths
        assert {trial.user_attrs["fail_reason"] for trial in scheduler.tally.trials() if trial.state == FAIL} == {
            "its tuner died"
        }

    def test_an_interrupted_reclaim_queues_nothing_twice(self, tmp_path, monkeypatch):
        dead = open_scheduler(tmp_path)
        dead.ask()
        scheduler = open_scheduler(tmp_path)
        monkeypatch.setattr(scheduler, "_end_as_failed", lambda *_: None)
        scheduler.reclaim()
        open_scheduler(tmp_path).reclaim()
        assert [trial.user_attrs.get("retry_of") for trial in scheduler.tally.trials()] == [None, 0]
        assert scheduler.tally.trials()[0].state == FAIL

    def test_trials_of_a_living_tuner_are_left_alone(self, tmp_path):
        sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        other = open_scheduler(tmp_path)
        other._owner = f"{this_process().split(':')[0]}:{sleeper.pid}:{_start_time(sleeper.pid)}"
        other.ask()
        assert open_scheduler(tmp_path).reclaim() == []
        sleeper.kill()
        sleeper.wait()
        assert open_scheduler(tmp_path).reclaim() == [0]

    def test_a_new_trial_without_owner_is_left_alone(self, tmp_path):
        scheduler = open_scheduler(tmp_path)
        scheduler._study.ask()
        assert scheduler.reclaim() == []

    def test_ranking_is_by_value_and_then_by_age(self, tmp_path):
        scheduler = open_scheduler(tmp_path)
        for score in (0.3, 0.5, 0.5, 0.4):
            job = scheduler.ask()
            scheduler.finish(job.number, train(scheduler, job, accuracies=[score] * 5))
        assert [ranked.number for ranked in scheduler.tally.ranking] == [1, 2, 3, 0]
        assert scheduler.tally.progress.best == RankedTrial(1, 0.5)


class TestHeartbeats:
    def test_a_tuner_elsewhere_is_alive_while_its_heartbeat_changes(self):
        now, beats = [0.0], None
        beats = Heartbeats(lambda: now[0])
        tag, name = "elsewhere:1:1", beat_attribute("elsewhere:1:1")
        for second in range(0, 600, 30):
            now[0] = second
            beats.update({name: second})
            assert beats.is_alive(tag)
        for second in range(600, 600 + int(DEAD_SECONDS) - 30, 30):
            now[0] = second
            beats.update({name: 570})
            assert beats.is_alive(tag)
        for second in (700, 731):
            now[0] = second
            beats.update({name: 570})
        assert not beats.is_alive(tag)
        now[0] = 740
        beats.update({name: 571})
        assert beats.is_alive(tag)

    def test_after_sleeping_no_tuner_counts_as_dead(self):
        now = [0.0]
        beats = Heartbeats(lambda: now[0])
        beats.update({"beat:elsewhere:1:1": 5})
        now[0] = 10_000.0
        beats.update({"beat:elsewhere:1:1": 5})
        assert beats.is_alive("elsewhere:1:1")

    def test_a_tuner_without_heartbeats_counts_as_dead_after_a_while(self):
        now = [0.0]
        beats = Heartbeats(lambda: now[0])
        for second in range(0, 181, 30):
            now[0] = second
            beats.update({})
            alive = beats.is_alive("elsewhere:1:1")
        assert not alive

    def test_trials_of_a_dead_tuner_on_another_machine_are_reclaimed(self, tmp_path):
        other = open_scheduler(tmp_path)
        other._owner = "elsewhere:1:1"
        other.ask()
        now, scheduler = [0.0], open_scheduler(tmp_path)
        scheduler._heartbeats = Heartbeats(lambda: now[0])
        assert scheduler.reclaim() == []
        other._study.set_user_attr(beat_attribute(other._owner), 1.0)
        found = []
        for second in range(0, 181, 30):
            now[0] = second
            found += scheduler.reclaim()
        assert found == [0]
        assert now[0] > DEAD_SECONDS - 30


class TestOwner:
    def test_this_process_is_alive(self):
        assert is_alive(this_process())

    def test_a_reused_process_id_is_not_the_owner(self):
        host, pid, _ = this_process().rsplit(":", 2)
        assert not is_alive(f"{host}:{pid}:long-ago")

    def test_a_zombie_is_dead(self):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        tag = f"{this_process().split(':')[0]}:{child.pid}:{_start_time(child.pid)}"
        assert is_alive(tag)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not is_alive(tag)
        child.wait()

    def test_processes_of_other_hosts_count_as_alive(self):
        assert is_alive("elsewhere:1:x")


class TestSameStudy:
    def test_the_metadata_are_recorded(self, tmp_path):
        open_scheduler(tmp_path)
        attributes = open_storage(tmp_path / "study.db").get_study_user_attrs(1)
        assert attributes == metadata().attributes()
        assert attributes["drft_schema"] == SCHEMA

    @pytest.mark.parametrize(
        ("metric", "name"),
        [("balanced_accuracy", "validation balanced accuracy"), ("nll", "validation negative log likelihood, negated")],
    )
    def test_the_dashboard_gets_the_name_of_the_score(self, metric, name, tmp_path):
        open_scheduler(tmp_path, base_config=scripted(metric=metric))
        study = optuna.load_study(study_name="demo", storage=open_storage(tmp_path / "study.db"))
        assert study.metric_names == [name]

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"space_fingerprint": "zz"}, "another search space"),
            ({"dataset": {"fingerprint": "zz"}, "source": "idrid"}, r"other data \(synthetic there, idrid here\)"),
            (
                {"dataset": {"fingerprint": "zz", "counts_train": [3, 2]}},
                "other images or labels in synthetic: train images by class  there, 3, 2 here",
            ),
            (
                {"dataset": {"fingerprint": "zz"}},
                "other images or labels in synthetic: as many images of each class, but not the same files and labels",
            ),
            ({"seed": 7}, "another seed"),
            ({"base_config": scripted(backbone={"name": "resnet18"})}, "another backbone.name"),
            ({"base_config": scripted(image_size=128)}, r"another image_size \(96 there, 128 here\)"),
        ],
    )
    def test_another_study_of_that_name_is_refused_and_not_changed(self, tmp_path, change, said):
        open_scheduler(tmp_path)
        before = open_storage(tmp_path / "study.db").get_study_user_attrs(1)
        with pytest.raises(StudyError, match=said):
            open_scheduler(tmp_path, **change)
        assert open_storage(tmp_path / "study.db").get_study_user_attrs(1) == before

    def test_opening_a_study_again_changes_no_record(self, tmp_path):
        open_scheduler(tmp_path)
        before = open_storage(tmp_path / "study.db").get_study_user_attrs(1)
        open_scheduler(tmp_path, trials_wanted=20, sampler="qmc", command="drft-study run again")
        assert open_storage(tmp_path / "study.db").get_study_user_attrs(1) == before

    def test_more_trials_of_another_sampler_are_accepted_and_each_trial_records_what_asked_for_it(self, tmp_path):
        open_scheduler(tmp_path).ask()
        again = open_scheduler(tmp_path, trials_wanted=20, sampler="qmc")
        recorded = again.record_metadata()
        again.ask()
        storage = open_storage(tmp_path / "study.db")
        attributes = storage.get_study_user_attrs(1)
        assert (attributes["trials_wanted"], attributes["sampler"]) == (20, "random")
        assert (recorded.trials_wanted, recorded.sampler, recorded.pruner) == (20, "random", "none")
        asked = [(trial.user_attrs["sampler"], trial.user_attrs["pruner"]) for trial in storage.get_all_trials(1)]
        assert asked == [("random", "none"), ("qmc", "none")]

    def test_a_study_of_another_program_is_refused(self, tmp_path):
        storage = open_storage(tmp_path / "study.db")
        study = optuna.create_study(study_name="demo", storage=storage)
        study.tell(study.ask(), 1.0)
        with pytest.raises(StudyError, match="was not created by drft-study"):
            open_scheduler(tmp_path)

    def test_a_study_of_another_version_is_refused(self, tmp_path):
        open_scheduler(tmp_path)
        open_storage(tmp_path / "study.db").set_study_user_attr(1, "drft_schema", 3)
        with pytest.raises(StudyError, match="schema 3"):
            open_scheduler(tmp_path)

    def test_a_study_without_attributes_of_a_dead_tuner_is_completed(self, tmp_path):
        optuna.create_study(study_name="demo", storage=open_storage(tmp_path / "study.db"), direction="maximize")
        assert open_scheduler(tmp_path).ask().number == 0
