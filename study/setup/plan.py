"""Everything that is checked and made ready before a study writes its first byte.

All faults are collected and raised together, so that a user mends a command once and not five times.
"""

import importlib.metadata
import importlib.util
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, Generic, TypeVar

from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from drft.config.trial_config import BackboneConfig, SplitConfig, TrialConfig
from drft.data import GRADES, ImageDataset, Progress, load_images, open_dataset, stratified_split
from drft.data.dataset import grouping
from drft.errors import UsageError
from study.executors import Slot, Workload, choose_slots
from study.executors.local.process import warm_up
from study.pruners.factory import make_pruner
from study.pruners.folds import check_folds, chosen_pruner
from study.results.study_metadata import StudyMetadata, check_study
from study.samplers.factory import make_sampler
from study.setup.backbone_probe import BackboneProbe
from study.setup.faults import OptionErrors
from study.setup.options import RunOptions
from study.setup.resolve import ResolvedSpace, bind, said_by
from study.space import BoundSpace, Space
from study.space.suggester import Suggester
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
    """Those that trials can have."""
    image_sizes: Sequence[int]
    """Sizes that trials can ask for; the images are decoded at each."""
    slots: Sequence[Slot]
    """Places on this machine; none where another executor finds them."""
    storage: str
    """URL of the storage."""
    folder: Path
    """``results/STUDY``."""


def prepare(options: RunOptions, tell: Progress) -> StudyPlan[BoundSpace]:
    """Check everything a run depends on and decode its images; nothing is written but the cache of images.

    Raises:
        UsageError: with every fault there is.
    """
    warm_up()  # the inspector and the workers wait for torch; until it is imported, there are the data to look at
    faults = OptionErrors()
    slots = faults.attempt(lambda: find_slots(options))
    faults.attempt(lambda: check_writable(options.results))
    if options.study is not None:
        faults.attempt(partial(check_study_name, options.study))
    dataset = faults.attempt(lambda: open_dataset(options.data, options=options.data_options, progress=tell))
    with BackboneProbe() as inspector:
        bound = faults.attempt(lambda: bind(options, inspector, faults))
        base = bound.space.base if bound is not None else faults.attempt(lambda: said_by(options))
        grades = len(dataset.grades) if dataset else len(GRADES)
        for config in bound.space.each if bound is not None else filter(None, [base]):
            faults.attempt(partial(inspector.check, config, grades))
    if base is not None:
        faults.attempt(partial(_check_stop_rule, options, base))
    if bound is not None:
        faults.attempt(partial(check_folds, options.pruner, bound.space))
    if base is not None and slots is not None:
        faults.attempt(partial(check_precision, base, slots))
    if dataset is not None and bound is not None:
        faults.attempt(partial(decode, dataset, _image_sizes(bound.space), tell))
    faults.raise_all()
    assert slots is not None
    assert bound is not None
    assert dataset is not None
    return _plan(options, bound, dataset, slots)


def _plan(
    options: RunOptions, bound: ResolvedSpace, dataset: ImageDataset, slots: Sequence[Slot]
) -> StudyPlan[BoundSpace]:
    """Make the plan from parts that are right in themselves, if they go together with the study that is there."""
    space, metadata = bound.space, _metadata(options, bound, dataset)
    url = options.storage or study_url(options.results, metadata.name)
    faults = OptionErrors()
    trials = faults.attempt(lambda: _check_storage(url, metadata)) or 0
    sampler = faults.attempt(
        lambda: make_sampler(options.sampler, seed=options.seed, space=space, finished_trials=trials)
    )
    faults.raise_all()
    assert sampler is not None
    return StudyPlan(
        metadata=metadata,
        space=space,
        sampler=sampler,
        pruner=make_pruner(metadata.pruner, first_step=space.first_prunable_step, last_step=space.max_steps),
        workload=make_workload(options, slots, networks=len(space.each)),
        dataset=dataset,
        backbones=[config.backbone for config in space.each],
        image_sizes=_image_sizes(space),
        slots=slots,
        storage=url,
        folder=options.results / metadata.name,
    )


def _check_stop_rule(options: RunOptions, base: TrialConfig) -> None:
    if options.stop_when_noise and base.metric != "accuracy":
        raise UsageError(
            f"--stop-when-noise: it compares accuracies, and this study maximizes {base.metric}; leave it out"
        )


