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
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import optuna_dashboard
import waitress
from waitress import wasyncore

from drft.errors import StudyError, UsageError
from study.dashboard.access import (
    Application,
    Environment,
    is_loopback,
    only_from_here,
    read_password,
    well_formed,
    with_limits,
    with_password,
)
from study.dashboard.multi_storage import MultiStorage
from study.dashboard.notes import StudyNotes
from study.results.locate import find_study
from study.results.study_results import read_study
from study.storage.open import is_read_only, public_url

_THREADS = 8
_CONNECTIONS = 500
"""Open connections at once: idle ones take no thread, but they count."""
_IDLE_SECONDS = 30
"""An idle connection is closed after this time."""
_LARGEST_REQUEST = 1 << 20
"""Bytes. Requests carry notes, and waitress accepts a whole request before anything checks who sent it."""
_IMPORTANCES = re.compile(r"/api/studies/(\d+)/param_importances/?")


@dataclass(frozen=True)
class Dashboard:
    """A dashboard that listens; :meth:`serve` answers requests."""

    url: str
    """The page of the study, or the list of several."""
    storage: MultiStorage
    findings: StudyNotes
    refresh: float
    _server: Any
    _sockets: dict[int, Any]
    """The open sockets of the server."""
    _stop: threading.Event = field(default_factory=threading.Event)

    def serve(self) -> None:
        """Answer requests until interrupted or closed, and keep the findings up to date meanwhile."""
        keeper = threading.Thread(target=self.findings.keep_up, args=(self.refresh, self._stop), name="findings")
        keeper.start()
        try:
            self._server.run()  # returns when interrupted, without raising KeyboardInterrupt
        finally:
            self._stop.set()
            wasyncore.close_all(self._sockets)
            self._server.task_dispatcher.shutdown()
            keeper.join()

    def close(self) -> None:
        """End :meth:`serve`, from another thread or in advance."""
        self._stop.set()
        # ``server.close()`` alone would wait for connections that browsers keep open.
        with contextlib.suppress(OSError):  # the server may have ended
            self._server.trigger.pull_trigger(partial(wasyncore.close_all, self._sockets))


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
    notify: Callable[[str], None] = lambda line: print(f"note: {line}", file=sys.stderr),
) -> Dashboard:
    """Listen at ``host`` and ``port`` with Optuna's dashboard on the storages of studies.

    Without a password it serves this machine alone, and answers only requests that name this machine, so that no web
    page elsewhere can use it.

    Args:
        studies: each as :func:`study.results.locate.find_study` takes it, with ``results`` and ``storage``.
        results: folder of studies.
        storage: URL of an Optuna storage that holds all of them; None for the ``study.db`` of each study's folder.
        host: address to listen at.
        port: 0 takes a free one.
        password_file: holds the password that requests need; None for no password.
        read_only: whether to refuse every change.
        refresh: seconds between two updates of the findings.
        notify: receives a line for each fault while the dashboard is served.

    Raises:
        UsageError: when an address that other machines reach comes without a password, or its file cannot be used.
        StudyError: when there is no such study, or nothing can listen there.
    """
    if password_file is None and not is_loopback(host):
        raise UsageError(f"--host {host} lets other machines in: give a password with --password-file FILE")
    password = None if password_file is None else read_password(password_file)
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # else Optuna logs each study that it has in memory
    sources = {find_study(study, results, storage): study for study in dict.fromkeys(studies)}
    archived = [location.url for location in sources if is_read_only(location.url)]
    if archived and not read_only:
        raise StudyError(f"{public_url(archived[0])} cannot be written: add --read-only to look at it")
    joined = MultiStorage(list(sources), read_only=read_only)
    if joined.note_fault is not None:
        notify(f"notes of trials are not shown, and no notes are written: {joined.note_fault}")
    application: Application = _without_parameters(
        optuna_dashboard.wsgi(joined, artifact_store=joined.artifacts), joined
    )
    application = with_limits(application, read_only=read_only)
    application = only_from_here(application) if password is None else with_password(application, password)
    application = well_formed(application)
    listening, address = _listen(host, port)
    sockets: dict[int, Any] = {}
    server = waitress.create_server(
        application,
        map=sockets,
        sockets=[listening],
        threads=_THREADS,
        connection_limit=_CONNECTIONS,
        channel_timeout=_IDLE_SECONDS,
        cleanup_interval=_IDLE_SECONDS // 3,
        ident=None,
        max_request_body_size=_LARGEST_REQUEST,
        clear_untrusted_proxy_headers=True,
    )
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a request that has to wait is normal
    readers = {
        joined.shown_name(location): partial(read_study, study, results, storage) for location, study in sources.items()
    }
    page = f"studies/{joined.get_study_id_from_name(next(iter(readers)))}" if len(readers) == 1 else ""
    return Dashboard(
        f"{address}/dashboard/{page}", joined, StudyNotes(joined, readers, notify), refresh, server, sockets
    )


def _without_parameters(application: Application, storage: MultiStorage) -> Application:
    """Return empty importances of a study without parameters, such as a confirmation: Optuna's dashboard fails."""

    def answered(environ: Environment, start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = _IMPORTANCES.fullmatch(environ.get("PATH_INFO", ""))
        with contextlib.suppress(KeyError):  # no such study: the application answers that
            if request and not any(trial.params for trial in storage.get_all_trials(int(request[1]), deepcopy=False)):
                start_response("200 OK", [("Content-Type", "application/json")])
                return [json.dumps({"param_importances": [[]]}).encode()]
        return application(environ, start_response)

    return answered


def _listen(host: str, port: int) -> tuple[socket.socket, str]:
    """Return a socket that listens, and its address as a URL.

    Raises:
        StudyError: when nothing can listen there.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family)
    except (OSError, OverflowError) as error:
        reason = str(getattr(error, "strerror", None) or error).partition(" (while attempting")[0]  # of create_server
        raise StudyError(f"cannot listen at {host}:{port} ({reason}): choose another --port or --host") from None
    shown = f"[{host}]" if ":" in host else host
    return listening, f"http://{shown}:{listening.getsockname()[1]}"
