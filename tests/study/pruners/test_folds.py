"""Studies whose trials train once for each fold: the scores in Optuna, pruning, and refused options."""

import io
from dataclasses import replace

import optuna
import pytest
from rich.console import Console

from drft.config.trial_config import SplitConfig, TrialConfig
from drft.errors import StudyError, UsageError
from drft.training.records import FoldEpoch
from study.callbacks.progress_reporter import LiveProgress, trial_line
from study.executors.base import Job, Started
from study.pruners.factory import make_pruner
from study.pruners.folds import check_folds, chosen_pruner
from study.results.epochs import unpack
from study.results.study_metadata import describe_split
from study.setup.options import RunOptions
from study.space import Space
from study.space.seeds import is_control
from tests.helpers.fake_training import fake_record, fake_result, scripted
from tests.helpers.small_study import DepthSpace, open_scheduler

COMPLETE, PRUNED, FAIL = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.FAIL
FOLDS = 5
SPLIT = {"folds": FOLDS, "fold": None}
EVERY, ONE = SplitConfig(**SPLIT), SplitConfig()
BASE = scripted(split=SPLIT)
GOOD, SIMILAR, BAD = [0.6, 0.7, 0.5, 0.6, 0.7], [0.7, 0.6, 0.6, 0.5, 0.7], [0.4, 0.5, 0.3, 0.4, 0.5]


@pytest.fixture
def scheduler(tmp_path):
    pruner = make_pruner("wilcoxon", first_step=3, last_step=5)
    return open_scheduler(tmp_path, DepthSpace(split=SPLIT), pruner, base_config=BASE)


def of_fold(config, fold, step, score):
    """Return an epoch of a fold. The score is highest at epoch 3, where it is the given one."""
    return FoldEpoch.from_record(fake_record(config, step, score - 0.1 * abs(step - 3)), fold)


def train(scheduler, job, scores):
    """Report one fold after another until the trial is pruned, and finish it; return the number of folds that ran."""
    steps = range(1, job.config.steps + 1)
    records = [of_fold(job.config, fold, step, score) for fold, score in enumerate(scores) for step in steps]
    ran = next((n for n, record in enumerate(records, 1) if not scheduler.report(job.number, record)), None)
    result = fake_result(
        job.config, [fake_record(job.config, step) for step in steps], "pruned" if ran else "completed"
    )
    folds = (ran or len(records)) // len(steps)
    scheduler.finish(job.number, replace(result, folds=folds))
    return folds


def next_job(scheduler, *, control=False):
    job = scheduler.ask()
    while is_control(0, job.number) != control:
        scheduler.fail(job.number, "not wanted here")
        job = scheduler.ask()
    return job


def test_optuna_gets_the_best_score_of_each_fold(scheduler):
    job = next_job(scheduler)
    assert train(scheduler, job, GOOD) == FOLDS
    trial = scheduler.tally.trials()[job.number]
    assert (trial.state, trial.user_attrs["folds"]) == (COMPLETE, FOLDS)
    assert trial.intermediate_values == pytest.approx(dict(enumerate(GOOD)))


def test_a_clearly_worse_trial_is_pruned_after_three_folds_and_a_similar_one_is_not(scheduler):
    assert train(scheduler, next_job(scheduler), GOOD) == FOLDS
    bad, similar = next_job(scheduler), next_job(scheduler)
    assert (train(scheduler, bad, BAD), train(scheduler, similar, SIMILAR)) == (3, FOLDS)
    trials = scheduler.tally.trials()
    assert (trials[bad.number].state, trials[similar.number].state) == (PRUNED, COMPLETE)
    assert (trials[bad.number].user_attrs["folds"], scheduler.tally.finished) == (3, 3)


def test_the_control_arm_is_never_pruned_but_the_decision_is_stored(scheduler):
    train(scheduler, next_job(scheduler), GOOD)
    job = next_job(scheduler, control=True)
    assert train(scheduler, job, BAD) == FOLDS
    trial = scheduler.tally.trials()[job.number]
    assert (trial.state, trial.user_attrs["would_prune"]) == (COMPLETE, 2)


