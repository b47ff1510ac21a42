"""drft-study as a compared program: a real study with storage, workers, records and checkpoints, and an empty cache."""

import os
import time
from typing import Any

import optuna
import yaml
from rich.console import Console

from benchmarks.peer_measurement import EpochScores, ProgramMeasurement, TrialMeasurement
from benchmarks.plan import BenchmarkPlan
from drft.config.trial_config import STRENGTHS
from drft.data.progress import silent
from drft.errors import DrftError
from study.results.study_results import StudyResults, read_study
from study.run import run_plan
from study.setup.options import RunOptions
from study.setup.plan import StudyPlan, prepare
from study.space import BoundSpace
from study.storage.open import close_storage, open_storage
from study.tuner.trial_scheduler import TrialScheduler

_SEARCH = {
    "depth": {"type": "int", "low": 0, "high": "all"},
    "augmentation.strength": {"type": "float", "low": 0, "high": STRENGTHS[-1], "step": 0.25},
}


def run(plan: BenchmarkPlan) -> ProgramMeasurement:
    """Run all trials of a plan as one study; decoding the images and filling the cache are measured as well."""
    os.environ["DRFT_CACHE"] = str(plan.folder / "cache")  # the workers inherit it
    options = study_options(plan)
    started = time.perf_counter()
    prepared = prepare(options, silent)
    ready = time.perf_counter()
    enqueue(prepared, plan)
    outcome = run_plan(prepared, options, Console())
    ended = time.perf_counter()
    if outcome.ended != "done" or outcome.progress.complete != len(plan.trials):
        raise DrftError(f"the study ended as {outcome.ended} with {outcome.progress.complete} complete trials")
    return ProgramMeasurement(
        setup_seconds=ready - started,
        seconds=ended - ready,
        trials=_trials(read_study(prepared.metadata.name, options.results)),
        workers=len(prepared.slots),
        threads=prepared.slots[0].threads,
    )


def study_options(plan: BenchmarkPlan, **changes: Any) -> RunOptions:
    """Return the options with which a user would run this study; its search space is written to a file."""
    config = plan.trials[0]
    fixed = config.model_dump(mode="json", exclude={"seed", "depth", "image_size", "backbone", "metric"})
    del fixed["augmentation"]
    space = plan.folder / "space.yaml"
    space.write_text(yaml.safe_dump({"name": "benchmark", "fixed": fixed, "search": _SEARCH}))
    options: dict[str, Any] = {
        "trials": len(plan.trials),
        "goal": "best",
        "space": str(space),
        "data": str(plan.table),
        "study": "benchmark",
        "results": plan.folder / "results",
        "backbone": config.backbone.name,
        "weights": config.backbone.weights,
        "normalization": config.backbone.normalization,
        "image_size": config.image_size,
        "jobs": plan.jobs,
        "pruner": "none",
        "report": False,
        "command": "python -m benchmarks.peers",
    }
    return RunOptions(**{**options, **changes})


def enqueue(prepared: StudyPlan[BoundSpace], plan: BenchmarkPlan) -> None:
    """Create the study and enqueue the plan's trials with their seeds, so that they run before any other trial."""
    storage = open_storage(prepared.storage)
    TrialScheduler(prepared.metadata, prepared.space, storage, prepared.sampler, prepared.pruner)
    study = optuna.load_study(study_name=prepared.metadata.name, storage=storage)
    for config in plan.trials:
        params = {"depth": config.depth, "augmentation.strength": config.augmentation.strength}
        study.enqueue_trial(params, user_attrs={"seed": config.seed})
    close_storage(storage)


def _trials(results: StudyResults) -> tuple[TrialMeasurement, ...]:
    epochs = results.epochs.groupby("trial")
    return tuple(
        TrialMeasurement(
            number=number,
            depth=depth,
            seconds=seconds,
            epochs=tuple(map(EpochScores.model_validate, epochs.get_group(number).to_dict("records"))),
        )
        for number, depth, seconds in results.trials[["number", "depth", "seconds"]].itertuples(index=False)
    )
