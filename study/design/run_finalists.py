"""Cross-validate the finalists of a study in rounds: the first with all of them, later ones with the leading depths."""

from dataclasses import replace

from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from rich.console import Console

from drft.config.trial_config import SplitConfig
from study.analysis.estimators.intervals import Withheld
from study.analysis.evidence import read_verdict
from study.analysis.remaining_finalists import next_trainings
from study.design.choose_finalists import choose_finalists
from study.results.finalists_plan import (
    FOLDS,
    ROUNDS,
    FinalistsPlan,
    finalists_location,
    read_finalists,
)
from study.results.planned_study import PLANNED
from study.results.study_folder import StudyFolder
from study.results.study_results import StudyResults
from study.run_trials import print_lines, run_trials
from study.setup.options import RunOptions
from study.setup.placement import ExecutorChoice
from study.setup.plan import StudyPlan, about_split
from study.space import BoundSpace
from study.tuner.runtime_estimate import expected_seconds, past_trainings
from study.tuner.stopping import RunOutcome


def run_finalists(
    study: StudyResults,
    search: StudyPlan[BoundSpace],
    options: RunOptions,
    choice: ExecutorChoice,
    console: Console,
    seconds: float = 0.0,
) -> RunOutcome | None:
    """Train the finalists that are not trained yet.

    The finalists are chosen once: a study that is resumed keeps them, even if it has more trials by then.

    Args:
        study: the finished search.
        search: its plan.
        options: of the run.
        choice: the executor.
        console: where progress is shown.
        seconds: how long the search ran; ``options.timeout`` limits search and finalists together.

    Returns:
        The outcome of the last round; None if nothing was left to train.
    """
    before = read_finalists(study)
    if before is None:
        finalists = choose_finalists(study, search.space)
        plan = FinalistsPlan(study.info.name, study.info.seed, len(study.finished), FOLDS, ROUNDS, finalists)
    else:
        plan = before.plan
    planned = _study_plan(search, plan, study)
    outcome: RunOutcome | None = None
    queued: set[int] = set()
    while True:
        so_far = read_finalists(study)
        missing = next_trainings(plan, so_far, given_up=queued)
        if not missing:
            break
        queued.update(missing)
        taken = so_far.taken if so_far else frozenset()
        waiting = [index for index in missing if index not in taken]
        past = past_trainings(study.location.open().get_trials(deepcopy=False))
        waiting.sort(key=lambda index: -expected_seconds(plan.config(index), past))  # the longest first
        number = plan.locate(missing[0])[0] + 1
        names = dict.fromkeys(plan.finalists[plan.locate(index)[2]].name for index in missing)
        print_lines(console, [f"Round {number} of cross-validation, in {plan.folds} folds: {', '.join(names)}"])
        left = None if options.timeout is None else max(0.0, options.timeout - seconds)
        limits = replace(options, trials=len(taken) + len(waiting), keep_checkpoints=plan.size, timeout=left)
        outcome = run_trials(planned, limits, choice, console, list(plan.queue(waiting)))
        seconds += outcome.seconds
        if outcome.ended != "done":
            return outcome
    _drop_checkpoints(study, options.keep_checkpoints)
    return outcome


def _drop_checkpoints(study: StudyResults, kept: int) -> None:
    """Remove the finalists' checkpoints but those of the recommended depth and of the ``kept`` best trainings."""
    finalists, verdict = read_finalists(study), read_verdict(study)
    if finalists is None or isinstance(verdict, Withheld):
        return
    best = finalists.results.complete["number"].head(kept).astype(int)
    folder = StudyFolder(finalists.results.info.folder, study.info.classes)
    folder.find_checkpoints()
    folder.keep_checkpoints([*verdict.trials, *best])


def _study_plan(search: StudyPlan[BoundSpace], plan: FinalistsPlan, study: StudyResults) -> StudyPlan[FinalistsPlan]:
    location = finalists_location(study.location)
    base = plan.config(0)
    metadata = replace(
        search.metadata,
        name=location.name,
        space=plan.text,
        space_fingerprint=plan.fingerprint,
        split=about_split(search.dataset, SplitConfig(folds=plan.folds, fold=0, seed=base.split.seed)),
        base_config=base,
        sampler=PLANNED,
        pruner="none",
        trials_wanted=plan.size,
    )
    return StudyPlan(
        metadata=metadata,
        space=plan,
        sampler=RandomSampler(),  # never asked: every trial is queued with its configuration
        pruner=NopPruner(),
        workload=search.workload,
        dataset=search.dataset,
        backbones=search.backbones,
        image_sizes=search.image_sizes,
        slots=search.slots,
        storage=location.url,
        folder=location.folder,
    )
