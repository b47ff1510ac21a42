"""The real program, tiny: run, go on, be killed, be interrupted, and be told wrong things."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from PIL import Image
from safetensors.numpy import save_file

from study.cli import main
from study.storage.open import open_storage
from tests.helpers import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SPACE = """
name: tiny
question: Does the program work?
fixed:
  image_size: 32
  batch_size: 16
  head_phase.epochs: 1
  depth_phase.epochs: 3
search:
  depth: {type: int, low: 0, high: all}
  depth_phase.lr: {type: float, low: 1e-4, high: 1e-2, log: true}
"""
FILES = {"config.yaml", "epochs.csv", "predictions.npz"}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A label table with 40 small images, grades 0 to 4, brighter with the grade."""
    folder = tmp_path_factory.mktemp("data")
    rows = [("image", "grade")]
    for index in range(40):
        grade = index % 5
        noise = np.random.default_rng(index).integers(0, 60, (48, 48, 3))
        Image.fromarray((noise + 40 * grade).astype(np.uint8)).save(folder / f"photo{index}.png")
        rows.append((f"photo{index}", str(grade)))
    write_table(folder / "labels.csv", rows)
    return folder


def write_table(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture
def place(tmp_path, data):
    """A working folder with a space file; the arguments that run a tiny study there."""
    (tmp_path / "tiny.yaml").write_text(SPACE)
    return tmp_path


def arguments(place, data, *more):
    what = ("--space", "tiny.yaml", "--data", str(data / "labels.csv"), "--backbone", "test_resnet")
    given = ("run", *what, "--weights", "none", "--study", "tiny", "--jobs", "1")
    return [*given, *(("--no-report",) if "--report" not in more else ()), *more]


def start(place, *args):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "study", *args], cwd=place, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


def run(place, *args):
    process = start(place, *args)
    said, _ = process.communicate()
    return process.returncode, said


def read_until(process, word):
    said = ""
    while word not in said:
        line = process.stdout.readline()
        assert line, f"the program ended without saying {word!r}:\n{said}"
        said += line
    return said


def books_balance(place, wanted, storage=None):
    """Every finished trial has whole files equal to its record, and nothing else has; return the trials."""
    folder = place / "results" / "tiny"
    trials = optuna.load_study(study_name="tiny", storage=open_storage(storage or folder / "study.db")).trials
    finished = [trial for trial in trials if trial.state.name in {"COMPLETE", "PRUNED"}]
    assert len(finished) == wanted
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "PRUNED", "FAIL"}
    assert {path.name for path in (folder / "trials").iterdir()} == {f"{trial.number:04d}" for trial in finished}
    for trial in finished:
        epochs = pd.read_csv(folder / "trials" / f"{trial.number:04d}" / "epochs.csv")
        assert epochs["val_accuracy"].cummax().tolist() == list(trial.intermediate_values.values())
        assert {path.name for path in (folder / "trials" / f"{trial.number:04d}").iterdir()} >= FILES
    return trials


def test_a_study_is_run_and_gone_on_with(place, data):
    code, said = run(place, *arguments(place, data, "--trials", "3", "--report"))
    assert code == 0, said
    assert "3/3 finished" in said
    assert "Best is trial" in said
    assert "not a medical device" in said or "nothing here is a medical device" in said
    folder = place / "results" / "tiny"
    assert (folder / "report" / "index.html").exists()
    assert (folder / "space.yaml").read_text() == SPACE
    assert yaml.safe_load((folder / "study.yaml").read_text())["cohort"]["n"] == 40
    before = {path: path.read_bytes() for path in (folder / "trials").rglob("*") if path.is_file()}
    books_balance(place, 3)

    logged = ("--log", "tensorboard")
    code, said = run(place, *arguments(place, data, "--trials", "5", "--keep-checkpoints", "40", *logged))
    assert code == 0, said
    assert sorted(path.name for path in (folder / "tensorboard").iterdir()) == ["0003", "0004"]
    trials = books_balance(place, 5)
    assert [trial.number for trial in trials] == [0, 1, 2, 3, 4]
    assert {path: path.read_bytes() for path in before} == before

    assert run(place, "export", "tiny", "--out", "model")[0] == 0
    code, said = run(place, "predict", "model", str(data), "--csv", "grades.csv")
    assert code == 0, said
    assert pd.read_csv(place / "grades.csv")["grade"].isin(range(5)).sum() == 40


