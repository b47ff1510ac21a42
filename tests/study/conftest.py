"""Studies for tests: fake ones in the format that the tuner writes, a real one of tiny trainings, and all storages."""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from benchmarks.postgres import Postgres, binaries
from drft.config.trial_config import TrialConfig, parse_config, with_values
from drft.data import ImageDataset, open_dataset
from drft.training.records import EpochRecord, TrialResult, best_record
from study.results.finalists_plan import UNTUNED, Finalist, FinalistsPlan, finalists_location
from study.results.locate import find_study
from study.results.study_folder import StudyFolder

optuna.logging.set_verbosity(optuna.logging.WARNING)

BLOCKS = 5
N_VALIDATION = 83
DIMENSIONS = {
    "depth": IntDistribution(0, BLOCKS),
    "depth_phase.lr": FloatDistribution(1e-5, 1e-2, log=True),
    "augmentation.strength": CategoricalDistribution((0.0, 0.25, 0.5, 0.75, 1.0)),
    "loss.class_weighting": CategoricalDistribution(("none", "balanced", "sqrt")),
    "dropout": FloatDistribution(0.0, 0.5),
}
SPACE = """# Which depth is best?
depth: {int: [0, 5]}
depth_phase.lr: {log: [1.0e-5, 1.0e-2]}
augmentation.strength: {choice: [0.0, 0.25, 0.5, 0.75, 1.0]}
"""


def made_record(step: int, head_epochs: int, train: float, val: float) -> EpochRecord:
    head = step <= head_epochs
    return EpochRecord(
        step=step,
        phase="head" if head else "depth",
        epoch=step if head else step - head_epochs,
        train_accuracy=train,
        train_loss=1.6 - 1.4 * train,
        train_qwk=train - 0.02,
        train_balanced_accuracy=train - 0.05,
        val_accuracy=val,
        val_loss=1.7 - 1.1 * val + 0.02 * step,
        val_qwk=val - 0.05,
        val_balanced_accuracy=val - 0.1,
        running_loss=1.6 - 1.3 * train,
        head_lr=3e-3,
        block_lr=0.0 if head else 5e-4,
        seconds=0.8,
    )


def made_curve(rng: np.random.Generator, depth: int, lr: float, config: TrialConfig) -> list[EpochRecord]:
    """Training accuracy grows with depth; validation accuracy peaks early and declines."""
    strength = depth / BLOCKS * (0.4 + 0.6 * np.exp(-((np.log10(lr) + 3.5) ** 2)))
    steps = config.head_phase.epochs + config.depth_phase.epochs
    records = []
    for step in range(1, steps + 1):
        progress = max(0, step - config.head_phase.epochs) / config.depth_phase.epochs
        train = 0.42 + 0.04 * min(step, config.head_phase.epochs) + 0.46 * strength * (1 - np.exp(-3 * progress))
        peak = 0.06 * strength * np.sin(min(1.0, 1.7 * progress) * np.pi * 0.62)
        val = 0.40 + 0.04 * min(step, config.head_phase.epochs) + peak - 0.05 * strength * progress
        val = round(float(val + rng.normal(0, 0.022)) * N_VALIDATION) / N_VALIDATION
        records.append(made_record(step, config.head_phase.epochs, float(min(0.995, train + rng.normal(0, 0.01))), val))
    return records


def study_attributes(base: TrialConfig, **changes: Any) -> dict[str, Any]:
    dataset = {
        "name": "synthetic",
        "fingerprint": "ab" * 32,
        "rendered": True,
        "counts_train": [134, 20, 136, 74, 49],
        "counts_test": [34, 5, 32, 19, 13],
        "notes": ["6 pairs of images are byte-identical; they stay on one side of the split."],
        "grades": ["no DR", "mild", "moderate", "severe", "proliferative"],
        "n": 516,
    }
    split = {"n_train": 330, "n_validation": N_VALIDATION, "n_test": 103, "seed": 0, "validation_fraction": 0.2}
    blocks = [
        {"index": i, "name": f"blocks.{i}", "parameters": 1000 * (i + 1), "trainable_fraction": (i + 1) / BLOCKS}
        for i in range(BLOCKS)
    ]
    attributes = {
        "drft_schema": 1,
        "space": SPACE,
        "space_fingerprint": "cd" * 32,
        "source": "synthetic",
        "cohort": json.dumps(dataset),
        "split": json.dumps(split),
        "blocks": json.dumps(blocks),
        "base_config": base.model_dump_json(),
        "metric": "accuracy",
        "seed": 0,
        "sampler": "tpe",
        "pruner": "asha",
        "command": "drft-study run --trials 60",
        "versions": json.dumps({"drft-study": "0.1.0", "torch": "2.15.0", "optuna": "5.0.0", "python": "3.11.9"}),
        "trials_wanted": 60,
    }
    return attributes | changes


