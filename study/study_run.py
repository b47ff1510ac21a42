"""What a run returns: the study as it stands, with its verdict, its best configuration, its model and its tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pandas as pd

from drft.config.trial_config import TrialConfig, config_paths
from study.messages import closing_lines
from study.results.finalists_plan import read_finalists
from study.results.progress import StudyProgress
from study.results.study_results import StudyResults
from study.space.settings import get_setting
from study.tuner.stopping import Ended, RunOutcome

if TYPE_CHECKING:  # SciPy and torch take seconds to import
    from study.analysis.estimators.intervals import Withheld
    from study.analysis.verdict import Verdict
    from study.export.trained_model import TrainedModel


@dataclass(frozen=True, slots=True)
class BestConfiguration:
    """The configuration that a study recommends: the recommended depth's, or with the goal best the best trial's."""

    trial: int | None
    """Number of the trial whose settings it has; None if they are those of the base configuration."""
    score: float
    """Expected score on new images with a verdict; else the trial's score on validation, which is optimistic."""
    config: TrialConfig = field(repr=False)
    params: Mapping[str, Any]
    """The values of the searched settings, by path."""


@dataclass(frozen=True)
class StudyRun:
    """A study after a run of it. In a notebook or at a prompt, it is shown as the last lines of a run."""

    outcome: RunOutcome
    """How the run ended."""
    results: StudyResults
    """The study, as tables."""
    report: Path | None
    """The page of the report; None if none was written."""
    command: str
    """The command that resumes the study."""

    @property
    def ended(self) -> Ended:
        """Why the run ended: ``done``, ``time``, ``interrupted``, ``failing`` or ``noise``."""
        return self.outcome.ended

    @property
    def progress(self) -> StudyProgress:
        """The trials of the search by state."""
        return self.outcome.progress

    @property
    def standing(self) -> StudyProgress:
        """``progress``, by its name in version 0.1."""
        return self.outcome.progress

    @property
    def seconds(self) -> float:
        """Wall time of the run."""
        return self.outcome.seconds

    @property
    def requeued(self) -> int:
        """Trials that were stopped and queued again."""
        return self.outcome.requeued

    @property
    def reason(self) -> str:
        """Why the run ended, where ``ended`` does not say it all."""
        return self.outcome.reason

    @property
    def trials(self) -> pd.DataFrame:
        """One row per trial of the search, see ``StudyResults.trials``."""
        return self.results.trials

    @cached_property
    def verdict(self) -> "Verdict | Withheld":
        """Which depth to train and how sure that is; or the reason why the study cannot say."""
        from study.analysis.evidence import read_verdict  # noqa: PLC0415

        return read_verdict(self.results)

    @cached_property
    def best(self) -> BestConfiguration | None:
        """The configuration that the study recommends; None if no trial has completed."""
        from study.analysis.estimators.intervals import Withheld  # noqa: PLC0415

        finalists, verdict = read_finalists(self.results), self.verdict
        if finalists is not None and not isinstance(verdict, Withheld):
            finalist = finalists.plan.finalists[finalists.plan.position(verdict.recommended_depth)]
            return self._configuration(finalist.trial, verdict.accuracy.value, finalist.config)
        if self.results.eligible.empty:
            return None
        row = self.results.eligible.iloc[0]
        config = self.results.config(int(row["number"]))
        return None if config is None else self._configuration(int(row["number"]), float(row["score"]), config)

    def model(self) -> "TrainedModel":
        """Return the model that ``drft-study export`` would write.

        Raises:
            StudyError: when the study has none, or its checkpoints were not kept.
        """
        from study.export.model import model_checkpoints  # noqa: PLC0415
        from study.export.trained_model import TrainedModel  # noqa: PLC0415

        return TrainedModel.load(model_checkpoints(self.results), self.results.info.classes)

    def optuna_study(self) -> optuna.Study:
        """Return the study of the search, for Optuna's own functions and plots."""
        return self.results.location.open()

    def __repr__(self) -> str:
        lines = closing_lines(self.results, self.outcome, self.command)[1:]
        return "\n".join([*lines, *([] if self.report is None else [f"Report: {self.report}"])])

    def _configuration(self, trial: int | None, score: float, config: TrialConfig) -> BestConfiguration:
        known = {*config_paths()}
        params = {path: get_setting(config, path) for path in self.results.info.dimensions if path in known}
        return BestConfiguration(trial, score, config, params)
