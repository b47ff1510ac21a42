"""The state of a study, in lines for the terminal."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from drft.config.trial_config import Metric
from study.results.finalists_plan import finalists_location
from study.results.floor import Floor, read_floor
from study.results.locate import StudyLocation, find_study
from study.results.metric_names import score_text
from study.results.progress import FINISHED, StudyProgress, count, counted, time_left
from study.results.study_metadata import check_schema
from study.results.test_set_openings import find_openings, openings_text
from study.storage import heartbeat
from study.storage.open import open_storage

_FAILURES_SHOWN = 3


def status_lines(study: str, results: Path = Path("results"), storage: str | None = None) -> list[str]:
    """Return the trials by state, the tuner, the best trial, the floor, the last failures and the report of a study.

    Args:
        study: as in :func:`study.results.locate.find_study`.
        results: folder of studies.
        storage: URL of an Optuna storage; None for the ``study.db`` of the study's folder.

    Raises:
        StudyError: when there is no such study, or another program created it.
    """
    location = find_study(study, results, storage)
    opened = location.open()
    attributes = opened.user_attrs
    check_schema(location.name, attributes)
    trials = opened.get_trials(deepcopy=False)
    progress, wanted = count(trials), int(attributes["trials_wanted"])
    finalists = _finalist_trials(location) if attributes.get("goal") == "depth" else None
    floor = read_floor(location.folder)
    openings = find_openings(location, _fingerprint(attributes))
    page = location.folder / "report" / "index.html"
    return [
        f"Study {location.name} in {location.folder}",
        f"  trials    {_states(progress, wanted)}",
        *([] if finalists is None else [f"  finalists {_finalists(finalists)}"]),
        f"  tuner     {_tuner([*trials, *(finalists or ())], progress, wanted)}",
        f"  best      {_best(progress, trials, attributes['metric'])}",
        *([f"  floor     {floor}"] if isinstance(floor, Floor) else []),
        *([f"  test set  {openings_text(openings)}"] if openings else []),
        *_failures(trials),
        f"  report    {page if page.exists() else f'not written yet: drft-study report {location.name}'}",
    ]


def _fingerprint(attributes: Mapping[str, Any]) -> str:
    """Return the fingerprint of the data set; empty if it is damaged: then other studies of it are not found."""
    try:
        return str(json.loads(attributes["cohort"])["fingerprint"])
    except (ValueError, KeyError, TypeError):
        return ""


def _states(progress: StudyProgress, wanted: int) -> str:
    parts = [f"{progress.finished} of {wanted} finished ({progress.complete} complete, {progress.pruned} pruned)"]
    others = {name: getattr(progress, name) for name in ("failed", "interrupted", "running", "waiting")}
    return ", ".join(parts + [f"{number} {name}" for name, number in others.items() if number])


def _finalist_trials(study: StudyLocation) -> Sequence[FrozenTrial]:
    location = finalists_location(study)
    names = optuna.get_all_study_names(open_storage(location.url, create=False))
    return location.open().get_trials(deepcopy=False) if location.name in names else ()


def _finalists(trials: Sequence[FrozenTrial]) -> str:
    if not trials:
        return "not begun: they follow the trials"
    progress = count(trials)
    running = "".join(f", {number} {name}" for name in ("running", "waiting") if (number := getattr(progress, name)))
    return f"{counted(progress.complete, 'training')} of the cross-validation done{running}"


def _tuner(trials: Sequence[FrozenTrial], progress: StudyProgress, wanted: int) -> str:
    owners = {trial.user_attrs.get("owner", "") for trial in trials if trial.state == TrialState.RUNNING}
    if any(tag and heartbeat.is_alive(tag) for tag in owners):
        return f"running, {time_left(_seconds_left(trials, owners, wanted - progress.finished))}"
    return "none; the study is done" if progress.finished >= wanted else "none; run the same command to resume"


def _seconds_left(trials: Sequence[FrozenTrial], owners: set[str], missing: int) -> float | None:
    """Extrapolate the pace of the running tuners; None before their first finished trial."""
    theirs = [trial for trial in trials if trial.user_attrs.get("owner") in owners and trial.datetime_start]
    done = sum(trial.state in FINISHED for trial in theirs)
    if not done:
        return None
    begun = min(trial.datetime_start for trial in theirs if trial.datetime_start)
    return (datetime.now() - begun).total_seconds() / done * max(0, missing)  # noqa: DTZ005 (Optuna's times are naive)


def _best(progress: StudyProgress, trials: Sequence[FrozenTrial], metric: Metric) -> str:
    if progress.best is None and progress.infeasible:
        return f"none: all {progress.infeasible} complete trials have a gap above the limit of --max-gap"
    if progress.best is None:
        return "no trial has run to its end yet"
    (trial,) = (trial for trial in trials if trial.number == progress.best.number)
    depth, epoch = trial.user_attrs.get("depth"), trial.user_attrs.get("best_step")
    score = score_text(metric, progress.best.value)
    return f"trial {trial.number}, depth {depth}: validation {score} at epoch {epoch}"


def _failures(trials: Sequence[FrozenTrial]) -> list[str]:
    failed = [trial for trial in trials if trial.state == TrialState.FAIL and "requeued" not in trial.user_attrs]
    last = failed[-_FAILURES_SHOWN:]
    return [f"  failed    trial {trial.number}: {trial.user_attrs.get('fail_reason', 'unknown')}" for trial in last]
