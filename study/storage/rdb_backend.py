"""A study in a database: rows of Optuna's tables, written many at a time.

The tables are those of the installed Optuna, whose schema :mod:`study.storage.open` checks when it opens a storage.
Whether a row is new is known to the caller, so that plain inserts and updates do, which every database has.
"""

import copy
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from study.storage.backend import TAKEN, GoalReachedError

_STUDIES = models.StudyModel.__table__
_TRIALS = models.TrialModel.__table__
_PARAMS = models.TrialParamModel.__table__
_VALUES = models.TrialValueModel.__table__
_INTERMEDIATE = models.TrialIntermediateValueModel.__table__
_ATTRIBUTES = {"user": models.TrialUserAttributeModel.__table__, "system": models.TrialSystemAttributeModel.__table__}

_INSERT_TRIAL = sqlalchemy.insert(_TRIALS)
_INSERTS = {table: sqlalchemy.insert(table) for table in (_PARAMS, _VALUES, _INTERMEDIATE, *_ATTRIBUTES.values())}
_KEYS = {
    _PARAMS: ("trial_id", "param_name"),
    _VALUES: ("trial_id", "objective"),
    _INTERMEDIATE: ("trial_id", "step"),
    **dict.fromkeys(_ATTRIBUTES.values(), ("trial_id", "key")),
}
_DELETES = {
    table: sqlalchemy.delete(table).where(*(table.c[name] == bindparam(f"its_{name}") for name in names))
    for table, names in _KEYS.items()
}
_THIS = _TRIALS.c.trial_id == bindparam("id")
_AS_BEFORE = (_THIS, _TRIALS.c.state == bindparam("before"))
_AFTER: dict[str, Any] = {"state": bindparam("after")}
_START = sqlalchemy.update(_TRIALS).where(*_AS_BEFORE).values(**_AFTER, datetime_start=bindparam("when"))
_END = sqlalchemy.update(_TRIALS).where(*_AS_BEFORE).values(**_AFTER, datetime_complete=bindparam("when"))
_LOCK_STUDY = sqlalchemy.select(_STUDIES.c.study_id).where(_STUDIES.c.study_id == bindparam("study")).with_for_update()
_OF_STUDY = _TRIALS.c.study_id == bindparam("study")
_COUNT_BEFORE = sqlalchemy.select(sqlalchemy.func.count()).where(_OF_STUDY, _TRIALS.c.trial_id < bindparam("id"))
_COUNT_OTHERS = sqlalchemy.select(sqlalchemy.func.count()).where(
    _OF_STUDY, _TRIALS.c.trial_id != bindparam("id"), _TRIALS.c.state.in_(TAKEN)
)
_STATE = sqlalchemy.select(_TRIALS.c.state).where(_THIS)
_SET_NUMBER = sqlalchemy.update(_TRIALS).where(_THIS).values(number=bindparam("count"))
_LOOK = sqlalchemy.select(_TRIALS.c.trial_id, _TRIALS.c.state).where(
    _OF_STUDY,
    sqlalchemy.or_(_TRIALS.c.trial_id > bindparam("last"), _TRIALS.c.trial_id.in_(bindparam("among", expanding=True))),
)
# Made once: building a statement takes longer than executing it.


