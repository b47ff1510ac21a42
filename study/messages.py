"""The lines that a run prints first and last: the study that it runs, and the results."""

import shlex

import pandas as pd

from drft.config.trial_config import NAMED_WEIGHTS
from study.results.confirmation_plan import HOLD_OUT
from study.results.finalists_plan import FOLDS, read_finalists_at, trainings_of_finalists
from study.results.floor import Floor, NoFloor
from study.results.locate import StudyLocation
from study.results.metric_names import score_text
from study.results.progress import counted
from study.results.study_metadata import describe_split
from study.results.study_results import StudyResults
from study.results.test_set_openings import find_openings, openings_text
from study.samplers.factory import sampler_notes
from study.setup.plan import StudyPlan
from study.space import BoundSpace
from study.storage.open import storage_exists
from study.tuner.stopping import RunOutcome


def opening_lines(plan: StudyPlan[BoundSpace], executor: str = "here") -> list[str]:
    """Return a description of the study. ``executor`` is the number of trials at once and their devices, as text."""
    metadata, split = plan.metadata, plan.metadata.split
    location = StudyLocation(metadata.name, plan.storage, plan.folder)
    openings = find_openings(location, metadata.dataset) if split["n_test"] else ()
    test = f"for the test, {openings_text(openings)}" if openings else "held out for the test"
    parts = describe_split(split, f"{split['n_train']} to train, {split['n_validation']} to validate")
    lines = [
        f"Study {metadata.name} in {plan.folder}",
        f"  data      {metadata.dataset['name']}: {parts}, {split['n_test']} {test}",
        *([f"  labels    {plan.dataset.label_version}"] if plan.dataset.label_version else []),
    ]
    for backbone in plan.backbones:
        blocks = plan.space.block_counts[backbone.name]
        lines.append(f"  backbone  {backbone.name}, {blocks} blocks, weights {backbone.weights}")
    lines += [
        (
            f"  search    {len(plan.space.dimensions)} dimensions of {plan.space.name}, "
            f"sampler {metadata.sampler}, pruner {metadata.pruner}"
        ),
        f"  goal      {metadata.goal} ({plan.goal_reason})",
        f"  trials    {metadata.trials_wanted} wanted, {executor}",
    ]
    if metadata.goal == "depth":
        later = trainings_of_finalists(len(plan.space.values("depth")))
        lines.append(
            f"  then      about {later} trainings: the best configuration of each depth and the untuned one, "
            f"cross-validated in {FOLDS} folds"
        )
    if metadata.max_gap is not None:
        lines.append(f"  limit     only trials with a gap of {metadata.max_gap:g} or less can be the best")
    notes = [
        # Wrong normalization costs accuracy without any error.
        "inputs are normalized as specified in the weight file or usual for its kind, else as by timm for "
        f"{backbone.name}; "
        "--normalization overrides this"
        for backbone in plan.backbones
        if backbone.weights not in NAMED_WEIGHTS and backbone.normalization == "auto"
    ]
    kept = read_finalists_at(location) if metadata.goal == "depth" and storage_exists(plan.storage) else None
    if kept and kept.plan.trials < metadata.trials_wanted:
        notes.append(
            f"the finalists were chosen after {kept.plan.trials} trials and are kept: further trials do not change the "
            "verdict; a new study (--study NAME) chooses its own"
        )
    if openings:
        notes.append("the test images were opened before: later choices are not tested on unseen images")
    notes += sampler_notes(metadata.sampler, plan.space, metadata.max_gap, plan.metadata.goal)
    return [*lines, *(f"  note      {note}" for note in notes)]


def closing_lines(results: StudyResults, outcome: RunOutcome, command: str) -> list[str]:
    """Return how the run ended, the results with their uncertainty, and the command that resumes the study."""
    lines = ["", _ending(outcome)]
    complete = results.complete
    if results.info.goal == "depth" and not complete.empty:
        lines += [floor_line(results.floor), *_verdict(results, finished=outcome.ended == "done")]
    elif not complete.empty:
        n = int(results.info.split["n_validation"])
        rendered = " These are rendered images, not patients." if results.info.dataset["rendered"] else ""
        lines += [
            _best_trial(results, outcome),
            floor_line(results.floor),
            _best_epoch_against_last(complete),
            *_gap_by_depth(results.of_best_backbone(complete)),
            f"One of {n} validation images changes the accuracy by {1 / n:.3f}: small differences are noise.{rendered}",
        ]
    if outcome.ended not in {"done", "noise"}:
        requeued = f"Trials stopped and queued again: {outcome.requeued}. " if outcome.requeued else ""
        lines.append(f"{requeued}To resume: {command}")
    return lines


