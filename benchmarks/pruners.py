"""What would each pruner have saved in a study that was run, and which of its best trials would it have stopped?

::

    python -m benchmarks.pruners
    python -m benchmarks.pruners --study results/reference/idrid --orders 20

Replays the completed trials of a report, epoch by epoch, in their own order and in random ones. The pruners see what
they see in a study: the best score so far, never before the head phase is over plus one epoch. The control arm runs on.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
import pandas as pd
from optuna.trial import TrialState
from rich.console import Console

from benchmarks.machine import describe_machine, public_command
from benchmarks.pages import TableOf, markdown_page, show_table, write_result
from study.pruners.factory import make_pruner
from study.pruners.predictive import TOP

PRUNERS = ("asha", "median", "predictive")
_DEEPEST = 1000
FEW = 5
"""The best of a study, as its report audits pruners."""

_COLUMNS = ("pruner", "order", "stopped", "epochs saved", f"of the best {FEW}, stopped", "of the best quarter, stopped")
_MEASURED = (
    "Stopped: trials that would not have run to their end; those of the control arm run on, and count as stopped all "
    "the same. Epochs saved: of all epochs of the replayed trials, the control arm's included, which saves none. The "
    "best: with those that tie with the last of them. Random orders: means, the smallest and the largest share."
)
_LIMITS = (
    "Only completed trials can be replayed: how a pruned one would have ended is not known. Where the study had a "
    "pruner, its completed trials, the control arm apart, are those that it let run: every pruner finds fewer weak "
    "trials among them than it would in a study, saves less, and has more to lose. The sampler is not replayed, which "
    "would have learned from other trials."
)


class Course(NamedTuple):
    """One completed trial."""

    depth: int
    control: bool
    head_steps: int
    scores: tuple[float, ...]
    """Best score so far at each step."""


class Replay(NamedTuple):
    """What a pruner did to the trials of a study."""

    stopped: tuple[bool, ...]
    """In the order of the trials; those of the control arm that would have been."""
    saved: float
    """Share of all epochs."""


def replay(courses: Sequence[Course], pruner: str) -> Replay:
    """Run trials one after another under a pruner."""
    first, last = min(one.head_steps for one in courses) + 1, max(len(one.scores) for one in courses)
    study = optuna.create_study(
        direction="maximize", pruner=make_pruner(pruner, first_step=first, last_step=last), study_name="replay"
    )
    ends = [_run(study, course) for course in courses]
    saved = sum(len(one.scores) - end for one, end in zip(courses, ends, strict=True) if not one.control)
    stopped = tuple(end < len(one.scores) for one, end in zip(courses, ends, strict=True))
    return Replay(stopped, saved / sum(len(one.scores) for one in courses))


def _run(study: optuna.Study, course: Course) -> int:
    """Run one trial as a study does; return the step at which it was, or would have been, stopped, else its last."""
    study.enqueue_trial({"depth": course.depth})
    trial, flagged = study.ask(), 0
    trial.suggest_int("depth", 0, _DEEPEST)
    for step, score in enumerate(course.scores, start=1):
        trial.report(score, step)
        if flagged or not course.head_steps < step < len(course.scores) or not trial.should_prune():
            continue
        if not course.control:
            study.tell(trial, state=TrialState.PRUNED)
            return step
        flagged = step
        trial.set_user_attr("would_prune", step)
    study.tell(trial, course.scores[-1])
    return flagged or len(course.scores)


def read_courses(report: Path) -> list[Course]:
    """Read the completed trials of a report, by number."""
    trials, epochs = pd.read_csv(report / "trials.csv"), pd.read_csv(report / "epochs.csv")
    metric = json.loads((report / "summary.json").read_text())["study"]["metric"]
    told = dict(list(epochs.groupby("trial")))
    return [
        Course(
            int(row.depth),
            bool(row.control),
            int(told[row.number]["phase"].eq("head").sum()),
            tuple(told[row.number].sort_values("step")[f"val_{metric}"].cummax()),
        )
        for row in trials[trials["state"] == "COMPLETE"].itertuples()
    ]


def measure(courses: Sequence[Course], pruner: str, orders: int, seed: int) -> dict[str, Any]:
    """Replay the trials in their own order and in random ones."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rng = np.random.default_rng(seed)
    shuffled = [[courses[place] for place in rng.permutation(len(courses))] for _ in range(orders)]
    return {
        "own": _shares(courses, replay(courses, pruner)),
        "random": [_shares(order, replay(order, pruner)) for order in shuffled],
    }


def _shares(courses: Sequence[Course], found: Replay) -> dict[str, float]:
    finals = np.array([one.scores[-1] for one in courses])
    stopped = np.array(found.stopped)

    def among_best(count: int) -> float:
        return float(stopped[finals >= np.sort(finals)[-count]].mean())

    return {
        "stopped": float(stopped.mean()),
        "saved": found.saved,
        "few": among_best(min(FEW, len(finals))),
        "quarter": among_best(ceil(TOP * len(finals))),
    }


def table(found: dict[str, dict[str, Any]]) -> TableOf:
    """Return two rows for each pruner."""
    rows = []
    for pruner, one in found.items():
        rows.append((pruner, "own", *(f"{share:.0%}" for share in one["own"].values())))
        if one["random"]:
            rows.append((pruner, "random", *(_mean(one["random"], name) for name in one["own"])))
    return _COLUMNS, rows


def _mean(shares: Sequence[dict[str, float]], name: str) -> str:
    values = [one[name] for one in shares]
    return f"{np.mean(values):.0%} ({min(values):.0%} to {max(values):.0%})"


def run(report: Path, orders: int, seed: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Replay a report under each pruner."""
    courses, found = read_courses(report), {}
    for pruner in PRUNERS:
        tell(pruner)
        found[pruner] = measure(courses, pruner, orders, seed)
    return {
        "label": f"replayed on {report.name}",
        "command": public_command("benchmarks.pruners", sys.argv[1:]),
        "machine": describe_machine(),
        "trials": len(courses),
        "control": sum(one.control for one in courses),
        "orders": orders,
        "seed": seed,
        "pruners": found,
    }


def main() -> None:
    """Replay, print, write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pruners", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", type=Path, default=Path("results/reference/idrid"), help="folder of a report")
    parser.add_argument("--orders", type=int, default=50, help="random orders beside the study's own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    wanted, console = parser.parse_args(), Console()
    result = run(wanted.study, wanted.orders, wanted.seed, console.print)
    cells = table(result["pruners"])
    about = f"{result['trials']} completed trials, {result['control']} of them of the control arm; "
    notes = (f"{about}{result['orders']} random orders.", _MEASURED, _LIMITS)
    show_table("Pruners", cells, console)
    write_result(wanted.out / "pruners", result, markdown_page("Pruners", result, [cells], notes), notes, console)


if __name__ == "__main__":
    main()
