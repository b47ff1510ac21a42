"""Cross-validate the finalists of a study in rounds: the first with all of them, later ones with the leading depths."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from rich.console import Console

from drft.config.trial_config import SplitConfig
from study.analysis.estimators.intervals import Withheld
from study.analysis.evidence import read_evidence, read_verdict
from study.analysis.verdict import CONFIDENCE, decide_depth
from study.design.choose_finalists import choose_finalists
from study.results.finalists_plan import (
    CONTENDERS,
    FOLDS,
    ROUNDS,
    Finalists,
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
    finished = len(study.finished)
    if before is None:
        finalists = choose_finalists(study, search.space)
        plan = FinalistsPlan(study.info.name, study.info.seed, finished, FOLDS, ROUNDS, finalists)
    else:
        plan = before.plan
        if plan.trials < finished:
            print_lines(console, [f"The finalists were chosen after {plan.trials} trials, and are kept."])
    planned = _study_plan(search, plan, study)
    outcome: RunOutcome | None = None
    queued: set[int] = set()
    while True:
        so_far = read_finalists(study)
        missing = _missing(plan, so_far, given_up=queued)
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


def are_finished(finalists: Finalists) -> bool:
    """Return whether no training of any round is left: then the verdict and the model do not change any more."""
    return not _missing(finalists.plan, finalists)


def _drop_checkpoints(study: StudyResults, kept: int) -> None:
    """Remove the finalists' checkpoints but those of the recommended depth and of the ``kept`` best trainings."""
    finalists, verdict = read_finalists(study), read_verdict(study)
    if finalists is None or isinstance(verdict, Withheld):
        return
    best = finalists.results.complete["number"].head(kept).astype(int)
    folder = StudyFolder(finalists.results.info.folder, study.info.classes)
    folder.find_checkpoints()
    folder.keep_checkpoints([*finalists.of_depth(verdict.recommended_depth), *best])


def _missing(plan: FinalistsPlan, finalists: Finalists | None, given_up: Collection[int] = ()) -> list[int]:
    """Return the trainings that come next and are not over; none at the end.

    The leading depths are in all rounds, and so is the depth that is recommended in the end: the gain of an ensemble
    is known from several rounds alone.

    Args:
        plan: of the finalists.
        finalists: what is trained; None for nothing.
        given_up: trainings that are not waited for, such as those that failed for good.
    """
    over = {*given_up, *(finalists.done if finalists else ()), *(finalists.diverged if finalists else ())}
    for number in range(plan.rounds):
        missing = [index for index in plan.indices(number, _contenders(plan, finalists, number)) if index not in over]
        if missing or finalists is None:
            return missing
    assert finalists is not None
    depths = read_evidence(finalists).depths
    if len(depths) < 2:
        return []
    recommended = [plan.position(decide_depth(depths).recommended_depth)]
    rounds = (plan.indices(number, recommended) for number in range(plan.rounds))
    return [index for indices in rounds for index in indices if index not in over]


def _contenders(plan: FinalistsPlan, finalists: Finalists | None, number: int) -> Sequence[int]:
    """Return the positions of the finalists of a round: in the first round all of them.

    Later, the depths whose accuracy is most probably within the tolerance of the best one's, if that is not unlikely.
    """
    if number == 0 or finalists is None:
        return range(len(plan.finalists))
    depths = read_evidence(finalists, number).depths
    if len(depths) < 2:
        return []
    likely = sorted(decide_depth(depths).by_depth, key=lambda row: -row.probability_within)[:CONTENDERS]
    return sorted(plan.position(row.depth) for row in likely if row.probability_within > 1 - CONFIDENCE)


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
