"""The judge: which way to spend a study's trainings gives the better model, and does it keep its promise?

::

    python -m benchmarks.verdict --quick
    python -m benchmarks.verdict --data-sets 20 --contestants default optuna

On several rendered data sets, three contestants train equally often: the goal depth with its finalists (``default``),
the goal best with its pruner (``best``), and plain Optuna: TPE on one split without a pruner, and the highest score
(``optuna``). Each hands over a model and promises an accuracy. The truth is the accuracy on 12,384 images that no
contestant has seen. What is in the result file already is not run again. With ``--folder`` the studies are kept, and an
interrupted one is resumed. ``benchmarks.pruners`` can replay their searches.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.arguments import command_parser
from benchmarks.machine import describe_run
from benchmarks.pages import mean_text, publish
from drft.config.trial_config import TrialConfig
from drft.data import load_images
from drft.data.augment import Views
from drft.data.datasets.synthetic import render_dataset
from drft.models.checkpoint import load_checkpoint
from study import run_study
from study.analysis import Withheld, proportion
from study.analysis.estimators.intervals import mean_estimate
from study.analysis.evidence import judge, read_evidence, read_verdict
from study.results.finalists_plan import CONTENDERS, UNTUNED, Finalists, read_finalists
from study.results.study_results import StudyResults

FIRST_SEED = 2
"""Data set 1 was used while the defaults were chosen, and is not judged."""

FRESH_SEEDS = range(1000, 1024)
"""Data sets whose images are the truth; no contestant trains on them. Their sampling error is common to all contestants
and data sets: a mean over data sets does not reduce it. Between the first and the second half of these images, the
untuned configuration differs by 1.1 points, and the advantage of seven trained blocks over the head alone by 0.6."""

CONTESTANTS = ("default", "best", "optuna")

_COLUMNS = (
    "contestant",
    "trainings",
    "seconds",
    "promised",
    "true accuracy",
    "promise minus truth",
    "gain over optuna",
)

KNOWN = 0.05
"""Half of the interval with which a difference between two depths counts as known."""

_KNOWN_COLUMNS = (
    "contestant",
    "trainings until the gain over the head alone is known to 5 points",
    "data sets",
    "half of its interval at the end, points",
)
_CLAIM_COLUMNS = ("what the verdict says", "measured", "95% interval", "n")
_NOTE = (
    "Means over data sets with 95 % t intervals, in percent and points. The default hands over the ensemble of the "
    "fold models of the recommended depth, the others the checkpoint of their best trial. The true accuracy of a depth "
    "is the mean of its fold models. best and optuna have as many trainings as the default's search and finalists "
    "together. The gain over the head alone is that of the recommended depth after a round of the cross-validation, "
    "and that of the best trial over the best one of depth 0, on the images of one split; more trials do not add "
    "images. Studies that were resumed are left out of the seconds. Data set 1 was used while the defaults were "
    "chosen, and is not judged."
)


class FreshImages:
    """Images that no contestant has seen."""

    def __init__(self, size: int, seeds: Sequence[int] = FRESH_SEEDS) -> None:
        datasets = [render_dataset(seed) for seed in seeds]
        self._images = np.concatenate([load_images(dataset, size) for dataset in datasets])
        self.grades = np.concatenate([dataset.labels() for dataset in datasets])

    @torch.no_grad()
    def probabilities(self, checkpoint: Path) -> NDArray[np.float32]:
        """Return class probabilities of a checkpoint's model, shape (images, classes)."""
        model, _ = load_checkpoint(checkpoint)
        model.net.eval()
        views = Views(self._images, model.mean, model.std, device=torch.device("cpu"))
        batches = np.array_split(np.arange(len(views)), len(views) // 64)
        predicted = [model.log_probabilities(views.normalize(views.plain(batch))).exp() for batch in batches]
        return np.asarray(torch.cat(predicted), dtype=np.float32)

    def accuracy(self, probabilities: NDArray[np.float32]) -> float:
        """Return the accuracy of predictions."""
        return float((probabilities.argmax(axis=1) == self.grades).mean())


def judge_default(seed: int, trials: int, fresh: FreshImages, folder: Path, console: Console) -> dict[str, Any]:
    """Run the goal depth on one data set; return what it promised and what is true."""
    study, seconds = _complete_study(
        f"synthetic-{seed}", seed, folder, console, trials=trials, goal="depth", keep_checkpoints=1000
    )
    return {**_describe_default(study, fresh), "seconds": seconds}


def judge_best(
    name: str, seed: int, trainings: int, fresh: FreshImages, folder: Path, console: Console
) -> dict[str, Any]:
    """Run a contestant that hands over its best trial, as ``judge_default``."""
    pruner = "none" if name == "optuna" else None
    study, seconds = _complete_study(
        f"{name}-{seed}", seed, folder, console, trials=trainings, goal="best", pruner=pruner
    )
    best = study.eligible.iloc[0]
    config = study.config(int(best["number"]))
    assert config is not None
    return {
        "trainings": trainings,
        "seconds": seconds,
        "depth": int(best["depth"]),
        "config": _changed(config),
        "promise": float(best["val_accuracy_best"]),
        "true": fresh.accuracy(fresh.probabilities(study.checkpoint_file(int(best["number"])))),
        "reach": _reach_of_best(study),
    }


def _complete_study(
    name: str, seed: int, folder: Path, console: Console, **options: Any
) -> tuple[StudyResults, float | None]:
    """Run a study on one data set to its end; end the program if it does not get there.

    Returns:
        The study, and the seconds that it took; None if it was resumed.
    """
    resumed = (folder / name).exists()
    data, started = f"synthetic:{seed}", time.perf_counter()
    run = run_study(console=console, data=data, results=folder, report=False, seed=seed, study=name, **options)
    if run.ended != "done":
        raise SystemExit(f"the study {name} ended as {run.ended} {run.outcome.reason}".rstrip())
    return run.results, None if resumed else time.perf_counter() - started


@contextmanager
def _folder_of(kept: Path | None, trials: int) -> Iterator[Path]:
    """Give a folder for studies: the one where those of so many trials are kept, or one that is deleted afterwards."""
    if kept is not None:
        yield kept / f"{trials}-trials"
        return
    with TemporaryDirectory(prefix="drft-verdict-") as folder:
        yield Path(folder)


def _describe_default(study: StudyResults, fresh: FreshImages) -> dict[str, Any]:
    finalists, verdict = read_finalists(study), read_verdict(study)
    assert finalists is not None
    if isinstance(verdict, Withheld):
        raise RuntimeError(verdict.reason)  # noqa: TRY004 (not a wrong type: a training diverged)
    truths = _truths(finalists, fresh)
    chosen = truths[f"depth {verdict.recommended_depth}"]
    return {
        "trainings": len(study.trials) + len(finalists.done),
        "depth": verdict.recommended_depth,
        "certain": verdict.certain,
        "tolerance": verdict.tolerance,
        "promise": verdict.promise.value,
        "low": verdict.promise.low,
        "high": verdict.promise.high,
        "true": chosen["ensemble"],
        "true_single": chosen["single"],
        "untuned": truths[UNTUNED],
        "configs": {finalist.name: _changed(finalist.config) for finalist in finalists.plan.finalists},
        "reach": _reach_by_round(study, finalists),
        "by_depth": [
            {
                "depth": row.depth,
                "trainings": row.trainings,
                **row.accuracy._asdict(),
                "true": truths[f"depth {row.depth}"]["single"],
            }
            for row in verdict.by_depth
        ],
        "contrasts": [
            {
                "other": contrast.other,
                **contrast.difference._asdict(),
                "true": chosen["single"]
                - truths[UNTUNED if contrast.other_depth is None else f"depth {contrast.other_depth}"]["single"],
            }
            for contrast in verdict.contrasts
            if contrast.other_depth is not None or contrast.other == UNTUNED
        ],
    }


Reach = list[tuple[int, float]]
"""Numbers of trainings, and half of the interval of the gain over the head alone that is known from so many."""


def _reach_by_round(study: StudyResults, finalists: Finalists) -> Reach:
    """Return how well the gain over the head alone is known after each round of the cross-validation."""
    known = []
    for rounds in range(1, finalists.plan.rounds + 1):
        verdict = judge(read_evidence(finalists, rounds), study.floor)
        trainings = sum(finalists.plan.locate(index)[0] < rounds for index in finalists.done)
        known += [
            (len(study.trials) + trainings, (contrast.difference.high - contrast.difference.low) / 2)
            for contrast in verdict.contrasts
            if contrast.other == "head alone"
            and contrast.difference.low is not None
            and contrast.difference.high is not None
        ]
    return known


def _reach_of_best(study: StudyResults) -> Reach:
    """Return how well the best trial's gain over the best trial of the head alone is known on their common split."""
    trials = study.eligible
    rows = [trials.iloc[0], *(row for _, row in trials[trials["depth"] == 0].head(1).iterrows())]
    correct = []
    for row in rows:
        predictions = study.predictions(int(row["number"]))
        assert predictions is not None
        best = predictions.probabilities[int(row["best_step"]) - 1]
        correct.append((best.argmax(axis=1) == predictions.grades).astype(np.float64))
    if len(rows) < 2 or rows[0]["depth"] == 0:
        return []
    gain = mean_estimate(correct[0] - correct[1])
    assert gain.low is not None
    assert gain.high is not None
    return [(len(study.trials), (gain.high - gain.low) / 2)]


def _changed(config: TrialConfig) -> dict[str, Any]:
    """Return what a configuration sets otherwise than the defaults do."""
    return config.model_dump(mode="json", exclude_defaults=True)


def _truths(finalists: Finalists, fresh: FreshImages) -> dict[str, dict[str, float]]:
    """Return for each finalist the mean true accuracy of its models, and that of their ensemble."""
    plan, truths = finalists.plan, {}
    for position, finalist in enumerate(plan.finalists):
        numbers = [number for index, number in finalists.done.items() if plan.locate(index)[2] == position]
        predicted = [fresh.probabilities(finalists.results.checkpoint_file(number)) for number in numbers]
        truths[finalist.name] = {
            "single": float(np.mean([fresh.accuracy(model) for model in predicted])),
            "ensemble": fresh.accuracy(np.mean(predicted, axis=0)),
        }
    return truths


def contestant_rows(entries: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the table of contestants."""
    rows = []
    for name in CONTESTANTS:
        parts = [entry[name] for entry in entries if name in entry]
        gains = [entry[name]["true"] - entry["optuna"]["true"] for entry in entries if {name, "optuna"} <= {*entry}]
        if not parts:
            continue
        seconds = [part["seconds"] for part in parts if part["seconds"] is not None]
        rows.append(
            (
                name,
                f"{np.mean([part['trainings'] for part in parts]):.0f}",
                f"{np.mean(seconds):.0f}" if seconds else "",
                mean_text([part["promise"] for part in parts]),
                mean_text([part["true"] for part in parts]),
                mean_text([part["promise"] - part["true"] for part in parts]),
                "" if name == "optuna" or not gains else mean_text(gains),
            )
        )
    untuned = [entry["default"]["untuned"]["ensemble"] for entry in entries]
    gains = [
        entry["default"]["untuned"]["ensemble"] - entry["optuna"]["true"] for entry in entries if "optuna" in entry
    ]
    return [*rows, ("untuned, ensemble of 5", "5", "", "", mean_text(untuned), "", mean_text(gains) if gains else "")]


def claim_rows(entries: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the table of what the verdicts say, against the truth."""
    defaults = [entry["default"] for entry in entries]
    # All blocks and the best depth may be the same depth: its values are equal, and it counts once.
    distinct = [{(row["value"], row["true"]): row for row in part["contrasts"]} for part in defaults]
    contrasts = [contrast for part in distinct for contrast in part.values()]
    clear = [contrast for contrast in contrasts if contrast["low"] > 0 or contrast["high"] < 0]
    wrong = [contrast for contrast in clear if contrast["true"] * contrast["value"] <= 0]
    best = [max(row["true"] for row in part["by_depth"]) for part in defaults]
    regret = [top - part["true_single"] for top, part in zip(best, defaults, strict=True)]
    certain = [loss <= part["tolerance"] for loss, part in zip(regret, defaults, strict=True) if part["certain"]]
    gain = [part["true"] - part["true_single"] for part in defaults]
    return [
        _share("the interval of the promise holds the truth", [_held(part, "true") for part in defaults]),
        _share(
            "the intervals of all depths hold their truth",
            [all(_held(row, "true") for row in part["by_depth"]) for part in defaults],
        ),
        _share("the interval of a contrast holds the truth", [_held(contrast, "true") for contrast in contrasts]),
        _share("a contrast excludes 0", [contrast in clear for contrast in contrasts]),
        _share("such a claim is wrong", [contrast in wrong for contrast in clear]),
        _share("a depth said to be within the tolerance is", certain),
        ("regret of the recommended depth", mean_text(regret), "", str(len(regret))),
        ("gain of the ensemble over its members", mean_text(gain), "", str(len(gain))),
    ]


def known_rows(entries: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the table of how many trainings a difference between two depths takes."""
    rows: list[tuple[str, ...]] = []
    for name in CONTESTANTS:
        reaches = [entry[name]["reach"] for entry in entries if entry.get(name, {}).get("reach")]
        if not reaches:
            continue
        first = [next((count for count, half in reach if half <= KNOWN), None) for reach in reaches]
        needed = [count for count in first if count is not None]
        rows.append(
            (
                name,
                f"{np.mean(needed):.0f}" if needed else "",
                f"{len(needed)} of {len(reaches)}",
                mean_text([reach[-1][1] for reach in reaches]),
            )
        )
    return rows


def _held(row: Mapping[str, Any], truth: str) -> bool:
    return bool(row["low"] <= row[truth] <= row["high"])


def _share(name: str, events: Sequence[bool]) -> tuple[str, ...]:
    if not events:
        return name, "", "", "0"
    share = proportion(sum(events), len(events))
    assert share.low is not None
    assert share.high is not None
    return name, f"{share.value:.1%}", f"{share.low:.1%} to {share.high:.1%}", str(share.n)


def write(entries: Sequence[Mapping[str, Any]], settings: Mapping[str, int], stem: Path, console: Console) -> None:
    """Print and write what was measured so far."""
    label = f"{len(entries)} rendered data sets, {settings['fresh_images']:,} fresh images"
    result = {**describe_run("verdict", label), **settings, "data_sets": entries}
    tables = [
        (_COLUMNS, contestant_rows(entries)),
        (_CLAIM_COLUMNS, claim_rows(entries)),
        (_KNOWN_COLUMNS, known_rows(entries)),
    ]
    publish("Verdict", stem, result, tables, [_NOTE], console)


def main() -> None:
    """Run the data sets that are missing, print, write."""
    parser = command_parser("verdict", __doc__)
    parser.add_argument("--data-sets", type=int, help="rendered data sets, by seed from 2; default: 20")
    parser.add_argument("--trials", type=int, help="trials of the default's search; default: 70")
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, help="default: all")
    parser.add_argument("--folder", type=Path, help="where the studies are kept; default: they are deleted")
    parser.add_argument("--quick", action="store_true", help="1 data set, 18 trials, without best; about ten minutes")
    args, console = parser.parse_args(), Console()
    count, trials = args.data_sets or (1 if args.quick else 20), args.trials or (18 if args.quick else 70)
    contestants = args.contestants or (("default", "optuna") if args.quick else CONTESTANTS)
    stem = args.out / ("verdict-quick" if args.quick else "verdict")
    fresh = FreshImages(96)
    settings = {"trials": trials, "contenders": CONTENDERS, "fresh_images": len(fresh.grades)}
    entries: list[dict[str, Any]] = []
    if stem.with_suffix(".json").exists():
        stored = json.loads(stem.with_suffix(".json").read_text())
        if [stored.get(name) for name in settings] == [*settings.values()]:
            entries = stored["data_sets"]
        else:
            console.print(f"{stem}.json was made with other numbers ({', '.join(settings)}), and is made anew")
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        entry = next((entry for entry in entries if entry["seed"] == seed), None)
        if entry is not None and entry.keys() >= {"default", *contestants}:
            continue
        with _folder_of(args.folder, trials) as folder:
            if entry is None:
                entry = {"seed": seed, "default": judge_default(seed, trials, fresh, folder, console)}
                entries.append(entry)
                write(entries, settings, stem, console)
            for name in {"best", "optuna"} & {*contestants} - {*entry}:
                entry[name] = judge_best(name, seed, entry["default"]["trainings"], fresh, folder, console)
                write(entries, settings, stem, console)


if __name__ == "__main__":
    main()