def test_with_folds_every_image_validates_once(place, data):
    code, said = run(place, *arguments(place, data, "--trials", "1", "--folds", "3", "--report"))
    assert code == 0, said
    assert "40 images in 3 folds, each validating once, 0 held out for the test" in said
    folder = place / "results" / "tiny"
    (trial,) = optuna.load_study(study_name="tiny", storage=open_storage(folder / "study.db")).trials
    epochs = pd.read_csv(folder / "trials" / "0000" / "epochs.csv")
    with np.load(folder / "trials" / "0000" / "predictions.npz") as told:
        ids, right = told["validation_ids"], told["validation_probabilities"].argmax(2) == told["validation_grades"]
    assert len(ids) == len(set(ids)) == 40
    assert right.mean(axis=1) == pytest.approx(epochs["val_accuracy"].to_numpy(), abs=0.03)  # stored in 16 bits
    assert (trial.value, list(trial.intermediate_values)) == (epochs["val_accuracy"].max(), [0, 1, 2])
    assert "Each of 40 images was validated once" in (folder / "report" / "report.md").read_text()


def test_interrupted_and_killed_studies_go_on(place, data):
    whole = arguments(place, data, "--trials", "6")
    process = start(place, *whole)
    said = read_until(process, "1/6 finished")
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate()
    assert process.returncode == 130, said + rest
    assert f"To resume: drft-study {' '.join(whole)}" in rest

    process = start(place, *whole)
    read_until(process, "3/6 finished")
    process.kill()
    process.communicate()

    code, said = run(place, *whole)
    assert code == 0, said
    trials = books_balance(place, 6)
    lost = [trial for trial in trials if trial.state.name == "FAIL"]
    retries = {trial.user_attrs["retry_of"]: trial for trial in trials if "retry_of" in trial.user_attrs}
    assert {trial.user_attrs["fail_reason"] for trial in lost} <= {"interrupted", "its driver died"}
    assert [retries[trial.number].params for trial in lost] == [trial.params for trial in lost]
    assert len(trials) == 6 + len(lost)


def test_a_study_in_a_journal_goes_on_and_is_read(place, data, capsys, monkeypatch):
    where = ("--storage", "shared/tiny.journal")
    whole = arguments(place, data, "--trials", "2", *where)
    process = start(place, *whole)
    read_until(process, "1/2 finished")
    process.kill()
    process.communicate()

    code, said = run(place, *whole)
    assert code == 0, said
    trials = books_balance(place, 2, place / "shared" / "tiny.journal")
    assert {trial.user_attrs["retry_of"] for trial in trials if "retry_of" in trial.user_attrs} == {
        trial.number for trial in trials if trial.state.name == "FAIL"
    }
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["drft-study", "status", "tiny", *where])
    main()
    assert "2 of 2 finished" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["drft-study", "report", "tiny", *where])
    main()
    assert (place / "results" / "tiny" / "report" / "index.html").exists()
    assert not (place / "results" / "tiny" / "study.db").exists()


def say(capsys, monkeypatch, place, *args):
    """Run a command in this process; return its exit code and what it said of errors."""
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["drft-study", *args])
    with pytest.raises(SystemExit) as leaving:
        main()
    return leaving.value.code, capsys.readouterr().err


