"""A study's model leaves it whole: it predicts as the trial did, says what it is worth, and needs no other file."""

import importlib.util
import json
import sys

import numpy as np
import optuna
import pytest
import safetensors.torch
import torch
import yaml
from optuna.distributions import IntDistribution

from drft.config.trial_config import parse_config
from drft.data.images import decode
from drft.models.backbone import build_model
from drft.models.checkpoint import load_checkpoint
from drft.training.trial import run_trial
from study.cli import main
from study.export.card import _unfrozen
from study.export.onnx import write_onnx
from study.results.study_folder import StudyFolder
from study.results.study_results import StudyResults

DISTRIBUTIONS = {"depth": IntDistribution(0, 5)}


def config_for(weights: str, depth: int):
    return parse_config(
        {
            "image_size": 32,
            "depth": depth,
            "backbone": {"name": "test_resnet", "weights": weights, "normalization": "imagenet"},
            "head_phase": {"epochs": 1},
            "depth_phase": {"epochs": 2},
        }
    )


@pytest.fixture(scope="module")
def trained(tiny_dataset, make_study, tmp_path_factory):
    """A study ``real`` of two trials, the better one (number 1) with its checkpoint; its pretrained weights are there.

    Returns the results folder and the result of trial 1.
    """
    results = tmp_path_factory.mktemp("results")
    weights = results / "pretrained.safetensors"
    safetensors.torch.save_file(build_model(config_for("none", 1), seed=7).net.state_dict(), weights)
    make_study(results, "real", states=[])
    study = optuna.load_study(study_name="real", storage=f"sqlite:///{results / 'real' / 'study.db'}")
    folder = StudyFolder(results / "real")
    folder.trials.mkdir()
    for number, depth in enumerate((0, 2)):
        config = config_for(str(weights), depth)
        result = run_trial(config, tiny_dataset)
        folder.write_trial(number, result, checkpoint=number == 1)
        study.add_trial(told_trial(result, value=float(number)))
    return results, result


def told_trial(result, value):
    records = {f"epoch:{record.step:03d}": json.dumps(told(record, value)) for record in result.records}
    attributes = {"depth": result.config.depth, "trainable_fraction": result.trainable_fraction, "ending": "completed"}
    params = {"depth": result.config.depth}
    return optuna.trial.create_trial(
        value=value, params=params, distributions=DISTRIBUTIONS, user_attrs={**attributes, **records}
    )


def told(record, value):
    """A record, its accuracy lowered where the trial shall be the worse one."""
    fields = {name: getattr(record, name) for name in record.__dataclass_fields__}
    return fields if value else fields | {"val_accuracy": 0.0}


