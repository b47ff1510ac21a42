"""Pruners replayed on studies that were run: the epochs that each would have saved, and the best trials it would stop.

::

    python -m benchmarks.pruners
    python -m benchmarks.pruners --seeds 101 102 --trials 27
    python -m benchmarks.pruners --folder FOLDER/70-trials --seeds 2 3 4 --trials 70
    python -m benchmarks.pruners --report results/reference/idrid --orders 20

Searches rendered data sets without pruning, or takes a report. The completed trials are replayed, epoch by epoch, in
their own order and in random ones. As in a study, pruners see the best score so far, and cannot prune before the head
phase and one more epoch are over. The control arm is never pruned. Searches are kept in a folder without checkpoints,
and resumed; the third command replays those of the judge (``benchmarks.verdict --folder FOLDER``).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
import pandas as pd
from optuna.trial import TrialState
from rich.console import Console

from benchmarks.arguments import command_parser
from benchmarks.machine import describe_run
from benchmarks.pages import ResultTable, mean_text, publish
from drft.data.progress import silent
from drft.errors import StudyError
from study.pruners.factory import make_pruner
from study.pruners.predictive import TOP
from study.results.study_results import read_study
from study.run_trials import run_trials
from study.setup.options import RunOptions
from study.setup.placement import choose_executor
from study.setup.plan import prepare

PRUNERS = ("asha", "median", "predictive")
FEW = 5
"""The number of best trials on which a report audits pruners."""

SEEDS = range(101, 121)
"""Of rendered data sets; those of the judge have lower seeds."""

_MAX_DEPTH = 1000
_SHARE = "{:.0f}%"
_COLUMNS = ("pruner", "order", "stopped", "epochs saved", f"of the best {FEW}, stopped", "of the best quarter, stopped")
_DEFINITIONS = (
    "Stopped: trials that would not have run to their end; trials of the control arm run on and count as stopped all "
    "the same. Epochs saved: of all epochs of the replayed trials; the control arm is included and saves none. The "
    "best: with the trials that tie with the last of them. Means over studies with 95 % t intervals."
)
_NOT_REPLAYED = "The sampler is not replayed; it would have learned from other trials."
_LIMITS = (
    "Only completed trials can be replayed: how a pruned trial would have ended is not known. Where the study had a "
    "pruner, its completed trials, the control arm apart, are those that it did not stop: every pruner finds fewer "
    "weak trials among them than it would in a study, saves less, and can lose more. " + _NOT_REPLAYED
)


class TrialCurve(NamedTuple):
    """One completed trial."""

    depth: int
    control: bool
    head_steps: int
    scores: tuple[float, ...]
    """Best score so far at each epoch."""


class Replay(NamedTuple):
    """Effect of a pruner on the trials of a study."""

    stopped: tuple[bool, ...]
    """In the order of the trials; of the control arm, those that would have been stopped."""
    saved: float
    """Share of all epochs."""


def replay(curves: Sequence[TrialCurve], pruner: str) -> Replay:
    """Run trials one after another under a pruner."""
    first = min(curve.head_steps for curve in curves) + 1
    last = max(len(curve.scores) for curve in curves)
    study = optuna.create_study(
        direction="maximize", pruner=make_pruner(pruner, first_step=first, last_step=last), study_name="replay"
    )
    ends = [_run_trial(study, curve) for curve in curves]
    saved = sum(len(curve.scores) - end for curve, end in zip(curves, ends, strict=True) if not curve.control)
    stopped = tuple(end < len(curve.scores) for curve, end in zip(curves, ends, strict=True))
    return Replay(stopped, saved / sum(len(curve.scores) for curve in curves))


def _run_trial(study: optuna.Study, curve: TrialCurve) -> int:
    """Run one trial; return the epoch at which it was stopped, or would have been, and its last epoch otherwise."""
    study.enqueue_trial({"depth": curve.depth})
    trial, would_prune = study.ask(), 0
    trial.suggest_int("depth", 0, _MAX_DEPTH)
    for step, score in enumerate(curve.scores, start=1):
        trial.report(score, step)
        if would_prune or not curve.head_steps < step < len(curve.scores) or not trial.should_prune():
            continue
        if not curve.control:
            study.tell(trial, state=TrialState.PRUNED)
            return step
        would_prune = step
        trial.set_user_attr("would_prune", step)
    study.tell(trial, curve.scores[-1])
    return would_prune or len(curve.scores)


def search(seed: int, trials: int, folder: Path) -> list[TrialCurve]:
    """Run the search of a study on a rendered data set without pruning, unless it is in the folder already."""
    options = RunOptions(
        goal="depth",
        trials=trials,
        data=f"synthetic:{seed}",
        seed=seed,
        study=f"synthetic-{seed}",
        results=folder,
        pruner="none",
        keep_checkpoints=0,
        report=False,
    )
    plan = prepare(options, silent)
    with choose_executor(plan, options) as choice:
        outcome = run_trials(plan, options, choice, Console(quiet=True))
    if outcome.ended != "done":
        raise StudyError(f"the study {plan.metadata.name} ended as {outcome.ended} {outcome.reason}")
    study = read_study(plan.metadata.name, folder)
    return curves_of(study.trials, study.epochs, study.info.metric)


def read_curves(report: Path) -> list[TrialCurve]:
    """Read the completed trials of a report, by number."""
    trials, epochs = pd.read_csv(report / "trials.csv"), pd.read_csv(report / "epochs.csv")
    metric = json.loads((report / "summary.json").read_text())["study"]["metric"]
    return curves_of(trials, epochs, metric)


def curves_of(trials: pd.DataFrame, epochs: pd.DataFrame, metric: str) -> list[TrialCurve]:
    """Return the curves of the completed trials, by number; arguments as in ``StudyResults``."""
    complete = trials[trials["state"] == "COMPLETE"]
    by_trial = epochs.sort_values("step").groupby("trial")
    curves = []
    for number, depth, control in complete[["number", "depth", "control"]].to_numpy():
        trial = by_trial.get_group(number)
        head_steps = int(trial["phase"].eq("head").sum())
        curves.append(TrialCurve(int(depth), bool(control), head_steps, tuple(trial[f"val_{metric}"].cummax())))
    return curves


def measure(curves: Sequence[TrialCurve], pruner: str, orders: int, seed: int) -> dict[str, Any]:
    """Replay the trials in their own order and in random ones."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rng = np.random.default_rng(seed)
    shuffled = [[curves[index] for index in rng.permutation(len(curves))] for _ in range(orders)]
    return {
        "own": _shares(curves, replay(curves, pruner)),
        "random": [_shares(order, replay(order, pruner)) for order in shuffled],
    }


