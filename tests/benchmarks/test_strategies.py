"""The benchmark of strategies: pairs on the same folds, differences image by image, what is said of them."""

from argparse import Namespace

import numpy as np
import pytest
from rich.console import Console

from benchmarks.combined_models import COMBINED, KEPT, SOURCES, combine
from benchmarks.strategies import FOLDS, Key, Predicted, compare, load, measure, notes, plan, stored_path, table
from benchmarks.strategy_list import STRATEGIES
from drft.data import open_dataset
from study.analysis.verdict import DepthEvidence
from tests.helpers.small_images import draw_noise

ARGS = Namespace(backbone="mobilenetv3_small_050", weights=None, normalization="auto", quick=False, only=(), repeats=2)


def test_every_strategy_differs_from_the_baseline_on_the_same_split():
    configs = plan(ARGS)
    assert len(configs) == 2 * FOLDS * (len(STRATEGIES) + 1)
    for (name, repeat, fold), config in configs.items():
        base = configs["baseline", repeat, fold]
        assert (config.split, config.seed, config.augmentation.seed) == (base.split, base.seed, base.augmentation.seed)
        assert (config.split.seed, config.split.folds, config.split.fold) == (repeat, FOLDS, fold)
        assert (config == base) == (name == "baseline")
    assert len({config.seed for config in configs.values()}) == 2 * FOLDS


def predicted(grades: np.ndarray, shares: tuple[float, ...]) -> Predicted:
    """Return predictions of five classes that are right for these shares of the images, one share for each repeat."""
    probabilities = np.full((len(shares), len(grades), 5), 0.1)
    for repeat, share in enumerate(shares):
        classes = np.where(np.arange(len(grades)) < share * len(grades), grades, (grades + 1) % 5)
        probabilities[repeat, np.arange(len(grades)), classes] = 0.6
    correct, folds = probabilities.argmax(axis=2) == grades, np.tile(np.arange(len(grades)) % FOLDS, (len(shares), 1))
    gaps = np.full(len(shares) * FOLDS, 0.1)
    return Predicted(DepthEvidence(0, 0, 0, correct, folds, gaps, gaps), probabilities)


def test_differences_are_those_of_the_same_images():
    grades = np.arange(100) % 5
    one, other = predicted(grades, (0.7, 0.8)), predicted(grades, (0.6, 0.6))
    (differences,) = compare({"one": one, "other": other}, "other", grades).values()
    assert differences["accuracy"].value == pytest.approx(0.15)
    assert differences["nll"].value == pytest.approx(0.15 * np.log(0.1 / 0.6))
    assert differences["qwk"].value > 0
    for estimate in differences.values():
        assert estimate.low < estimate.value < estimate.high
    (same,) = compare({"one": one, "again": one}, "again", grades).values()
    assert [estimate.value for estimate in same.values()] == [0, 0, 0]


def test_a_small_run_compares_strategies_and_combined_models(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.strategies.FOLDS", 2)
    for number in range(30):
        draw_noise(tmp_path / "images" / "abc"[number % 3] / f"{number}.png", number, 40 * (number % 3))
    given = {"quick": True, "data": tmp_path / "images", "keep": tmp_path / "kept", "jobs": 1}
    args = Namespace(**{**vars(ARGS), **given, "backbone": "test_resnet", "weights": "none"})
    args.only = (*COMBINED, "head alone")
    args.keep.mkdir()
    result = measure(args, Console(quiet=True))
    rows = {row["name"]: row for row in result["strategies"]}
    assert rows.keys() == {*COMBINED, "head alone", *SOURCES} - {"baseline"}
    assert rows["WiSE-FT, half way"]["seconds"] is None
    assert [name for name, *_ in table(result["strategies"])[1]] == list(rows)
    said = notes(result)
    shown = {name for name in rows if any(f"{name} (" in line for line in said if "Excluding 0" in line)}
    assert {name for name in rows if name in said[-1]} >= rows.keys() - shown
    training, _ = load(stored_path(args.keep, Key("baseline", 0, 1)), plan(args)["baseline", 0, 1])
    paths = {name: stored_path(args.keep, Key(name, 0, 1)).with_suffix(".safetensors") for name in COMBINED}
    name, kept, _ = next(combine(open_dataset(str(args.data)), paths))
    assert name == KEPT
    assert (kept.argmax(axis=1) == training.grades).mean() == training.scores.max()
    before = {path: path.stat().st_mtime_ns for path in args.keep.iterdir()}
    assert measure(args, Console(quiet=True)) == result
    assert {path: path.stat().st_mtime_ns for path in args.keep.iterdir()} == before
