"""A study in the Optuna dashboard, with the report's figures and summary saved into it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
import optuna_dashboard
from sqlalchemy.exc import SQLAlchemyError

from drft.errors import StudyError
from study.report.chapters import all_exhibits, write_chapters
from study.report.page import DISCLAIMER, RENDERED
from study.report.statistics import Statistics, summarize
from study.report.wording import answer
from study.results import StudyInfo, StudyResults, find_study, read_study

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

NOTE_HEADING = "## What drft-study found"
"""Opens our note: a note that opens otherwise was written by a person, and is left alone."""

CARD_HEIGHT = 440
"""Pixels: what the dashboard leaves for a figure."""

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True)
class Dashboard:
    """A dashboard that listens, and is not served yet."""

    server: WSGIServer
    url: str
    """Page of the study."""

    def serve(self) -> None:
        """Answer requests until interrupted; then close the port."""
        with self.server:
            self.server.serve_forever()


def open_dashboard(
    study: str,
    results: Path = Path("results"),
    storage: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
) -> Dashboard:
    """Listen at ``host`` and ``port`` with Optuna's dashboard on the storage of a study.

    The dashboard has no password, and whoever reaches it can delete studies. On a loopback address it therefore
    answers only requests that name this machine, so that no web page elsewhere can talk to it.

    Raises:
        StudyError: when there is no such study, or nothing can listen there.
    """
    opened = find_study(study, results, storage).open()
    application: Application = optuna_dashboard.wsgi(opened._storage)
    if host in LOOPBACK:
        application = only_from_here(application)
    try:
        server = make_server(host, port, application, server_class=_ThreadingServer, handler_class=_QuietHandler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StudyError(f"cannot listen at {host}:{port} ({reason}): choose another --port or --host") from None
    return Dashboard(server, f"http://{host}:{server.server_port}/dashboard/studies/{opened._study_id}")


def save_findings(study: str, results: Path = Path("results"), storage: str | None = None) -> None:
    """Save the report's figures and summary into a study, where the dashboard shows them.

    Saved again, they replace the earlier ones. A note that a person wrote is left alone.

    Raises:
        StudyError: when there is no such study, or its storage cannot be written.
    """
    read = read_study(study, results, storage)
    opened = find_study(study, results, storage).open()
    statistics = summarize(read)
    try:
        _save_figures(opened, read, statistics)
        _save_note(opened, read.info, statistics)
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise StudyError(f"cannot save figures into {read.info.url}: {reason}") from None


def only_from_here(application: Application) -> Application:
    """Refuse requests whose ``Host`` or ``Origin`` is another machine (DNS rebinding, cross-site requests)."""

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        host = urlsplit(f"//{environ.get('HTTP_HOST', '')}").hostname
        origin = environ.get("HTTP_ORIGIN")
        if host in LOOPBACK and (origin is None or urlsplit(origin).netloc == environ["HTTP_HOST"]):
            return application(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"This dashboard answers only requests from its own machine.\n"]

    return guarded


def _save_figures(study: optuna.Study, results: StudyResults, statistics: Statistics) -> None:
    exhibits = all_exhibits(write_chapters(results, statistics))
    for place, exhibit in enumerate(exhibits, start=1):
        if exhibit.drawings:
            drawing = exhibit.drawings["wide"]
            title = {"text": exhibit.title, "x": 0.01, "y": 0.98, "font": {"size": 17}}
            drawing.update_layout(title=title, margin={"t": 90}, height=CARD_HEIGHT)
            optuna_dashboard.save_plotly_graph_object(study, drawing, graph_object_id=f"drft-{place}-{exhibit.id}")


def _save_note(study: optuna.Study, info: StudyInfo, statistics: Statistics) -> None:
    written = optuna_dashboard.get_note(study)
    if written and not written.startswith(NOTE_HEADING):
        return
    banner = [f"> **{RENDERED}**"] if info.cohort["rendered"] else []
    answers = [f"**{sentence.question}** {sentence.text}" for sentence in answer(statistics)]
    where = f"The whole report: `drft-study report {info.name}`."
    optuna_dashboard.save_note(study, "\n\n".join([NOTE_HEADING, *banner, *answers, where, DISCLAIMER]))


class _ThreadingServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name it has in the library
        """Keep the terminal for what the user asked for."""
