"""The state of a study, in lines for the terminal."""

import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from drft.config.trial_config import Metric
from drft.errors import StudyError
from study.results.finalists_plan import Finalists, read_finalists_at
from study.results.floor import Floor, read_floor
from study.results.locate import find_study
from study.results.metric_names import score_text
from study.results.progress import FINISHED, StudyProgress, count, counted, time_left
from study.results.study_metadata import check_schema
from study.results.test_set_openings import find_openings, openings_text
from study.storage import heartbeat
from study.storage.open import public_url

_FAILURES_SHOWN = 3


def status_lines(study: str, results: Path = Path("results"), storage: str | None = None) -> list[str]:
    """Return the trials by state, the tuner, the best trial, the floor, the last failures and the report of a study.

    Args:
        study: as in :func:`study.results.locate.find_study`.
        results: folder of studies.
        storage: URL of an Optuna storage; None for the ``study.db`` of the study's folder.

    Raises:
        StudyError: when there is no such study, another program created it, or it is incomplete.
    """
    location = find_study(study, results, storage)
    opened = location.open()
    attributes = opened.user_attrs
    check_schema(location.name, attributes)
    if "trials_wanted" not in attributes:  # the attribute that a tuner writes last
        raise StudyError(
            f"study {location.name!r} in {public_url(location.url)} is incomplete, it lacks trials_wanted: "
            "run `drft-study run` again to complete it"
        )
    trials = opened.get_trials(deepcopy=False)
    progress, wanted = count(trials), int(attributes["trials_wanted"])
    deep = attributes.get("goal") == "depth"
    finalists = read_finalists_at(location) if deep else None
    floor = read_floor(location.folder)
    openings = find_openings(location, _dataset(attributes))
    page = location.folder / "report" / "index.html"
    report = page if page.exists() else f"not written yet: drft-study report {_arguments(study, results, storage)}"
    return [
        f"Study {location.name} in {location.folder}",
        f"  trials    {_states(progress, wanted)}",
        *([f"  finalists {_finalists(finalists)}"] if deep else []),
        f"  tuner     {_tuner(trials, wanted - progress.finished, finalists, deep=deep)}",
        f"  best      {_best(progress, trials, attributes['metric'])}",
        *([f"  floor     {floor}"] if isinstance(floor, Floor) else []),
        *([f"  test set  {openings_text(openings)}"] if openings else []),
        *_failures(trials),
        f"  report    {report}",
    ]


def _dataset(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is recorded of the data set; empty if it is damaged: then other studies of it are not found."""
    try:
        return dict(json.loads(attributes["cohort"]))
    except (ValueError, KeyError, TypeError):
        return {}


def _states(progress: StudyProgress, wanted: int) -> str:
    parts = [f"{progress.finished} of {wanted} finished ({progress.complete} complete, {progress.pruned} pruned)"]
    others = {name: getattr(progress, name) for name in ("failed", "interrupted", "running", "waiting")}
    return ", ".join(parts + [f"{number} {name}" for name, number in others.items() if number])


def _arguments(study: str, results: Path, storage: str | None) -> str:
    """Return the arguments by which another command finds the study."""
    options = ["--results", str(results)] if results != Path("results") else []
    return shlex.join([study, *options, *(["--storage", public_url(storage)] if storage else [])])


def _finalists(finalists: Finalists | None) -> str:
    if finalists is None or not finalists.trials:
        return "not begun: they follow the trials"
    progress = count(finalists.trials)
    running = "".join(f", {number} {name}" for name in ("running", "waiting") if (number := getattr(progress, name)))
    return f"{counted(progress.complete, 'training')} of the cross-validation done{running}"


def _tuner(trials: Sequence[FrozenTrial], missing: int, finalists: Finalists | None, *, deep: bool) -> str:
    """Say whether a tuner runs; if none does, whether it has something left to do."""
    later = finalists.trials if finalists else ()
    owners = {trial.user_attrs.get("owner", "") for trial in (*trials, *later) if trial.state == TrialState.RUNNING}
    if any(tag and heartbeat.is_alive(tag) for tag in owners):
        # How many trainings follow those that are queued depends on their results.
        queued = sum(not trial.state.is_finished() for trial in later)
        left = time_left(_seconds_left([*trials, *later], owners, queued or missing))
        return f"running, {left}{' for the trials' if deep and not queued else ''}"
    if missing > 0 or (deep and not _are_finished(finalists)):
        return "none; run the same command to resume"
    return "none; the study is done"


def _are_finished(finalists: Finalists | None) -> bool:
    if finalists is None:
        return False
    from study.analysis.remaining_finalists import are_finished  # noqa: PLC0415 (SciPy takes a second to import)

    return are_finished(finalists)


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
