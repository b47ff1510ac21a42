"""Check and prepare everything that a study needs before anything is written.

All faults are collected and raised together, so that a user can fix a command in one pass.
"""

import importlib.metadata
import importlib.util
import json
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Generic, TypeVar

from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from drft.config.trial_config import ORDINAL_LOSSES, BackboneConfig, SplitConfig, TrialConfig
from drft.data import GRADES, ImageDataset, Progress, load_images, open_dataset, stratified_split
from drft.data.dataset import grouping
from drft.data.datasets.classes import ONE_CLASS
from drft.data.datasets.open import is_rendered
from drft.errors import UsageError
from drft.extras import install_command
from drft.files.home import expand_home
from drft.own_function import find_function, is_function
from study.executors import Slot, Workload, check_address_space, choose_slots
from study.executors.base import TRAINER
from study.executors.local.process import warm_up
from study.pruners.factory import make_pruner
from study.pruners.folds import check_folds, chosen_pruner
from study.results.image_list import changed_images
from study.results.open_dataset import check_order, recorded_labels
from study.results.study_folder import check_no_trials
from study.results.study_metadata import StudyMetadata, check_study
from study.samplers.factory import make_sampler
from study.samplers.names import Goal
from study.setup.backbone_probe import BackboneProbe
from study.setup.faults import OptionErrors
from study.setup.goal import choose_goal, recorded_goal
from study.setup.options import RunOptions
from study.setup.resolve import ResolvedSpace, config_of, resolve_space
from study.setup.torch_process import TorchProcess
from study.space import BoundSpace, Space
from study.space.suggester import Suggester
from study.storage.backend import Storage
from study.storage.open import (
    check_new_storage,
    check_study_name,
    check_writable,
    open_storage,
    storage_exists,
    study_url,
)

_PACKAGES = ("drft-study", "torch", "timm", "optuna", "numpy", "pillow")

Suggesting_co = TypeVar("Suggesting_co", bound=Suggester, covariant=True)


@dataclass(frozen=True, slots=True)
class StudyPlan(Generic[Suggesting_co]):
    """A study that can be run."""

    metadata: StudyMetadata
    space: Suggesting_co
    sampler: BaseSampler
    pruner: BasePruner
    workload: Workload
    dataset: ImageDataset
    backbones: Sequence[BackboneConfig]
    """All backbones of the trials."""
    image_sizes: Sequence[int]
    """All image sizes of the trials, in pixels; the images are decoded at each of them."""
    slots: Sequence[Slot]
    """Slots for trials on this machine; empty where another executor has its own."""
    storage: str = field(repr=False)
    """URL of the storage, with its password."""
    folder: Path
    """``results/STUDY``."""
    goal_reason: str = ""
    """Why the study has its goal."""


def prepare(options: RunOptions, progress: Progress) -> StudyPlan[BoundSpace]:
    """Check everything that a run depends on and decode its images; only the cache of images is written.

    Raises:
        UsageError: with the faults of all checks; at once if the memory of processes is limited too much for any.
    """
    check_address_space()
    warm_up()  # the backbone probe and the workers need torch: it is imported while the data are read here
    faults = OptionErrors()
    slots: Sequence[Slot] | None = None
    dataset: ImageDataset | None = None
    with faults:
        slots = find_slots(options)
    with faults:
        check_writable(options.results)
    with faults:
        if options.study is not None:
            check_study_name(options.study)
    with faults:
        if options.trainer != TRAINER:
            _check_trainer(options.trainer)
    with faults:
        dataset = open_dataset(options.data, options=options.data_options, progress=progress)
    resolved, configs = _resolve(options, len(GRADES if dataset is None else dataset.grades), faults)
    with faults:
        if configs and options.stop_when_noise and configs[0].metric != "accuracy":
            raise UsageError(
                f"--stop-when-noise: it compares accuracies, and this study maximizes {configs[0].metric}; leave it out"
            )
    with faults:
        if resolved is not None:
            check_folds(options.pruner, resolved.space)
    with faults:
        if resolved is not None:
            choose_goal(options, resolved.space, None)
    with faults:
        if configs and slots is not None:
            check_precision(configs[0], slots)
    with faults:
        if dataset is not None and resolved is not None:
            decode(dataset, resolved.space.image_sizes, progress)
    faults.raise_all()
    assert slots is not None
    assert dataset is not None
    assert resolved is not None
    return _make_plan(options, resolved, dataset, slots, progress)


def _check_trainer(name: str) -> None:
    """Check that a process like those that train can import a training function.

    Raises:
        UsageError: when there is no such function.
    """
    if not is_function(name):
        raise UsageError(f"trainer {name!r} should be module:function, such as my_training:make")
    if name.startswith("__main__:"):
        raise UsageError(f"trainer {name}: the processes that train cannot import it; move it to a Python file")
    with TorchProcess("drft-probe", "imports the trainer", {}) as process:
        process.call(_import_trainer, name)