def trial_attributes(config: TrialConfig, records: list[EpochRecord], ending: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "depth": config.depth,
        "depth_fraction": config.depth / BLOCKS,
        "trainable_fraction": config.depth / BLOCKS,
        "worker": "local-0",
        "device": "cpu",
        "control": False,
        "config": config.model_dump_json(),
    }
    attributes |= {f"epoch:{record.step:03d}": json.dumps(asdict(record)) for record in records}
    if ending in {"completed", "pruned"}:
        best = best_record(records, config.metric)
        attributes |= {"ending": ending, "best_step": best.step, "seconds": sum(r.seconds for r in records)}
    return attributes


def made_trial(number: int, state: TrialState, seed: int = 0) -> optuna.trial.FrozenTrial:
    rng = np.random.default_rng([seed, number])
    params = {
        "depth": int(rng.integers(0, BLOCKS + 1)),
        "depth_phase.lr": float(10 ** rng.uniform(-5, -2)),
        "augmentation.strength": float(rng.choice((0.0, 0.25, 0.5, 0.75, 1.0))),
        "loss.class_weighting": str(rng.choice(("none", "balanced", "sqrt"))),
    }
    if number % 2:
        params["dropout"] = float(rng.uniform(0, 0.5))
    if state is TrialState.WAITING:
        return optuna.trial.create_trial(state=state)
    config = with_values(TrialConfig(), params)
    records = made_curve(rng, config.depth, config.depth_phase.lr, config)
    epochs = {TrialState.PRUNED: 5, TrialState.FAIL: 2, TrialState.RUNNING: 1}.get(state, len(records))
    records = records[:epochs]
    ending = {TrialState.COMPLETE: "completed", TrialState.PRUNED: "pruned"}.get(state, "")
    attributes = trial_attributes(config, records, ending)
    if state is TrialState.FAIL:
        attributes["fail_reason"] = "the training loss became NaN at step 3"
    if number and number % 10 == 8:
        attributes["retry_of"] = number - 1
    best_so_far = np.maximum.accumulate([record.val_accuracy for record in records])
    return optuna.trial.create_trial(
        state=state,
        value=float(best_so_far[-1]) if state in {TrialState.COMPLETE, TrialState.PRUNED} else None,
        params=params,
        distributions={name: DIMENSIONS[name] for name in params},
        user_attrs=attributes,
        intermediate_values={r.step: float(b) for r, b in zip(records, best_so_far, strict=True)},
    )


def mixed_states(n: int) -> list[TrialState]:
    """Of every ten trials six complete, three pruned and one failed; the last two running and waiting."""
    cycle = "CCPCCPCFCP"
    states_by_letter = {"C": TrialState.COMPLETE, "P": TrialState.PRUNED, "F": TrialState.FAIL}
    states = [states_by_letter[cycle[number % 10]] for number in range(n)]
    return [*states[:-2], TrialState.RUNNING, TrialState.WAITING] if n > 2 else states


StudyMaker = Callable[..., Path]


@pytest.fixture(scope="session")
def make_study() -> StudyMaker:
    """Write a study folder ``results/name`` with a SQLite ``study.db``; returns ``results``."""

    def write(
        results: Path, name: str = "demo", states: list[TrialState] | None = None, folder: str = "", **changes: Any
    ) -> Path:
        path = results / (folder or name)
        path.mkdir(parents=True, exist_ok=True)
        study = optuna.create_study(study_name=name, storage=f"sqlite:///{path / 'study.db'}", direction="maximize")
        for key, value in study_attributes(TrialConfig(), **changes).items():
            study.set_user_attr(key, value)
        states = mixed_states(60) if states is None else states
        study.add_trials([made_trial(number, state) for number, state in enumerate(states)])
        return results

    return write


