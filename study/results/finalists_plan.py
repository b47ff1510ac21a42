"""The plan of a study's finalists: the best settings of each depth, cross-validated on common folds and seeds.

In the first round all finalists are trained; which depths are in later ones is decided between rounds, from the results
so far. Later rounds have other folds and seeds, and on each fold another configuration: those that the search ranks
next. Networks with different settings err less alike than networks with the same ones (Wenzel et al. 2020,
"Hyperparameter Ensembles for Robustness and Uncertainty Quantification").
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import yaml

from drft.config.trial_config import SplitConfig, TrialConfig, with_values
from study.results.locate import FINALISTS, StudyLocation
from study.results.planned_study import PlannedStudy, TrainingPlan, read_planned_study
from study.results.study_results import StudyResults

FOLDS = 5
"""With five folds, a training has as many images as in the search, and the fold models are enough for an ensemble."""

ROUNDS = 2
"""Rounds of cross-validation of the leading depths."""

CONTENDERS = 3
"""Depths in later rounds. The trainings of more depths are worth more in the search: ten trials, 0.4 points of accuracy
(``results/benchmarks/finalists.md``)."""

MOST_DEPTHS = 9
"""Of more depths, as many as this are cross-validated; the curve over depth covers those between them."""

UNTUNED = "untuned"
"""The finalist with the study's base configuration."""


class Finalist(NamedTuple):
    """A depth to cross-validate, or the untuned configuration."""

    name: str
    """``depth 3``, or ``untuned``."""
    depth: int
    trial: int | None
    """Number of the trial whose settings it has; None for the settings of the base configuration."""
    expected: float | None
    """The score that the search predicts for it; None for the untuned configuration."""
    config: TrialConfig
    """The configuration of the first round."""
    next_best: tuple[Mapping[str, Any], ...] = ()
    """What those of the later rounds, one for each fold, have otherwise; empty if all rounds have the same one."""


@dataclass(frozen=True, slots=True)
class FinalistsPlan(TrainingPlan):
    """Every finalist on every fold of every round.

    Trainings are counted by an index: first all finalists on the first fold, then on the second, and so on; then the
    same in the second round.
    """

    study: str
    seed: int
    """The study's seed, from which the seeds of all trainings follow."""
    trials: int
    """Finished trials of the study when the finalists were chosen."""
    folds: int
    rounds: int
    finalists: tuple[Finalist, ...]
    """One for each depth, shallowest first, then the untuned configuration."""

    @property
    def size(self) -> int:
        """Number of trainings if all finalists are in all rounds."""
        return self.rounds * self.folds * len(self.finalists)

    def locate(self, index: int) -> tuple[int, int, int]:
        """Return the round, the fold and the position of the finalist of a training."""
        turn, finalist = divmod(index, len(self.finalists))
        return (*divmod(turn, self.folds), finalist)

    def position(self, depth: int) -> int:
        """Return the position of the finalist of a depth; the untuned configuration is another one."""
        return next(
            position
            for position, finalist in enumerate(self.finalists)
            if finalist.depth == depth and finalist.name != UNTUNED
        )

    def indices(self, round_number: int, finalists: Collection[int]) -> list[int]:
        """Return the trainings of one round (from 0) of some finalists."""
        first = round_number * self.folds
        return [
            turn * len(self.finalists) + position for turn in range(first, first + self.folds) for position in finalists
        ]

    def config(self, index: int) -> TrialConfig:
        """Return the configuration of one training; finalists have the same seeds on the same fold."""
        round_number, fold, position = self.locate(index)
        finalist = self.finalists[position]
        own: Mapping[str, Any] = {}
        if round_number and finalist.next_best:
            own = finalist.next_best[((round_number - 1) * self.folds + fold) % len(finalist.next_best)]
        values = {
            **own,
            "seed": _seed(self.seed, round_number, fold),
            "split.seed": _seed(self.seed, round_number),
            "split.folds": self.folds,
            "split.fold": fold,
            "split.validation_fraction": SplitConfig().validation_fraction,
            # Folds of unequal length could not say which epoch is best for another fold.
            "early_stopping.patience": 0,
        }
        return with_values(finalist.config, values)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain lists and mappings."""
        return {
            "question": f"Which depth is best in {self.study}, each with the settings that are best for it?",
            "study": self.study,
            "seed": self.seed,
            "trials": self.trials,
            "folds": self.folds,
            "rounds": self.rounds,
            "finalists": [_as_plain(finalist) for finalist in self.finalists],
        }

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the plan that was written as this text."""
        plan = yaml.safe_load(text)
        finalists = tuple(_as_finalist(values) for values in plan["finalists"])
        return cls(plan["study"], plan["seed"], plan["trials"], plan["folds"], plan["rounds"], finalists)


@dataclass(frozen=True)
class Finalists(PlannedStudy[FinalistsPlan]):
    """The state of a study's finalists."""

    def of_name(self, name: str) -> list[int]:
        """Return the numbers of the completed trials of a finalist, in the order of the plan."""
        position = [finalist.name for finalist in self.plan.finalists].index(name)
        return [number for index, number in sorted(self.done.items()) if self.plan.locate(index)[2] == position]


def finalists_location(study: StudyLocation) -> StudyLocation:
    """Return the location of a study's finalists, whether or not they exist."""
    return StudyLocation(f"{study.name}{FINALISTS}", study.url, study.folder / "finalists")


def read_finalists(study: StudyResults) -> Finalists | None:
    """Read the finalists of a study; None if there are none.

    Raises:
        StudyError: when a study with their name is something else.
    """
    return read_finalists_at(study.location)


def read_finalists_at(study: StudyLocation) -> Finalists | None:
    """Read the finalists of the study at a location, as ``read_finalists`` does."""
    planned = read_planned_study(finalists_location(study), FinalistsPlan)
    return None if planned is None else Finalists(planned.plan, planned.results, planned.trials)


def trainings_of_finalists(depths: int) -> int:
    """Return how many trainings the finalists of so many depths take.

    There are more if another depth than the leading ones is recommended in the end, and fewer if fewer depths lead.
    """
    finalists = min(depths, MOST_DEPTHS)
    return FOLDS * (finalists + 1 + (ROUNDS - 1) * min(finalists, CONTENDERS))


def _as_plain(finalist: Finalist) -> dict[str, Any]:
    values = finalist._asdict() | {"config": finalist.config.model_dump(mode="json")}
    values["next_best"] = [dict(settings) for settings in finalist.next_best]
    if not finalist.next_best:  # as in the plans of earlier versions, which are to stay the same text
        del values["next_best"]
    return values


def _as_finalist(values: dict[str, Any]) -> Finalist:
    config, later = TrialConfig.model_validate(values["config"]), tuple(values.get("next_best", ()))
    for settings in later:  # a damaged plan is to be found here, not in the second round
        with_values(config, settings)
    return Finalist(**values | {"config": config, "next_best": later})


def _seed(*entropy: int) -> int:
    return int(np.random.SeedSequence([*entropy, 3]).generate_state(1)[0])
