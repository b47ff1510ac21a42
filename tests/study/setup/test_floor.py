"""The floor is computed once for a study, in another process, and its failure does not stop the study."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from drft.data.dataset import ImageDataset
from drft.errors import DrftError
from study.results.floor import FLOOR, Floor, NoFloor, read_floor
from study.setup import floor as module
from study.setup.floor import find_floor, predict_test_images
from study.setup.options import RunOptions
from study.setup.plan import prepare

SPACE = """
name: tiny
question: Does the program work?
fixed: {image_size: 32}
search:
  depth: {type: int, low: 0, high: all}
"""


@pytest.fixture(scope="module")
def plan(tiny_dataset, tmp_path_factory):
    """A study of the tiny images, planned but not run."""
    folder = tmp_path_factory.mktemp("floor")
    rows = "".join(f"{image.path.name},{image.grade},{image.origin}\n" for image in tiny_dataset.images)
    (folder / "labels.csv").write_text(f"image,level,split\n{rows}")
    (folder / "tiny.yaml").write_text(SPACE)
    options = RunOptions(
        space=str(folder / "tiny.yaml"),
        data=str(folder / "labels.csv"),
        data_options={"origin_column": "split", "images": str(tiny_dataset.images[0].path.parent)},
        backbone="test_resnet",
        weights="none",
        jobs=1,
        results=folder / "results",
    )
    return prepare(options, lambda what, done, total: None)


@pytest.fixture(scope="module")
def computed(plan):
    """The same study after its floor was computed."""
    assert isinstance(find_floor(plan), Floor)
    return plan


@pytest.fixture
def own(plan, tmp_path):
    """The same study in a folder of its own."""
    return replace(plan, folder=tmp_path / "study")


@pytest.fixture
def no_process(monkeypatch):
    """A floor that is computed fails with ``AGAIN``."""

    def process(*arguments):
        raise AssertionError("computed again")

    monkeypatch.setattr(module, "TorchProcess", process)


AGAIN = NoFloor("AssertionError: computed again")


def with_config(plan, **values):
    return replace(plan, space=replace(plan.space, base=plan.space.base.model_copy(update=values)))


def test_the_floor_is_stored_and_not_computed_again(computed, no_process):
    floor = find_floor(computed)
    assert set(floor.predictions.ids) == {image.id for image in computed.dataset.images if image.origin == "train"}
    assert floor.interval[0] < floor.accuracy < floor.interval[1]
    assert floor.backbone == "test_resnet"
    assert np.array_equal(read_floor(computed.folder).correct, floor.correct)


def test_its_model_predicts_the_test_images(computed):
    floor, dataset = read_floor(computed.folder), computed.dataset
    predictions = predict_test_images(floor, dataset, computed.slots, None)
    assert predictions.ids == tuple(image.id for image in dataset.images if image.origin == "test")
    assert set(predictions.predicted.tolist()) <= set(range(5))


def test_weights_that_are_gone_are_an_error_for_test_images(computed):
    floor = read_floor(computed.folder)
    floor = replace(floor, inputs={**floor.inputs, "backbone": {"name": "test_resnet", "weights": "gone.pth"}})
    with pytest.raises(DrftError, match=r"gone\.pth"):
        predict_test_images(floor, computed.dataset, computed.slots, None)


@pytest.mark.parametrize("change", ["data", "seed", "backbone"])
def test_the_floor_is_computed_again_for_other_inputs(computed, no_process, tmp_path, change):
    shutil.copytree(computed.folder, tmp_path / "study")
    own = replace(computed, folder=tmp_path / "study")
    assert isinstance(find_floor(own), Floor)
    changed = {
        "data": replace(own, dataset=replace(own.dataset, fingerprint="other")),
        "seed": with_config(own, seed=1),
        "backbone": with_config(own, backbone=own.space.base.backbone.model_copy(update={"normalization": "half"})),
    }[change]
    assert find_floor(changed) == AGAIN


def test_a_searched_image_size_takes_the_nearest_decoded_one(own, no_process):
    find_floor(replace(with_config(own, image_size=96), image_sizes=[32, 48]))
    assert json.loads((own.folder / FLOOR).read_text())["inputs"]["image_size"] == 48


def test_a_floor_that_cannot_be_computed_is_a_reason_and_is_tried_again(own, request):
    gone = own.space.base.backbone.model_copy(update={"weights": "gone.pth"})
    reason = find_floor(with_config(own, backbone=gone)).reason
    assert "gone.pth" in reason
    assert len(reason.splitlines()) == 1
    assert read_floor(own.folder) == NoFloor(reason)
    request.getfixturevalue("no_process")
    assert find_floor(with_config(own, backbone=gone)) == AGAIN


def die(*arguments):
    os._exit(3)


def test_a_process_that_dies_is_a_reason(own, monkeypatch):
    monkeypatch.setattr(module, "_predict", die)
    assert find_floor(own) == NoFloor("the process that computes the floor left with exit code 3")


def test_too_few_images_are_a_reason(own):
    few = ImageDataset("few", own.dataset.images[:4], "few")
    assert "5 folds" in find_floor(replace(own, dataset=few)).reason
