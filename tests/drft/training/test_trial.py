"""One trial: two phases, honest measurements, equal seeds equal results, and only the depth's blocks move."""

import numpy as np
import pytest
import torch

from drft.config.trial_config import TrialConfig, parse_config, with_values
from drft.data.images import load_images
from drft.data.splits import stratified_split
from drft.errors import BackboneError, ConfigError, NonFiniteLossError, TrainingError
from drft.metrics import score
from drft.models.backbone import build_model
from drft.models.checkpoint import changed_tensors
from drft.training.records import PARTS
from drft.training.trial import run_trial

TINY = parse_config(
    {
        "image_size": 32,
        "depth": 2,
        "batch_size": 16,
        "backbone": {"name": "test_resnet", "weights": "none"},
        "head_phase": {"epochs": 2},
        "depth_phase": {"epochs": 2},
    }
)


@pytest.fixture(scope="module")
def result(tiny_dataset):
    return run_trial(TINY, tiny_dataset)


def test_both_phases_run_and_steps_count_through(result):
    assert [(r.step, r.phase, r.epoch) for r in result.records] == [
        (1, "head", 1),
        (2, "head", 2),
        (3, "depth", 1),
        (4, "depth", 2),
    ]
    assert result.ending == "completed"
    assert [r.block_lr > 0 for r in result.records] == [False, False, True, True]


def test_equal_seeds_give_bit_equal_results(tiny_dataset, result):
    again = run_trial(TINY, tiny_dataset)
    assert result.records == again.records
    for part in PARTS:
        assert np.array_equal(result.predictions[part].probabilities, again.predictions[part].probabilities)
    assert result.best_state.keys() == again.best_state.keys()
    assert all(np.array_equal(result.best_state[name], again.best_state[name]) for name in result.best_state)


@pytest.mark.parametrize("weighting", ["none", "balanced"])
@pytest.mark.parametrize("micro_batch", [1, 7])
def test_micro_batches_change_nothing_but_rounding(tiny_dataset, weighting, micro_batch):
    values = {"batch_norm": "frozen", "loss.class_weighting": weighting, "loss.label_smoothing": 0.1}
    whole = run_trial(with_values(TINY, values), tiny_dataset)
    parts = run_trial(with_values(TINY, {**values, "micro_batch": micro_batch}), tiny_dataset)
    assert [r.running_loss for r in parts.records] == pytest.approx([r.running_loss for r in whole.records], rel=1e-3)
    assert [r.val_loss for r in parts.records] == pytest.approx([r.val_loss for r in whole.records], rel=1e-3)
    for name, expected in whole.best_state.items():
        np.testing.assert_allclose(parts.best_state[name], expected, rtol=1e-2, atol=1e-3, err_msg=name)


def test_another_seed_gives_another_training(tiny_dataset, result):
    other = run_trial(with_values(TINY, {"seed": 1}), tiny_dataset)
    assert other.records[-1].running_loss != result.records[-1].running_loss


def test_records_are_the_scores_of_the_stored_predictions(tiny_dataset, result):
    for part, prefix in (("train", "train"), ("validation", "val")):
        stored = result.predictions[part]
        for record, probabilities in zip(result.records, stored.probabilities.astype(np.float32), strict=True):
            scores = score(np.log(probabilities.clip(1e-7)), stored.grades)
            assert getattr(record, f"{prefix}_accuracy") == pytest.approx(scores.accuracy)
            assert getattr(record, f"{prefix}_loss") == pytest.approx(scores.loss, rel=0.02, abs=0.01)
            assert getattr(record, f"{prefix}_qwk") == pytest.approx(scores.qwk)


def test_parts_are_the_split_and_the_official_test_images(tiny_dataset, result):
    ids = {part: set(result.predictions[part].ids) for part in PARTS}
    assert ids["test"] == {p.id for p in tiny_dataset.images if p.origin == "test"}
    assert not ids["train"] & ids["validation"]
    assert len(ids["train"] | ids["validation"]) == 48


def test_the_best_state_gives_the_best_epochs_predictions(tiny_dataset, result):
    model = build_model(TINY, 5, seed=TINY.seed)
    state = model.net.state_dict() | {name: torch.from_numpy(value) for name, value in result.best_state.items()}
    model.net.load_state_dict(state)
    model.net.eval()
    indices = stratified_split(tiny_dataset, TINY.split).validation
    pixels = torch.from_numpy(np.array(load_images(tiny_dataset, 32)[indices])).permute(0, 3, 1, 2) / 255
    images = (pixels - torch.tensor(model.mean).view(3, 1, 1)) / torch.tensor(model.std).view(3, 1, 1)
    with torch.no_grad():
        found = model.net(images).softmax(dim=1).numpy()
    stored = result.predictions["validation"].probabilities[result.best.step - 1]
    assert found == pytest.approx(stored.astype(np.float32), abs=2e-3)


