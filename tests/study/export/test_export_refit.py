"""One network of the recommended depth, trained on all images for the epochs that cross-validation chose."""

import json
import sys
from functools import partial

import pytest
import yaml
from optuna.trial import TrialState

from drft.config.trial_config import with_values
from drft.data import open_dataset
from drft.models.checkpoint import load_checkpoint
from drft.training import refit
from study.analysis.evidence import read_verdict
from study.cli import main
from study.results.study_results import read_study
from tests.helpers import command_line

ALL = 48
"""Training images of the tiny data set."""


@pytest.fixture(scope="module")
def results(tiny_dataset, make_study, add_finalists, tiny_config, tmp_path_factory):
    """A study ``deep`` on real images whose finalists were best at epoch 3 of 4, and ``old`` with no verdict."""
    results = tmp_path_factory.mktemp("results")
    table = results / "labels.csv"
    rows = [f"{image.path.stem},{image.grade},{image.origin}" for image in tiny_dataset.images]
    table.write_text("\n".join(["image,level,origin", *rows]))
    options = {"origin_column": "origin", "images": str(tiny_dataset.images[0].path.parent)}
    dataset = open_dataset(str(table), options=options)
    cohort = {
        "name": "tiny",
        "fingerprint": dataset.fingerprint,
        "rendered": False,
        "counts_train": list(dataset.counts("train")),
        "counts_test": list(dataset.counts("test")),
        "notes": [],
        "grades": list(dataset.grades),
        "n": len(dataset),
    }
    changes = {"cohort": json.dumps(cohort), "source": str(table), "source_options": json.dumps(options)}
    base = with_values(tiny_config("none"), {"depth_phase.epochs": 3})
    ids = [image.id for image in dataset.images if image.origin == "train"]
    make_study(results, "deep", [TrialState.COMPLETE], goal="depth", **changes)
    add_finalists(results, "deep", (0.2, 0.9), ids=ids, base=base, epoch=3, **changes)
    make_study(results, "old", [TrialState.COMPLETE], **changes)
    return results


@pytest.fixture
def export(results, monkeypatch, capsys):
    """Run ``drft-study export ARGUMENTS`` and return exit code, standard output and standard error."""
    return partial(command_line.call, monkeypatch, capsys, "export", "--results", results)


@pytest.fixture
def lengths(monkeypatch):
    """The epochs and the split of every training that runs."""
    seen = []
    real = refit.train

    def train(context, history, on_epoch):
        ending = real(context, history, on_epoch)
        seen.append((len(history.records), [len(context.indices(part)) for part in ("train", "validation", "test")]))
        return ending

    monkeypatch.setattr(refit, "train", train)
    return seen


def test_one_network_is_trained_on_all_training_images(export, lengths, results, tmp_path):
    out = tmp_path / "model"
    code, message, progress = export("deep", "--refit", "--out", out)
    assert (code, message) == (0, f"{out}: one network at depth 1 of deep, trained on {ALL} images\n")
    assert f"training on {ALL} images, epochs (3)" in progress
    assert lengths == [(3, [ALL, 0, 0])]
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "config.json",
        "config.yaml",
        "model.safetensors",
    ]
    assert yaml.safe_load((out / "config.yaml").read_text())["depth"] == 1
    _, config = load_checkpoint(out / "model.safetensors")
    assert config.depth == 1
    assert list(tmp_path.iterdir()) == [out]


def test_the_card_promises_what_one_training_reaches(export, results, tmp_path):
    export("deep", "--refit", "--out", tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    accuracy, promise = (getattr(read_verdict(read_study("deep", results)), name) for name in ("accuracy", "promise"))
    assert f"as one such training: {accuracy.value:.1%} ({accuracy.low:.1%} to {accuracy.high:.1%})" in card
    assert f"{promise.value:.1%}" not in card
    assert f"All {ALL} images" in card
    assert "the weights of its last epoch, 3 of 4" in card
    assert "the median of 3, 3, 3, 3, 3, 3, 3, 3, 3, 3." in card


def test_it_predicts_and_can_be_written_as_onnx(export, tiny_dataset, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime")
    code, message, _ = export("deep", "--refit", "--onnx", "--out", tmp_path / "model")
    assert code == 0
    assert "model.onnx agrees with it" in message
    images = [str(image.path) for image in tiny_dataset.images[:3]]
    monkeypatch.setattr(sys, "argv", ["drft-study", "predict", str(tmp_path / "model"), *images])
    main()
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_a_network_that_onnx_cannot_express_is_not_trained(export, lengths, tmp_path, monkeypatch):
    monkeypatch.setattr("study.export.onnx.check_packages", lambda: None)
    monkeypatch.setattr("torch.onnx.export", lambda *_, **__: None)
    monkeypatch.setattr("study.export.onnx._largest_difference", lambda *_: 0.2)
    code, out, err = export("deep", "--refit", "--onnx", "--out", tmp_path / "model")
    assert (code, out) == (2, "")
    assert err == "error: --onnx: the file differs from the model by 0.2 in a probability: export without --onnx\n"
    assert not lengths
    assert list(tmp_path.iterdir()) == []


def test_a_study_without_a_verdict_is_refused_in_one_line(export, lengths, tmp_path):
    code, out, err = export("old", "--refit", "--out", tmp_path / "model")
    assert (code, out) == (2, "")
    assert err == (
        "error: study 'old' recommends no depth, since the study was not run with --goal depth, so no depth was "
        "cross-validated: leave --refit out\n"
    )
    assert not lengths
    assert list(tmp_path.iterdir()) == []


def test_other_images_are_refused(export, lengths, tiny_dataset, tmp_path):
    other = tmp_path / "labels.csv"
    first, second = tiny_dataset.images[:2]
    other.write_text(f"image,level\n{first.path.stem},1\n{second.path.stem},2\n")
    code, _, err = export(
        "deep", "--refit", "--out", tmp_path / "model", "--data", other, "--images", first.path.parent
    )
    assert (code, lengths) == (2, [])
    assert err.startswith("error: ")
    assert not (tmp_path / "model").exists()