@pytest.fixture
def call(trained, monkeypatch, capsys):
    """Run ``drft-study ARGUMENTS`` and return exit code, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["drft-study", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def export(call, trained):
    return lambda *arguments: call("export", "real", "--results", trained[0], *arguments)


def test_the_best_trial_is_written_with_card_and_configuration(export, tmp_path):
    out = tmp_path / "model"
    code, said, _ = export("--out", out)
    assert code == 0
    assert "trial 1 of real" in said
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "config.yaml", "model.safetensors"]
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
    assert "no grade here is for diagnosis" in err
    header, *rows = [line.split(",") for line in (tmp_path / "p.csv").read_text().splitlines()]
    assert header == ["id", "grade", "p0", "p1", "p2", "p3", "p4"]
    assert [row[0] for row in rows] == [name.split("/")[1] for name in stored.ids]
    expected = stored.probabilities[result.best.step - 1].astype(np.float32)
    found = np.array([row[2:] for row in rows], dtype=float)
    assert found == pytest.approx(expected, abs=2e-3)
    assert [int(row[1]) for row in rows] == found.argmax(axis=1).tolist()


def test_the_files_name_no_place_of_the_machine(export, trained, tmp_path):
    export("--out", tmp_path / "model")
    told = b"".join(path.read_bytes() for path in (tmp_path / "model").iterdir())
    assert b"pretrained.safetensors" in told
    assert str(trained[0]).encode() not in told


def test_the_card_gives_validation_figures_and_says_what_it_is_not_for(export, trained, tmp_path):
    export("--out", tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"| accuracy | {trained[1].best.val_accuracy:.1%} |" in card
    assert "For research and education only" in card
    assert "rendered images, not on patients" in card
    assert "sealed until `drft-study confirm real`" in card


@pytest.mark.parametrize("number", [0, 1])
def test_the_card_gives_the_test_figures_of_a_confirmation(export, trained, number, tmp_path):
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
    assert ("| accuracy, mean | 51.4% | 40.0 to 60.0 |" in card) == (number == 1)
    assert ("did not retrain this trial" in card) == (number == 0)


def test_export_never_asks_for_test_predictions(export, trained, tmp_path, monkeypatch):
    asked = []
    real = StudyResults.predictions
    monkeypatch.setattr(
        StudyResults, "predictions", lambda self, number, part="validation": asked.append(part) or real(self, number)
    )
    export("--out", tmp_path / "model")
    assert asked == ["validation"]


def test_onnx_agrees_with_the_model(export, trained, tiny_dataset, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    out = tmp_path / "model"
    code, said, _ = export("--onnx", "--out", out)
    assert code == 0
    assert "model.onnx agrees with it" in said
    session = runtime.InferenceSession(str(out / "model.onnx"), providers=["CPUExecutionProvider"])
    pixels = np.stack([decode(image.path, 32) for image in tiny_dataset.images[:5]])
    images = np.float32(pixels.transpose(0, 3, 1, 2) / 255)
    (found,) = session.run(None, {"pictures": images})
    model, _ = load_checkpoint(out / "model.safetensors")
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (model.mean, model.std))
    with torch.no_grad():
        expected = model.net.eval()((torch.from_numpy(images) - mean) / std).softmax(dim=1).numpy()
    assert found == pytest.approx(expected, abs=1e-4)


def test_onnx_holds_the_thresholds_of_an_ordinal_loss(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    settings = {"name": "test_resnet", "weights": "none", "normalization": "half"}
    model = build_model(parse_config({"image_size": 32, "backbone": settings, "loss": {"kind": "expected_grade"}}))
    model.net.eval()
    images = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        model.probabilities.fit(model.net(2 * images - 1), torch.tensor([0, 1, 2, 3]))
        expected = model.probabilities(model.net(2 * images - 1)).exp().numpy()
    write_onnx(model, 32, tmp_path / "model.onnx")
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"pictures": images.numpy()})
    assert found == pytest.approx(expected, abs=1e-5)


def test_onnx_without_its_packages_is_one_line(export, monkeypatch, tmp_path):
    found = importlib.util.find_spec
    monkeypatch.setattr("study.export.onnx.find_spec", lambda name: None if name == "onnxscript" else found(name))
    code, _, err = export("--onnx", "--out", tmp_path / "model")
    assert (code, err) == (2, "error: --onnx needs onnxscript: pip install 'drft-study[onnx]'\n")
    assert list(tmp_path.iterdir()) == []


def test_an_onnx_file_that_differs_is_not_left_behind(export, monkeypatch, tmp_path):
    monkeypatch.setattr("study.export.onnx.check_packages", lambda: None)
    monkeypatch.setattr("torch.onnx.export", lambda *_, **__: None)
    monkeypatch.setattr("study.export.onnx._difference", lambda *_: 0.2)
    code, _, err = export("--onnx", "--out", tmp_path / "model")
    assert code == 2
    assert "differs from the model by 0.2" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name the folder of the model with --out"),
        (("--format", "csv"), "--format is for tables"),
        (("--table", "trials", "--trial", 1), "--trial and --onnx are for models"),
        (("--table", "trials", "--onnx"), "--trial and --onnx are for models"),
    ],
)
def test_options_that_do_not_go_together(export, arguments, said):
    code, out, err = export(*arguments)
    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "trial 0 has no checkpoint, kept are those of 1: run with a higher --keep-checkpoints"),
        (9, "study 'real' has no trial 9: its trials are 0 to 1"),
    ],
)
def test_trials_that_cannot_be_exported_are_one_line(export, number, said, tmp_path):
    assert export("--trial", number, "--out", tmp_path / "model") == (2, "", f"error: {said}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_study_without_a_completed_trial(make_study, call, tmp_path):
    make_study(tmp_path, "new", states=[])
    code, _, err = call("export", "new", "--results", tmp_path, "--out", tmp_path / "model")
    assert code == 2
    assert "no completed trial yet" in err


def test_nothing_is_overwritten(export, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    assert export("--out", tmp_path)[2] == f"error: {tmp_path} is there already: name a new folder with --out\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_predict_prints_a_table_of_a_folder(call, trained, tiny_dataset):
    checkpoint = trained[0] / "real" / "trials" / "0001" / "best.safetensors"
    code, out, err = call("predict", checkpoint, tiny_dataset.images[0].path.parent)
    assert code == 0
    header, *rows = out.splitlines()
    assert header.split() == ["id", "grade", "p0", "p1", "p2", "p3", "p4"]
    assert [row.split()[0] for row in rows] == [f"photo_{index:03d}" for index in range(60)]
    assert all(sum(map(float, row.split()[2:])) == pytest.approx(1, abs=0.01) for row in rows)
    assert "no medical device" in err


def test_images_of_one_name_are_told_apart(call, trained, tiny_dataset, tmp_path):
    checkpoint = trained[0] / "real" / "trials" / "0001" / "best.safetensors"
    for folder in ("left", "right"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "eye.png").write_bytes(tiny_dataset.images[0].path.read_bytes())
    _, out, _ = call("predict", checkpoint, tmp_path / "left", tmp_path / "right")
    assert [row.split()[0] for row in out.splitlines()[1:]] == [
        str(tmp_path / folder / "eye.png") for folder in ("left", "right")
    ]


def test_predict_names_everything_that_is_not_there(call, trained, tmp_path):
    (tmp_path / "empty").mkdir()
    code, out, err = call("predict", trained[0] / "nowhere", tmp_path / "no.jpg", tmp_path / "empty")
    assert (code, out) == (2, "")
    first, second = err.splitlines()
    assert first == f"error: {tmp_path / 'no.jpg'} is not there: name an image, or a folder of them"
    assert "holds no image (.jpg" in second


@pytest.mark.parametrize("name", ["nowhere.safetensors", "pretrained.safetensors", "real"])
def test_predict_refuses_what_is_no_checkpoint(call, trained, tiny_dataset, name):
    code, out, err = call("predict", trained[0] / name, tiny_dataset.images[0].path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "checkpoint" in err


def test_predict_refuses_what_is_no_image(call, trained, tmp_path):
    (tmp_path / "eye.png").write_bytes(b"no image")
    checkpoint = trained[0] / "real" / "trials" / "0001" / "best.safetensors"
    code, out, err = call("predict", checkpoint, tmp_path / "eye.png")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "cannot be decoded" in err


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "the last 3 of 5 blocks"),
        ({"window": 3}, "the last 3 of 5 blocks"),
        ({"window": 1, "parameters": "lora"}, "low-rank updates of the 1 earliest of the last 3 of 5 blocks"),
        (
            {"gradual_epochs": 1, "parameters": "bias_and_norm"},
            "biases and norm parameters of the last 3 of 5 blocks, un",
        ),
    ],
)
def test_the_card_says_what_was_unfrozen(settings, said):
    assert _unfrozen(parse_config({"depth": 3, "depth_phase": settings}), 5).startswith(said)
