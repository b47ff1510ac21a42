"""A study in words: what it is about when it begins, what it found when it ends."""

import pandas as pd

from drft.config.trial_config import BackboneConfig
from study.results.metric_names import score_text
from study.results.study_metadata import describe_split
from study.results.study_results import StudyInfo, StudyResults
from study.samplers.factory import sampler_notes
from study.setup.plan import StudyPlan
from study.space import BoundSpace
from study.tuner.stopping import RunOutcome


def opening_words(plan: StudyPlan[BoundSpace], where: str = "here") -> list[str]:
    """Say what is about to be studied; ``where`` says how many trials run at once, and on what."""
    metadata, split, backbones = plan.metadata, plan.metadata.split, plan.backbones
    parts = describe_split(split, f"{split['n_train']} to train, {split['n_validation']} to validate")
    return [
        f"Study {metadata.name} in {plan.folder}",
        f"  data      {metadata.dataset['name']}: {parts}, {split['n_test']} sealed for the test",
        *(f"  backbone  {one.name}, {plan.space.counts[one.name]} blocks, weights {one.weights}" for one in backbones),
        (
            f"  search    {len(plan.space.dimensions)} dimensions of {plan.space.name}, "
            f"{metadata.sampler}, {metadata.pruner}"
        ),
        f"  trials    {metadata.trials_wanted} wanted, {where}",
        *_limit(metadata.max_gap),
        *(
            f"  note      {note}"
            for note in (
                *(note for one in backbones for note in _weights_notes(one)),
                *sampler_notes(metadata.sampler, plan.space, metadata.max_gap),
            )
        ),
    ]


def _limit(max_gap: float | None) -> list[str]:
    return [] if max_gap is None else [f"  limit     only trials with a gap of {max_gap:g} or less can be the best"]


def _weights_notes(backbone: BackboneConfig) -> list[str]:
    """Say what is taken for granted of a weight file: the wrong normalization costs accuracy without any error."""
    if backbone.weights in {"embedded", "hub", "none"} or backbone.normalization != "auto":
        return []
    asked = f"inputs are normalized as the weight file says, else as timm does for {backbone.name}"
    return [f"{asked}; --normalization says otherwise"]


def closing_words(results: StudyResults, outcome: RunOutcome, command: str) -> list[str]:
    """Say what a study found, how sure that is, and how to go on."""
    return [
        "",
        _how_it_ended(outcome),
        *_insight(results, outcome),
        *(_how_to_go_on(outcome, command) if outcome.ended not in {"done", "noise"} else []),
    ]


def _how_it_ended(outcome: RunOutcome) -> str:
    progress = outcome.progress
    counts = f"{progress.complete} trials ran to their end, {progress.pruned} pruned, {progress.failed} failed"
    how = {
        "done": "Done",
        "time": "Time is up",
        "interrupted": "Interrupted",
        "failing": f"Stopped, for nearly every trial fails ({outcome.reason})",
        "noise": f"Stopped, for further trials could show nothing but noise ({outcome.reason})",
    }
    minutes, seconds = divmod(round(outcome.seconds), 60)
    return f"{how[outcome.ended]} after {minutes} min {seconds} s: {counts}."


def _how_to_go_on(outcome: RunOutcome, command: str) -> list[str]:
    stopped = f"Stopped under way, to be run again: {outcome.requeued}. " if outcome.requeued else ""
    return [f"{stopped}To go on: {command}"]


def _insight(results: StudyResults, outcome: RunOutcome) -> list[str]:
    complete = results.complete
    if complete.empty:
        return []
    return [
        *_best(results, outcome),
        *_best_step_against_last(complete),
        *_gap_by_depth(results.of_best_backbone(complete)),
        _how_sure(results.info),
    ]


def _best(results: StudyResults, outcome: RunOutcome) -> list[str]:
    if outcome.progress.best is None:
        return [none_feasible(results.info.max_gap, outcome.progress.infeasible)]
    number, value = outcome.progress.best.number, outcome.progress.best.value
    rows = results.trials[results.trials["number"] == number]
    (trial,) = rows.itertuples(index=False)
    backbone = rows["backbone.name"].item() if results.info.backbones else None
    capacity = f"{trial.trainable_fraction:.1%} of the backbone's parameters"
    score = f"validation {score_text(results.info.metric, value)} at step {trial.best_step} ({trial.best_phase} phase)"
    depth = f"depth {trial.depth} of {results.info.block_count(backbone)}{f' of {backbone}' if backbone else ''}"
    return [f"Best is trial {number}: {depth} ({capacity}), {score}."]


def none_feasible(max_gap: float | None, infeasible: int) -> str:
    """Say that no trial can be the best one."""
    limit = "the limit" if max_gap is None else f"{max_gap:g}"
    return f"No trial is feasible: all {infeasible} that ran to their end have a gap above {limit} at their best step."


def _best_step_against_last(complete: pd.DataFrame) -> list[str]:
    best, last = complete["val_accuracy_best"], complete["val_accuracy_last"]
    peaks = f"validation peaks at step {complete['best_step'].median():g} (median)"
    if (best <= last).all():
        return [f"Of {len(complete)} trials that ran to their end, each was best at its last step."]
    before = (best > last).mean()
    words = (
        f"Best step against last: {peaks} of {complete['last_step'].max()}; accuracy is {best.mean():.3f} there and "
        f"{last.mean():.3f} at the last step, on average over {len(complete)} trials that ran to their end. "
        f"{before:.0%} of them would have lost by keeping the last epoch."
    )
    return [words]


def _gap_by_depth(complete: pd.DataFrame) -> list[str]:
    by_depth = complete.groupby("depth")["gap_last"].agg(["mean", "size"])
    if len(by_depth) < 2:
        return []
    shallow, deep = by_depth.iloc[0], by_depth.iloc[-1]
    words = (
        f"Train accuracy is ahead of validation accuracy by {shallow['mean']:+.3f} at depth {by_depth.index[0]} "
        f"(n = {shallow['size']:.0f}) and by {deep['mean']:+.3f} at depth {by_depth.index[-1]} "
        f"(n = {deep['size']:.0f}), last step."
    )
    return [words]


def _how_sure(info: StudyInfo) -> str:
    n = int(info.split["n_validation"])
    rendered = " These are rendered images, not patients." if info.dataset["rendered"] else ""
    return f"One of {n} validation images is worth {1 / n:.3f}: small differences are noise.{rendered}"
