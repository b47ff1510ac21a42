"""Prepare a confirmation: plan it, and check everything it depends on before the first file is written."""

from collections.abc import Sequence
from dataclasses import replace

from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler

from drft.config.trial_config import TrialConfig
from drft.data import ImageDataset, Progress
from drft.errors import StudyError
from study.executors import Slot, check_address_space
from study.executors.local.process import warm_up
from study.results.confirmation_plan import ConfirmationPlan, make_plan
from study.results.open_dataset import data_source, reopen_dataset
from study.results.planned_study import PLANNED
from study.results.study_metadata import StudyMetadata
from study.results.study_results import StudyInfo, StudyResults
from study.results.test_set import Confirmation, confirmation_location
from study.setup.backbone_probe import BackboneProbe
from study.setup.faults import OptionErrors
from study.setup.options import RunOptions
from study.setup.plan import (
    StudyPlan,
    about_dataset,
    about_split,
    check_precision,
    decode,
    find_slots,
    make_workload,
    versions,
)
from study.storage.open import check_writable


def plan_confirmation(study: StudyResults, confirmation: Confirmation | None, top: int, seeds: int) -> ConfirmationPlan:
    """Return the plan of a study's confirmation, or make one if ``confirmation`` is None.

    Raises:
        StudyError: when the confirmation has other values of ``top`` or ``seeds``, or cannot be made.
    """
    if confirmation is None:
        return make_plan(study, top, seeds)
    plan = confirmation.plan
    if (plan.top, plan.seeds) != (top, seeds):
        state = "was confirmed" if confirmation.finished else "has an unfinished confirmation"
        raise StudyError(
            f"study {study.info.name!r} {state} with --top {plan.top} --seeds {plan.seeds}, and a study is confirmed "
            "once: use these values"
        )
    return plan


def retraining_options(info: StudyInfo, plan: ConfirmationPlan, options: RunOptions, data: str | None) -> RunOptions:
    """Return the options of the retrainings: the study's data source (or ``data``), and all trainings of the plan."""
    source, source_options = data_source(info, data, options.data_options)
    return replace(options, data=source, data_options=source_options, trials=plan.size, keep_checkpoints=0)


def prepare(
    study: StudyResults, plan: ConfirmationPlan, options: RunOptions, progress: Progress
) -> StudyPlan[ConfirmationPlan]:
    """Check everything that the retrainings depend on and decode the images; only the image cache is written.

    Raises:
        UsageError: with all faults.
    """
    check_address_space()
    warm_up()
    info, faults = study.info, OptionErrors()
    sizes = sorted({candidate.config.image_size for candidate in plan.candidates})
    configs = {candidate.config.backbone: candidate.config for candidate in plan.candidates}
    slots: Sequence[Slot] | None = None
    dataset: ImageDataset | None = None
    with faults:
        slots = find_slots(options)
        check_precision(TrialConfig.model_validate(info.base_config), slots)
    with faults:
        check_writable(info.folder)
    with faults:
        dataset = reopen_dataset(info, options.data, options.data_options, progress)
        decode(dataset, sizes, progress)
    with BackboneProbe() as probe:
        for config in configs.values():
            with faults:
                probe.check(config, len(info.classes))
    faults.raise_all()
    assert slots is not None
    assert dataset is not None
    location = confirmation_location(study.location)
    return StudyPlan(
        metadata=_make_metadata(location.name, info, plan, options, dataset),
        space=plan,
        sampler=RandomSampler(),  # never asked: every trial is queued with its configuration
        pruner=NopPruner(),
        workload=make_workload(options, slots, networks=len(configs)),
        dataset=dataset,
        backbones=list(configs),
        image_sizes=sizes,
        slots=slots,
        storage=location.url,
        folder=location.folder,
    )


def _make_metadata(
    name: str, info: StudyInfo, plan: ConfirmationPlan, options: RunOptions, dataset: ImageDataset
) -> StudyMetadata:
    base = plan.config(0)
    return StudyMetadata(
        name=name,
        space=plan.text,
        space_fingerprint=plan.fingerprint,
        source=options.data,
        source_options=options.data_options,
        dataset=about_dataset(dataset),
        split=about_split(dataset, base.split),
        blocks=info.blocks,
        base_config=base,
        seed=info.seed,
        sampler=PLANNED,
        pruner="none",
        command=options.command,
        versions=versions(),
        trials_wanted=plan.size,
    )