def _import_trainer(name: str) -> None:
    """Import a training function in another process, and leave it there: this one should not import torch."""
    find_function(name, "trainer", UsageError)


def _resolve(
    options: RunOptions, classes: int, faults: OptionErrors
) -> tuple[ResolvedSpace | None, Sequence[TrialConfig]]:
    """Resolve the search space, and build and run the model of each of its backbones.

    Returns:
        The space, and the base configuration on each backbone. If the space has faults, None and the configuration that
        the options describe, so that its backbone is checked all the same.
    """
    resolved: ResolvedSpace | None = None
    configs: Sequence[TrialConfig] = ()
    with BackboneProbe() as probe:
        with faults:
            resolved = resolve_space(options, probe, faults)
        with faults:
            configs = (config_of(options),) if resolved is None else resolved.space.base_configs
        # A space with faults does not tell the image sizes.
        smallest = None if resolved is None else min(resolved.space.image_sizes, default=None)
        for config in configs:
            with faults:
                probe.check(config, classes, smallest)
    return resolved, configs


def _make_plan(
    options: RunOptions, resolved: ResolvedSpace, dataset: ImageDataset, slots: Sequence[Slot], progress: Progress
) -> StudyPlan[BoundSpace]:
    """Return the plan, after comparing it with the study of that name, if there is one."""
    space, base = resolved.space, resolved.space.base
    backbone = "" if resolved.written.backbones is not None else base.backbone.name
    name = options.study or _default_name(resolved.written, options.data, backbone)
    url = options.storage or study_url(options.results, name)
    storage = open_storage(url) if storage_exists(url) else None
    if storage is not None and (labels := _labels_of_study(storage, name, options)):
        options = replace(options, data_options={**labels, **options.data_options})
        dataset = open_dataset(options.data, options=options.data_options, progress=progress)
        decode(dataset, space.image_sizes, progress)
    goal, goal_reason = choose_goal(options, space, None if storage is None else recorded_goal(storage, name))
    metadata = _make_metadata(options, resolved, dataset, name, goal)
    faults = OptionErrors()
    with faults:
        check_classes(dataset, space)
    trials = 0
    sampler: BaseSampler | None = None
    pruner: BasePruner | None = None
    with faults:
        trials = _count_trials(storage, url, metadata, options.results / name, dataset)
    with faults:
        sampler = make_sampler(options.sampler, seed=options.seed, space=space, finished_trials=trials, goal=goal)
    with faults:
        pruner = make_pruner(metadata.pruner, first_step=space.first_prunable_step, last_step=space.max_steps)
    faults.raise_all()
    assert sampler is not None
    assert pruner is not None
    return StudyPlan(
        metadata=metadata,
        space=space,
        sampler=sampler,
        pruner=pruner,
        workload=make_workload(options, slots, networks=len(space.base_configs)),
        dataset=dataset,
        backbones=[config.backbone for config in space.base_configs],
        image_sizes=space.image_sizes,
        slots=slots,
        storage=url,
        folder=options.results / metadata.name,
        goal_reason=goal_reason,
    )


def _labels_of_study(storage: Storage, name: str, options: RunOptions) -> dict[str, str]:
    """Return the options of a resumed study's labels that the run leaves out; empty if there is no such study."""
    try:
        attributes = storage.get_study_user_attrs(storage.get_study_id_from_name(name))
        labels = recorded_labels(json.loads(attributes["cohort"]), json.loads(attributes.get("source_options", "{}")))
    except (KeyError, ValueError, TypeError):  # no such study, or attributes that check_study names
        return {}
    return {option: value for option, value in labels.items() if option not in options.data_options}


def check_classes(dataset: ImageDataset, space: BoundSpace) -> None:
    """Check that there are classes to tell apart, and that nothing relies on an order that they do not have.

    Raises:
        UsageError: when there is one class, or a metric or a loss for ordered classes with others.
    """
    if len(dataset.grades) < 2:
        raise UsageError(ONE_CLASS.format(dataset.name, *dataset.grades))
    if dataset.ordinal:
        return
    losses = {config.loss.kind for config in space.base_configs}
    searched = {value for each in space.dimensions if each.path == "loss.kind" for value in each.domain.values() or ()}
    wrong = [f"--metric {config.metric}" for config in space.base_configs[:1] if config.metric == "qwk"]
    wrong += [f"loss.kind {kind}" for kind in sorted(map(str, searched or losses)) if kind in ORDINAL_LOSSES]
    if wrong:
        raise UsageError(
            f"{' and '.join(wrong)} {'needs' if len(wrong) == 1 else 'need'} ordered classes, and those of "
            f"the data set {dataset.name} are not ordered: add --ordinal if they are grades"
        )


def check_precision(config: TrialConfig, slots: Sequence[Slot]) -> None:
    """Check that every slot supports the precision of a configuration.

    Raises:
        UsageError: when it needs a GPU, and a slot is on the CPU.
    """
    if config.precision == "fp16" and any(slot.gpu is None for slot in slots):
        raise UsageError("precision: fp16 needs a GPU, and this study would run on the CPU; choose bf16 or fp32")


