"""Finding a study and reading it back as tables."""

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from drft.errors import StudyError
from study.results.locate import find_study
from study.results.study_results import read_study

DESIGN_TRIAL_COLUMNS = [
    "number",
    "state",
    "depth",
    "depth_fraction",
    "trainable_fraction",
    "best_step",
    "best_phase",
    "val_accuracy_best",
    "train_accuracy_best",
    "gap_best",
    "val_accuracy_last",
    "train_accuracy_last",
    "gap_last",
    "val_qwk_best",
    "seconds",
    "worker",
    "retry_of",
    "fail_reason",
]
DESIGN_EPOCH_COLUMNS = [
    "trial",
    "step",
    "phase",
    "epoch",
    "train_accuracy",
    "val_accuracy",
    "train_loss",
    "val_loss",
    "val_qwk",
    "seconds",
]


def test_trials_have_the_columns_of_the_design_and_one_per_dimension(demo):
    trials = read_study("demo", demo).trials
    assert set(DESIGN_TRIAL_COLUMNS) <= set(trials.columns)
    assert {"depth_phase.lr", "augmentation.strength", "loss.class_weighting", "dropout"} <= set(trials.columns)
    assert trials["number"].tolist() == list(range(60))


def test_epochs_begin_with_the_columns_of_the_design(demo):
    epochs = read_study("demo", demo).epochs
    assert list(epochs.columns[: len(DESIGN_EPOCH_COLUMNS)]) == DESIGN_EPOCH_COLUMNS
    assert "val_balanced_accuracy" in epochs.columns


def test_best_and_last_step_agree_with_the_epochs(demo):
    results = read_study("demo", demo)
    for row in results.complete.itertuples():
        epochs = results.epochs[results.epochs["trial"] == row.number].set_index("step")
        assert row.val_accuracy_best == epochs["val_accuracy"].max()
        assert row.best_step == epochs["val_accuracy"].idxmax()  # the first one on ties
        assert row.gap_last == epochs["train_accuracy"].iloc[-1] - epochs["val_accuracy"].iloc[-1]
        assert row.last_step == epochs.index[-1]


def test_states_reasons_and_retries_are_kept(demo):
    trials = read_study("demo", demo).trials
    assert set(trials["state"]) == {"COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING"}
    failed = trials[trials["state"] == "FAIL"]
    assert failed["fail_reason"].str.contains("NaN").all()
    assert trials["retry_of"].dropna().tolist() == [number - 1 for number in range(8, 60, 10)]


def test_best_step_follows_the_metric_of_the_study(make_study, tmp_path):
    make_study(tmp_path, "byqwk", [TrialState.COMPLETE] * 3, metric="qwk")
    results = read_study("byqwk", tmp_path)
    for row in results.trials.itertuples():
        epochs = results.epochs[results.epochs["trial"] == row.number].set_index("step")
        assert row.best_step == epochs["val_qwk"].idxmax()


def test_study_is_found_by_name_by_path_and_by_storage(demo):
    url = f"sqlite:///{demo / 'demo' / 'study.db'}"
    tables = [
        read_study("demo", demo),
        read_study(str(demo / "demo")),
        read_study("demo", demo / "elsewhere", storage=url),
    ]
    assert [len(table.trials) for table in tables] == [60, 60, 60]
    assert tables[2].info.folder == demo / "elsewhere" / "demo"


def test_renamed_folder_is_still_read(make_study, tmp_path):
    make_study(tmp_path, "first-name", [TrialState.COMPLETE], folder="renamed")
    assert read_study("renamed", tmp_path).info.name == "first-name"


def test_unknown_study_names_the_near_match(demo):
    with pytest.raises(StudyError, match=r"no study 'dmeo' in .*did you mean 'demo'"):
        find_study("dmeo", demo)
    with pytest.raises(StudyError, match="there are demo"):
        find_study("else", storage=f"sqlite:///{demo / 'demo' / 'study.db'}")


def test_no_studies_at_all_says_how_to_make_one(tmp_path):
    with pytest.raises(StudyError, match="drft-study run"):
        find_study("demo", tmp_path)


@pytest.mark.parametrize("url", ["sqlite:///{}/none.db", "sqlite:///{}/text.db", "nonsense", "nodb://host/x"])
def test_storage_that_cannot_be_read_is_one_line_and_nothing_is_written(tmp_path, url):
    (tmp_path / "text.db").write_text("not a database")
    with pytest.raises(StudyError) as caught:
        find_study("demo", storage=url.format(tmp_path))
    assert len(str(caught.value).splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["text.db"]


def test_password_of_the_storage_is_not_shown():
    with pytest.raises(StudyError) as caught:
        find_study("demo", storage="nodb://me:secret@host/x")
    assert "secret" not in str(caught.value)


def test_study_of_another_program_is_refused(tmp_path):
    (tmp_path / "foreign").mkdir()
    optuna.create_study(study_name="foreign", storage=f"sqlite:///{tmp_path / 'foreign' / 'study.db'}")
    with pytest.raises(StudyError, match="not a drft-study of schema 2 or older"):
        read_study("foreign", tmp_path)


def test_two_studies_in_one_folder_must_be_named(make_study, tmp_path):
    make_study(tmp_path, "a", [], folder="shared")
    make_study(tmp_path, "b", [], folder="shared")
    with pytest.raises(StudyError, match="--storage"):
        read_study("shared", tmp_path)


def test_empty_study_has_empty_tables_with_all_columns(make_study, tmp_path):
    make_study(tmp_path, "empty", [])
    results = read_study("empty", tmp_path)
    assert len(results.trials) == len(results.epochs) == 0
    assert set(DESIGN_TRIAL_COLUMNS) <= set(results.trials.columns)


def test_predictions_are_read_from_the_trial_folder(make_study, tmp_path):
    make_study(tmp_path, "p", [TrialState.COMPLETE])
    folder = tmp_path / "p" / "trials" / "0000"
    folder.mkdir(parents=True)
    np.savez(
        folder / "predictions.npz",
        validation_ids=np.array(["train/a", "train/b"]),
        validation_grades=np.array([0, 4]),
        validation_probabilities=np.full((10, 2, 5), 0.2, dtype=np.float16),
    )
    results = read_study("p", tmp_path)
    predictions = results.predictions(0)
    assert predictions is not None
    assert predictions.ids == ("train/a", "train/b")
    assert predictions.probabilities.shape == (10, 2, 5)
    assert results.predictions(1) is None
