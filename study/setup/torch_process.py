"""A process that calls functions which need torch, since this process should not import it: that takes seconds."""

import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any, Self, TypeVar

from drft.errors import DrftError
from study.executors.local.process import CONTEXT, describe_exit, start

Result = TypeVar("Result")


class TorchProcess:
    """Calls functions in another process, which ends with the ``with`` block.

    Args:
        name: of the process, shown by ``top`` and ``ps``.
        purpose: what it does, as the predicate of a sentence; for errors.
        environment: environment variables of the process, on top of those of this process.
    """

    def __init__(self, name: str, purpose: str, environment: Mapping[str, str]) -> None:
        self._name = name
        self._purpose = purpose
        self._environment = environment

    def __enter__(self) -> Self:
        self._pipe, child_end = CONTEXT.Pipe()
        self._process = start(_serve, child_end, name=self._name, environment=self._environment)
        child_end.close()  # otherwise recv would not raise EOFError when the process ends
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()  # it may still download weights
        self._process.join()
        self._process.close()
        self._pipe.close()

    def call(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Return the result of a function of a module in the other process; errors as in :meth:`result`."""
        self.begin(function, *arguments)
        result: Result = self.result()
        return result

    def begin(self, function: Callable[..., object], *arguments: object) -> None:
        """Start a function of a module in the other process."""
        self._pipe.send((function, arguments))

    def result(self) -> Any:
        """Wait for the function that was started and return its result, or raise its exception here.

        Raises:
            DrftError: when the process ends before the function returns.
        """
        try:
            result, error = self._pipe.recv()
        except (EOFError, ConnectionResetError):  # the second one if the process has not read what it was sent
            self._process.join()
            raise DrftError(f"the process that {self._purpose} {describe_exit(self._process.exitcode)}") from None
        if error is not None:
            raise error
        return result


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