@pytest.fixture(scope="session")
def add_finalists(make_study: StudyMaker) -> Callable[..., None]:
    """Cross-validate a study's depths 0, 1, ... without training them.

    ``accuracies`` are about the shares of images that a depth gets right. All studies find the same images easy; what a
    training adds depends on ``seed``. Each training is best at ``epoch``, and no prediction is right at another one.
    """

    def add(
        results: Path,
        name: str,
        accuracies: Sequence[float],
        *,
        ids: Sequence[str] = tuple(f"train/{number}" for number in range(100)),
        base: TrialConfig | None = None,
        rounds: int = 2,
        seed: int = 0,
        epoch: int = 7,
        **changes: Any,
    ) -> None:
        base = base or TrialConfig()
        configs = [with_values(base, {"depth": depth}) for depth in range(len(accuracies))]
        named = [Finalist(f"depth {config.depth}", config.depth, 0, 0.5, config) for config in configs]
        plan = FinalistsPlan(name, seed, 60, 5, rounds, (*named, Finalist(UNTUNED, base.depth, None, None, base)))
        make_study(results, f"{name}.finalists", [], name, sampler="planned", space=plan.text, **changes)
        storage = f"sqlite:///{results / name / 'study.db'}"
        study = optuna.load_study(study_name=f"{name}.finalists", storage=storage)
        ease, rng = np.random.default_rng(0).random(len(ids)), np.random.default_rng([seed, 1])
        for index in range(plan.size):
            turn, fold, position = plan.locate(index)
            images = np.flatnonzero((np.arange(len(ids)) + turn) % plan.folds == fold)
            right = ease[images] + rng.normal(0, 0.1, len(images)) < [*accuracies, 0.3][position]
            grades = images % 2
            probabilities = np.zeros((base.steps, len(images), 2), np.float16)
            probabilities[:, np.arange(len(images)), 1 - grades] = 1
            probabilities[epoch - 1, right] = np.eye(2)[grades[right]]
            config = plan.config(index)
            records = [
                made_record(step, config.head_phase.epochs, 0.9, float(right.mean()) if step == epoch else 0.0)
                for step in range(1, base.steps + 1)
            ]
            attributes = trial_attributes(config, records, "completed") | {"place": index}
            study.add_trial(optuna.trial.create_trial(value=0.5, user_attrs=attributes))
            folder = results / name / "finalists" / "trials" / f"{index:04d}"
            folder.mkdir(parents=True)
            names = np.array([ids[image] for image in images])
            stored = {"ids": names, "grades": grades, "probabilities": probabilities}
            np.savez(folder / "predictions.npz", **{f"validation_{key}": value for key, value in stored.items()})

    return add


