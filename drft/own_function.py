"""Functions of the user by name: ``module:function``, in a module that Python can import."""

import importlib
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drft.errors import DrftError, UsageError, one_line


def is_function(name: str) -> bool:
    """Return whether a name is that of a function, such as ``my_networks:small``."""
    return re.fullmatch(r"[^\W\d][\w.]*:[^\W\d]\w*", name) is not None


def call_function(
    name: str, arguments: Mapping[str, object], result: type[object], wanted: str, option: str, fault: type[UsageError]
) -> Any:
    """Import the module that a name begins with, and call its function.

    Args:
        name: ``module:function``.
        arguments: of the function, in their order. Messages name them; they are passed by position.
        result: type of what the function should return.
        wanted: this type as messages name it, such as ``a torch.nn.Module``.
        option: what the name was given for, such as ``backbone``.
        fault: type of the error.

    Returns:
        What the function returns, an instance of ``result``.

    Raises:
        UsageError: of the type ``fault``: when there is no such module or function, or the function raises an error or
            returns something else.
    """
    build = find_function(name, option, fault)
    call = f"{name.partition(':')[2]}({', '.join(arguments)})"
    with one_line_for_own_code(name, call, option, fault):
        value = build(*arguments.values())
    if not isinstance(value, result):
        returned = " ".join(repr(value).split())  # the repr of a network has several lines
        raise fault(f"{option} {name}: {call} should return {wanted}, and returned {returned:.60}")
    return value


def find_function(name: str, option: str, fault: type[UsageError]) -> Callable[..., object]:
    """Import the module that a name begins with, and return its function.

    Args:
        name: ``module:function``.
        option: what the name was given for, such as ``backbone``.
        fault: type of the error.

    Raises:
        UsageError: of the type ``fault``: when there is no such module or function.
    """
    module_name, _, function = name.partition(":")
    where = f"{option} {name}"
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the module is the user's: anything may fail
        hint = " (name its folder in PYTHONPATH)" if isinstance(error, ModuleNotFoundError) else ""
        raise fault(f"{where}: {module_name} cannot be imported: {one_line(error)}{hint}") from error
    found: Callable[..., object] | None = getattr(module, function, None)
    if not callable(found):
        raise fault(f"{where}: the module {module_name} has no function {function}")
    return found


@contextmanager
def one_line_for_own_code(name: str, call: str, option: str, fault: type[UsageError]) -> Iterator[None]:
    """Raise an error of the user's code as one line, with the last line of the user's module that was reached.

    Args:
        name: ``module:function``; what the block calls came from it.
        call: what is called, as messages name it.
        option: what the name was given for.
        fault: type of the error.

    Raises:
        UsageError: of the type ``fault``. An error that this program raises on purpose passes unchanged.
    """
    try:
        yield
    except DrftError:
        raise
    except Exception as error:  # the code is the user's: anything may fail
        file = getattr(sys.modules.get(name.partition(":")[0]), "__file__", None)
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        place = f" ({Path(str(file)).name}, line {lines[-1]})" if lines else ""
        raise fault(f"{option} {name}: {call} failed: {one_line(error)}{place}") from error