def _verdict(results: StudyResults, *, finished: bool) -> list[str]:
    # Imported here, since SciPy takes a second to import, and a run needs it at its end only.
    from study.analysis.estimators.intervals import Withheld  # noqa: PLC0415
    from study.analysis.evidence import read_verdict  # noqa: PLC0415
    from study.analysis.verdict_text import verdict_lines  # noqa: PLC0415

    verdict, info = read_verdict(results), results.info
    if isinstance(verdict, Withheld):
        return [f"No verdict: {verdict.reason}."]
    lines = verdict_lines(verdict)
    if info.dataset["rendered"]:
        lines.append("  These are rendered images, not patients.")
    if not finished:  # more trainings follow: the verdict and the model may change
        return lines
    study = shlex.join(info.arguments())
    opens = f"drft-study confirm {study} opens the {info.split['n_test']} test images once;  "
    export = f"drft-study export {study} --out model"
    return [
        *lines,
        f"Next: {opens if info.split['n_test'] else ''}{export}",
        *([] if info.split["n_test"] else [f"There are no test images to confirm this on: {HOLD_OUT}."]),
    ]


def floor_line(floor: Floor | NoFloor) -> str:
    """Return the accuracy of a linear model on frozen features, or why it is unknown."""
    if isinstance(floor, NoFloor):
        return f"There is no floor (a linear model on frozen features): {floor.reason}."
    return f"Floor: {floor}."


def _ending(outcome: RunOutcome) -> str:
    endings = {
        "done": "Done",
        "time": "Time is up",
        "interrupted": "Interrupted",
        "failing": f"Stopped, since nearly every trial fails ({outcome.reason})",
        "noise": f"Stopped, since further trials could improve the best score by noise only ({outcome.reason})",
    }
    minutes, seconds = divmod(round(outcome.seconds), 60)
    progress = outcome.progress
    return (
        f"{endings[outcome.ended]} after {minutes} min {seconds} s: "
        f"{counted(progress.complete, 'trial')} completed, {progress.pruned} pruned, {progress.failed} failed."
    )


def _best_trial(results: StudyResults, outcome: RunOutcome) -> str:
    info, best = results.info, outcome.progress.best
    if best is None:
        limit = "the limit" if info.max_gap is None else f"{info.max_gap:g}"
        trials = counted(outcome.progress.infeasible, "completed trial")
        return f"No trial is feasible: {trials}, each with a gap above {limit} at its best epoch."
    rows = results.trials[results.trials["number"] == best.number]
    (trial,) = rows.itertuples(index=False)
    backbone = rows["backbone.name"].item() if info.backbones else None
    return (
        f"Best is trial {best.number}: depth {trial.depth} of {info.block_count(backbone)}"
        f"{f' of {backbone}' if backbone else ''} ({trial.trainable_fraction:.1%} of the backbone's parameters), "
        f"validation {score_text(info.metric, best.value)} at epoch {trial.best_step} ({trial.best_phase} phase)."
    )


def _best_epoch_against_last(complete: pd.DataFrame) -> str:
    best, last = complete["val_accuracy_best"], complete["val_accuracy_last"]
    if (best <= last).all():
        return f"No completed trial ({len(complete)}) is less accurate at its last epoch than at its best one."
    return (
        f"Best epoch against last: validation peaks at epoch {complete['best_step'].median():g} (median) of "
        f"{complete['last_step'].max()}; accuracy is {best.mean():.3f} there and {last.mean():.3f} at the last epoch, "
        f"on average over {counted(len(complete), 'completed trial')}. {(best > last).mean():.0%} of them would be "
        "worse with the last epoch."
    )


def _gap_by_depth(complete: pd.DataFrame) -> list[str]:
    by_depth = complete.groupby("depth")["gap_last"].agg(["mean", "size"])
    if len(by_depth) < 2:
        return []
    shallow, deep = by_depth.iloc[0], by_depth.iloc[-1]
    text = (
        f"Train minus validation accuracy at the last epoch: {shallow['mean']:+.3f} at depth {by_depth.index[0]} "
        f"(n = {shallow['size']:.0f}), {deep['mean']:+.3f} at depth {by_depth.index[-1]} (n = {deep['size']:.0f})."
    )
    return [text]
