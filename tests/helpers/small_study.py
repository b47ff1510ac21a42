"""Small studies for tests of conductor and driver."""

from pathlib import Path

import optuna

from drft.config.trial_config import TrialConfig
from study.executors import Event, Failed, Finished, Job, Reported, Started
from study.results.study_metadata import StudyMetadata
from study.storage.open import open_storage
from study.tuner.trial_scheduler import TrialScheduler
from tests.helpers.fake_training import scripted


class DepthSpace:
    """Searches the depth; trials whose number is in ``troubles`` make that trouble."""

    def __init__(self, troubles: dict[int, float] | None = None, **values) -> None:
        self.troubles = troubles or {}
        self.values = values

    def suggest(self, trial) -> TrialConfig:
        depth = trial.suggest_int("depth", 0, 3)
        return scripted(self.troubles.get(trial.number, 0.0), depth=depth, **self.values)


class Refuses(optuna.pruners.BasePruner):
    """Prunes whenever it is asked, and remembers when."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def prune(self, study, trial) -> bool:
        self.asked.append((trial.number, trial.last_step))
        return True


def metadata(**changes) -> StudyMetadata:
    values = {
        "name": "demo",
        "space": "# a question\n",
        "space_fingerprint": "aa",
        "source": "synthetic",
        "dataset": {"fingerprint": "bb", "name": "synthetic"},
        "split": {"n_train": 3},
        "blocks": [{"index": 0}],
        "base_config": scripted(),
        "seed": 0,
        "sampler": "random",
        "pruner": "none",
        "command": "drft-study run",
        "versions": {"python": "3"},
        "trials_wanted": 10,
    }
    return StudyMetadata(**values | changes)


def open_scheduler(place: Path | str, space=None, pruner=None, retries=0, reconnect=None, **changes) -> TrialScheduler:
    """Return the scheduler of a study in ``study.db`` of a folder, or in the storage of a URL."""
    storage = open_storage(place if isinstance(place, str) else place / "study.db")
    sampler, pruner = optuna.samplers.RandomSampler(seed=0), pruner or optuna.pruners.NopPruner()
    return TrialScheduler(metadata(**changes), space or DepthSpace(), storage, sampler, pruner, retries, reconnect)


class InProcess:
    """An executor that trains in this process: every ``wait`` trains one epoch of every job."""

    def __init__(self, slots: int = 2) -> None:
        self.slots = slots
        self.most_at_once = 0
        self._jobs: dict[int, Job] = {}
        self._steps: dict[int, list] = {}
        self._stopped: set[int] = set()
        self._killed: set[int] = set()

    def submit(self, job: Job) -> None:
        assert len(self._jobs) < self.slots
        self._jobs[job.number] = job
        self.most_at_once = max(self.most_at_once, len(self._jobs))

    def answer(self, number: int, *, keep_on: bool) -> None:
        if not keep_on:
            self._stopped.add(number)

    def wait(self, timeout) -> list[Event]:
        return [event for job in list(self._jobs.values()) for event in self._advance(job)]

    def _advance(self, job: Job) -> list[Event]:
        from tests.helpers.fake_training import DIVERGES, HANGS, STARVES, fake_record, fake_result

        number, config = job.number, job.config
        if number not in self._steps:
            self._steps[number] = []
            return [Started(number, "here", "cpu")]
        records, trouble = self._steps[number], config.optimizer.weight_decay
        last = config.head_phase.epochs + config.depth_phase.epochs
        if number in self._stopped or len(records) == last:
            del self._jobs[number]
            ending = "pruned" if number in self._stopped else "completed"
            return [Finished(number, fake_result(config, records, ending))]
        if trouble == HANGS and records:
            return self._hang(number)
        if trouble not in {0.0, DIVERGES} and records:
            del self._jobs[number]
            kind = "memory" if trouble == STARVES else "error"
            return [Failed(number, f"trouble {trouble:g}", "Traceback: here", kind)]
        diverged = trouble == DIVERGES and len(records) == 1
        records.append(fake_record(config, len(records) + 1, float("nan") if diverged else None))
        return [Reported(number, records[-1])]

    def _hang(self, number: int) -> list[Event]:
        if number not in self._killed:
            return []
        del self._jobs[number]
        return [Failed(number, "killed", kind="lost")]

    def kill(self, number: int) -> None:
        self._killed.add(number)

    def __enter__(self):
        return self

    def __exit__(self, *exc: object) -> None:
        self._jobs.clear()
