"""Options that several commands share: the names that they take and refuse."""

import pytest
from click.testing import CliRunner

from study.cli import cli


@pytest.mark.parametrize("option", ["--sampler", "--pruner"])
@pytest.mark.parametrize("name", ["tpee", "my_search:", ":make", "my search:make"])
def test_a_name_that_is_neither_known_nor_a_function_is_refused_in_one_line(option, name):
    result = CliRunner().invoke(cli, ["run", option, name])
    assert result.exit_code == 2
    assert f"Invalid value for '{option}': {name!r} is not one of " in result.output
    assert result.output.splitlines()[-1].endswith(", and not module:function")


def test_a_seed_that_is_too_large_is_refused_in_one_line():
    result = CliRunner().invoke(cli, ["run", "--seed", "20000000000000000000"])
    assert result.exit_code == 2
    assert "Invalid value for '--seed': 20000000000000000000 is not in the range" in result.output
