"""Optuna's own storage cases on ``CachedStorage``: over a database, over the fallback of a database, over a journal.

``CachedStorage`` holds one study that is maximized. Here the first study that a case creates is that one, and all other
studies of the case are in the storage behind it.
"""

import inspect

import pytest
from optuna.storages import BaseStorage
from optuna.testing.pytest_storages import StorageTestCase

from study.storage import cached_storage
from study.storage.cached_storage import CachedStorage
from study.storage.open import close_storage, open_storage

DOES_NOT_APPLY = {
    "test_set_and_get_study_directions": "the study has one direction",
    "test_get_best_trial": "the case minimizes, and the study is maximized",
    "test_get_best_trial_for_multi_objective_optimization": "the study has one objective",
    "test_pickle_storage": "a CachedStorage belongs to one process",
    "test_study_user_attrs_concurrent_write": "a CachedStorage belongs to one thread",
    "test_study_system_attrs_concurrent_write": "a CachedStorage belongs to one thread",
    "test_delete_study": "the cached study is never deleted",
}


class FirstStudyCached:
    """Calls a ``CachedStorage`` for everything about the first study, and the storage behind it for other studies."""

    def __init__(self, storage) -> None:
        self._storage = storage
        self._cached, self._cached_id = None, None

    def create_new_study(self, directions, study_name=None):
        study_id = self._storage.create_new_study(directions, study_name)
        if self._cached is None:
            self._cached, self._cached_id = CachedStorage(self._storage, study_id), study_id
        return study_id

    def __getattr__(self, name):
        first = next(iter(list(inspect.signature(getattr(BaseStorage, name)).parameters)[1:]), None)

        def call(*args, **kwargs):
            key = args[0] if args else kwargs.get(first)
            return getattr(self._target(first, key), name)(*args, **kwargs)

        return call

    def _target(self, first, key):
        if self._cached is None:
            return self._storage
        self._cached.refresh()
        known = {"study_id": [self._cached_id], "trial_id": self._cached._trials}.get(first, ())
        return self._cached if key in known else self._storage


class TestCachedStorage(StorageTestCase):
    @pytest.fixture(params=["database", "fallback", "journal"])
    def storage(self, request, tmp_path, monkeypatch):
        if request.node.originalname in DOES_NOT_APPLY:
            pytest.skip(DOES_NOT_APPLY[request.node.originalname])
        if request.param == "fallback":
            monkeypatch.setattr(cached_storage, "check_batched_rdb_backend", lambda: "Optuna has other tables")
        storage = open_storage(tmp_path / ("study.journal" if request.param == "journal" else "study.db"))
        yield FirstStudyCached(storage)
        close_storage(storage)
