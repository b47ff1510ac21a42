"""What workers do unless told otherwise. Imported in workers only: torch must see their environment first."""

from drft.config import TrialConfig
from drft.data import open_cohort
from drft.records import TrialResult
from drft.trial import run_trial
from study.executors.base import Workload
from study.executors.worker import OnEpoch, Trainer


def two_phase_trainer(workload: Workload) -> Trainer:
    """Open the cohort once; what is returned runs one two-phase fine-tuning on it."""
    cohort = open_cohort(workload.source, options=dict(workload.source_options), cache_dir=workload.cache_dir)

    def train(config: TrialConfig, on_epoch: OnEpoch) -> TrialResult:
        return run_trial(config, cohort, on_epoch, cache_dir=workload.cache_dir)

    return train