def test_only_the_depths_blocks_and_the_head_differ_from_the_pretrained(tiny_dataset):
    config = with_values(TINY, {"head_phase.epochs": 0, "depth": 1, "depth_phase.epochs": 1})
    state = run_trial(config, tiny_dataset).best_state
    model = build_model(config, 5, seed=config.seed)
    frozen = {name for block in model.blocks[:-1] for name in block.parameters}
    moved = set(state)
    assert moved & set(model.blocks[-1].parameters)
    assert not moved & frozen
    assert not changed_tensors(model.net, model.pretrained).keys() & frozen


def test_depth_zero_trains_the_head_alone(tiny_dataset):
    result = run_trial(with_values(TINY, {"depth": 0}), tiny_dataset)
    assert result.trainable_fraction == 0
    assert result.depth_fraction == 0
    classifier = {name.split(".")[0] for name in result.best_state}
    assert classifier == {"fc"}


def test_the_callback_prunes(tiny_dataset):
    seen = []
    result = run_trial(TINY, tiny_dataset, lambda record: seen.append(record.step) or record.step < 3)
    assert seen == [1, 2, 3]
    assert result.ending == "pruned"
    assert result.predictions["validation"].probabilities.shape == (3, result.predictions["validation"].grades.size, 5)


def test_patience_counts_depth_phase_epochs_without_a_new_best(tiny_dataset):
    config = with_values(TINY, {"early_stopping.patience": 1, "depth_phase.epochs": 30, "depth_phase.lr": 1e-12})
    config = with_values(config, {"depth_phase.head_lr": 1e-12, "batch_norm": "frozen"})
    result = run_trial(config, tiny_dataset)
    assert result.ending == "early_stopped"
    assert result.last.phase == "depth"
    assert result.last.step - result.best.step >= 1
    assert len(result.records) == 3


def test_the_metric_picks_the_best_epoch(tiny_dataset, result):
    by_qwk = run_trial(with_values(TINY, {"metric": "qwk"}), tiny_dataset)
    assert by_qwk.best.val_qwk == max(r.val_qwk for r in by_qwk.records)
    assert result.best.val_accuracy == max(r.val_accuracy for r in result.records)


def test_predictions_that_are_nan_are_an_error_with_a_remedy(tiny_dataset, monkeypatch):
    monkeypatch.setattr("drft.training.trainer.Trainer._outputs", lambda trainer, part: torch.full((60, 5), torch.nan))
    with pytest.raises(NonFiniteLossError, match=r"predictions became NaN.*lower learning rate"):
        run_trial(TINY, tiny_dataset)


def test_divergence_is_an_error_with_a_remedy(tiny_dataset):
    config = with_values(TINY, {"optimizer.name": "sgd", "head_phase.lr": 1e30})
    with pytest.raises(NonFiniteLossError, match="lower learning rate"):
        run_trial(config, tiny_dataset)


@pytest.mark.parametrize("setting", ["batch_size", "micro_batch"])
def test_a_batch_norm_cannot_adapt_to_one_pixel(tiny_dataset, setting):
    config = with_values(TINY, {setting: 1, "head_phase.epochs": 0, "depth_phase.epochs": 1})
    with pytest.raises(TrainingError, match=r"raise batch_size or micro_batch.*or set batch_norm to frozen"):
        run_trial(config, tiny_dataset)
    assert run_trial(with_values(config, {"batch_norm": "frozen"}), tiny_dataset).ending == "completed"


def test_a_depth_the_backbone_does_not_have(tiny_dataset):
    with pytest.raises(BackboneError, match="5"):
        run_trial(with_values(TINY, {"depth": 99}), tiny_dataset)


def test_no_epochs_at_all(tiny_dataset):
    with pytest.raises(ConfigError, match="at least one"):
        run_trial(with_values(TINY, {"head_phase.epochs": 0, "depth_phase.epochs": 0}), tiny_dataset)


def test_the_default_configuration_is_valid():
    assert TrialConfig().backbone.weights == "embedded"
