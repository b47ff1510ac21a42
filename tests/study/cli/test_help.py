"""The help of every command: quick, and readable on a terminal of 80 columns."""

import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from study.cli import COMMANDS, cli
from study.cli.grouped_command import GROUPS
from study.cli.run import command as run
from study.cli.tables import say

IMPORTS = """
import sys, click
from study.cli import cli
with open(sys.argv[1], "w") as sys.stdout:
    for name in cli.list_commands(None):
        cli([name, "--help"], standalone_mode=False)
sys.stdout = sys.__stdout__
print(*sys.modules)
"""


def commands(
    command: click.Command = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield all commands and groups, each with the arguments that call it."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            member = command.get_command(context, name)
            assert member is not None
            yield from commands(member, (*path, name))


def test_no_help_imports_a_heavy_library(tmp_path):
    script = [sys.executable, "-c", IMPORTS, str(tmp_path / "help.txt")]
    modules = subprocess.run(script, capture_output=True, text=True, check=True).stdout.split()
    assert (tmp_path / "help.txt").read_text().count("Usage:") == len(COMMANDS)
    assert "study.cli.run" in modules
    assert not {"optuna", "torch", "timm", "pandas", "numpy", "ray"}.intersection(modules)


@pytest.mark.parametrize("path", [path for path, _ in commands()], ids=" ".join)
def test_help_fits_80_columns_and_no_description_is_cut_off(path):
    output = CliRunner().invoke(cli, [*path, "--help"], prog_name="drft-study", terminal_width=80).output
    assert output.startswith("Usage: drft-study")
    assert max(map(len, output.splitlines())) <= 80
    _, _, listed = output.partition("Commands:")
    assert "..." not in listed


def test_every_option_has_a_description():
    for path, command in commands():
        options = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
        assert all(option.help for option in options), path


def test_every_option_of_a_run_is_under_a_heading():
    known = {name for names in GROUPS.values() for name in names}
    assert {option.name for option in run.params} <= known
    assert len(known) == sum(map(len, GROUPS.values()))
    output = CliRunner().invoke(cli, ["run", "--help"], prog_name="drft-study").output
    headings = re.findall(r"^(\S.*):$", output, re.MULTILINE)
    assert headings == list(GROUPS)
    assert output.rstrip().splitlines()[-3].startswith("    drft-study run")


def test_confirm_names_what_run_explains():
    output = CliRunner().invoke(cli, ["confirm", "--help"], prog_name="drft-study", terminal_width=80).output
    explained, _, named = output.partition("As explained by drft-study run --help:")
    assert "Best completed trials to retrain" in explained
    assert "--gpus-per-trial" not in explained
    options = {option.strip() for option in named.replace("\n", " ").split(",")}
    assert {"--data", "--jobs", "--no-cache", "--cpus-per-trial"} <= options
    assert "--top" not in options


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        ("--epochs", "use --set head_phase.epochs=VALUE or --set depth_phase.epochs=VALUE"),
        ("--learning-rate", "use --set head_phase.lr=VALUE or --set depth_phase.lr=VALUE"),
        ("--batch-size", "use --set batch_size=VALUE"),
        ("--optimizer", "use --set optimizer.name=VALUE"),
        ("--trails", "'--trials'"),
    ],
)
def test_an_option_for_a_setting_points_to_set(option, advice):
    result = CliRunner().invoke(cli, ["run", option, "10"], prog_name="drft-study")
    assert result.exit_code == 2
    assert advice in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("terminal", "lines"), [(True, 3), (False, 1)])
def test_lines_are_broken_at_words_on_a_terminal_alone(terminal, lines, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    words = "  a sentence of many words that ends after more than eighty characters of text-with-hyphens"
    say(words, err=True)
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == lines
    assert " ".join(printed).split() == words.split()
    assert all(line.startswith("  ") for line in printed)
