"""What a ledger needs of the storage that keeps its study, whichever kind of storage that is."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Protocol

from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

Storage = RDBStorage | JournalStorage
"""What studies are kept in."""

TAKEN = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
"""States of the trials that a limit counts."""


class GoalReachedError(Exception):
    """As many trials as are wanted are finished or under way."""


class StudyBackend(Protocol):
    """One study in its storage: others' trials are looked up there, and what is noted of own ones is written at once.

    Trials are begun, queued and started at once, since only the storage can number them and tell who was first.
    Everything else is noted, in memory, until :meth:`write`.
    """

    @property
    def ending(self) -> Sequence[int]:
        """The trials that are noted to end, by id."""

    def look(self, after: int, among: Collection[int]) -> dict[int, TrialState]:
        """Return the states, by id, of trials that came after the id ``after`` or are ``among`` these."""

    def read(self, trial_ids: Collection[int], last: int) -> Iterable[FrozenTrial]:
        """Return the trials with these ids, all up to ``last``; there may be others among them."""

    def begin(self, limit: int | None) -> FrozenTrial:
        """Add a running trial.

        Raises:
            GoalReachedError: when ``limit`` trials are finished or under way; nothing is added.
        """

    def queue(self, template: FrozenTrial) -> FrozenTrial:
        """Add a trial like ``template``."""

    def start(self, trial_id: int, limit: int | None) -> datetime | None:
        """Start a waiting trial; return when, or None when it did not wait any more.

        Raises:
            GoalReachedError: when ``limit`` others are finished or under way; it goes on waiting.
        """

    def add_param(self, trial_id: int, name: str, internal_value: float, distribution: BaseDistribution) -> None:
        """Note a parameter of a trial."""

    def put_attribute(self, kind: str, trial_id: int, key: str, value_json: str, *, anew: bool) -> None:
        """Note a ``user`` or ``system`` attribute of a trial, one that it had before or, with ``anew``, a new one."""

    def put_intermediate(self, trial_id: int, step: int, value: float, *, anew: bool) -> None:
        """Note what a trial reports at a step."""

    def end(self, trial_id: int, before: TrialState, after: TrialState, values: Sequence[float] | None) -> None:
        """Note that a trial, which is in the state ``before``, ends."""

    def write(self) -> None:
        """Write everything that is noted, and forget it; what the storage did not take is kept for the next time.

        Raises:
            UpdateFinishedTrialError: when another process ended a trial that is noted to end; all that is noted is
                forgotten, unwritten.
            StorageInternalError: when the storage does not take it.
        """
