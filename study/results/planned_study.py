"""Studies whose trainings are planned beforehand: no sampler chooses their configurations.

A planned study belongs to another study: it is one more study in the same storage, with the plan as its search space,
so that a resumed run makes the same trainings. Trainings are named by their index in the plan.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Self, TypeVar

import optuna
import yaml
from optuna.trial import FrozenTrial, Trial, TrialState

from drft.config.trial_config import TrialConfig
from drft.errors import DrftError, StudyError
from study.results.locate import StudyLocation
from study.results.study_results import StudyResults, read_study_at
from study.storage.open import open_storage

PLANNED = "planned"
"""The sampler that a planned study records."""


class TrainingPlan(ABC):
    """A list of trainings."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of trainings."""

    @abstractmethod
    def config(self, index: int) -> TrialConfig:
        """Return the configuration of one training."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain lists and mappings."""

    @classmethod
    @abstractmethod
    def read(cls, text: str) -> Self:
        """Return the plan that was written as this text."""

    def suggest(self, trial: Trial) -> TrialConfig:
        """Return the configuration of the training that a queued trial stands for."""
        return self.config(trial.user_attrs["place"])

    def queue(self, indices: Collection[int]) -> Iterator[dict[str, Any]]:
        """Yield the user attributes of the trials to queue for these trainings."""
        for index in indices:
            yield {"place": index, "seed": self.config(index).seed, "control": False}

    @property
    def text(self) -> str:
        """The plan as YAML."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True, width=120)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


PlanT = TypeVar("PlanT", bound=TrainingPlan)

_DAMAGED = (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, DrftError)
"""What reading a damaged plan raises."""


@dataclass(frozen=True)
class PlannedStudy(Generic[PlanT]):
    """The state of a planned study."""

    plan: PlanT
    results: StudyResults
    """The trainings, read like any study."""
    trials: tuple[FrozenTrial, ...]

    @cached_property
    def done(self) -> dict[int, int]:
        """Numbers of the completed trials by index; of several trials of one training, the first."""
        return {
            trial.user_attrs["place"]: trial.number
            for trial in reversed(self.trials)
            if trial.state == TrialState.COMPLETE
        }

    @cached_property
    def diverged(self) -> frozenset[int]:
        """Indices of the trainings that diverged: they are not repeated, since they would diverge again."""
        return frozenset(
            trial.user_attrs["place"]
            for trial in self.trials
            if trial.state == TrialState.FAIL and trial.user_attrs.get("fail_kind") == "diverged"
        ) - {*self.done}

    @property
    def taken(self) -> frozenset[int]:
        """Indices that need no new trial: completed, diverged, running or queued."""
        unfinished = {trial.user_attrs["place"] for trial in self.trials if not trial.state.is_finished()}
        return self.diverged | {*self.done} | unfinished

    @property
    def failed(self) -> frozenset[int]:
        """Indices of the trainings that failed otherwise and are not queued again; a resumed run repeats them."""
        failed = (trial for trial in self.trials if trial.state == TrialState.FAIL)
        ended = {trial.user_attrs["place"] for trial in failed if "requeued" not in trial.user_attrs}
        return frozenset(ended - self.taken)

    @property
    def finished(self) -> bool:
        """Whether every training completed or diverged."""
        return len(self.done) + len(self.diverged) == self.plan.size


def read_planned_study(location: StudyLocation, plan_type: type[PlanT]) -> PlannedStudy[PlanT] | None:
    """Read a planned study; None if it has not begun.

    Raises:
        StudyError: when another study has its name.
    """
    storage = open_storage(location.url, create=False)
    if location.name not in optuna.get_all_study_names(storage):
        return None
    opened = optuna.load_study(study_name=location.name, storage=storage)
    if "trials_wanted" not in opened.user_attrs and not opened.get_trials(deepcopy=False):
        return None  # its tuner was killed while it wrote the attributes; they are written again
    results = read_study_at(location)
    if results.info.samplers != (PLANNED,):
        owner = location.name.rpartition(".")[0]
        raise StudyError(
            f"study {location.name!r} has the name of a planned part of study {owner!r}, but is none: rename it"
        )
    return PlannedStudy(_read_plan(results, plan_type), results, tuple(opened.get_trials(deepcopy=False)))


def _read_plan(results: StudyResults, plan_type: type[PlanT]) -> PlanT:
    """Return the plan that a planned study records or, if that is damaged, the copy in its folder.

    Raises:
        StudyError: when both are damaged.
    """
    copy = results.info.folder / "space.yaml"
    try:
        return plan_type.read(results.info.space)
    except _DAMAGED as error:
        line = f"the plan of {results.info.name!r} in {results.info.url} is damaged ({str(error).splitlines()[0]})"
    try:
        plan = plan_type.read(copy.read_text(encoding="utf-8"))
    except (OSError, *_DAMAGED):
        raise StudyError(f"{line}, and {copy} has no copy of it: restore one of the two from a backup") from None
    results.name_damage(f"{line}: its copy in {copy} is used")
    return plan
