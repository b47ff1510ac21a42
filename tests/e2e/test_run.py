"""The real program on tiny studies: run, resume, kill, interrupt, and wrong options."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from safetensors.numpy import save_file

from drft.data import GRADES
from study.cli import main
from study.report.schema import summary_schema
from study.report.status import status_lines
from study.storage.open import open_storage
from tests.helpers import ROOT
from tests.helpers.small_images import draw_noise, write_table

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

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
    for index in range(40):
        draw_noise(folder / f"photo{index}.png", index, 40 * (index % 5))
    write_table(folder / "labels.csv", ("image", "level"), *((f"photo{index}", index % 5) for index in range(40)))
    return folder


@pytest.fixture
def workdir(tmp_path, data):
    """A working folder with a space file."""
    (tmp_path / "tiny.yaml").write_text(SPACE)
    return tmp_path


def arguments(workdir, data, *more):
    what = ("--space", "tiny.yaml", "--data", str(data / "labels.csv"), "--backbone", "test_resnet")
    given = ("run", *what, "--weights", "none", "--study", "tiny", "--jobs", "1", "--goal", "best")
    return [*given, *(("--no-report",) if "--report" not in more else ()), *more]


def start(workdir, *args):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "study", *args], cwd=workdir, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, preexec_fn=_heed_interrupts,  # noqa: PLW1509 (this process has one thread)
    )  # fmt: skip


def _heed_interrupts():
    """Undo what a shell does to programs in the background: it makes them ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(workdir, *args):
    process = start(workdir, *args)
    output, _ = process.communicate()
    return process.returncode, output


def read_until(process, word, times=1):
    output = ""
    while output.count(word) < times:
        line = process.stdout.readline()
        assert line, f"the program ended without printing {word!r}:\n{output}"
        output += line
    return output


def read_trials(process, count):
    """Read until so many trials have finished."""
    return read_until(process, ": best accuracy", count)


def check_files(workdir, wanted, storage=None):
    """Check that every finished trial has complete files equal to its record, and no other has; return all trials."""
    folder = workdir / "results" / "tiny"
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


def test_a_study_is_run_and_resumed(workdir, data):
    code, output = run(workdir, *arguments(workdir, data, "--trials", "3", "--report"))
    assert code == 0, output
    assert "3/3 finished" in output
    assert "Best is trial" in output
    line = r"^Floor: linear model on frozen features, (.+)% out of fold \(n = 40, 95% interval .* to .*\)\.$"
    floor = re.findall(line, output, re.MULTILINE)
    assert len(floor) == 2  # before the trials and among the results
    assert "not a medical device" in output or "nothing here is a medical device" in output
    folder = workdir / "results" / "tiny"
    assert (folder / "report" / "index.html").exists()
    summary = json.loads((folder / "report" / "summary.json").read_text())["floor"]
    assert (summary["n"], summary["folds"], summary["backbone"], summary["model"]) == (40, 5, "test_resnet", "ridge")
    assert f"{100 * summary['accuracy']['value']:.1f}" == floor[0] == floor[1]
    stored = (folder / "floor.json").stat()
    assert (folder / "space.yaml").read_text() == SPACE
    assert yaml.safe_load((folder / "study.yaml").read_text())["cohort"]["n"] == 40
    before = {path: path.read_bytes() for path in (folder / "trials").rglob("*") if path.is_file()}
    check_files(workdir, 3)

    record = (folder / "study.yaml").read_bytes(), open_storage(folder / "study.db").get_study_user_attrs(1)
    code, output = run(workdir, *arguments(workdir, data, "--trials", "2", "--sampler", "random", "--pruner", "none"))
    assert code == 0, output
    again = (folder / "study.yaml").read_bytes(), open_storage(folder / "study.db").get_study_user_attrs(1)
    assert again == record  # it started no trial

    logged = ("--log", "tensorboard")
    code, output = run(workdir, *arguments(workdir, data, "--trials", "5", "--keep-checkpoints", "40", *logged))
    assert code == 0, output
    assert sorted(path.name for path in (folder / "tensorboard").iterdir()) == ["0003", "0004"]
    trials = check_files(workdir, 5)
    assert [trial.number for trial in trials] == [0, 1, 2, 3, 4]
    assert {path: path.read_bytes() for path in before} == before
    assert (folder / "floor.json").stat().st_ino == stored.st_ino  # a resumed study keeps its floor

    assert run(workdir, "export", "tiny", "--out", "model")[0] == 0
    code, output = run(workdir, "predict", "model", str(data), "--csv", "grades.csv")
    assert code == 0, output
    assert pd.read_csv(workdir / "grades.csv")["class"].isin(GRADES).sum() == 40