def test_a_failed_trial_keeps_one_record_per_epoch(scheduler):
    job = next_job(scheduler)
    for fold, step in [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 1), (1, 2)]:
        scheduler.report(job.number, of_fold(job.config, fold, step, 0.5))
    scheduler.fail(job.number, "it broke")
    trial = scheduler.tally.trials()[job.number]
    assert (trial.state, [record.step for record in unpack(trial.user_attrs)]) == (FAIL, [1, 2])


def test_resuming_with_other_folds_is_refused(scheduler, tmp_path):
    scheduler.ask()
    with pytest.raises(StudyError, match=r"another split\.folds \(5 there, 4 here\)"):
        open_scheduler(tmp_path, base_config=scripted(split={"folds": 4, "fold": None}))
    with pytest.raises(StudyError, match=r"another split\.fold \(None there, 0 here\)"):
        open_scheduler(tmp_path, base_config=scripted(split={"folds": FOLDS}))


def test_the_default_pruner_depends_on_the_folds():
    few = SplitConfig(folds=3, fold=None)
    assert [chosen_pruner(None, split) for split in (ONE, EVERY, few)] == ["predictive", "wilcoxon", "none"]
    assert chosen_pruner(None, ONE, "none") == "none"
    assert chosen_pruner("none", EVERY) == "none"
    assert chosen_pruner("median", ONE, "none") == chosen_pruner("median", SplitConfig(folds=5)) == "median"


@pytest.mark.parametrize(
    ("pruner", "split", "word"),
    [("wilcoxon", ONE, "add --folds 5"), ("wilcoxon", SplitConfig(folds=3, fold=None), "3 folds at the earliest"),
     ("asha", EVERY, "choose wilcoxon or none")],
)  # fmt: skip
def test_unsuitable_pruners_are_refused_in_one_line(pruner, split, word):
    with pytest.raises(UsageError, match=word) as refused:
        chosen_pruner(pruner, split)
    assert len(refused.value.faults) == 1


@pytest.mark.parametrize(
    "text",
    [
        "fixed: {early_stopping.patience: 2}\nsearch: {depth: {type: int, low: 0, high: 2}}",
        "search: {early_stopping.patience: {type: int, low: 0, high: 3}}",
    ],
)
def test_early_stopping_of_folds_is_refused(text):
    space = Space.parse(text, "space.yaml").bind(TrialConfig(split=SPLIT), 8)
    with pytest.raises(UsageError, match=r"early_stopping\.patience"):
        check_folds(None, space)


def test_the_option_folds_sets_the_split():
    assert RunOptions(folds=4).config_values == {"split.folds": 4, "split.fold": None}
    with pytest.raises(UsageError, match="folds should be at least 2"):
        RunOptions(folds=1)


def test_the_progress_shows_fold_and_epoch_and_the_number_of_folds_that_ran():
    job, screen = Job(7, scripted(depth=3, split=SPLIT)), Console(width=100, record=True, file=io.StringIO())
    progress = LiveProgress(Console(file=io.StringIO(), force_terminal=True))
    progress.on_trial_begin(job, Started(7, "cpu-0", "cpu"))
    progress.on_epoch(job, of_fold(job.config, 1, 4, 0.6))
    screen.print(progress._draw())
    assert "fold 2/5, depth phase 2/3" in screen.export_text()
    result = fake_result(job.config, [fake_record(job.config, step) for step in range(1, 6)], "pruned")
    assert trial_line(job, replace(result, folds=3)).startswith("trial 7 (depth 3) pruned after 3 of 5 folds: best")


def test_a_split_into_folds_is_described():
    split = {"n_train": 330, "n_validation": 413}
    assert describe_split(split, "as usual") == "as usual"
    assert describe_split({**split, "folds": 5}, "as usual") == "413 images in 5 folds, each validating once"
