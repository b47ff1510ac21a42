"""The errors that this program raises on purpose.

::

    DrftError
    ├── UsageError              the user can fix it: one line names the fault, the place and what to do (exit 2)
    │   ├── ConfigError         an invalid configuration or search space
    │   ├── DataError           a data source that cannot be read as a data set
    │   ├── BackboneError       an unknown backbone, or a depth that it does not have
    │   │   └── WeightsError    weights that are missing, unreachable or of another model
    │   └── StudyError          a study, its storage or its folder that cannot be used
    └── TrainingError           a training that failed (its trial gets the state FAIL, the study continues)
        └── NonFiniteLossError  the loss became NaN or infinite, or predictions NaN

Any other exception is a bug of the program and keeps its traceback.
"""

from collections.abc import Iterable, Sequence


class DrftError(Exception):
    """Base class of all errors that this program raises on purpose."""


class UsageError(DrftError):
    """An error that the user can fix. ``faults`` holds one line per fault.

    Args:
        faults: one sentence, or several found in one pass. Each names the fault, the place and what to do.
    """

    def __init__(self, faults: str | Iterable[str]) -> None:
        self.faults: Sequence[str] = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__("\n".join(self.faults))


def one_line(error: Exception) -> str:
    """Return kind and first line of an error that is not this program's, for a message about it."""
    return f"{type(error).__name__}: {error}".partition("\n")[0]


class ConfigError(UsageError):
    """An invalid configuration or search space."""


class DataError(UsageError):
    """A data source that cannot be read as a data set."""


class BackboneError(UsageError):
    """An unknown backbone, or a depth that it does not have."""


class WeightsError(BackboneError):
    """Weights that are missing, unreachable or of another model."""


class StudyError(UsageError):
    """A study, its storage or its folder that cannot be used."""


class TrainingError(DrftError):
    """A training that failed. Its trial fails with this message; the study continues."""


class NonFiniteLossError(TrainingError):
    """The training loss became NaN or infinite, or the predictions NaN."""
