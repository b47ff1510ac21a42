"""Pruners replayed on a study that was run: the epochs that each would have saved, and the best trials it would stop.

::

    python -m benchmarks.pruners
    python -m benchmarks.pruners --study results/reference/idrid --orders 20

Replays the completed trials of a report, epoch by epoch, in their own order and in random ones. As in a study, pruners
see the best score so far, and cannot prune before the head phase and one more epoch are over. The control arm is never
pruned.
"""

import json
from collections.abc import Callable, Sequence
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
from benchmarks.pages import ResultTable, publish
from study.pruners.factory import make_pruner
from study.pruners.predictive import TOP

PRUNERS = ("asha", "median", "predictive")
FEW = 5
"""The number of best trials on which a report audits pruners."""

_MAX_DEPTH = 1000
_COLUMNS = ("pruner", "order", "stopped", "epochs saved", f"of the best {FEW}, stopped", "of the best quarter, stopped")
_DEFINITIONS = (
    "Stopped: trials that would not have run to their end; trials of the control arm run on and count as stopped all "
    "the same. Epochs saved: of all epochs of the replayed trials; the control arm is included and saves none. The "
    "best: with the trials that tie with the last of them. Random orders: means, the smallest and the largest share."
)
_LIMITS = (
    "Only completed trials can be replayed: how a pruned trial would have ended is not known. Where the study had a "
    "pruner, its completed trials, the control arm apart, are those that it did not stop: every pruner finds fewer "
    "weak trials among them than it would in a study, saves less, and can lose more. The sampler is not replayed; it "
    "would have learned from other trials."
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


def read_curves(report: Path) -> list[TrialCurve]:
    """Read the completed trials of a report, by number."""
    trials, epochs = pd.read_csv(report / "trials.csv"), pd.read_csv(report / "epochs.csv")
    metric = json.loads((report / "summary.json").read_text())["study"]["metric"]
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


def table(measured: dict[str, dict[str, Any]]) -> ResultTable:
    """Return two rows for each pruner: its own order, and the mean over random orders."""
    rows = []
    for pruner, effect in measured.items():
        rows.append((pruner, "own", *(f"{share:.0%}" for share in effect["own"].values())))
        if effect["random"]:
            columns = [[shares[name] for shares in effect["random"]] for name in effect["own"]]
            cells = (f"{np.mean(values):.0%} ({min(values):.0%} to {max(values):.0%})" for values in columns)
            rows.append((pruner, "random", *cells))
    return _COLUMNS, rows


def run(report: Path, orders: int, seed: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """Replay a report under each pruner; return the result as it is written to JSON."""
    curves, measured = read_curves(report), {}
    for pruner in PRUNERS:
        progress(pruner)
        measured[pruner] = measure(curves, pruner, orders, seed)
    return {
        **describe_run("pruners", f"replayed on {report.name}"),
        "trials": len(curves),
        "control": sum(curve.control for curve in curves),
        "orders": orders,
        "seed": seed,
        "pruners": measured,
    }


def main() -> None:
    """Replay, print, write."""
    parser = command_parser("pruners", __doc__)
    parser.add_argument("--study", type=Path, default=Path("results/reference/idrid"), help="folder of a report")
    parser.add_argument("--orders", type=int, default=50, help="random orders in addition to the study's own")
    parser.add_argument("--seed", type=int, default=0)
    args, console = parser.parse_args(), Console()
    result = run(args.study, args.orders, args.seed, console.print)
    counts = f"{result['trials']} completed trials, {result['control']} of them of the control arm"
    notes = (f"{counts}; {result['orders']} random orders.", _DEFINITIONS, _LIMITS)
    publish("Pruners", args.out / "pruners", result, [table(result["pruners"])], notes, console)


if __name__ == "__main__":
    main()
