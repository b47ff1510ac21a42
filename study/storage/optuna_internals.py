"""Everything that this program uses of Optuna without Optuna publishing it.

Each part has a function ``check_...`` that returns why the part does not work with the installed Optuna, or None. Where
it does not work, the callers use published functions instead.
"""

import copy
import importlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.search_space import IntersectionSearchSpace
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from study.storage.backend import TAKEN, AttributeKind, GoalReachedError

View = Callable[[Sequence[FrozenTrial]], list[FrozenTrial]]
"""Returns what a sampler sees in place of the trials of a study; it must not change them."""


class ViewStorage:
    """The storage of a study, with what a view shows in place of its trials.

    Samplers read trials through ``BaseStorage.get_all_trials``, so a study on this storage shows them these trials
    alone. All other calls go to the study's own storage, for instance to store what a sampler remembers of a trial.
    """

    def __init__(self, storage: BaseStorage, view: View) -> None:
        self._storage = storage
        self._view = view

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials of the view."""
        trials = self._view(self._storage.get_all_trials(study_id, deepcopy))
        return trials if states is None else [trial for trial in trials if trial.state in states]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


def study_view(study: optuna.Study, view: View) -> optuna.Study:
    """Return a study with what a view shows in place of its trials.

    Unpublished: ``Study._storage``.
    """
    storage: Any = ViewStorage(study._storage, view)
    return optuna.load_study(study_name=study.study_name, storage=storage, sampler=study.sampler, pruner=study.pruner)


@cache
def check_study_view() -> str | None:
    """Return why ``study_view`` does not work with the installed Optuna, or None if it works."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # else Optuna logs that a study was created
    try:
        study = optuna.create_study()
        for value in (0, 1):
            trial = study.ask()
            trial.suggest_int("parameter", value, value)
            trial.suggest_int(f"only with {value}", 0, 0)
            study.tell(trial, 0.0)
        view = study_view(study, lambda trials: [trial for trial in trials if trial.params["parameter"] == 1])
        # The search space that samplers infer must be that of the one trial, not what both trials have in common.
        works = len(view.trials) == 1 and len(IntersectionSearchSpace().calculate(view)) == 2
    except Exception as error:  # noqa: BLE001 (a changed Optuna can raise anything)
        return f"Optuna {optuna.__version__} has no views of a study ({type(error).__name__}: {error})"
    finally:
        optuna.logging.set_verbosity(verbosity)
    return None if works else f"samplers of Optuna {optuna.__version__} do not read trials through the storage"


_TRIAL_KEY = re.compile(r"(dashboard:(?:artifacts:)?)(\d+)(:.*)", re.DOTALL)


def renumber_trial(key: str, new_id: Callable[[int], int]) -> str:
    """Return the key of a study attribute with another trial id where it names a trial.

    Optuna's dashboard keeps the note of a trial in attributes of its study, such as ``dashboard:7:note_ver``. A trial
    that is shown under another id needs another key.

    Unpublished: the form of these keys.
    """
    parts = _TRIAL_KEY.fullmatch(key)
    return f"{parts[1]}{new_id(int(parts[2]))}{parts[3]}" if parts else key


@cache
def check_renumber_trial() -> str | None:
    """Return why ``renumber_trial`` does not work with the installed Optuna dashboard, or None if it works."""
    import optuna_dashboard  # noqa: PLC0415 (slow, and needed for the dashboard only)

    storage = InMemoryStorage()
    study = optuna.create_study(study_name="check", storage=storage)
    study_id = storage.get_study_id_from_name("check")
    trials = [study.ask() for _ in range(2)]
    ids = [storage.get_trial_id_from_study_id_trial_number(study_id, trial.number) for trial in trials]
    optuna_dashboard.save_note(trials[0], "note")
    for key, value in storage.get_study_system_attrs(study_id).items():
        storage.set_study_system_attr(study_id, renumber_trial(key, lambda _: ids[1]), value)
    if optuna_dashboard.get_note(trials[1]) == "note":
        return None
    return f"Optuna's dashboard {optuna_dashboard.__version__} keeps the notes of trials under unknown keys"


_COLUMNS = {
    "StudyModel": {"study_id"},
    "TrialModel": {"trial_id", "number", "study_id", "state", "datetime_start", "datetime_complete"},
    "TrialParamModel": {"trial_id", "param_name", "param_value", "distribution_json"},
    "TrialValueModel": {"trial_id", "objective", "value", "value_type"},
    "TrialIntermediateValueModel": {"trial_id", "step", "intermediate_value", "intermediate_value_type"},
    "TrialUserAttributeModel": {"trial_id", "key", "value_json"},
    "TrialSystemAttributeModel": {"trial_id", "key", "value_json"},
}
"""The columns of Optuna's tables that ``BatchedRDBBackend`` reads or writes."""


