"""Class probabilities of all losses, in training and from a checkpoint."""

import dataclasses

import numpy as np
import pytest
import torch

from drft.config.trial_config import parse_config, with_values
from drft.config.validation import contradictions
from drft.errors import WeightsError
from drft.inference import predict_images
from drft.models.backbone import build_model
from drft.models.checkpoint import load_checkpoint, save_checkpoint, save_model
from drft.models.probabilities import make_probabilities
from drft.training.phase import run_phase
from drft.training.session import TrainingSession
from drft.training.trial import run_trial

KINDS = ["cross_entropy", "coral", "corn", "expected_grade"]
ORDINAL = KINDS[1:]
CONFIG = parse_config(
    {
        "image_size": 32,
        "precision": "fp32",
        "depth": 1,
        "batch_size": 16,
        "backbone": {"name": "test_resnet", "weights": "none"},
        "head_phase": {"epochs": 1},
        "depth_phase": {"epochs": 1},
    }
)


def config_with(kind):
    return with_values(CONFIG, {"loss.kind": kind})


@pytest.fixture(scope="module")
def session(tiny_dataset):
    return TrainingSession(tiny_dataset, device="cpu", cache_size=0)


@pytest.fixture(scope="module")
def results(session):
    """Trainings with each loss, one after the other on the same network."""
    return {kind: run_trial(config_with(kind), session) for kind in KINDS}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_add_up_to_one(kind):
    probabilities = make_probabilities(kind, 5)(torch.randn(50, 5) * 20).exp()
    assert probabilities.sum(dim=1) == pytest.approx(1, abs=1e-5)
    assert probabilities.isfinite().all()


def test_corn_multiplies_conditional_probabilities():
    outputs = np.array([0.3, -1.2, 0.8, 99.0])
    exceeds = np.cumprod([1, *sigmoid(outputs[:3])])
    result = make_probabilities("corn", 4)(torch.tensor(outputs)[None]).exp()[0]
    assert result.numpy() == pytest.approx(-np.diff([*exceeds, 0.0]))


def test_coral_takes_differences_of_cumulative_probabilities():
    score, thresholds = 0.4, np.array([2.0, -0.5, -1.5])
    at_least = np.array([1, *sigmoid(score + thresholds), 0])
    ordered = torch.tensor([[score, *thresholds]])
    result = make_probabilities("coral", 4)(ordered).exp()[0]
    assert result.numpy() == pytest.approx(-np.diff(at_least))
    assert make_probabilities("coral", 4)(ordered[:, [0, 2, 3, 1]]).exp()[0].numpy() == pytest.approx(result.numpy())


def test_the_most_probable_grade_lies_between_its_thresholds():
    probabilities = make_probabilities("expected_grade", 4)
    outputs, grades = torch.randn(200, 4) * 3, torch.arange(200) % 4
    probabilities.fit(outputs, grades)
    scores = outputs.softmax(dim=1) @ torch.arange(4.0)
    log_probabilities = probabilities(outputs)
    assert torch.equal(log_probabilities.argmax(dim=1), (scores[:, None] > probabilities.thresholds).sum(dim=1))
    expected = (log_probabilities.exp() @ torch.arange(4.0))[scores.argsort()]
    assert (expected.diff() >= -1e-5).all()


def test_the_spread_is_small_where_scores_determine_the_grade():
    probabilities = make_probabilities("expected_grade", 3)
    grades = torch.arange(60) % 3
    probabilities.fit(torch.eye(3)[grades] * 50, grades)
    small = float(probabilities.spread)
    probabilities.fit(torch.randn(60, 3), grades)
    assert small < 0.1 < float(probabilities.spread)


@pytest.mark.parametrize("kind", ORDINAL)
def test_a_checkpoint_predicts_as_its_training_did(kind, results, tiny_dataset, tmp_path):
    result = results[kind]
    stored = result.predictions["validation"]
    expected = stored.probabilities[result.best.step - 1].astype(np.float32)
    assert expected.sum(axis=1) == pytest.approx(1, abs=5e-3)
    paths = {image.id: image.path for image in tiny_dataset.images}
    save_checkpoint(tmp_path / "best.safetensors", result.best_state, result.config, classes=5)
    model, config = load_checkpoint(tmp_path / "best.safetensors")
    save_model(tmp_path / "whole.safetensors", model, config, classes=5)
    for loaded in (model, load_checkpoint(tmp_path / "whole.safetensors")[0]):
        predicted = predict_images(loaded, 32, [paths[name] for name in stored.ids], device=torch.device("cpu"))
        assert predicted == pytest.approx(expected, abs=2e-3)


def test_a_checkpoint_without_its_thresholds_is_refused(results, tmp_path):
    state = {name: array for name, array in results["expected_grade"].best_state.items() if "thresholds" not in name}
    save_checkpoint(tmp_path / "best.safetensors", state, config_with("expected_grade"), classes=5)
    with pytest.raises(WeightsError, match=r"link\.thresholds"):
        load_checkpoint(tmp_path / "best.safetensors")


def test_all_grades_share_the_score_of_coral(results):
    state = results["coral"].best_state
    weight, bias = (state[f"fc.{name}"] for name in ("weight", "bias"))
    assert weight[0].any()
    assert not weight[1:].any()
    assert (np.diff(bias[1:]) < 0).all()
    assert np.abs(np.diff(bias[1:]) + 2).min() > 0, "thresholds are trained"


@pytest.mark.parametrize("classes", [2, 5, 8])
def test_at_the_start_of_coral_each_grade_is_the_most_probable_at_some_score(classes):
    model = build_model(config_with("coral"), classes)
    model.start_anew(0, 0.0, shared_score=True)
    scores = torch.linspace(-20, 20, 401)[:, None]
    outputs = torch.cat([scores, model.net.fc.bias.detach()[1:].expand(len(scores), -1)], dim=1)
    assert set(model.probabilities(outputs).argmax(dim=1).tolist()) == set(range(classes))


def test_a_loss_leaves_no_trace_on_the_network(results, session):
    """The first training had a new network; the session has trained with all losses since."""
    again = run_trial(config_with("cross_entropy"), session)
    assert again.records == results["cross_entropy"].records


def test_validation_grades_are_not_used(session):
    def predicted(order):
        context = session.prepare(config_with("expected_grade"))
        grades, validation = context.grades.copy(), context.split.validation
        grades[validation] = grades[validation][order]
        ((_, log_probabilities),) = run_phase(dataclasses.replace(context, grades=grades), "head", 1)
        return log_probabilities, context.model.probabilities.state_dict()

    count = len(session.prepare(CONFIG).split.validation)
    (plain, fitted), (permuted, fitted_again) = predicted(np.arange(count)), predicted(np.arange(count)[::-1])
    assert all(np.array_equal(plain[part], permuted[part]) for part in plain)
    assert all(torch.equal(fitted[name], fitted_again[name]) for name in fitted)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"loss.kind": "coral", "loss.label_smoothing": 0.1}, "loss.label_smoothing"),
        ({"loss.kind": "corn", "loss.focal_gamma": 2.0}, "loss.focal_gamma"),
        ({"loss.kind": "corn", "head_phase.init": "linear_probe"}, "head_phase.init"),
    ],
)
def test_contradicting_settings_are_found(values, expected):
    ((path, _),) = contradictions(with_values(CONFIG, values))
    assert path == expected
