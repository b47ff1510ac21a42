"""Call ``drft-study`` in the process of a test."""

import sys

import pytest

from study.cli import main


def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    """Return the exit code, standard output and standard error of ``drft-study ARGUMENTS``."""
    monkeypatch.setattr(sys, "argv", ["drft-study", *map(str, arguments)])
    try:
        main()
        code = 0
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err