@cache
def check_batched_rdb_backend() -> str | None:
    """Return why ``BatchedRDBBackend`` does not work with the installed Optuna, or None if it works."""
    where = f"Optuna {optuna.__version__}"
    try:
        models = importlib.import_module("optuna.storages._rdb.models")
        for name, columns in _COLUMNS.items():
            own = {column.name for column in getattr(models, name).__table__.columns if not column.primary_key}
            key = {column.name for column in getattr(models, name).__table__.columns if column.primary_key}
            if columns - own - key:
                return f"{where} has no {name} with the columns {', '.join(sorted(columns - own - key))}"
            if name not in {"StudyModel", "TrialModel"} and own != columns:
                return f"{where} has other columns in {name} ({', '.join(sorted(own ^ columns))})"
        infinity = (models.TrialValueModel.value_to_stored_repr, models.TrialIntermediateValueModel)
        infinity[1].intermediate_value_to_stored_repr(0.0)
        infinity[0](0.0)
    except Exception as error:  # noqa: BLE001 (a changed Optuna can raise anything)
        return f"{where} has other tables ({type(error).__name__}: {error})"
    return None


class BatchedRDBBackend:
    """The ``StudyBackend`` of a database. All changes since the last ``write`` are one transaction.

    Optuna's own storage commits every value by itself, which costs 143 to 194 ms a trial instead of 8 to 13 ms. Whether
    a row is new is known to the caller, so plain INSERT and UPDATE statements suffice, which every database has.

    Unpublished: the tables in ``optuna.storages._rdb.models`` and how they store infinite values.
    """

    def __init__(self, storage: RDBStorage, study_id: int) -> None:
        self._storage = storage
        self._engine = storage.engine
        self._study_id = study_id
        self._sql = _statements()
        self._new: defaultdict[sqlalchemy.Table, list[dict[str, Any]]] = defaultdict(list)
        self._updates: list[sqlalchemy.Update] = []
        self._ends: dict[int, tuple[TrialState, TrialState, datetime]] = {}
        self._may_be_written = False
        """Whether all changes may be in the database: the answer to their commit was lost."""

    @property
    def ending(self) -> list[int]:
        """Ids of the trials whose end is not written yet."""
        return list(self._ends)

    def states(self, after: int, among: Collection[int]) -> dict[int, TrialState]:
        """Return the states, by id, of the trials with an id above ``after`` or in ``among``."""
        with self._engine.connect() as connection:
            parameters = {"study": self._study_id, "last": after, "among": list(among)}
            return {row.trial_id: row.state for row in connection.execute(self._sql.states, parameters)}

    def read(self, trial_ids: Collection[int]) -> Iterable[tuple[int, FrozenTrial]]:
        """Return the trials with these ids, each with its id; others may be among them."""
        if len(trial_ids) <= _READ_ONE_BY_ONE:
            return [(trial_id, self._storage.get_trial(trial_id)) for trial_id in trial_ids]
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        with self._engine.connect() as connection:
            rows = connection.execute(self._sql.ids, {"study": self._study_id})
            ids: dict[int, int] = {row.number: row.trial_id for row in rows}
        return [(ids[trial.number], trial) for trial in trials]

    def create(self, limit: int | None) -> tuple[int, FrozenTrial]:
        """Add a running trial, whose number is the count of the study's trials before it."""
        trial = _new_trial(TrialState.RUNNING, datetime_start=datetime.now())  # noqa: DTZ005 (Optuna's times are naive)
        with self._engine.begin() as connection:
            trial_id = self._insert(connection, trial)
            self._check_limit(connection, trial_id, limit)
        return trial_id, trial

    def queue(self, template: FrozenTrial) -> tuple[int, FrozenTrial]:
        """Add a trial like ``template``; return its id and the trial."""
        if template.params or template.values or template.intermediate_values:
            trial_id = self._storage.create_new_trial(self._study_id, template)
            return trial_id, self._storage.get_trial(trial_id)
        trial = copy.deepcopy(template)
        with self._engine.begin() as connection:
            trial_id = self._insert(connection, trial)
            for table, attributes in (
                (self._sql.attributes["user"], trial.user_attrs),
                (self._sql.attributes["system"], trial.system_attrs),
            ):
                rows = [
                    {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
                    for key, value in attributes.items()
                ]
                if rows:
                    connection.execute(sqlalchemy.insert(table), rows)
        return trial_id, trial

    def _insert(self, connection: Connection, trial: FrozenTrial) -> int:
        """Insert a trial, set its number and id, and return the id."""
        # SQLite lets one process write at a time; elsewhere the lock of the study keeps numbers distinct.
        connection.execute(self._sql.lock_study, {"study": self._study_id})
        started = trial.datetime_start and _utc(trial.datetime_start)
        row = {"study_id": self._study_id, "state": trial.state, "datetime_start": started}
        key: Any = connection.execute(self._sql.insert_trial, row).inserted_primary_key
        trial_id = int(key[0])
        count = connection.execute(self._sql.count_before, {"study": self._study_id, "id": trial_id}).scalar_one()
        connection.execute(self._sql.set_number, {"id": trial_id, "count": count})
        trial.number, trial._trial_id = count, trial_id
        return trial_id

    def start(self, trial_id: int, limit: int | None) -> datetime | None:
        """Start a waiting trial; return the time, or None when another tuner started it."""
        now = datetime.now()  # noqa: DTZ005 (Optuna's times are naive)
        with self._engine.begin() as connection:
            connection.execute(self._sql.lock_study, {"study": self._study_id})
            started = self._change_state(connection, trial_id, TrialState.WAITING, TrialState.RUNNING, now)
            if started:
                self._check_limit(connection, trial_id, limit)
        return now if started else None

    def _check_limit(self, connection: Connection, trial_id: int, limit: int | None) -> None:
        """Count after the trial is written: until this transaction is committed, no other tuner can begin one."""
        others = connection.execute(self._sql.count_others, {"study": self._study_id, "id": trial_id}).scalar_one()
        if limit is not None and others >= limit:
            raise GoalReachedError

    def set_param(self, trial_id: int, name: str, internal_value: float, distribution: BaseDistribution) -> None:
        """Add a parameter of a trial."""
        self._new[self._sql.params].append(
            {
                "trial_id": trial_id,
                "param_name": name,
                "param_value": internal_value,
                "distribution_json": distribution_to_json(distribution),
            }
        )

    def set_attribute(self, kind: AttributeKind, trial_id: int, key: str, value: Any, *, new: bool) -> None:
        """Set an attribute of a trial; ``new`` if it has none of that name."""
        values = {"value_json": json.dumps(value)}
        self._put(self._sql.attributes[kind], {"trial_id": trial_id, "key": key}, values, new=new)

    def set_intermediate(self, trial_id: int, step: int, value: float, *, new: bool) -> None:
        """Set the value that a trial reported at a step; ``new`` if it has none there."""
        stored, kind = self._sql.stored_intermediate(value)
        values = {"intermediate_value": stored, "intermediate_value_type": kind}
        self._put(self._sql.intermediate, {"trial_id": trial_id, "step": step}, values, new=new)

    def end(self, trial_id: int, before: TrialState, after: TrialState, values: Sequence[float] | None) -> None:
        """End a trial that is in the state ``before``."""
        for objective, value in enumerate(values or ()):
            stored, kind = self._sql.stored_value(value)
            row = {"trial_id": trial_id, "objective": objective, "value": stored, "value_type": kind}
            self._new[self._sql.values].append(row)
        self._ends[trial_id] = (before, after, datetime.now())  # noqa: DTZ005 (Optuna's times are naive)

    def write(self) -> None:
        """Write all changes in one transaction; if the database does not accept them, they are kept."""
        if not (self._new or self._updates or self._ends):
            return
        try:
            with self._engine.begin() as connection:
                self._execute(connection)
        except SQLAlchemyError as error:
            self._may_be_written = True
            raise StorageInternalError(f"the study's storage cannot be written: {error}") from error
        except UpdateFinishedTrialError:
            self._drop_changes()  # they would never be accepted, and would block those of other trials
            raise
        self._drop_changes()

    def _drop_changes(self) -> None:
        self._new.clear()
        self._updates.clear()
        self._ends.clear()
        self._may_be_written = False

    def _execute(self, connection: Connection) -> None:
        for trial_id, (before, after, when) in self._ends.items():  # first: another process may have ended the trial
            if self._change_state(connection, trial_id, before, after, when):
                continue
            state = connection.execute(self._sql.state, {"id": trial_id}).scalar()
            if not (self._may_be_written and state == after):
                raise UpdateFinishedTrialError(f"another process ended the trial with the id {trial_id}")
        for table, rows in self._new.items():
            if self._may_be_written:
                names = self._sql.keys[table]
                keys = [{f"key_{name}": row[name] for name in names} for row in rows]
                same = (table.c[name] == bindparam(f"key_{name}") for name in names)
                connection.execute(sqlalchemy.delete(table).where(*same), keys)
            connection.execute(self._sql.inserts[table], rows)
        for statement in self._updates:
            connection.execute(statement)

    def _put(self, table: sqlalchemy.Table, key: Mapping[str, Any], values: Mapping[str, Any], *, new: bool) -> None:
        if new:
            self._new[table].append({**key, **values})
        else:
            same = [table.c[name] == value for name, value in key.items()]
            self._updates.append(sqlalchemy.update(table).where(*same).values(**values))

    def _change_state(
        self, connection: Connection, trial_id: int, before: TrialState, after: TrialState, when: datetime
    ) -> bool:
        """Change the state of a trial at a time; return whether it was in the state ``before``."""
        statement = self._sql.start if after == TrialState.RUNNING else self._sql.end
        values = {"id": trial_id, "before": before, "after": after, "when": _utc(when)}
        return connection.execute(statement, values).rowcount == 1


_READ_ONE_BY_ONE = 20
"""Up to so many trials are read one by one; above, reading the whole study is faster."""


class _Statements(NamedTuple):
    """SQL on Optuna's tables, built once: building a statement takes longer than executing it."""

    params: sqlalchemy.Table
    values: sqlalchemy.Table
    intermediate: sqlalchemy.Table
    attributes: Mapping[AttributeKind, sqlalchemy.Table]
    keys: Mapping[sqlalchemy.Table, tuple[str, ...]]
    inserts: Mapping[sqlalchemy.Table, sqlalchemy.Insert]
    insert_trial: sqlalchemy.Insert
    set_number: sqlalchemy.Update
    start: sqlalchemy.Update
    end: sqlalchemy.Update
    lock_study: sqlalchemy.Select[Any]
    count_before: sqlalchemy.Select[Any]
    count_others: sqlalchemy.Select[Any]
    state: sqlalchemy.Select[Any]
    states: sqlalchemy.Select[Any]
    ids: sqlalchemy.Select[Any]
    stored_value: Callable[[float], tuple[float | None, Any]]
    stored_intermediate: Callable[[float], tuple[float | None, Any]]


@cache
def _statements() -> _Statements:
    models: Any = importlib.import_module("optuna.storages._rdb.models")
    studies, trials = models.StudyModel.__table__, models.TrialModel.__table__
    params, values = models.TrialParamModel.__table__, models.TrialValueModel.__table__
    intermediate = models.TrialIntermediateValueModel.__table__
    user, system = models.TrialUserAttributeModel.__table__, models.TrialSystemAttributeModel.__table__
    keys = {
        params: ("trial_id", "param_name"),
        values: ("trial_id", "objective"),
        intermediate: ("trial_id", "step"),
        user: ("trial_id", "key"),
        system: ("trial_id", "key"),
    }
    this_trial = trials.c.trial_id == bindparam("id")
    this_study = trials.c.study_id == bindparam("study")
    change_state = (
        sqlalchemy.update(trials)
        .where(this_trial, trials.c.state == bindparam("before"))
        .values(state=bindparam("after"))
    )
    count = sqlalchemy.select(sqlalchemy.func.count())
    return _Statements(
        params=params,
        values=values,
        intermediate=intermediate,
        attributes={"user": user, "system": system},
        keys=keys,
        inserts={table: sqlalchemy.insert(table) for table in keys},
        insert_trial=sqlalchemy.insert(trials),
        set_number=sqlalchemy.update(trials).where(this_trial).values(number=bindparam("count")),
        start=change_state.values(datetime_start=bindparam("when")),
        end=change_state.values(datetime_complete=bindparam("when")),
        lock_study=sqlalchemy.select(studies.c.study_id)
        .where(studies.c.study_id == bindparam("study"))
        .with_for_update(),
        count_before=count.where(this_study, trials.c.trial_id < bindparam("id")),
        count_others=count.where(this_study, trials.c.trial_id != bindparam("id"), trials.c.state.in_(TAKEN)),
        state=sqlalchemy.select(trials.c.state).where(this_trial),
        states=sqlalchemy.select(trials.c.trial_id, trials.c.state).where(
            this_study,
            sqlalchemy.or_(
                trials.c.trial_id > bindparam("last"), trials.c.trial_id.in_(bindparam("among", expanding=True))
            ),
        ),
        ids=sqlalchemy.select(trials.c.number, trials.c.trial_id).where(this_study),
        stored_value=models.TrialValueModel.value_to_stored_repr,
        stored_intermediate=models.TrialIntermediateValueModel.intermediate_value_to_stored_repr,
    )


def _new_trial(state: TrialState, datetime_start: datetime | None) -> FrozenTrial:
    return FrozenTrial(
        number=-1,
        state=state,
        value=None,
        datetime_start=datetime_start,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=-1,
    )


def _utc(when: datetime) -> datetime:
    """Return a local time as Optuna stores it."""
    return when.astimezone(UTC).replace(tzinfo=None)
