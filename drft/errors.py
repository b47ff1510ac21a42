"""The errors this program raises on purpose.

::

    DrftError
    ├── UsageError              the user can mend it: one line says what, where and what to do (exit 2)
    │   ├── ConfigError         a configuration or search space that cannot be run
    │   ├── DataError           a data source that cannot be read as a data set
    │   ├── BackboneError       an unknown backbone, or a depth it does not have
    │   │   └── WeightsError    weights missing, unreachable or of another model
    │   └── StudyError          a study, its storage or its folder that cannot be used
    └── TrainingError           a training that went wrong (the trial FAILs, the study goes on)
        └── NonFiniteLossError  the loss became NaN or infinite

Anything else that escapes is a defect of the program and keeps its traceback.
"""

from collections.abc import Iterable, Sequence


class DrftError(Exception):
    """Everything this program raises on purpose."""


class UsageError(DrftError):
    """Something the user can mend; ``faults`` holds one line for each thing that is wrong.

    Args:
        faults: one sentence, or several found in one pass. Each says what, where and what to do.
    """

    def __init__(self, faults: str | Iterable[str]) -> None:
        self.faults: Sequence[str] = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__("\n".join(self.faults))


class ConfigError(UsageError):
    """A configuration or search space that cannot be run."""


class DataError(UsageError):
    """A data source that cannot be read as a data set."""


class BackboneError(UsageError):
    """An unknown backbone, or a depth it does not have."""


class WeightsError(BackboneError):
    """Weights missing, unreachable or of another model."""


class StudyError(UsageError):
    """A study, its storage or its folder that cannot be used."""


class TrainingError(DrftError):
    """A training that went wrong: the trial fails with this reason, the study goes on."""


class NonFiniteLossError(TrainingError):
    """The training loss became NaN or infinite."""
