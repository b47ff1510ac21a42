"""The report's figures and summary, saved into studies where the dashboard shows them, and kept up to date."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
import optuna_dashboard
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from drft.errors import StudyError
from study.analysis import Statistics, summarize
from study.report.chapters import all_exhibits, write_chapters
from study.report.page import DISCLAIMER, RENDERED
from study.report.wording import answer
from study.results.study_results import StudyInfo, StudyResults, read_study

NOTE_HEADING = "## What drft-study found"
"""Opens our note: a note that opens otherwise was written by a person, and is left alone."""

CARD_HEIGHT = 440
"""Pixels: what the dashboard leaves for a figure."""

_TOP = 90
"""Of these for the title, and the legend under it."""

_SHARE = 0.1
"""At most this part of a processor goes into keeping up with a study that runs beside."""

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True, slots=True)
class StudySource:
    """Where a study is read from, as :func:`study.results.study_results.read_study` takes it."""

    study: str
    results: Path
    storage: str | None

    def read(self) -> StudyResults:
        """Read the study as it is now."""
        return read_study(self.study, self.results, self.storage)


class StudyNotes:
    """Saves what the report finds into studies, anew whenever trials have finished.

    Args:
        studies: by their source, as the dashboard's storage opens them.
        tell: told, once, what cannot be saved.
    """

    def __init__(self, studies: Sequence[tuple[StudySource, optuna.Study]], tell: Callable[[str], None]) -> None:
        self._studies = studies
        self._tell = tell
        self._told: set[str] = set()
        self._finished: dict[int, int] = {}
        self._figures: dict[tuple[int, str], str] = {}

    def keep_up(self, every: float, stop: threading.Event) -> None:
        """Look for finished trials until told to stop, no more often than every so many seconds."""
        while not stop.is_set():
            started = time.thread_time()
            self.refresh()
            stop.wait(max(every, (time.thread_time() - started) / _SHARE))

    def refresh(self) -> None:
        """Save the findings of each study of which trials have finished since the last time."""
        for source, study in self._studies:
            try:
                finished = len(study.get_trials(deepcopy=False, states=_FINISHED))
                if finished != self._finished.get(study._study_id):
                    self._save(source, study)
                    self._finished[study._study_id] = finished
            except (StudyError, SQLAlchemyError, optuna.exceptions.OptunaError, KeyError) as error:
                # KeyError is how Optuna says that a study was deleted.
                self._tell_once(f"the findings of {source.study} cannot be saved: {_reason(error)}")

    def _save(self, source: StudySource, study: optuna.Study) -> None:
        results = source.read()
        statistics = summarize(results)
        self._save_figures(study, results, statistics)
        _save_note(study, results.info, statistics)

    def _save_figures(self, study: optuna.Study, results: StudyResults, statistics: Statistics) -> None:
        exhibits = all_exhibits(write_chapters(results, statistics))
        for place, exhibit in enumerate(exhibits, start=1):
            if exhibit.drawings:
                drawing = exhibit.drawings["wide"]
                title = {"text": exhibit.title, "x": 0.01, "y": 0.98, "font": {"size": 17}}
                legend = {"y": 1 - 64 / CARD_HEIGHT, "yref": "container"}
                drawing.update_layout(title=title, margin={"t": _TOP}, height=CARD_HEIGHT, legend=legend)
                key, drawn = (study._study_id, f"drft-{place}-{exhibit.id}"), drawing.to_json()
                # Optuna writes a figure in many pieces, each in a transaction of its own.
                if self._figures.get(key) != drawn:
                    optuna_dashboard.save_plotly_graph_object(study, drawing, graph_object_id=key[1])
                    self._figures[key] = drawn

    def _tell_once(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self._tell(line)


def _save_note(study: optuna.Study, info: StudyInfo, statistics: Statistics) -> None:
    written = optuna_dashboard.get_note(study)
    if written and not written.startswith(NOTE_HEADING):
        return
    banner = [f"> **{RENDERED}**"] if info.dataset["rendered"] else []
    answers = [f"**{sentence.question}** {sentence.text}" for sentence in answer(statistics)]
    where = f"The whole report: `drft-study report {info.name}`."
    note = "\n\n".join([NOTE_HEADING, *banner, *answers, where, DISCLAIMER])
    if note != written:
        optuna_dashboard.save_note(study, note)


def _reason(error: Exception) -> str:
    lines = str(error.__cause__ or error).splitlines()
    return lines[0] if lines else type(error).__name__