def _shares(curves: Sequence[TrialCurve], effect: Replay) -> dict[str, float]:
    finals = np.array([curve.scores[-1] for curve in curves])
    stopped = np.array(effect.stopped)

    def among_best(count: int) -> float:
        return float(stopped[finals >= np.sort(finals)[-count]].mean())

    return {
        "stopped": float(stopped.mean()),
        "saved": effect.saved,
        "few": among_best(min(FEW, len(finals))),
        "quarter": among_best(ceil(TOP * len(finals))),
    }


def table(measured: Mapping[str, Sequence[Mapping[str, Any]]]) -> ResultTable:
    """Return two rows for each pruner: own order and random orders, means over studies with 95 % intervals."""
    rows = []
    for pruner, studies in measured.items():
        own = [study["own"] for study in studies]
        rows.append((pruner, "own", *(mean_text([shares[name] for shares in own], _SHARE) for name in own[0])))
        if studies[0]["random"]:
            means = [{name: np.mean([s[name] for s in study["random"]]) for name in own[0]} for study in studies]
            random = (mean_text([float(shares[name]) for shares in means], _SHARE) for name in own[0])
            rows.append((pruner, "random", *random))
    return _COLUMNS, rows


def run(
    studies: Mapping[str, Sequence[TrialCurve]], orders: int, seed: int, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Replay studies under each pruner; return the result as it is written to JSON."""
    measured = {}
    for pruner in PRUNERS:
        progress(pruner)
        measured[pruner] = [measure(curves, pruner, orders, seed) for curves in studies.values()]
    label = next(iter(studies)) if len(studies) == 1 else f"{len(studies)} studies of rendered images"
    return {
        **describe_run("pruners", f"replayed on {label}"),
        "studies": [
            {"name": name, "trials": len(curves), "control": sum(curve.control for curve in curves)}
            for name, curves in studies.items()
        ],
        "orders": orders,
        "seed": seed,
        "pruners": measured,
    }


def main() -> None:
    """Search, replay, print, write."""
    parser = command_parser("pruners", __doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[*SEEDS], help="of rendered data sets; 101 to 120")
    parser.add_argument("--trials", type=int, default=45, help="trials of each")
    parser.add_argument("--folder", type=Path, default=Path("results/pruners"), help="where these studies are kept")
    parser.add_argument("--report", type=Path, help="folder of a report, to replay it instead")
    parser.add_argument("--orders", type=int, default=10, help="random orders in addition to the study's own")
    parser.add_argument("--seed", type=int, default=0)
    args, console = parser.parse_args(), Console()
    studies: dict[str, Sequence[TrialCurve]] = {}
    if args.report:
        studies[args.report.name] = read_curves(args.report)
    else:
        for seed in args.seeds:
            studies[f"synthetic:{seed}"] = search(seed, args.trials, args.folder)
            console.print(f"searched synthetic:{seed}")
    result = run(studies, args.orders, args.seed, console.print)
    total = sum(study["trials"] for study in result["studies"])
    control = sum(study["control"] for study in result["studies"])
    counts = f"{total} completed trials, {control} of them of the control arm, in {len(studies)} studies"
    notes = (f"{counts}; {args.orders} random orders.", _DEFINITIONS, _LIMITS if args.report else _NOT_REPLAYED)
    stem = args.out / (f"pruners-{args.report.name}" if args.report else "pruners")
    publish("Pruners", stem, result, [table(result["pruners"])], notes, console)


if __name__ == "__main__":
    main()
