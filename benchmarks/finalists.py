"""Simulated searches: which sampler and which choice of finalists lead to the best settings at each depth?

::

    python -m benchmarks.finalists
    python -m benchmarks.finalists --runs 5

The default space is searched with equal numbers of trials at all depths. A simulated trial takes no time: its score is
a made-up function of its settings, plus the difficulty of its block's split, plus the noise of 83 validation images.
The function has its best settings anywhere in the space, shifting with depth; settings interact, and one of them has a
cliff beyond which training fails. As the true score of the chosen settings is known, choices can be compared: those
that the program expects to be best (``expected``), and those of the trial with the highest score at the depth
(``highest``).
"""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import optuna
import pandas as pd
from rich.console import Console

from benchmarks.arguments import command_parser
from benchmarks.machine import describe_run
from benchmarks.pages import ResultTable, mean_text, publish
from drft.config.trial_config import TrialConfig, with_values
from study.design.choose_finalists import SettingsEncoder, choose_finalists
from study.results.finalists_plan import UNTUNED
from study.results.study_results import StudyResults
from study.samplers.factory import make_sampler
from study.space import BoundSpace, Space, Value
from study.space.settings import get_setting
from study.space.space import shipped_spaces

SAMPLERS = ("tpe", "random", "qmc")
CHOICES = ("expected", "highest")
BLOCKS = 8
IMAGE_NOISE = 0.055
"""Standard deviation of the accuracy on 83 images, at 50 to 60 %."""
SPLIT_NOISE = 0.04
"""Standard deviation of the difficulty of a split of 83 images that is common to all trials on it."""

_COLUMNS = ("trials", "sampler", "choice", "true score of the chosen settings", "minus tpe, expected")
_NOTE = (
    "Means over depths 0 to 8 and over simulated data sets, in percent, with 95 % t intervals. Untuned: the base "
    "configuration at every depth, which these made-up functions do not favour as real data may."
)


class MadeUpScores:
    """A function from depth and settings to the true score."""

    def __init__(self, space: BoundSpace, seed: int) -> None:
        self._names = [name for name in space.distributions if name != "depth"]
        self._encoder = SettingsEncoder({name: space.distributions[name] for name in self._names})
        self.base = {name: get_setting(space.base, name) for name in self._names}
        rng = np.random.default_rng([seed, 3])
        count = self._encoder.encode([self.base]).shape[1]
        self._weights = rng.dirichlet(np.full(count, 0.5)) * 0.25
        self._best, self._shift = rng.uniform(-0.7, 0.7, count), rng.normal(0, 0.5, count)
        self._rise = rng.uniform(0, 0.1)
        self._interactions = np.abs(rng.normal(0, 0.025, (count, count))) * (rng.random((count, count)) < 0.1)

    def __call__(self, depth: int, settings: Mapping[str, Value]) -> float:
        """Return the true score; settings that are missing have their values in the base configuration."""
        (numbers,) = self._encoder.encode([{**self.base, **{n: settings[n] for n in self._names if n in settings}}])
        share = depth / BLOCKS
        off = numbers - np.clip(self._best + self._shift * (share - 0.5), -1, 1)
        cliff = 0.15 / (1 + np.exp(-8 * (off[self._weights.argmax()] - 0.6)))
        loss = self._weights @ np.abs(off) ** 1.3 + cliff + off @ self._interactions @ off
        return float(0.5 + self._rise * share - loss)

    def of(self, config: TrialConfig) -> float:
        """Return the true score of a configuration."""
        return self(config.depth, {name: get_setting(config, name) for name in self._names})


def search(space: BoundSpace, truth: MadeUpScores, sampler: str, trials: int, seed: int) -> pd.DataFrame:
    """Return the trials of a simulated search, with the columns that the choice of finalists reads."""
    rng = np.random.default_rng([seed, 7])
    study = optuna.create_study(
        direction="maximize",
        sampler=make_sampler(sampler, seed=seed, space=space, finished_trials=0, goal="depth"),
    )
    difficulty = rng.normal(0, SPLIT_NOISE, trials)
    rows: list[dict[str, Any]] = []
    for number in range(trials):
        trial = study.ask()
        depth = space.suggest(trial).depth
        block = sum(row["depth"] == depth for row in rows)
        score = truth(depth, trial.params) + difficulty[block] + rng.normal(0, IMAGE_NOISE)
        study.tell(trial, score)
        settings = {name: trial.params.get(name, np.nan) for name in truth.base}
        fixed = {"number": number, "state": "COMPLETE", "block": block, "depth": depth, "last_step": 12}
        rows.append({**fixed, **settings, "score": score})
    return pd.DataFrame(rows)


def choose(space: BoundSpace, truth: MadeUpScores, trials: pd.DataFrame, choice: str) -> float:
    """Return the mean true score, over depths, of the settings that are chosen after a search."""
    if choice == "highest":
        best = trials.loc[trials.groupby("depth")["score"].idxmax()]
        records = best.to_dict("records")
        given = [{str(name): value for name, value in row.items() if not pd.isna(value)} for row in records]
        return float(np.mean([truth(int(row["depth"]), row) for row in given]))
    about = {"base_config": space.base.model_dump(mode="json"), "blocks": range(BLOCKS), "metric": "accuracy"}
    info = SimpleNamespace(**about, classes=range(5))
    # Equal likelihoods: they say nothing here.
    epochs = pd.DataFrame({"trial": trials["number"], "val_accuracy": trials["score"], "val_loss": 1.0})
    study = SimpleNamespace(info=info, trials=trials, finished=trials, complete=trials, epochs=epochs)
    finalists = choose_finalists(cast("StudyResults", study), space)
    return float(np.mean([truth.of(finalist.config) for finalist in finalists if finalist.name != UNTUNED]))


def run(trials: int, runs: int) -> list[dict[str, float]]:
    """Return the true score of each combination of sampler and choice, for each simulated data set."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    base = with_values(TrialConfig(), {"image_size": 96})
    space = Space.parse(shipped_spaces()["default"].read_text(), "default").bind(base, BLOCKS)
    results = []
    for seed in range(runs):
        truth = MadeUpScores(space, seed)
        scores = {"untuned": float(np.mean([truth(depth, {}) for depth in range(BLOCKS + 1)]))}
        for sampler in SAMPLERS:
            searched = search(space, truth, sampler, trials, seed)
            scores |= {f"{sampler}, {choice}": choose(space, truth, searched, choice) for choice in CHOICES}
        results.append(scores)
    return results


def table(results: Mapping[str, Sequence[Mapping[str, float]]]) -> ResultTable:
    """Return a row for each number of trials, sampler and choice."""
    rows = []
    for trials, scores in results.items():
        for name in scores[0]:
            sampler, _, choice = name.partition(", ")
            lead = [each[name] - each["tpe, expected"] for each in scores]
            score = mean_text([each[name] for each in scores])
            rows.append((trials, sampler, choice, score, mean_text(lead) if any(lead) else ""))
    return _COLUMNS, rows


def main() -> None:
    """Simulate, print, write."""
    parser = command_parser("finalists", __doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[45, 100], help="trials of a search")
    parser.add_argument("--runs", type=int, default=100, help="simulated data sets for each number of trials")
    args, console = parser.parse_args(), Console()
    results = {}
    for trials in args.trials:
        console.print(f"{args.runs} searches of {trials} trials with each sampler")
        results[str(trials)] = run(trials, args.runs)
    result = {**describe_run("finalists", f"{args.runs} simulated data sets"), "scores": results}
    publish("Choice of finalists", args.out / "finalists", result, [table(results)], [_NOTE], console)


if __name__ == "__main__":
    main()
