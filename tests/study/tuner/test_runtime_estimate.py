"""How long trainings will take, and that the longest are started first when a study comes to its end."""

import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from optuna.trial import TrialState, create_trial
from rich.console import Console

from drft.config.trial_config import TrialConfig, with_values
from study.callbacks.progress_reporter import PlainProgress
from study.results.study_folder import StudyFolder
from study.tuner.runtime_estimate import PastTraining, expected_seconds, ran
from study.tuner.stopping import StoppingCriterion
from study.tuner.trial_scheduler import TrialScheduler
from study.tuner.tuner import Tuner
from tests.helpers.small_study import DepthSpace, InProcess, open_scheduler


def config(depth: int = 1, size: int = 64, backbone: str = "a", epochs: int = 8) -> TrialConfig:
    said = {"depth": depth, "image_size": size, "backbone.name": backbone, "head_phase.epochs": 2}
    return with_values(TrialConfig(), {**said, "depth_phase.epochs": epochs})


KNOWN = [
    PastTraining(config(depth=1), 10, 20.0),
    PastTraining(config(depth=1), 5, 20.0),  # was pruned
    PastTraining(config(depth=6), 10, 90.0),
    PastTraining(config(depth=1, backbone="b"), 10, 500.0),
]


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        (config(depth=1), 30.0),  # 2 and 4 seconds an epoch
        (config(depth=5), 90.0),  # as the nearest depth
        (config(depth=1, epochs=18), 60.0),
        (config(depth=1, size=128), 120.0),
        (config(depth=8, backbone="b"), 500.0),  # the same backbone goes before the nearest depth
        (config(depth=6, backbone="c"), 90.0),
    ],
)
def test_an_epoch_counts_as_in_the_nearest_trainings(asked: TrialConfig, seconds: float) -> None:
    assert expected_seconds(asked, KNOWN) == pytest.approx(seconds)


def test_what_trials_took_is_read_from_the_study() -> None:
    told = {"config": config(depth=3).model_dump_json(), "seconds": 8.0}
    trials = [create_trial(value=0.5, intermediate_values={1: 0.4, 2: 0.5}, user_attrs=attributes)
              for attributes in (told, {**told, "seconds": 0.0}, {})]  # fmt: skip
    assert ran(trials) == [PastTraining(config(depth=3), 2, 8.0)]


def test_where_nothing_was_run_deeper_longer_and_larger_takes_longer() -> None:
    plain = expected_seconds(config(), ())
    assert all(expected_seconds(one, ()) > plain for one in (config(depth=2), config(size=96), config(epochs=9)))


def makespan(durations: Sequence[float], slots: int) -> float:
    """Return when the last slot ends, each taking the next training as soon as it is free."""
    free = [0.0] * slots
    for duration in durations:
        free[free.index(min(free))] += duration
    return max(free)


@pytest.mark.parametrize("slots", [2, 3, 4])
def test_longest_first_ends_no_later_and_often_sooner(slots: int) -> None:
    asked = [(3 * place) % 9 for place in range(1, 19)]  # depths in the order a sampler may draw them
    seconds = [expected_seconds(config(depth=depth), [PastTraining(config(depth=d), 1, 1.0 + d) for d in range(9)])
               for depth in asked]  # fmt: skip
    before, after = (makespan(order, slots) for order in (seconds, sorted(seconds, reverse=True)))
    last = [*seconds[:-slots], *sorted(seconds[-slots:], reverse=True)]
    assert after <= before
    assert makespan(last, slots) <= before
    assert makespan([1, 1, 1, 1, 4], 2) == 6
    assert makespan([4, 1, 1, 1, 1], 2) == 4


# The driver, at the end of a study.


class Noting(InProcess):
    """Remembers in which order jobs were submitted."""

    def __init__(self, slots: int) -> None:
        super().__init__(slots)
        self.numbers: list[int] = []

    def submit(self, job) -> None:
        self.numbers.append(job.number)
        super().submit(job)


class Uneven(DepthSpace):
    """Trainings of different lengths, so that slots do not fall free together."""

    def suggest(self, trial) -> TrialConfig:
        self.values = {"epochs": 2 + trial.number % 3}
        return super().suggest(trial)


def drive(folder: Path, executor: InProcess, trials: int, kind: type[TrialScheduler] = TrialScheduler, **goal) -> Tuner:
    studies = StudyFolder(folder)
    studies.write_study("", {})
    display = PlainProgress(Console(quiet=True))
    scheduler = open_scheduler(folder, Uneven())
    scheduler.__class__ = kind
    driver = Tuner(scheduler, executor, studies, display, StoppingCriterion(trials, **goal))
    driver.run()
    return driver


def test_the_last_trials_are_asked_for_together_and_the_costliest_start_first(tmp_path: Path) -> None:
    executor = Noting(slots=3)
    driver = drive(tmp_path, executor, 8)
    assert executor.numbers == [0, 1, 2, 3, 4, 7, 5, 6]
    costs = [expected_seconds(TrialConfig.model_validate_json(trial.user_attrs["config"]), ())
             for trial in driver.scheduler.trials()]  # fmt: skip
    assert costs[7] > costs[5] > costs[6]
    assert executor.most_at_once == 3
    assert all(trial.state == TrialState.COMPLETE for trial in driver.scheduler.trials())


def test_one_slot_and_a_study_that_noise_may_end_take_trials_as_they_come(tmp_path: Path) -> None:
    for name, slots, goal in (("one", 1, {}), ("noise", 3, {"stop_when_noise": True})):
        (tmp_path / name).mkdir()
        executor = Noting(slots)
        drive(tmp_path / name, executor, 8, **goal)
        assert executor.numbers == list(range(8))


class Shared(TrialScheduler):
    """Another driver has a trial under way until this one has finished seven."""

    @property
    def underway(self) -> int:
        return super().underway + (self.finished < 7)


def test_where_others_drive_too_nothing_is_held(tmp_path: Path) -> None:
    executor = Noting(slots=3)
    drive(tmp_path, executor, 8, Shared)
    assert executor.numbers == list(range(8))


class StopsAmidTheLast(Noting):
    """Presses Ctrl-C when the first of the last trials has been submitted."""

    def submit(self, job) -> None:
        super().submit(job)
        if len(self.numbers) == 6:
            signal.raise_signal(signal.SIGINT)


def test_trials_that_were_held_when_the_user_stops_are_queued_again(tmp_path: Path) -> None:
    driver = drive(tmp_path, StopsAmidTheLast(3), 8)
    states = [trial.state for trial in driver.scheduler.trials()]
    assert (states.count(TrialState.COMPLETE), states.count(TrialState.WAITING)) == (6, 2)
    assert TrialState.RUNNING not in states
    drawn = [trial.params["depth"] for trial in driver.scheduler.trials() if trial.params]
    trials = drive(tmp_path, Noting(3), 8).scheduler.trials()
    complete = [trial.params["depth"] for trial in trials if trial.state == TrialState.COMPLETE]
    assert sorted(complete) == sorted(drawn)  # each once, and nothing else