def decode(dataset: ImageDataset, sizes: Sequence[int], progress: Progress) -> None:
    """Decode all images at all sizes into the cache, so that workers do not have to."""
    for size in sizes:
        load_images(dataset, size, progress=progress)


def make_workload(options: RunOptions, slots: Sequence[Slot], networks: int = 1) -> Workload:
    """Return what workers on these slots need before their first job; ``networks`` counts the backbones of trials."""
    return Workload(
        options.data,
        tuple(sorted(options.data_options.items())),
        cache_size=options.cache_size,
        workers=max(1, len(slots)),
        trials_per_gpu=max(1, sum(slot.gpu is not None and slot.gpu == slots[0].gpu for slot in slots)),
        networks=networks,
        trainer=options.trainer,
    )


def find_slots(options: RunOptions) -> Sequence[Slot]:
    """Return the slots for trials on this machine; none for Ray, which has its own.

    Raises:
        UsageError: when the machine has no such slots, or Ray is not installed.
    """
    if options.executor == "local":
        return choose_slots(options.jobs, options.gpus, options.trials_per_gpu)
    if importlib.util.find_spec("ray") is None:
        raise UsageError(f"--executor ray needs Ray: {install_command('ray')}")
    return ()


def _make_metadata(
    options: RunOptions, resolved: ResolvedSpace, dataset: ImageDataset, name: str, goal: Goal
) -> StudyMetadata:
    base, space = resolved.space.base, resolved.written
    several = space.backbones is not None
    return StudyMetadata(
        name=name,
        space=space.text,
        space_fingerprint=space.fingerprint,
        source=options.data,
        source_options=options.data_options,
        dataset=about_dataset(dataset),
        split=about_split(dataset, base.split),
        blocks=resolved.blocks,
        backbones=resolved.space.block_counts if several else {},
        base_config=base,
        seed=options.seed,
        sampler=options.sampler,
        # The configurations that end best start slowly, with high rates at many trained blocks. A pruner stopped them,
        # and the search learned to avoid them.
        pruner=chosen_pruner(options.pruner, base.split, "none" if goal == "depth" else "predictive"),
        command=options.command,
        versions=versions(),
        trials_wanted=options.trials,
        goal=goal,
        max_gap=options.max_gap,
        trainer="" if options.trainer == TRAINER else options.trainer,
    )


def about_split(dataset: ImageDataset, config: SplitConfig) -> dict[str, Any]:
    """Return what a study stores about its split; with folds, mean ``n_train`` and total ``n_validation``."""
    splits = [stratified_split(dataset, turn) for turn in config.turns]
    return {
        "n_train": round(fmean(len(split.train) for split in splits)),
        "n_validation": sum(len(split.validation) for split in splits),
        "n_test": len(splits[0].test),
        "seed": config.seed,
        "validation_fraction": config.validation_fraction,
        **({"folds": len(splits)} if config.every_fold else {}),
    }


def about_dataset(dataset: ImageDataset) -> dict[str, Any]:
    """Return what a study stores about its data set."""
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "test_fingerprint": dataset.test_fingerprint,
        "grouping": grouping(dataset.images),
        "rendered": dataset.rendered,
        "counts_train": dataset.counts("train"),
        "counts_test": dataset.counts("test"),
        "notes": dataset.notes,
        "corrections": [  # the key "photographs" is that of version 0.1
            {
                "kind": correction.kind,
                "file": correction.file,
                "digest": correction.digest,
                "photographs": correction.images,
            }
            for correction in dataset.corrections
        ],
        "grades": dataset.grades,
        "ordinal": dataset.ordinal,
        "test_part": None if dataset.test_part is None else asdict(dataset.test_part),
        "n": len(dataset),
    }


def _default_name(space: Space, data: str, backbone: str) -> str:
    """Return a study name made of the names of space, data and backbone."""
    source = data if is_rendered(data) else expand_home(data).resolve().stem
    words = (re.sub(r"[^A-Za-z0-9_.]+", "-", word).strip("-.") for word in (space.name, source, backbone))
    return "-".join(word for word in words if word)[:100]


def _count_trials(
    storage: Storage | None, url: str, metadata: StudyMetadata, folder: Path, dataset: ImageDataset
) -> int:
    """Return how many trials the study has already, after checking that it can be resumed with this metadata."""
    if storage is None:
        check_new_storage(url)
        check_no_trials(folder)
        return 0
    check_study(metadata, storage, lambda: changed_images(folder, dataset.images))
    try:
        study_id = storage.get_study_id_from_name(metadata.name)
    except KeyError:
        check_no_trials(folder)
        return 0
    check_order(dataset, metadata.source, metadata.name, folder)
    return storage.get_n_trials(study_id)


def versions() -> dict[str, str]:
    """Return the versions of Python, of the system, and of the packages that results depend on."""
    versions = {"python": platform.python_version(), "system": platform.platform(terse=True)}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # this program can run from its source folder
            versions[package] = "not installed"
    return versions
