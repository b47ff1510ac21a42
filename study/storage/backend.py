"""What ``CachedStorage`` needs of the storage that holds a study."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

Storage = RDBStorage | JournalStorage
"""The storages that hold studies."""

TAKEN = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
"""States of the trials that count towards a limit on the number of trials."""

AttributeKind = Literal["user", "system"]


class GoalReachedError(Exception):
    """The wanted number of trials are finished or running."""


class StudyBackend(Protocol):
    """One study in its storage, as one tuner reads and writes it.

    Creating, queueing and starting a trial are written at once, since only the storage can number trials and decide
    which tuner was first. All other changes are kept in memory until ``write``.
    """

    @property
    def ending(self) -> Sequence[int]:
        """Ids of the trials whose end is not written yet."""

    def states(self, after: int, among: Collection[int]) -> dict[int, TrialState]:
        """Return the states, by id, of the trials with an id above ``after`` or in ``among``."""

    def read(self, trial_ids: Collection[int]) -> Iterable[tuple[int, FrozenTrial]]:
        """Return the trials with these ids, each with its id; others may be among them."""

    def create(self, limit: int | None) -> tuple[int, FrozenTrial]:
        """Add a running trial; return its id and the trial.

        Raises:
            GoalReachedError: when ``limit`` trials are finished or running; nothing is added.
        """

    def queue(self, template: FrozenTrial) -> tuple[int, FrozenTrial]:
        """Add a trial like ``template``; return its id and the trial."""

    def start(self, trial_id: int, limit: int | None) -> datetime | None:
        """Start a waiting trial; return the time, or None when another tuner started it.

        Raises:
            GoalReachedError: when ``limit`` others are finished or running; the trial keeps waiting.
        """

    def set_param(self, trial_id: int, name: str, internal_value: float, distribution: BaseDistribution) -> None:
        """Add a parameter of a trial."""

    def set_attribute(self, kind: AttributeKind, trial_id: int, key: str, value: Any, *, new: bool) -> None:
        """Set an attribute of a trial; ``new`` if it has none of that name."""

    def set_intermediate(self, trial_id: int, step: int, value: float, *, new: bool) -> None:
        """Set the value that a trial reported at a step; ``new`` if it has none there."""

    def end(self, trial_id: int, before: TrialState, after: TrialState, values: Sequence[float] | None) -> None:
        """End a trial that is in the state ``before``."""

    def write(self) -> None:
        """Write all changes in memory. Changes that the storage does not accept are kept for the next call.

        Raises:
            UpdateFinishedTrialError: when another process ended a trial whose end is to be written; all changes in
                memory are dropped.
            StorageInternalError: when the storage does not accept the changes.
        """