def spoil(data, place, change):
    """Return a copy of the data with its label rows changed."""
    copy = place / "spoilt"
    copy.mkdir()
    for file in data.iterdir():
        (copy / file.name).symlink_to(file)
    with (data / "labels.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    (copy / "labels.csv").unlink()
    write_table(copy / "labels.csv", change(rows))
    return copy


def changed(row, column, value):
    def change(rows):
        rows[row][column] = value
        return rows

    return change


BAD_DATA = {
    "a missing image": (changed(3, 0, "photo999"), "photo999"),
    "a grade there is not": (changed(3, 1, "7"), "7"),
    "an id that leaves the folder": (changed(3, 0, "../photo1"), r"../photo1"),
    "an empty table": (lambda rows: [], "empty"),
    "a table without rows": (lambda rows: rows[:1], "labels.csv"),
    "an unknown column": (lambda rows: [("image", "how bad"), *rows[1:]], "column"),
}

BAD_OPTIONS = {
    "an unknown backbone": (("--backbone", "resnet81"), "unknown backbone 'resnet81'"),
    "a missing weight file": (("--weights", "gone.safetensors"), "gone.safetensors"),
    "weights of another model": (("--weights", "other.safetensors"), "weights of another model"),
    "an unknown space": (("--space", "defualt"), "did you mean 'default'?"),
    "an unknown setting": (("--space", "typo.yaml"), "depth_phase.lr"),
    "a depth beyond the blocks": (("--space", "deep.yaml"), "blocks"),
    "a name that is no folder": (("--study", "../up"), "study name"),
    "a pruner without its folds": (("--pruner", "wilcoxon"), "add --folds 5"),
    "more folds than images": (("--folds", "41"), "too few training images for 41 folds"),
    "no results folder": (("--results", "tiny.yaml/results"), "is a file"),
    "a storage that is none": (("--storage", "sqlite:///tiny.yaml"), "no SQLite database"),
    "a journal that is none": (("--storage", "journal://tiny.yaml"), "no journal of Optuna"),
    "a missing data source": (("--data", "nowhere"), "nowhere"),
}


def listing(place):
    return {path: path.stat().st_mtime_ns for path in place.rglob("*")}


@pytest.mark.parametrize("fault", BAD_DATA)
def test_bad_data_is_one_line_and_nothing_is_written(fault, place, data, capsys, monkeypatch):
    change, word = BAD_DATA[fault]
    spoilt = spoil(data, place, change)
    before = listing(place)
    code, said = say(capsys, monkeypatch, place, *arguments(place, spoilt))
    assert (code, said.count("\n"), word in said) == (2, 1, True), said
    assert said.startswith("error: ")
    assert listing(place) == before


@pytest.mark.parametrize("fault", BAD_OPTIONS)
def test_bad_options_are_one_line_and_nothing_is_written(fault, place, data, capsys, monkeypatch):
    options, word = BAD_OPTIONS[fault]
    save_file({"conv.weight": np.zeros((2, 2), np.float32)}, place / "other.safetensors")
    (place / "typo.yaml").write_text(SPACE.replace("depth_phase.lr:", "depth_phase.lrr:"))
    (place / "deep.yaml").write_text(SPACE.replace("high: all", "high: 99"))
    before = listing(place)
    code, said = say(capsys, monkeypatch, place, *arguments(place, data, *options))
    assert (code, said.count("\n"), word in said) == (2, 1, True), said
    assert listing(place) == before


def test_a_truncated_image_is_named(place, data, capsys, monkeypatch):
    spoilt = spoil(data, place, lambda rows: rows)
    (spoilt / "photo7.png").unlink()
    (spoilt / "photo7.png").write_bytes((data / "photo7.png").read_bytes()[:2000])
    code, said = say(capsys, monkeypatch, place, *arguments(place, spoilt))
    assert (code, said.count("\n"), "photo7.png" in said) == (2, 1, True), said
    assert not (place / "results").exists()


def test_all_faults_are_named_at_once(place, data, capsys, monkeypatch):
    options = ("--backbone", "resnet81", "--data", "nowhere", "--study", "a/b", "--gpus", "77")
    code, said = say(capsys, monkeypatch, place, *arguments(place, data, *options)[:-2], "--study", "a/b")
    assert code == 2
    for word in ("resnet81", "nowhere", "a/b"):
        assert word in said
    assert not (place / "results").exists()


@pytest.mark.parametrize("options", [("--trials", "0"), ("--timeout", "soon"), ("--sampler", "magic"), ("--nonsense",)])
def test_wrong_use_is_exit_2(options, place, data, capsys, monkeypatch):
    code, said = say(capsys, monkeypatch, place, *arguments(place, data, *options))
    assert (code, options[0] in said) == (2, True)