class RDBBackend:
    """The ``StudyBackend`` of a study in a database: every method is one transaction, if any."""

    def __init__(self, storage: RDBStorage, study_id: int) -> None:
        self._storage = storage
        self._engine = storage.engine
        self._study_id = study_id
        self._new: defaultdict[sqlalchemy.Table, list[dict[str, Any]]] = defaultdict(list)
        self._changed: list[sqlalchemy.Update] = []
        self._ended: dict[int, tuple[TrialState, TrialState, datetime]] = {}
        self._doubtful = False
        """Whether all this may be in the database: the answer to its commit was lost."""

    @property
    def ending(self) -> list[int]:
        """The trials that are to be ended."""
        return list(self._ended)

    def look(self, after: int, among: Collection[int]) -> dict[int, TrialState]:
        """Return the states, by id, of trials that came after the id ``after`` or are ``among`` these."""
        with self._engine.connect() as connection:
            rows = connection.execute(_LOOK, {"study": self._study_id, "last": after, "among": list(among)})
            return {row.trial_id: row.state for row in rows}

    def read(self, trial_ids: Collection[int], last: int) -> Iterable[FrozenTrial]:
        """Return the trials with these ids; the storage adds whatever came after ``last``."""
        return self._storage._get_trials(self._study_id, None, set(trial_ids), last)

    def begin(self, limit: int | None) -> FrozenTrial:
        """Add a running trial, whose number counts the study's trials."""
        now = datetime.now()  # noqa: DTZ005 (Optuna's times are naive)
        with self._engine.begin() as connection:
            # Elsewhere than in SQLite, which lets one write at a time, the study's lock keeps numbers apart.
            connection.execute(_LOCK_STUDY, {"study": self._study_id})
            row = {"study_id": self._study_id, "state": TrialState.RUNNING, "datetime_start": _utc(now)}
            key: Any = connection.execute(_INSERT_TRIAL, row).inserted_primary_key
            trial_id = int(key[0])
            number = connection.execute(_COUNT_BEFORE, {"study": self._study_id, "id": trial_id}).scalar_one()
            connection.execute(_SET_NUMBER, {"id": trial_id, "count": number})
            self._check_goal(connection, trial_id, limit)
        return _begun(trial_id, number, now)

    def queue(self, template: FrozenTrial) -> FrozenTrial:
        """Add a trial like ``template``."""
        # What RDBStorage does without its own second tries, which would queue a trial again that was taken unanswered.
        with _create_scoped_session(self._storage.scoped_session) as session:
            models.StudyModel.find_or_raise_by_id(self._study_id, session, for_update=True)
            row: Any = self._storage._get_prepared_new_trial(self._study_id, template, session)
            trial = copy.deepcopy(template)
            trial.number, trial._trial_id = row.number, row.trial_id
        return trial

    def start(self, trial_id: int, limit: int | None) -> datetime | None:
        """Start a waiting trial; return when, or None when it did not wait any more."""
        now = datetime.now()  # noqa: DTZ005 (Optuna's times are naive)
        with self._engine.begin() as connection:
            connection.execute(_LOCK_STUDY, {"study": self._study_id})
            mine = _change_state(connection, trial_id, TrialState.WAITING, TrialState.RUNNING, now)
            if mine:
                self._check_goal(connection, trial_id, limit)
        return now if mine else None

    def _check_goal(self, connection: Connection, trial_id: int, limit: int | None) -> None:
        """Count after the trial was written: from then on no other driver can begin one until this is committed."""
        others = connection.execute(_COUNT_OTHERS, {"study": self._study_id, "id": trial_id}).scalar_one()
        if limit is not None and others >= limit:
            raise GoalReachedError

    def add_param(self, trial_id: int, name: str, internal_value: float, distribution: BaseDistribution) -> None:
        """Add a parameter of a trial."""
        self._new[_PARAMS].append(
            {
                "trial_id": trial_id,
                "param_name": name,
                "param_value": internal_value,
                "distribution_json": distribution_to_json(distribution),
            }
        )

    def put_attribute(self, kind: str, trial_id: int, key: str, value_json: str, *, anew: bool) -> None:
        """Add or change a ``user`` or ``system`` attribute of a trial."""
        self._put(_ATTRIBUTES[kind], {"trial_id": trial_id, "key": key}, {"value_json": value_json}, anew=anew)

    def put_intermediate(self, trial_id: int, step: int, value: float, *, anew: bool) -> None:
        """Add or change what a trial reports at a step."""
        stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        values = {"intermediate_value": stored, "intermediate_value_type": kind}
        self._put(_INTERMEDIATE, {"trial_id": trial_id, "step": step}, values, anew=anew)

    def end(self, trial_id: int, before: TrialState, after: TrialState, values: Sequence[float] | None) -> None:
        """End a trial that is in the state ``before``."""
        for objective, value in enumerate(values or ()):
            stored, kind = models.TrialValueModel.value_to_stored_repr(value)
            row = {"trial_id": trial_id, "objective": objective, "value": stored, "value_type": kind}
            self._new[_VALUES].append(row)
        self._ended[trial_id] = (before, after, datetime.now())  # noqa: DTZ005 (Optuna's times are naive)

    def write(self) -> None:
        """Write everything in one transaction and forget it; what the database did not take is kept for the next time.

        Raises:
            UpdateFinishedTrialError: when another process ended a trial that is to be ended here.
            StorageInternalError: when the database does not take it.
        """
        if not (self._new or self._changed or self._ended):
            return
        try:
            with self._engine.begin() as connection:
                self._execute(connection)
        except SQLAlchemyError as error:
            self._doubtful = True
            raise StorageInternalError(f"the study's storage cannot be written: {error}") from error
        except UpdateFinishedTrialError:
            self._forget()  # it would never be taken, and stand in the way of other trials
            raise
        self._forget()

    def _forget(self) -> None:
        self._new.clear()
        self._changed.clear()
        self._ended.clear()
        self._doubtful = False

    def _execute(self, connection: Connection) -> None:
        for trial_id, (before, after, when) in self._ended.items():  # first, for it may be another's by now
            if _change_state(connection, trial_id, before, after, when):
                continue
            if not (self._doubtful and connection.execute(_STATE, {"id": trial_id}).scalar() == after):
                raise UpdateFinishedTrialError(f"another process ended the trial with the id {trial_id}")
        for table, rows in self._new.items():
            if self._doubtful:
                connection.execute(
                    _DELETES[table], [{f"its_{name}": row[name] for name in _KEYS[table]} for row in rows]
                )
            connection.execute(_INSERTS[table], rows)
        for statement in self._changed:
            connection.execute(statement)

    def _put(self, table: sqlalchemy.Table, key: Mapping[str, Any], values: Mapping[str, Any], *, anew: bool) -> None:
        if anew:
            self._new[table].append({**key, **values})
        else:
            same = [table.c[name] == value for name, value in key.items()]
            self._changed.append(sqlalchemy.update(table).where(*same).values(**values))


def _begun(trial_id: int, number: int, when: datetime) -> FrozenTrial:
    return FrozenTrial(
        number=number,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=when,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=trial_id,
    )


def _change_state(connection: Connection, trial_id: int, before: TrialState, after: TrialState, when: datetime) -> bool:
    """Bring a trial from one state to another at a time; return whether it was in the first."""
    statement = _START if after == TrialState.RUNNING else _END
    values = {"id": trial_id, "before": before, "after": after, "when": _utc(when)}
    return connection.execute(statement, values).rowcount == 1


def _utc(when: datetime) -> datetime:
    """Return a local time as Optuna stores it."""
    return when.astimezone(UTC).replace(tzinfo=None)
