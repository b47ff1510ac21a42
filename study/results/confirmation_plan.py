"""What a confirmation trains: the best trials of a study and its base configuration, all on the same fresh draws.

The plan is made once and kept as the search space of the study that carries it out, so whatever goes on with it goes
on with the very same trainings.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import pandas as pd
import yaml
from optuna.trial import Trial

from drft.config.trial_config import TrialConfig, with_values
from drft.config.validation import contradictions
from drft.errors import StudyError
from study.results.study_results import StudyResults
from study.space.seeds import confirmation_seeds

BASELINE = "baseline"
PLANNED = "planned"
"""What a confirmation records in the place of a sampler."""

_DRAWN = ("seed", "split.seed", "augmentation.seed")


class SeedAndSplit(NamedTuple):
    """The chance in one training: common random numbers of all configurations."""

    seed: int
    """Of head, batch order, dropout and augmentation."""
    split: int


class Candidate(NamedTuple):
    """One configuration to retrain."""

    name: str
    trial: int | None
    """Number of the trial it comes from; None for the baseline."""
    sweep_accuracy: float | None
    """Validation accuracy of that trial at its best epoch."""
    config: TrialConfig


@dataclass(frozen=True, slots=True)
class ConfirmationPlan:
    """Every candidate on every draw; a *place* counts these trainings, draw by draw."""

    study: str
    top: int
    seeds: int
    draws: tuple[SeedAndSplit, ...]
    candidates: tuple[Candidate, ...]
    """The baseline first, then the trials, best first."""

    @property
    def size(self) -> int:
        """How many trainings there are."""
        return len(self.draws) * len(self.candidates)

    def at(self, place: int) -> tuple[int, int]:
        """Return the indices of draw and candidate at a place."""
        return divmod(place, len(self.candidates))

    def config(self, place: int) -> TrialConfig:
        """Return the configuration of one training."""
        draw, candidate = self.at(place)
        seed, split = self.draws[draw]
        chance = dict(zip(_DRAWN, (seed, split, seed), strict=True))
        return with_values(self.candidates[candidate].config, chance)

    def suggest(self, trial: Trial) -> TrialConfig:
        """Return the configuration at the place that the trial was queued for."""
        return self.config(trial.user_attrs["place"])

    def queue(self, taken: Collection[int]) -> Iterator[dict[str, Any]]:
        """Yield the attributes of the trials at all places but those that are taken."""
        for place in range(self.size):
            if place not in taken:
                yield {"place": place, "seed": self.config(place).seed, "control": False}

    @property
    def told(self) -> dict[str, Any]:
        """The plan in plain lists and mappings."""
        return {
            "question": f"Do the best trials of {self.study} hold on fresh seeds, fresh splits and the test set?",
            "study": self.study,
            "top": self.top,
            "seeds": self.seeds,
            "draws": [draw._asdict() for draw in self.draws],
            "candidates": [one._asdict() | {"config": one.config.model_dump(mode="json")} for one in self.candidates],
        }

    @property
    def text(self) -> str:
        """The plan as YAML."""
        return yaml.safe_dump(self.told, sort_keys=False, allow_unicode=True, width=120)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the plan."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the plan that was written as this text."""
        told: Mapping[str, Any] = yaml.safe_load(text)
        return cls(
            told["study"],
            told["top"],
            told["seeds"],
            tuple(SeedAndSplit(**draw) for draw in told["draws"]),
            tuple(
                Candidate(**one | {"config": TrialConfig.model_validate(one["config"])}) for one in told["candidates"]
            ),
        )


def make_plan(study: StudyResults, top: int, seeds: int) -> ConfirmationPlan:
    """Plan the confirmation of a study.

    Raises:
        StudyError: when it has fewer completed trials than ``top``, or no test images.
    """
    name = study.info.name
    if not study.info.split["n_test"]:
        raise StudyError(
            f"study {name!r} has no test images, so there is nothing to open: "
            "name them with --origin-column when a study of a table is run"
        )
    best = _best(study)
    if len(best) < top:
        limit = "" if study.info.max_gap is None else f" with a gap of {study.info.max_gap:g} or less"
        raise StudyError(
            f"study {name!r} has {len(best)} different completed trials{limit}, --top asks for {top}: "
            "run more trials, or ask for fewer"
        )
    draws = tuple(SeedAndSplit(*confirmation_seeds(study.info.seed, index)) for index in range(seeds))
    return ConfirmationPlan(name, top, seeds, draws, (_baseline(study), *best[:top]))


def _baseline(study: StudyResults) -> Candidate:
    """Return the defaults with what the space fixes and the command said: what one trains who does not search."""
    base = TrialConfig.model_validate(study.info.base_config)
    return Candidate(BASELINE, None, None, _drawless(_at_possible_depth(base, len(study.info.blocks))))


def _at_possible_depth(base: TrialConfig, blocks: int) -> TrialConfig:
    """Return a configuration at the depth nearest its own that the backbone has and its other settings allow."""
    depths = sorted(range(blocks + 1), key=lambda depth: abs(depth - base.depth))
    configs = [base.model_copy(update={"depth": depth}) for depth in depths]
    return next((config for config in configs if not any(contradictions(config))), configs[0])


def _best(study: StudyResults) -> Sequence[Candidate]:
    """Return the trials that can be the best, best first, those left out that another one equals but for its seed."""
    configs = {
        trial.number: TrialConfig.model_validate_json(trial.user_attrs["config"])
        for trial in study.place.open().get_trials(deepcopy=False)
        if "config" in trial.user_attrs
    }
    found: dict[TrialConfig, Candidate] = {}
    for row in study.eligible.to_dict("records"):
        number, config = int(row["number"]), _drawless(configs[int(row["number"])])
        if config not in found and not pd.isna(row["val_accuracy_best"]):
            found[config] = Candidate(f"trial {number}", number, float(row["val_accuracy_best"]), config)
    return list(found.values())


def _drawless(config: TrialConfig) -> TrialConfig:
    return with_values(config, dict.fromkeys(_DRAWN, 0))
