"""The plan of a confirmation: which configurations are retrained, and on which seeds and splits.

The best trials of a study and its base configuration are all retrained on the same new seeds and splits. The plan is
made once and stored as the search space of the confirmation study, so that a resumed confirmation runs the same
trainings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import pandas as pd
import yaml

from drft.config.trial_config import TrialConfig, with_values
from drft.config.validation import contradictions
from drft.errors import StudyError
from study.results.planned_study import TrainingPlan
from study.results.study_results import StudyInfo, StudyResults
from study.space.seeds import confirmation_seeds

BASELINE = "baseline"

HOLD_OUT = "hold some out in a new study with --test-fraction 0.2"
"""What to do where a study has no test images."""

_SEED_PATHS = ("seed", "split.seed", "augmentation.seed")


class SeedAndSplit(NamedTuple):
    """The randomness of one training; every configuration is trained on each pair (common random numbers)."""

    seed: int
    """Seed of head, batch order, dropout and augmentation."""
    split: int
    """Seed of the split."""


class Candidate(NamedTuple):
    """One configuration to retrain."""

    name: str
    trial: int | None
    """Number of the trial it was taken from; None for the baseline."""
    sweep_accuracy: float | None
    """Validation accuracy of that trial at its best epoch."""
    config: TrialConfig


@dataclass(frozen=True, slots=True)
class ConfirmationPlan(TrainingPlan):
    """Every candidate on every seed and split.

    Trainings are counted by an index: all candidates on the first seed and split, then all on the second, and so on.
    """

    study: str
    top: int
    seeds: int
    seeds_and_splits: tuple[SeedAndSplit, ...]
    candidates: tuple[Candidate, ...]
    """The baseline first, then the trials, best first."""

    @property
    def size(self) -> int:
        """Number of trainings."""
        return len(self.seeds_and_splits) * len(self.candidates)

    def locate(self, index: int) -> tuple[int, int]:
        """Return the positions of a training's seed and split and of its candidate."""
        return divmod(index, len(self.candidates))

    def config(self, index: int) -> TrialConfig:
        """Return the configuration of one training."""
        pair, candidate = self.locate(index)
        seed, split = self.seeds_and_splits[pair]
        return with_values(self.candidates[candidate].config, dict(zip(_SEED_PATHS, (seed, split, seed), strict=True)))

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain lists and mappings."""
        return {
            # The fingerprint covers this text: with another wording, a confirmation that has begun cannot be resumed.
            "question": f"Do the best trials of {self.study} hold on fresh seeds, fresh splits and the test set?",
            "study": self.study,
            "top": self.top,
            "seeds": self.seeds,
            "draws": [pair._asdict() for pair in self.seeds_and_splits],
            "candidates": [
                candidate._asdict() | {"config": candidate.config.model_dump(mode="json")}
                for candidate in self.candidates
            ],
        }

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the plan that was written as this text."""
        plan = yaml.safe_load(text)
        return cls(
            plan["study"],
            plan["top"],
            plan["seeds"],
            tuple(SeedAndSplit(**pair) for pair in plan["draws"]),
            tuple(
                Candidate(**values | {"config": TrialConfig.model_validate(values["config"])})
                for values in plan["candidates"]
            ),
        )


def make_plan(study: StudyResults, top: int, seeds: int) -> ConfirmationPlan:
    """Return the plan of a study's confirmation.

    The baseline is the base configuration: the defaults with the values that the space fixes and the command sets.

    Args:
        study: the study.
        top: how many of its best trials are retrained.
        seeds: how many seeds, each with its own split.

    Raises:
        StudyError: when the study has fewer completed trials than ``top``, or no test images.
    """
    name = study.info.name
    check_has_test_images(study.info)
    best = _best_candidates(study)
    if len(best) < top:
        limit = "" if study.info.max_gap is None else f" with a gap of {study.info.max_gap:g} or less"
        raise StudyError(
            f"study {name!r} has {len(best)} different completed trials{limit}, but --top is {top}: "
            "run more trials or lower --top"
        )
    base = at_possible_depth(TrialConfig.model_validate(study.info.base_config), len(study.info.blocks))
    baseline = Candidate(BASELINE, None, None, without_seeds(base))
    pairs = tuple(SeedAndSplit(*confirmation_seeds(study.info.seed, index)) for index in range(seeds))
    return ConfirmationPlan(name, top, seeds, pairs, (baseline, *best[:top]))


def check_has_test_images(info: StudyInfo) -> None:
    """Check that a study can be confirmed.

    Raises:
        StudyError: when it has no test images.
    """
    if not info.split["n_test"]:
        raise StudyError(
            f"study {info.name!r} has no test images, so it cannot be confirmed: {HOLD_OUT}, or name the column that "
            "marks test images in a table with --origin-column"
        )


def at_possible_depth(base: TrialConfig, blocks: int) -> TrialConfig:
    """Return a configuration at the nearest depth that the backbone has and its other settings allow."""
    depths = sorted(range(blocks + 1), key=lambda depth: abs(depth - base.depth))
    configs = [base.model_copy(update={"depth": depth}) for depth in depths]
    return next((config for config in configs if not any(contradictions(config))), configs[0])


def _best_candidates(study: StudyResults) -> Sequence[Candidate]:
    """Return the eligible trials, best first; of trials that differ in their seeds alone, only the best."""
    candidates: dict[TrialConfig, Candidate] = {}
    for row in study.eligible.to_dict("records"):
        number = int(row["number"])
        recorded = study.config(number)
        if recorded is None or pd.isna(row["val_accuracy_best"]):
            continue
        config = without_seeds(recorded)
        if config not in candidates:
            candidates[config] = Candidate(f"trial {number}", number, float(row["val_accuracy_best"]), config)
    return list(candidates.values())


def without_seeds(config: TrialConfig) -> TrialConfig:
    """Return a configuration with all seeds 0, so that configurations that differ in their seeds alone are equal."""
    return with_values(config, dict.fromkeys(_SEED_PATHS, 0))