def test_with_folds_every_image_is_validated_once(workdir, data):
    code, output = run(workdir, *arguments(workdir, data, "--trials", "1", "--folds", "3", "--report"))
    assert code == 0, output
    assert "40 images in 3 folds, each validating once, 0 held out for the test" in output
    folder = workdir / "results" / "tiny"
    (trial,) = optuna.load_study(study_name="tiny", storage=open_storage(folder / "study.db")).trials
    epochs = pd.read_csv(folder / "trials" / "0000" / "epochs.csv")
    with np.load(folder / "trials" / "0000" / "predictions.npz") as file:
        ids, right = file["validation_ids"], file["validation_probabilities"].argmax(2) == file["validation_grades"]
    assert len(ids) == len(set(ids)) == 40
    assert right.mean(axis=1) == pytest.approx(epochs["val_accuracy"].to_numpy(), abs=0.03)  # stored in 16 bits
    assert (trial.value, list(trial.intermediate_values)) == (epochs["val_accuracy"].max(), [0, 1, 2])
    assert "Each of 40 images was validated once" in (folder / "report" / "report.md").read_text()


def test_the_goal_depth_ends_with_a_verdict(workdir, data):
    """Killed among its finalists, it goes on with them, and makes no training twice."""
    (workdir / "tiny.yaml").write_text(SPACE.replace("high: all", "high: 1").replace("epochs: 3", "epochs: 1"))
    whole = arguments(workdir, data, "--trials", "4", "--goal", "depth", "--report")
    process = start(workdir, *whole)
    read_until(process, "Round 1 of cross-validation")
    read_trials(process, 2)
    process.kill()
    process.communicate()

    code, output = run(workdir, *whole)
    assert code == 0, output
    assert "Round 1 of cross-validation, in 5 folds: depth 0, depth 1, untuned" in output
    assert re.search(r"^Train [01] of \d+ blocks", output, re.MULTILINE)
    assert "Expected accuracy on new images" in output
    assert [trial.params["depth"] for trial in check_files(workdir, 4)] == [1, 0, 1, 0]
    storage = open_storage(workdir / "results" / "tiny" / "study.db")
    finalists = optuna.load_study(study_name="tiny.finalists", storage=storage).trials
    done = [trial.user_attrs["place"] for trial in finalists if trial.state.name == "COMPLETE"]
    assert len(done) == len(set(done)) >= 15
    assert len(list((workdir / "results" / "tiny" / "finalists").glob("trials/*/best.safetensors"))) <= 15
    report = workdir / "results" / "tiny" / "report"
    summary = json.loads((report / "summary.json").read_text())
    jsonschema.validate(summary, summary_schema())
    recommended = summary["verdict"]["recommended_depth"]
    assert f"Train {recommended} of " in output
    assert [row["depth"] for row in summary["verdict"]["by_depth"]] == [0, 1]
    assert {"untuned", "linear model"} <= {contrast["other"] for contrast in summary["verdict"]["contrasts"]}
    assert "Recommended settings" in (report / "index.html").read_text()
    assert "Expected accuracy of one training on new images" in (report / "report.md").read_text()

    assert f"finalists {len(done)} trainings of the cross-validation done" in "\n".join(
        status_lines("tiny", workdir / "results")
    )
    code, output = run(workdir, "export", "tiny", "--out", "model")
    assert code == 0, output
    members = len(list((workdir / "model").glob("model-*.safetensors")))
    assert f"ensemble of {members} at depth {recommended} of tiny" in output
    assert members in {5, 10}
    assert "Expected accuracy on new images" in (workdir / "model" / "README.md").read_text()
    code, output = run(workdir, "predict", "model", str(data), "--csv", "grades.csv")
    assert code == 0, output
    assert pd.read_csv(workdir / "grades.csv")["class"].isin(GRADES).sum() == 40
    code, output = run(workdir, "export", "tiny", "--refit", "--out", "one")
    assert code == 0, output
    assert f"one network at depth {recommended} of tiny, trained on 40 images" in output
    assert (workdir / "one" / "model.safetensors").exists()