def check_precision(base: TrialConfig, slots: Sequence[Slot]) -> None:
    """Refuse a precision that these slots do not have.

    Raises:
        UsageError: when it takes a GPU, and there is none.
    """
    if base.precision == "fp16" and any(slot.gpu is None for slot in slots):
        raise UsageError("precision: fp16 needs a GPU, this study would run on the CPU: choose bf16 or fp32")


def decode(dataset: ImageDataset, sizes: Sequence[int], tell: Progress) -> None:
    """Decode all images at every size that trials can ask for, so that workers find them ready."""
    for size in sizes:
        load_images(dataset, size, progress=tell)


def make_workload(options: RunOptions, slots: Sequence[Slot], networks: int = 1) -> Workload:
    """Return what workers on these slots need before their first job; trials are of so many ``networks``."""
    return Workload(
        options.data,
        tuple(sorted(options.data_options.items())),
        cache_size=options.cache_size,
        workers=max(1, len(slots)),
        trials_per_gpu=options.trials_per_gpu or 1,
        networks=networks,
    )


def _image_sizes(space: BoundSpace) -> list[int]:
    for dimension in space.dimensions:
        if dimension.path == "image_size":
            return sorted({int(size) for size in dimension.domain.values() or () if size is not None})
    return [space.base.image_size]


def find_slots(options: RunOptions) -> Sequence[Slot]:
    """Return the places on this machine; Ray is asked for its own when everything else is right.

    Raises:
        UsageError: when there are none, or no Ray.
    """
    if options.executor == "local":
        return choose_slots(options.jobs, options.gpus, options.trials_per_gpu)
    if importlib.util.find_spec("ray") is None:
        raise UsageError('--executor ray needs Ray: pip install "drft-study[ray]"')
    return ()


def _metadata(options: RunOptions, bound: ResolvedSpace, dataset: ImageDataset) -> StudyMetadata:
    base, several = bound.space.base, bound.written.backbones is not None
    return StudyMetadata(
        name=options.study or _default_name(bound.written, options.data, "" if several else base.backbone.name),
        space=bound.written.text,
        space_fingerprint=bound.written.fingerprint,
        source=options.data,
        source_options=options.data_options,
        dataset=about_dataset(dataset),
        split=about_split(dataset, base.split),
        blocks=bound.blocks,
        backbones=bound.space.counts if several else {},
        base_config=base,
        seed=options.seed,
        sampler=options.sampler,
        pruner=chosen_pruner(options.pruner, base.split),
        command=options.command,
        versions=versions(),
        trials_wanted=options.trials,
        max_gap=options.max_gap,
    )


def about_split(dataset: ImageDataset, config: SplitConfig) -> dict[str, Any]:
    """Return what a study records of its split; of one for each fold ``n_train`` is a mean."""
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
    """Return what a study records of its images."""
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "grouping": grouping(dataset.images),
        "rendered": dataset.rendered,
        "counts_train": dataset.counts("train"),
        "counts_test": dataset.counts("test"),
        "notes": dataset.notes,
        "corrections": [
            {"kind": one.kind, "file": one.file, "digest": one.digest, "photographs": one.images}
            for one in dataset.corrections
        ],
        "grades": dataset.grades,
        "n": len(dataset),
    }


def _default_name(space: Space, data: str, backbone: str) -> str:
    """Name a study by what it is about: space, data and backbone."""
    source = data if data.startswith("synthetic") else Path(data).expanduser().resolve().stem
    words = (re.sub(r"[^A-Za-z0-9_.]+", "-", word).strip("-.") for word in (space.name, source, backbone))
    return "-".join(word for word in words if word)[:100]


def _check_storage(url: str, metadata: StudyMetadata) -> int:
    """Return how many trials the study has; refuse a storage or study that cannot be gone on with."""
    if not storage_exists(url):
        check_new_storage(url)
        return 0
    storage = open_storage(url)
    check_study(metadata, storage)
    try:
        study_id = storage.get_study_id_from_name(metadata.name)
    except KeyError:
        return 0
    return storage.get_n_trials(study_id)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version(), "system": platform.platform(terse=True)}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # run from its folder, not installed
            found[package] = "not installed"
    return found
