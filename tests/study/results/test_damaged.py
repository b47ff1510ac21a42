"""Damaged files and attributes of a study: each costs what it held, is named, and the rest is read."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import yaml
from optuna.trial import TrialState

from drft.errors import StudyError
from study.cli import main
from study.dashboard.artifacts import TrialArtifacts, TrialFolder
from study.report.write import write_report
from study.results.confirmation_plan import make_plan
from study.results.predictions_file import load_predictions
from study.results.study_folder import check_no_trials
from study.results.study_results import read_study
from study.soup.ingredients import find_ingredients


@pytest.fixture
def results(trained_study: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained_study, tmp_path / "results")
    with closing(sqlite3.connect(tmp_path / "results" / "real" / "study.db")) as database, database:
        (cohort,) = database.execute("SELECT value_json FROM study_user_attributes WHERE key = 'cohort'").fetchone()
        whole = json.loads(json.loads(cohort)) | {"n": 60, "counts_train": [12] * 5, "counts_test": [0] * 5}
        value = json.dumps(json.dumps(whole))
        database.execute("UPDATE study_user_attributes SET value_json = ? WHERE key = 'cohort'", (value,))
    return tmp_path / "results"


@pytest.fixture
def predictions(results: Path) -> Path:
    """The predictions of the first trial."""
    return results / "real" / "trials" / "0000" / "predictions.npz"


def change(path: Path, **arrays: np.ndarray) -> None:
    with np.load(path) as stored:
        content = {name: stored[name] for name in stored.files}
    np.savez(path, **content | arrays)


def foreign_npz(path: Path) -> None:
    np.savez(path, weights=np.zeros(3))


def npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def flipped_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = content.index(b"validation_probabilities") + 300
    content[middle] ^= 0xFF
    path.write_bytes(content)


def too_few_epochs(path: Path) -> None:
    with np.load(path) as stored:
        change(path, validation_probabilities=stored["validation_probabilities"][:-1])


def other_images(path: Path) -> None:
    with np.load(path) as stored:
        change(path, validation_probabilities=stored["validation_probabilities"][:, 1:])


def not_finite(path: Path) -> None:
    with np.load(path) as stored:
        shape = stored["validation_probabilities"].shape
    change(path, validation_probabilities=np.full(shape, np.nan, np.float16))


def too_few_grades(path: Path) -> None:
    change(path, validation_grades=np.zeros(1, np.int64))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:900]),
    "text": lambda path: path.write_text("not here"),
    "a byte flipped": flipped_byte,
    "foreign arrays": foreign_npz,
    "one array": npy,
    "too few epochs": too_few_epochs,
    "other images": other_images,
    "not finite": not_finite,
    "too few grades": too_few_grades,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_predictions_cost_their_trial_and_are_named(predictions: Path, damage, capsys):
    results = predictions.parents[3]
    damage(predictions)
    study = read_study("real", results)
    assert study.predictions(0) is None
    assert study.predictions(1) is not None
    assert str(predictions) in study.damaged[0]
    assert f"note: {predictions} is damaged" in capsys.readouterr().err


def test_the_report_is_written_and_names_damaged_predictions(predictions: Path, capsys):
    results = predictions.parents[3]
    predictions.write_bytes(predictions.read_bytes()[:900])
    write_report("real", results, images=False)
    text = (results / "real" / "report" / "report.md").read_text()
    (line,) = (line for line in text.replace("\\", "").splitlines() if "trials/0000/predictions.npz is damaged" in line)
    assert str(results) not in line
    assert capsys.readouterr().err.count("predictions.npz is damaged") == 1


def test_an_empty_file_is_no_interruption(predictions: Path, monkeypatch, capsys):
    predictions.write_bytes(b"")
    monkeypatch.setattr("sys.argv", ["drft-study", "report", "real", "--results", str(predictions.parents[3])])
    main()
    assert "interrupted" not in capsys.readouterr().err


def test_an_unexpected_end_of_file_keeps_its_traceback(monkeypatch):
    def ends(*arguments: object, **options: object) -> None:
        raise EOFError

    monkeypatch.setattr("study.report.status.status_lines", ends)
    monkeypatch.setattr("sys.argv", ["drft-study", "status", "real"])
    with pytest.raises(RuntimeError, match="ended too early"):
        main()


def set_attribute(results: Path, table: str, key: str, value: object) -> None:
    with closing(sqlite3.connect(results / "real" / "study.db")) as database, database:
        command = f"UPDATE {table} SET value_json = ? WHERE key = ?"  # noqa: S608 (names of tables, no input)
        rows = database.execute(command, (json.dumps(value), key)).rowcount
    assert rows


@pytest.mark.parametrize("name", ["cohort", "split", "blocks", "base_config", "versions"])
def test_a_damaged_attribute_is_read_from_its_copy(results: Path, name: str, capsys):
    before = read_study("real", results).info
    attributes = read_study("real", results).location.open().user_attrs
    (results / "real" / "study.yaml").write_text(yaml.safe_dump({name: json.loads(attributes[name])}))
    set_attribute(results, "study_user_attributes", name, attributes[name][:-3])
    assert read_study("real", results).info == before
    assert f"attribute '{name}' of study 'real'" in capsys.readouterr().err
    write_report("real", results, images=False)


@pytest.mark.parametrize("name", ["cohort", "split", "blocks"])
@pytest.mark.parametrize("value", ["{", "7", "{}", 7, None])
def test_a_damaged_attribute_without_a_copy_is_one_line(results: Path, name: str, value: object):
    set_attribute(results, "study_user_attributes", name, value)
    with pytest.raises(StudyError, match=rf"attribute '{name}' of study 'real' .* is damaged.*backup") as caught:
        read_study("real", results)
    assert len(caught.value.faults) == 1


@pytest.mark.parametrize("value", ["{", '{"step": 1}', "[]", 7])
def test_damaged_epochs_cost_their_trial(results: Path, value: object, capsys):
    set_attribute(results, "trial_user_attributes", "epoch:001", value)  # of all trials
    study = read_study("real", results)
    assert study.complete.empty
    assert len(study.damaged) == 3
    assert "the epochs of trial 2 of study 'real'" in capsys.readouterr().err
    write_report("real", results, images=False)


@pytest.mark.parametrize("value", ["{", '{"depth": "deep"}', '{"former_setting": 1}', 7])
def test_damaged_configurations_of_trials_are_named_and_left_out(make_study, tmp_path: Path, value: object, capsys):
    make_study(tmp_path, "real", [TrialState.COMPLETE] * 3)
    set_attribute(tmp_path, "trial_user_attributes", "config", value)  # of all trials
    study = read_study("real", tmp_path)
    assert study.config(0) is None
    assert "the configuration of trial 0 of study 'real'" in capsys.readouterr().err
    with pytest.raises(StudyError, match="has 0 different completed trials"):
        make_plan(study, 1, 1)
    write_report("real", tmp_path, images=False)


def test_a_base_configuration_of_another_version_is_one_line(results: Path):
    value = json.dumps(json.loads(read_study("real", results).location.open().user_attrs["base_config"]) | {"gone": 1})
    set_attribute(results, "study_user_attributes", "base_config", value)
    with pytest.raises(StudyError, match=r"attribute 'base_config' .* is damaged or of another version.*backup"):
        read_study("real", results)


def test_a_damaged_checkpoint_costs_its_ingredient(results: Path, capsys):
    study = read_study("real", results)
    worst = int(study.complete["number"].iloc[-1])
    study.checkpoint_file(worst).write_bytes(b"cut")
    ingredients, left_out = find_ingredients(study, 3)
    assert worst in {trial.trial for trial in left_out}
    assert "damaged checkpoint" in capsys.readouterr().err
    assert len(ingredients) == 2


def test_a_table_without_suspects_is_replaced_silently(results: Path, capsys):
    suspects = results / "real" / "report" / "suspects.csv"
    suspects.parent.mkdir()
    suspects.write_text("id,grade,proposed,decision\n")
    write_report("real", results, images=False)
    assert not suspects.with_name("suspects.unreadable.csv").exists()
    assert "suspects" not in capsys.readouterr().err


def test_decisions_that_cannot_be_read_are_kept(results: Path, capsys):
    suspects = results / "real" / "report" / "suspects.csv"
    suspects.parent.mkdir()
    suspects.write_text("id;decision\n7;exclude\n")
    write_report("real", results, images=False)
    assert suspects.with_name("suspects.unreadable.csv").read_text() == "id;decision\n7;exclude\n"
    assert "suspects.unreadable.csv" in capsys.readouterr().err


def test_the_dashboard_says_which_drawing_is_missing(predictions: Path):
    from optuna.artifacts.exceptions import ArtifactNotFound

    predictions.write_bytes(b"")
    artifacts = TrialArtifacts()
    listed = artifacts.attributes(TrialFolder(predictions.parent, 0, "accuracy", "abcde"))
    ids = {json.loads(value)["filename"]: json.loads(value)["artifact_id"] for value in listed.values()}
    with pytest.raises(ArtifactNotFound, match=r"confusion.svg cannot be drawn.*damaged"):
        artifacts.open_reader(ids["confusion.svg"])


def test_a_drawing_of_a_damaged_table_is_missing(predictions: Path):
    from optuna.artifacts.exceptions import ArtifactNotFound

    table = predictions.with_name("epochs.csv")
    table.write_text(table.read_text().replace(",0.", ",x0."))
    artifacts = TrialArtifacts()
    listed = artifacts.attributes(TrialFolder(predictions.parent, 0, "accuracy", "abcde"))
    ids = {json.loads(value)["filename"]: json.loads(value)["artifact_id"] for value in listed.values()}
    with pytest.raises(ArtifactNotFound, match=r"curves\.svg cannot be drawn"):
        artifacts.open_reader(ids["curves.svg"])


def test_a_missing_file_is_no_damage(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        load_predictions(tmp_path / "predictions.npz", "validation")


def test_trials_without_their_storage_are_not_mixed_with_new_ones(results: Path):
    (results / "real" / "study.db").unlink()
    with pytest.raises(StudyError, match=r"has no study\.db"):
        read_study("real", results)
    with pytest.raises(StudyError, match=r"trials of a study that its storage does not know"):
        check_no_trials(results / "real")
    check_no_trials(results / "another")


def test_a_damaged_database_is_one_line(results: Path):
    path = results / "real" / "study.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = DELETE")
        size = database.execute("PRAGMA page_size").fetchone()[0]
    content = path.read_bytes()
    path.write_bytes(content[:size] + b"\x55" * (len(content) - size))
    with pytest.raises(StudyError, match=r"storage .*study\.db cannot be"):
        read_study("real", results)