@pytest.mark.parametrize("moment", ["Study tiny in", "Floor: "])
def test_an_interruption_before_the_first_trial_ends_the_command_without_a_traceback(workdir, data, moment):
    process = start(workdir, *arguments(workdir, data, "--trials", "60"))
    output = read_until(process, moment)
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate()
    assert process.returncode == 130, output + rest
    assert "nterrupted" in rest
    assert "Traceback" not in rest


def test_interrupted_and_killed_studies_are_resumed(workdir, data):
    whole = arguments(workdir, data, "--trials", "6")
    process = start(workdir, *whole)
    output = read_trials(process, 1)
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate()
    assert process.returncode == 130, output + rest
    assert f"To resume: drft-study {' '.join(whole)}" in rest

    process = start(workdir, *whole)
    read_trials(process, 2)
    process.kill()
    process.communicate()

    code, output = run(workdir, *whole)
    assert code == 0, output
    trials = check_files(workdir, 6)
    lost = [trial for trial in trials if trial.state.name == "FAIL"]
    retries = {trial.user_attrs["retry_of"]: trial for trial in trials if "retry_of" in trial.user_attrs}
    assert {trial.user_attrs["fail_reason"] for trial in lost} <= {"interrupted", "its tuner died"}
    assert [retries[trial.number].params for trial in lost] == [trial.params for trial in lost]
    assert len(trials) == 6 + len(lost)


def test_a_study_in_a_journal_is_resumed_and_read(workdir, data, capsys, monkeypatch):
    where = ("--storage", "shared/tiny.journal")
    whole = arguments(workdir, data, "--trials", "2", *where)
    process = start(workdir, *whole)
    read_trials(process, 1)
    process.kill()
    process.communicate()

    code, output = run(workdir, *whole)
    assert code == 0, output
    trials = check_files(workdir, 2, workdir / "shared" / "tiny.journal")
    assert {trial.user_attrs["retry_of"] for trial in trials if "retry_of" in trial.user_attrs} == {
        trial.number for trial in trials if trial.state.name == "FAIL"
    }
    monkeypatch.chdir(workdir)
    monkeypatch.setattr(sys, "argv", ["drft-study", "status", "tiny", *where])
    main()
    assert "2 of 2 finished" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["drft-study", "report", "tiny", *where])
    main()
    assert (workdir / "results" / "tiny" / "report" / "index.html").exists()
    assert not (workdir / "results" / "tiny" / "study.db").exists()


def fail(capsys, monkeypatch, workdir, *args):
    """Run a command in this process; return its exit code and its error output."""
    monkeypatch.chdir(workdir)
    monkeypatch.setattr(sys, "argv", ["drft-study", *args])
    with pytest.raises(SystemExit) as leaving:
        main()
    return leaving.value.code, capsys.readouterr().err