@pytest.fixture(scope="session")
def demo(make_study: StudyMaker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with one study, ``demo``, of 60 trials; do not change it."""
    return make_study(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="session")
def add_graded_finalists() -> Callable[..., FinalistsPlan]:
    """Add finalists with five grades to a study of ``make_study``: of depths 0, 2 and all, and the untuned one.

    Two rounds of five folds of 100 images. All trainings are best at epoch 4 of 6, where they are right about 60, 70
    and 80 % of the images, and right about 50, 60 and 70 % at the last epoch. None predicts the class ``never``.
    """

    def write(results: Path, study: str, never: int = 1) -> FinalistsPlan:
        settings = {"head_phase.epochs": 2, "depth_phase.epochs": 4, "depth_phase.lr": 0.00123}
        finalists = [
            Finalist(f"depth {depth}", depth, 0, 0.5, with_values(TrialConfig(), {**settings, "depth": depth}))
            for depth in (0, 2, BLOCKS)
        ]
        untuned = Finalist(UNTUNED, 2, None, None, with_values(TrialConfig(), settings))
        plan = FinalistsPlan(study, seed=0, trials=60, folds=5, rounds=2, finalists=(*finalists, untuned))
        location = finalists_location(find_study(study, results))
        stored = optuna.create_study(study_name=location.name, storage=location.url, direction="maximize")
        for key, value in study_attributes(TrialConfig(), sampler="planned", space=plan.text).items():
            stored.set_user_attr(key, value)
        stored.add_trials([_made_training(plan, index, location.folder, never) for index in range(plan.size)])
        return plan

    return write


@pytest.fixture(scope="session")
def change_finalists() -> Callable[..., None]:
    """Change the trials of a study's finalists: ``change`` returns each trial as it is to be, or None to remove it."""

    def rewrite(results: Path, study: str, change: Callable[[FrozenTrial], FrozenTrial | None]) -> None:
        location = finalists_location(find_study(study, results))
        stored = location.open()
        direction, attributes, trials = stored.direction, stored.user_attrs, stored.get_trials()
        optuna.delete_study(study_name=location.name, storage=location.url)
        stored = optuna.create_study(study_name=location.name, storage=location.url, direction=direction)
        for key, value in attributes.items():
            stored.set_user_attr(key, value)
        stored.add_trials([trial for trial in map(change, trials) if trial is not None])

    return rewrite


def _made_training(plan: FinalistsPlan, index: int, folder: Path, never: int) -> optuna.trial.FrozenTrial:
    """Return the trial of one training of the finalists, and write its predictions."""
    round_number, fold, position = plan.locate(index)
    grades = np.arange(100) % 5
    images = np.flatnonzero(np.random.default_rng(round_number).permutation(100) % plan.folds == fold)
    accuracies = 0.1 * position + np.array([0.3, 0.4, 0.5, 0.6, 0.4, 0.5])
    right = np.random.default_rng(index).random((6, len(images))) < accuracies[:, None]
    predicted = np.where(right & (grades[images] != never), grades[images], (never + 1) % 5)
    trial = folder / "trials" / f"{index:04d}"
    trial.mkdir(parents=True)
    np.savez(
        trial / "predictions.npz",
        validation_ids=np.array([f"train/{image:03d}" for image in images]),
        validation_grades=grades[images],
        validation_probabilities=(0.1 + 0.5 * np.eye(5)[predicted]).astype(np.float16),
    )
    records = [made_record(step, 2, 0.95, float(accuracy)) for step, accuracy in enumerate(accuracies, start=1)]
    attributes = trial_attributes(plan.config(index), records, "completed") | {"place": index}
    return optuna.trial.create_trial(state=TrialState.COMPLETE, value=float(max(accuracies)), user_attrs=attributes)


@pytest.fixture(scope="session")
def completed_trial() -> Callable[..., optuna.trial.FrozenTrial]:
    """Return a trial of the result of a real training; ``changes`` replace values in all of its records."""

    def make(result: TrialResult, value: float, **changes: float) -> optuna.trial.FrozenTrial:
        records = {f"epoch:{record.step:03d}": json.dumps(asdict(record) | changes) for record in result.records}
        depth = result.config.depth
        return optuna.trial.create_trial(
            value=value,
            params={"depth": depth},
            distributions={"depth": DIMENSIONS["depth"]},
            user_attrs={
                "depth": depth,
                "depth_fraction": result.depth_fraction,
                "trainable_fraction": result.trainable_fraction,
                "ending": "completed",
                "seconds": 1.0,
                **records,
            },
        )

    return make


@pytest.fixture(scope="session")
def tiny_config() -> Callable[..., TrialConfig]:
    """Return configurations of trainings that take less than a second."""

    def make(weights: Path | str, depth: int = 1, seed: int = 0) -> TrialConfig:
        return parse_config(
            {
                "seed": seed,
                "image_size": 32,
                "depth": depth,
                "split": {"validation_fraction": 0.4},
                "backbone": {"name": "test_resnet", "weights": str(weights), "normalization": "imagenet"},
                "head_phase": {"epochs": 1},
                "depth_phase": {"epochs": 1, "lr": 0.01},
            }
        )

    return make


@pytest.fixture(scope="session")
def trained_study(
    tiny_dataset: ImageDataset,
    make_study: StudyMaker,
    completed_trial: Callable[..., optuna.trial.FrozenTrial],
    tiny_config: Callable[..., TrialConfig],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A results folder with one study, ``real``, of three trainings with checkpoints; copy it, do not change it."""
    # Imported here, since most tests of study/ need no torch.
    import safetensors.torch

    from drft.models.backbone import build_model
    from drft.training.trial import run_trial

    results = tmp_path_factory.mktemp("trained")
    weights = results / "pretrained.safetensors"
    safetensors.torch.save_file(build_model(tiny_config("none"), seed=7).net.state_dict(), weights)
    rows = [(image.path.name, image.grade, image.origin) for image in tiny_dataset.images]
    table = pd.DataFrame(rows, columns=["image", "level", "split"])
    table.to_csv(results / "labels.csv", index=False)
    source = str(results / "labels.csv")
    options = {"origin_column": "split", "images": str(tiny_dataset.images[0].path.parent)}
    dataset = open_dataset(source, options=options)
    recorded = {"fingerprint": dataset.fingerprint, "grades": list(dataset.grades), "rendered": False, "name": "tiny"}
    make_study(
        results, "real", states=[], source=source, source_options=json.dumps(options), cohort=json.dumps(recorded)
    )
    study = optuna.load_study(study_name="real", storage=f"sqlite:///{results / 'real' / 'study.db'}")
    folder = StudyFolder(results / "real")
    folder.trials.mkdir()
    for number, depth in enumerate((1, 2, 5)):
        result = run_trial(tiny_config(weights, depth, number), dataset)
        folder.write_trial(number, result, checkpoint=True)
        study.add_trial(completed_trial(result, result.best.val_accuracy))
    return results


_databases = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """A PostgreSQL server for the tests."""
    folder = binaries()
    if folder is None:
        pytest.skip("there are no PostgreSQL server binaries")
    server = Postgres(folder)
    server.start()
    yield server
    server.remove()


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    """The path of a SQLite file that does not exist yet."""
    return str(tmp_path / "study.db")


@pytest.fixture
def postgresql(server: Postgres) -> str:
    """The URL of an empty database."""
    return server.database(f"test{next(_databases)}")


@pytest.fixture
def journal(tmp_path: Path) -> str:
    """The URL of a journal that does not exist yet."""
    return f"journal://{tmp_path / 'shared'}"


@pytest.fixture(params=["sqlite", "postgresql", "journal"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL or path of each kind of storage."""
    return request.getfixturevalue(request.param)
