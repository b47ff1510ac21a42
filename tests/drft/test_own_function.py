"""Functions of the user by name: what is called, and one line for each fault."""

import sys

import pytest

from drft.errors import ConfigError
from drft.own_function import call_function, is_function

MODULE = """
def twice(number):
    return 2 * number

def fails(number):
    raise ValueError("not today\\nnor tomorrow")

constant = 5
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "own_functions.py").write_text(MODULE)
    (tmp_path / "own_broken.py").write_text("def f(:")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("own_functions", "own_broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def call(name, result=int):
    return call_function(name, {"number": 21}, result, "a whole number", "--thing", ConfigError)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a:b", True), ("a.b:c", True), ("tpe", False), (":b", False), ("a:", False), ("a b:c", False)],
)
def test_names_of_functions_are_recognized(name, expected):
    assert is_function(name) == expected


def test_the_function_gets_its_arguments():
    assert call("own_functions:twice") == 42


@pytest.mark.parametrize(
    ("name", "result", "message"),
    [
        ("no_such:f", int, r"no_such cannot be imported: ModuleNotFoundError: .* \(name its folder in PYTHONPATH\)"),
        ("own_broken:f", int, r"own_broken cannot be imported: SyntaxError: .* \(own_broken.py, line 1\)"),
        ("own_functions:missing", int, "the module own_functions has no function missing"),
        ("own_functions:constant", int, "the module own_functions has no function constant"),
        ("own_functions:fails", int, r"fails\(number\) failed: ValueError: not today \(own_functions.py, line 6\)"),
        ("own_functions:twice", str, r"twice\(number\) should return a whole number, and returned 42"),
    ],
)
def test_each_fault_is_one_line(name, result, message):
    with pytest.raises(ConfigError, match=f"^--thing {name}: {message}$") as caught:
        call(name, result)
    assert len(caught.value.faults) == 1
    assert "\n" not in str(caught.value)