def corrupt(data, workdir, change):
    """Return a copy of the data with its label rows changed."""
    copy = workdir / "corrupted"
    copy.mkdir()
    for file in data.iterdir():
        (copy / file.name).symlink_to(file)
    with (data / "labels.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    (copy / "labels.csv").unlink()
    write_table(copy / "labels.csv", *change(rows))
    return copy


def changed(row, column, value):
    def change(rows):
        rows[row][column] = value
        return rows

    return change


BAD_DATA = {
    "a missing image": (changed(3, 0, "photo999"), "photo999"),
    "an unknown grade": (changed(3, 1, "7"), "7"),
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
    "a name that is no folder name": (("--study", "../up"), "study name"),
    "a pruner without its folds": (("--pruner", "wilcoxon"), "add --folds 5"),
    "more folds than images": (("--folds", "41"), "too few training images for 41 folds"),
    "a results folder that is a file": (("--results", "tiny.yaml/results"), "is a file"),
    "a storage that is not a database": (("--storage", "sqlite:///tiny.yaml"), "is not a SQLite database"),
    "a journal that is not one": (("--storage", "journal://tiny.yaml"), "is not an Optuna journal"),
    "a missing data source": (("--data", "nowhere"), "nowhere"),
    "a bad seed of rendered images": (("--data", "synthetic:-1"), "as in synthetic:7"),
}


def listing(workdir):
    return {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}


@pytest.mark.parametrize("fault", BAD_DATA)
def test_bad_data_is_one_line_and_nothing_is_written(fault, workdir, data, capsys, monkeypatch):
    change, word = BAD_DATA[fault]
    corrupted = corrupt(data, workdir, change)
    before = listing(workdir)
    code, output = fail(capsys, monkeypatch, workdir, *arguments(workdir, corrupted))
    assert (code, output.count("\n"), word in output) == (2, 1, True), output
    assert output.startswith("error: ")
    assert listing(workdir) == before


@pytest.mark.parametrize("fault", BAD_OPTIONS)
def test_bad_options_are_one_line_and_nothing_is_written(fault, workdir, data, capsys, monkeypatch):
    options, word = BAD_OPTIONS[fault]
    save_file({"conv.weight": np.zeros((2, 2), np.float32)}, workdir / "other.safetensors")
    (workdir / "typo.yaml").write_text(SPACE.replace("depth_phase.lr:", "depth_phase.lrr:"))
    (workdir / "deep.yaml").write_text(SPACE.replace("high: all", "high: 99"))
    before = listing(workdir)
    code, output = fail(capsys, monkeypatch, workdir, *arguments(workdir, data, *options))
    assert (code, output.count("\n"), word in output) == (2, 1, True), output
    assert listing(workdir) == before


def test_a_truncated_image_is_named(workdir, data, capsys, monkeypatch):
    corrupted = corrupt(data, workdir, lambda rows: rows)
    (corrupted / "photo7.png").unlink()
    (corrupted / "photo7.png").write_bytes((data / "photo7.png").read_bytes()[:2000])
    code, output = fail(capsys, monkeypatch, workdir, *arguments(workdir, corrupted))
    assert (code, output.count("\n"), "photo7.png" in output) == (2, 1, True), output
    assert not (workdir / "results").exists()


def test_all_faults_are_reported_at_once(workdir, data, capsys, monkeypatch):
    options = ("--backbone", "resnet81", "--data", "nowhere", "--study", "a/b", "--gpus", "77")
    code, output = fail(capsys, monkeypatch, workdir, *arguments(workdir, data, *options)[:-2], "--study", "a/b")
    assert code == 2
    for word in ("resnet81", "nowhere", "a/b"):
        assert word in output
    assert not (workdir / "results").exists()


@pytest.mark.parametrize("options", [("--trials", "0"), ("--timeout", "soon"), ("--sampler", "magic"), ("--nonsense",)])
def test_wrong_use_is_exit_2(options, workdir, data, capsys, monkeypatch):
    code, output = fail(capsys, monkeypatch, workdir, *arguments(workdir, data, *options))
    assert (code, options[0] in output) == (2, True)
