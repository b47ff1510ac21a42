"""Options that several commands share: the names that they take and refuse."""

import pytest
from click.testing import CliRunner

from study.cli import cli
from study.cli.options import select_data_options


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


@pytest.mark.parametrize("option", ["exclude", "relabel"])
def test_a_path_of_the_home_folder_is_expanded_before_it_is_made_absolute(monkeypatch, tmp_path, option):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    for written, path in (("~/e.csv", "home/e.csv"), ("e.csv", "e.csv"), ("~nobody-of-this-name/e.csv",) * 2):
        assert select_data_options({option: written}) == {option: str(tmp_path / path)}
