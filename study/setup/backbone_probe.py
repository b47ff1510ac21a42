"""Look up and build backbones in another process, since this one should not import torch and timm.

These imports take seconds. The functions of this module that need them import them in their bodies.
"""

import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, Self, TypeVar

from drft.config.trial_config import TrialConfig
from drft.errors import DrftError
from study.executors.local.process import CONTEXT, describe_exit, start

Block = dict[str, Any]
"""Index (0 is the stem), name, number of parameters, and trainable fraction at the depth that reaches the block."""

Result = TypeVar("Result")


class BackboneProbe:
    """Looks up and builds backbones, in a process that ends with the ``with`` block."""

    def __enter__(self) -> Self:
        self._pipe, child_end = CONTEXT.Pipe()
        self._process = start(_serve, child_end, name="drft-probe", environment={"CUDA_VISIBLE_DEVICES": ""})
        child_end.close()  # otherwise recv would not raise EOFError when the process ends
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()  # it may still download weights
        self._process.join()
        self._process.close()
        self._pipe.close()

    def blocks(self, backbone: str) -> Sequence[Block]:
        """Return the blocks of a backbone, stem first.

        Raises:
            BackboneError: when timm has no such model or it cannot be frozen block by block.
        """
        return self._call(_blocks, backbone)

    def check(self, config: TrialConfig, classes: int) -> None:
        """Build the model of a configuration, with so many classes.

        Raises:
            BackboneError: when the backbone does not exist or does not support these settings.
            WeightsError: when its weights cannot be loaded or do not fit.
        """
        self._call(_build, config, classes)

    def _call(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Return the result of a function in the other process, or raise its exception here."""
        self._pipe.send((function, arguments))
        try:
            result, error = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise DrftError(f"the process that checks backbones {describe_exit(self._process.exitcode)}") from None
        if error is not None:
            raise error
        returned: Result = result
        return returned


def _serve(pipe: Connection) -> None:
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((function(*arguments), None))
        except Exception as error:  # noqa: BLE001 (raised again by the caller, in the other process)
            if not isinstance(error, DrftError):
                error.add_note(traceback.format_exc())
            pipe.send((None, error))


def _blocks(backbone: str) -> list[Block]:
    from drft.models.backbone import describe_backbone  # noqa: PLC0415 (imports torch)

    rows = describe_backbone(backbone)
    return [
        {
            "index": len(rows) - row.depth,
            "name": row.name,
            "parameters": row.parameters,
            "trainable_fraction": row.trainable_fraction,
        }
        for row in reversed(rows)
    ]


def _build(config: TrialConfig, classes: int) -> None:
    from drft.models.backbone import build_model  # noqa: PLC0415 (imports torch)

    build_model(config, classes)
