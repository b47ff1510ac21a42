"""Questions about backbones, asked in another process: torch and timm take seconds to import, and only that one waits.

The functions that answer import them when they are called; the driver knows the functions by name only.
"""

import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, Self, TypeVar

from drft.config.trial_config import TrialConfig
from drft.errors import DrftError
from study.executors.local.process import CONTEXT, obituary, start

Block = dict[str, Any]
"""Index (0 is the stem), name, parameters, and the trainable fraction at the depth that reaches the block."""

Answer = TypeVar("Answer")


class BackboneProbe:
    """Answers questions about backbones, in a process that lasts as long as the ``with`` block."""

    def __enter__(self) -> Self:
        self._pipe, theirs = CONTEXT.Pipe()
        self._process = start(_serve, theirs, name="drft-inspector", environment={"CUDA_VISIBLE_DEVICES": ""})
        theirs.close()  # or this process would never see the end of the pipe
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()  # it may be amid a download
        self._process.join()
        self._process.close()
        self._pipe.close()

    def blocks(self, backbone: str) -> Sequence[Block]:
        """Return the blocks of a backbone, stem first.

        Raises:
            BackboneError: when timm has no such model or it cannot be frozen block by block.
        """
        return self._ask(_blocks, backbone)

    def check(self, config: TrialConfig, classes: int) -> None:
        """Build the model of a configuration, to see whether that can be done.

        Raises:
            BackboneError: when the backbone does not exist or does not take these settings.
            WeightsError: when its weights cannot be had or do not fit.
        """
        self._ask(_build, config, classes)

    def _ask(self, question: Callable[..., Answer], *about: object) -> Answer:
        self._pipe.send((question, about))
        try:
            answer, error = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise DrftError(f"the process that checks backbones {obituary(self._process.exitcode)}") from None
        if error is not None:
            raise error
        result: Answer = answer
        return result


def _serve(pipe: Connection) -> None:
    while True:
        try:
            question, about = pipe.recv()
        except EOFError:
            return
        pipe.send(_answer(question, about))


def _answer(question: Callable[..., Any], about: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    try:
        return question(*about), None
    except Exception as error:  # noqa: BLE001 (raised where the question was asked)
        if not isinstance(error, DrftError):
            error.add_note(traceback.format_exc())
        return None, error


def _blocks(backbone: str) -> list[Block]:
    from drft.models.backbone import describe_backbone  # noqa: PLC0415 (see above)

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
    from drft.models.backbone import build_model  # noqa: PLC0415 (see above)

    build_model(config, classes)
