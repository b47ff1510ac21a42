"""The report's figures and summary in the dashboard, kept up to date while studies run."""

import shlex
import threading
import time
from collections.abc import Callable, Mapping

import optuna
import optuna_dashboard
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from drft.errors import StudyError
from study.analysis import summarize
from study.dashboard.multi_storage import MultiStorage
from study.report.chapters import all_figures, write_chapters
from study.report.disclaimer import FULL_DISCLAIMER, RENDERED
from study.report.wording import answer
from study.results.study_results import StudyResults

NOTE_HEADING = "## What drft-study found"
"""The first line of a note by this program. A note that begins otherwise is by a person, and is left alone."""

CARD_HEIGHT = 440
"""Pixels that the dashboard leaves for a figure."""

_TOP = 90
"""Pixels of these for the title and the legend below it."""

_SHARE = 0.1
"""Largest share of one processor that the updates take, since a study may run on the same machine."""

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class StudyNotes:
    """Adds the report's figures and summary to the studies of a dashboard, again whenever trials have finished.

    They stay in memory: no storage changes.

    Args:
        storage: the dashboard's storage.
        readers: functions that read a study as it is now, by the study's shown name.
        notify: receives one line for each reason why a study cannot be read, once.
    """

    def __init__(
        self, storage: MultiStorage, readers: Mapping[str, Callable[[], StudyResults]], notify: Callable[[str], None]
    ) -> None:
        self._storage = storage
        self._readers = readers
        self._notify = notify
        self._notified: set[str] = set()
        self._finished: dict[str, int] = {}

    def keep_up(self, every: float, stop: threading.Event) -> None:
        """Refresh until ``stop`` is set, with at least ``every`` seconds in between."""
        while not stop.is_set():
            started = time.thread_time()
            self.refresh()
            stop.wait(max(every, (time.thread_time() - started) / _SHARE))

    def refresh(self) -> None:
        """Update each study of which trials have finished since the last call."""
        for name, read in self._readers.items():
            try:
                trials = optuna.load_study(study_name=name, storage=self._storage).get_trials(False, _FINISHED)
                if len(trials) != self._finished.get(name):
                    _add_findings(optuna.load_study(study_name=name, storage=self._storage.memory), read())
                    self._finished[name] = len(trials)
            except (StudyError, SQLAlchemyError, optuna.exceptions.OptunaError, KeyError) as error:
                # Optuna raises KeyError for a study that was deleted.
                reasons = str(error.__cause__ or error).splitlines() or [type(error).__name__]
                line = f"the findings of {name} cannot be shown: {reasons[0]}"
                if line not in self._notified:
                    self._notified.add(line)
                    self._notify(line)


def _add_findings(study: optuna.Study, results: StudyResults) -> None:
    statistics = summarize(results)
    for number, figure in enumerate(all_figures(write_chapters(results, statistics)), start=1):
        if figure.drawings:
            drawing = figure.drawings["wide"]
            title = {"text": figure.title, "x": 0.01, "y": 0.98, "font": {"size": 17}}
            legend = {"y": 1 - 64 / CARD_HEIGHT, "yref": "container"}
            drawing.update_layout(title=title, margin={"t": _TOP}, height=CARD_HEIGHT, legend=legend)
            optuna_dashboard.save_plotly_graph_object(study, drawing, graph_object_id=f"drft-{number}-{figure.id}")
    written = optuna_dashboard.get_note(study)
    if written and not written.startswith(NOTE_HEADING):
        return
    banner = [f"> **{RENDERED}**"] if results.info.dataset["rendered"] else []
    answers = [f"**{sentence.question}** {sentence.text}" for sentence in answer(statistics, results.info.metric)]
    report = f"The whole report: `drft-study report {shlex.join(results.info.arguments())}`."
    note = "\n\n".join([NOTE_HEADING, *banner, *answers, report, FULL_DISCLAIMER])
    if note != written:  # else an open page would refuse the edits of a reader, whose version is older
        optuna_dashboard.save_note(study, note)
