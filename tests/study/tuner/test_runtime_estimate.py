"""Estimated runtimes, and the longest trainings first at the end of a study."""

import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from optuna.trial import TrialState, create_trial

from drft.config.trial_config import TrialConfig, with_values
from study.results.study_folder import StudyFolder
from study.tuner.progress_tally import ProgressTally
from study.tuner.runtime_estimate import PastTraining, expected_seconds, past_trainings
from study.tuner.stopping import StoppingCriterion
from study.tuner.tuner import Tuner
from tests.helpers.small_study import DepthSpace, InProcess, open_scheduler


def config(depth: int = 1, size: int = 64, backbone: str = "a", epochs: int = 8) -> TrialConfig:
    values = {"depth": depth, "image_size": size, "backbone.name": backbone, "head_phase.epochs": 2}
    return with_values(TrialConfig(), {**values, "depth_phase.epochs": epochs})


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
def test_an_epoch_takes_as_long_as_in_the_most_similar_trainings(asked: TrialConfig, seconds: float) -> None:
    assert expected_seconds(asked, KNOWN) == pytest.approx(seconds)


def test_runtimes_are_read_from_the_study() -> None:
    attributes = {"config": config(depth=3).model_dump_json(), "seconds": 8.0}
    trials = [create_trial(value=0.5, intermediate_values={1: 0.4, 2: 0.5}, user_attrs=some)
              for some in (attributes, {**attributes, "seconds": 0.0}, {})]  # fmt: skip
    assert past_trainings(trials) == [PastTraining(config(depth=3), 2, 8.0)]


def test_without_past_trainings_deeper_longer_and_larger_ones_take_longer() -> None:
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


# The tuner, at the end of a study.


class Recording(InProcess):
    """Records the order in which jobs are submitted."""

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


def drive(
    folder: Path, executor: InProcess, trials: int, kind: type[ProgressTally] = ProgressTally, **stopping
) -> Tuner:
    studies = StudyFolder(folder)
    studies.write_study("", {})
    scheduler = open_scheduler(folder, Uneven())
    scheduler.tally.__class__ = kind
    tuner = Tuner(scheduler, executor, studies, [], StoppingCriterion(trials, **stopping))
    tuner.run()
    return tuner


def test_the_last_trials_are_asked_for_together_and_the_longest_start_first(tmp_path: Path) -> None:
    executor = Recording(slots=3)
    tuner = drive(tmp_path, executor, 8)
    assert executor.numbers == [0, 1, 2, 3, 4, 7, 5, 6]
    costs = [expected_seconds(TrialConfig.model_validate_json(trial.user_attrs["config"]), ())
             for trial in tuner.scheduler.tally.trials()]  # fmt: skip
    assert costs[7] > costs[5] > costs[6]
    assert executor.most_at_once == 3
    assert all(trial.state == TrialState.COMPLETE for trial in tuner.scheduler.tally.trials())


def test_trials_start_in_their_order_with_one_worker_or_stop_when_noise(tmp_path: Path) -> None:
    for name, slots, goal in (("one", 1, {}), ("noise", 3, {"stop_when_noise": True})):
        (tmp_path / name).mkdir()
        executor = Recording(slots)
        drive(tmp_path / name, executor, 8, **goal)
        assert executor.numbers == list(range(8))


class Shared(ProgressTally):
    """Another tuner has a running trial until this one has finished seven."""

    @property
    def running(self) -> int:
        return super().running + (self.finished < 7)


def test_no_trial_is_kept_back_where_other_tuners_run_too(tmp_path: Path) -> None:
    executor = Recording(slots=3)
    drive(tmp_path, executor, 8, Shared)
    assert executor.numbers == list(range(8))


class InterruptedAtTheEnd(Recording):
    """Presses Ctrl-C when the first of the last trials has been submitted."""

    def submit(self, job) -> None:
        super().submit(job)
        if len(self.numbers) == 6:
            signal.raise_signal(signal.SIGINT)


def test_pending_trials_are_queued_again_when_the_user_stops(tmp_path: Path) -> None:
    tuner = drive(tmp_path, InterruptedAtTheEnd(3), 8)
    states = [trial.state for trial in tuner.scheduler.tally.trials()]
    assert (states.count(TrialState.COMPLETE), states.count(TrialState.WAITING)) == (6, 2)
    assert TrialState.RUNNING not in states
    drawn = [trial.params["depth"] for trial in tuner.scheduler.tally.trials() if trial.params]
    trials = drive(tmp_path, Recording(3), 8).scheduler.tally.trials()
    complete = [trial.params["depth"] for trial in trials if trial.state == TrialState.COMPLETE]
    assert sorted(complete) == sorted(drawn)  # each once, and nothing else
