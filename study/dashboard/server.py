"""Studies in the Optuna dashboard, with the report's figures and summary and the files of their trials."""

import contextlib
import json
import logging
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import optuna_dashboard
import waitress
from optuna.storages import BaseStorage
from waitress import wasyncore

from drft.errors import StudyError, UsageError
from study.dashboard.access import (
    Application,
    Environment,
    is_loopback,
    only_from_here,
    read_password,
    with_limits,
    with_password,
)
from study.dashboard.artifacts import TrialArtifacts
from study.dashboard.multi_storage import MultiStorage
from study.dashboard.notes import StudyNotes, StudySource
from study.results.locate import StudyLocation, find_study

_THREADS = 8
_LARGEST_REQUEST = 1 << 20
"""Bytes: what comes in are notes; waitress takes a request in before it is known who sent it."""
_IMPORTANCES = re.compile(r"/api/studies/(\d+)/param_importances/?")


@dataclass(frozen=True)
class Dashboard:
    """A dashboard that listens, and is not served yet."""

    url: str
    """Page of the study, or the list of several."""
    findings: StudyNotes
    refresh: float
    _server: Any
    _stop: threading.Event = field(default_factory=threading.Event)

    def serve(self) -> None:
        """Answer requests until interrupted or closed, and keep the findings up to date meanwhile."""
        keeper = threading.Thread(target=self.findings.keep_up, args=(self.refresh, self._stop), name="findings")
        keeper.start()
        try:
            self._server.run()  # ends, without raising it, when interrupted
        finally:
            self._stop.set()
            wasyncore.close_all(self._server._map)
            self._server.task_dispatcher.shutdown()
            keeper.join()

    def close(self) -> None:
        """End :meth:`serve`, from another thread or in advance."""
        self._stop.set()
        with contextlib.suppress(OSError):  # the server may be over before it is woken
            self._server.trigger.pull_trigger(lambda: wasyncore.close_all(self._server._map))


def open_dashboard(
    studies: Sequence[str],
    results: Path = Path("results"),
    storage: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    password_file: Path | None = None,
    read_only: bool = False,
    refresh: float = 30.0,
    tell: Callable[[str], None] = lambda line: print(f"note: {line}", file=sys.stderr),
) -> Dashboard:
    """Listen at ``host`` and ``port`` with Optuna's dashboard on the storages of studies.

    Without a password it serves this machine alone, and answers only requests that name this machine, so that no web
    page elsewhere can talk to it.

    Args:
        studies: each as :func:`study.results.locate.find_study` takes it, with ``results`` and ``storage``.
        results: folder of studies.
        storage: URL of an Optuna storage that holds all of them; None for the ``study.db`` of each study's folder.
        host: address to listen at.
        port: 0 takes a free one.
        password_file: holds the password to ask for; None to ask for none.
        read_only: whether every change is refused, and nothing written to the storages.
        refresh: seconds between looks for finished trials.
        tell: told what goes wrong while it is served.

    Raises:
        UsageError: when an address that other machines reach comes without a password, or its file cannot be used.
        StudyError: when there is no such study, or nothing can listen there.
    """
    if password_file is None and not is_loopback(host):
        raise UsageError(f"--host {host} lets other machines in: give a password with --password-file FILE")
    password = None if password_file is None else read_password(password_file)
    sources = [StudySource(study, results, storage) for study in dict.fromkeys(studies)]
    places = [find_study(source.study, source.results, source.storage) for source in sources]
    artifacts = TrialArtifacts(places)
    joined, ids = _join(places, artifacts, read_only=read_only)
    application: Application = optuna_dashboard.wsgi(joined, artifact_store=artifacts)
    application = _without_parameters(application, joined)
    application = with_limits(application, read_only=read_only)
    application = only_from_here(application) if password is None else with_password(application, password)
    server, address = _listen(application, host, port)
    opened = [optuna.load_study(study_name=joined.get_study_name_from_id(study_id), storage=joined) for study_id in ids]
    page = f"studies/{ids[0]}" if len(ids) == 1 else ""
    return Dashboard(
        f"{address}/dashboard/{page}", StudyNotes(list(zip(sources, opened, strict=True)), tell), refresh, server
    )


def _without_parameters(application: Application, storage: BaseStorage) -> Application:
    """Say that nothing is important in a study without parameters, as confirmations are: Optuna's dashboard fails."""

    def answered(environ: Environment, start_response: Callable[..., Any]) -> Iterable[bytes]:
        asked = _IMPORTANCES.fullmatch(environ.get("PATH_INFO", ""))
        if asked is None or _has_parameters(storage, int(asked[1])):
            return application(environ, start_response)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"param_importances": [[]]}).encode()]

    return answered


def _has_parameters(storage: BaseStorage, study_id: int) -> bool:
    try:
        return any(trial.params for trial in storage.get_all_trials(study_id, deepcopy=False))
    except KeyError:
        return True  # no such study, which the application says


def _join(
    places: Sequence[StudyLocation], artifacts: TrialArtifacts, *, read_only: bool
) -> tuple[MultiStorage, list[int]]:
    """Return the storages of studies as one, and the number of each study in it."""
    urls = list(dict.fromkeys(place.url for place in places))
    opened = [place.open() for place in places]
    firsts = [next(at for at, place in enumerate(places) if place.url == url) for url in urls]
    counted = {(urls.index(place.url), place.name): at for at, place in enumerate(places)}

    def listed(storage: int, study: str, number: int) -> Any:
        """List nothing for studies that were not asked for: where their folders are is not known."""
        at = counted.get((storage, study))
        return () if at is None else artifacts.listed(at, number)

    storages = [(f"{places[at].folder}/", opened[at]._storage) for at in firsts]
    joined = MultiStorage(storages, listed, read_only=read_only)
    ids = [joined.outer_id(urls.index(place.url), study._study_id) for place, study in zip(places, opened, strict=True)]
    return joined, ids


def _listen(application: Application, host: str, port: int) -> tuple[Any, str]:
    """Return a server that listens, and its address as a URL.

    Raises:
        StudyError: when nothing can listen there.
    """
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # that a request had to wait is no news
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StudyError(f"cannot listen at {host}:{port} ({reason}): choose another --port or --host") from None
    server = waitress.create_server(
        application,
        sockets=[listening],
        threads=_THREADS,
        ident=None,
        max_request_body_size=_LARGEST_REQUEST,
        clear_untrusted_proxy_headers=True,
    )
    shown = f"[{host}]" if ":" in host else host
    return server, f"http://{shown}:{listening.getsockname()[1]}"
