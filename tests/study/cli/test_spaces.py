"""``drft-study spaces`` and ``drft-study blocks``, as a user calls them."""

import json
import sys
from pathlib import Path

import pytest

from study.space import shipped_spaces
from tests.helpers.command_line import call


def test_list_names_every_shipped_space_with_its_question(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(monkeypatch, capsys, "spaces", "list")
    assert code == 0
    assert {line.split()[0] for line in out.splitlines()[1:]} == set(shipped_spaces())
    assert "How deep should this backbone be fine-tuned?" in out


def test_check_shows_a_space_on_a_backbone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(monkeypatch, capsys, "spaces", "check", "quick", "--backbone", "test_resnet")
    assert code == 0
    assert "quick.yaml: OK" in out
    assert "0 to all" not in out
    assert "fixed: head_phase.epochs = 1" in out
    assert "endlessly many configurations of at most 2 epochs on test_resnet" in out


def test_check_without_a_backbone_leaves_all_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(monkeypatch, capsys, "spaces", "check", "default")
    assert code == 0
    assert "0 to all" in out
    assert "2 ≤ depth" in out


def test_check_names_every_fault_with_its_line_and_exits_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("search:\n  detph: {type: int, low: 0, high: 3}\n  dropout: {type: float, low: 0, high: 2}\n")
    code, out, err = call(monkeypatch, capsys, "spaces", "check", str(path))
    assert (code, out) == (2, "")
    first, second = err.splitlines()
    assert first == f"error: {path}:2: unknown setting 'detph' (did you mean 'depth'?)"
    assert second.startswith(f"error: {path}:3: dropout: input should be less than 1")


def test_check_names_the_number_of_blocks_of_a_backbone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("search:\n  depth: {type: int, low: 0, high: 99}\n")
    code, _, err = call(monkeypatch, capsys, "spaces", "check", str(path), "--backbone", "resnet18")
    assert code == 2
    assert err == f"error: {path}:2: depth: 99 is beyond the 5 blocks of resnet18; use at most 5, or all\n"


def test_explain_prints_what_a_report_can_conclude(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(monkeypatch, capsys, "spaces", "explain", "quick", "--backbone", "test_resnet")
    assert (code, err) == (0, "")
    assert "Question of quick: Does everything work here?" in out
    assert "depth: 0 to 2" in out
    assert "head_phase.epochs = 1" in out
    assert "With 100 trials and 83 of 413 images" in out


def test_schema_prints_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(monkeypatch, capsys, "spaces", "schema")
    assert code == 0
    assert json.loads(out)["required"] == ["search"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("spaces", "explain", "defualt"), "did you mean 'default'?"),
        (("spaces", "check", "defualt"), "did you mean 'default'?"),
        (("spaces", "check", "default", "--backbone", "resnet81"), "unknown backbone 'resnet81'"),
        (("blocks", "resnet81"), "unknown backbone 'resnet81'"),
    ],
)
def test_unknown_names_are_one_line_and_exit_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    code, out, err = call(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_blocks_prints_the_blocks_of_each_depth(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(monkeypatch, capsys, "blocks", "resnet18")
    header, head, *rows = out.splitlines()
    assert code == 0
    assert header.split() == ["depth", "block", "parameters", "trained"]
    assert head.split() == ["0", "(head", "alone)", "0.0%"]
    assert [row.split()[:2] for row in rows] == [
        ["1", "layer4"], ["2", "layer3"], ["3", "layer2"], ["4", "layer1"], ["5", "stem"],
    ]  # fmt: skip
    assert rows[-1].split()[-1] == "100.0%"


def test_tables_are_drawn_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    code, out, _ = call(monkeypatch, capsys, "blocks", "resnet18")
    assert code == 0
    assert "───" in out
    assert "layer4" in out
