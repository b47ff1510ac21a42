"""The file of a study's floor: what is written is read, and a missing or damaged file is a reason."""

import json

import numpy as np
import pytest

from drft.training.records import FloorPredictions
from study.results.floor import FLOOR, Floor, NoFloor, read_floor, write_floor

INPUTS = {"backbone": {"name": "test_resnet"}, "image_size": 32, "seed": 0}


@pytest.fixture
def floor():
    scores = np.random.default_rng(0).normal(size=(7, 3)).round(6)
    grades = np.array([0, 1, 2, 0, 1, 2, 0])
    ids = tuple(f"train/Büchse {index}" for index in range(7))
    predictions = FloorPredictions(ids, grades, np.arange(7) % 5, scores, (1.0, 10.0, 100.0, 1000.0, 1.0))
    return Floor(INPUTS, predictions, (0.1, 0.7), "ridge", 2.5)


def test_what_is_written_is_read(floor, tmp_path):
    write_floor(tmp_path / "study", floor, INPUTS)
    read = read_floor(tmp_path / "study")
    assert (read.inputs, read.interval, read.model, read.seconds) == (INPUTS, (0.1, 0.7), "ridge", 2.5)
    for name in ("ids", "grades", "fold", "scores", "penalties"):
        assert np.array_equal(getattr(read.predictions, name), getattr(floor.predictions, name))
    assert (read.backbone, read.folds, read.accuracy) == ("test_resnet", 5, floor.accuracy)
    assert read.correct.tolist() == (floor.predictions.scores.argmax(axis=1) == floor.predictions.grades).tolist()
    assert [path.name for path in (tmp_path / "study").iterdir()] == [FLOOR]


def test_a_reason_is_written_and_read(tmp_path):
    write_floor(tmp_path, NoFloor("no vector"), INPUTS)
    assert read_floor(tmp_path) == NoFloor("no vector")


def test_a_study_of_an_older_version_has_no_floor(tmp_path):
    assert "the command that created the study adds it" in read_floor(tmp_path / "gone").reason


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.pop("inputs"),
        lambda values: values["inputs"].pop("backbone"),
        lambda values: values["inputs"].update(image_size="large"),
        lambda values: values.update(schema=2),
        lambda values: values["grades"].__setitem__(0, 3),
        lambda values: values.update(interval=[0.5]),
        lambda values: values["ids"].pop(),
        lambda values: values.update(scores=[[1, 2], [3]]),
        lambda values: values.update(scores=[0.0] * 7),
        lambda values: values.update(ids=[], grades=[], fold=[], scores=[]),
    ],
)
def test_a_damaged_file_is_a_reason(floor, tmp_path, change):
    write_floor(tmp_path, floor, INPUTS)
    values = json.loads((tmp_path / FLOOR).read_text())
    change(values)
    (tmp_path / FLOOR).write_text(json.dumps(values))
    assert FLOOR in read_floor(tmp_path).reason


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"\xff", b'{"schema": 1'])
def test_a_file_that_holds_no_floor_is_a_reason(tmp_path, text):
    (tmp_path / FLOOR).write_bytes(text)
    assert FLOOR in read_floor(tmp_path).reason
