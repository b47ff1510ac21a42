"""Everything that is checked and made ready before a confirmation writes its first byte."""

from dataclasses import dataclass, replace
from functools import partial

from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler

from drft.config.trial_config import TrialConfig
from drft.data import ImageDataset, Progress
from drft.errors import StudyError
from study.executors.local.process import warm_up
from study.results.confirmation_plan import PLANNED, ConfirmationPlan, make_plan
from study.results.open_dataset import data_source, reopen_dataset
from study.results.study_metadata import StudyMetadata
from study.results.study_results import StudyResults
from study.results.test_set import Confirmation, confirmation_location, read_confirmation
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


@dataclass(frozen=True, slots=True)
class PreparedConfirmation:
    """What is to be confirmed, and how far that is."""

    study: StudyResults
    plan: ConfirmationPlan
    confirmation: Confirmation | None

    @property
    def over(self) -> bool:
        """Whether nothing is left to train."""
        return self.confirmation is not None and self.confirmation.finished


def undertake(study: StudyResults, top: int, seeds: int) -> PreparedConfirmation:
    """Plan the confirmation of a study, or go on with the one there is.

    Raises:
        StudyError: when there is one with other numbers, or none can be made.
    """
    confirmation = read_confirmation(study)
    if confirmation is None:
        return PreparedConfirmation(study, make_plan(study, top, seeds), None)
    plan = confirmation.plan
    if (plan.top, plan.seeds) != (top, seeds):
        name, how = study.info.name, "is confirmed" if confirmation.finished else "has begun to be confirmed"
        raise StudyError(
            f"study {name!r} {how} with --top {plan.top} --seeds {plan.seeds}, and the test images are opened "
            "once: confirm it with these"
        )
    return PreparedConfirmation(study, plan, confirmation)


def options_for(prepared: PreparedConfirmation, options: RunOptions, data: str | None) -> RunOptions:
    """Return the options with the data source of the study, unless another place of it is named."""
    source, data_options = data_source(prepared.study.info, data, options.data_options)
    return replace(
        options,
        data=source,
        data_options=data_options,
        trials=prepared.plan.size,
        keep_checkpoints=0,
    )


def prepare(prepared: PreparedConfirmation, options: RunOptions, tell: Progress) -> StudyPlan[ConfirmationPlan]:
    """Check all that the retrainings depend on and decode the images; only the cache of images is written.

    Raises:
        UsageError: with every fault there is.
    """
    warm_up()
    faults, info = OptionErrors(), prepared.study.info
    sizes = sorted({candidate.config.image_size for candidate in prepared.plan.candidates})
    base = TrialConfig.model_validate(info.base_config)
    slots = faults.attempt(lambda: find_slots(options))
    faults.attempt(lambda: check_writable(info.folder))
    dataset = faults.attempt(lambda: reopen_dataset(info, options.data, options.data_options, tell))
    with BackboneProbe() as inspector:
        for config in {one.config.backbone: one.config for one in prepared.plan.candidates}.values():
            faults.attempt(partial(inspector.check, config, len(info.dataset["grades"])))
    if slots is not None:
        faults.attempt(partial(check_precision, base, slots))
    if dataset is not None:
        faults.attempt(partial(decode, dataset, sizes, tell))
    faults.raise_all()
    assert slots is not None
    assert dataset is not None
    place = confirmation_location(prepared.study.location)
    backbones = list(dict.fromkeys(candidate.config.backbone for candidate in prepared.plan.candidates))
    return StudyPlan(
        metadata=_metadata(place.name, prepared, options, dataset),
        space=prepared.plan,
        sampler=RandomSampler(),
        pruner=NopPruner(),
        workload=make_workload(options, slots, networks=len(backbones)),
        dataset=dataset,
        backbones=backbones,
        image_sizes=sizes,
        slots=slots,
        storage=place.url,
        folder=place.folder,
    )


def _metadata(name: str, prepared: PreparedConfirmation, options: RunOptions, dataset: ImageDataset) -> StudyMetadata:
    plan, info = prepared.plan, prepared.study.info
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
