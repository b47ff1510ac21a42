"""Where to unfreeze: what moves and what does not, stage by stage, and the cache changes nothing of it."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from drft.config.trial_config import TrialConfig, parse_config, with_values
from drft.config.validation import CHECKED_SETTINGS, contradictions
from drft.data.augment import Views
from drft.data.dataset import ImageDataset
from drft.data.images import load_images
from drft.errors import ConfigError
from drft.feature_cache.network import optimize_graph
from drft.feature_cache.split_model import split_model
from drft.models.backbone import Model, build_model
from drft.models.blocks import head_names, set_trainable, trained_names, training_modes
from drft.models.checkpoint import load_checkpoint, save_checkpoint
from drft.training.records import PARTS, TrialResult
from drft.training.session import TrainingSession
from drft.training.trainer import Trainer
from drft.training.trial import run_trial
from drft.training.unfreezing import Unfreezing, trained_fraction

TINY = parse_config(
    {
        "image_size": 32,
        "batch_size": 16,
        "precision": "fp32",
        "depth": 3,
        "backbone": {"name": "test_resnet", "weights": "none"},
        "split": {"validation_fraction": 0.33},
        "head_phase": {"epochs": 1},
        "depth_phase": {"epochs": 2},
    }
)
LORA = {"depth_phase.parameters": "lora", "depth_phase.lora_rank": 2}


@pytest.fixture(autouse=True)
def keep_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small networks are so cheap that little would be kept."""
    monkeypatch.setattr("drft.feature_cache.features._SECONDS_PER_BYTE", 0.0)


@pytest.fixture(scope="module")
def even_dataset(tiny_dataset) -> ImageDataset:
    """32 images to train on, in batches of 16, as in test_exactness.py."""
    images = tiny_dataset.images[:4] + tiny_dataset.images[5:]
    return ImageDataset("even", images, "even" + tiny_dataset.fingerprint)


@pytest.fixture(scope="module")
def plain(even_dataset) -> TrainingSession:
    return TrainingSession(even_dataset, device="cpu", cache_size=0)


@pytest.fixture(scope="module")
def keeping(even_dataset, tmp_path_factory) -> TrainingSession:
    return TrainingSession(even_dataset, cache_dir=tmp_path_factory.mktemp("kept"), device="cpu", cache_size=10**9)


def state(config: TrialConfig, session: TrainingSession) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in session._network(config).model.net.state_dict().items()}


def moved(config: TrialConfig, session: TrainingSession) -> set[str]:
    """Names of the backbone's parameters and buffers that are no longer as pretrained."""
    model = session._network(config).model
    now = model.net.state_dict()
    return {name for name, tensor in model.pretrained.items() if not torch.equal(now[name], tensor)} - head_names(
        model.net
    )


def assert_equal(found: TrialResult, expected: TrialResult) -> None:
    assert found.records == expected.records
    for part in PARTS:
        assert np.array_equal(found.predictions[part].probabilities, expected.predictions[part].probabilities)


WAYS: Mapping[str, Mapping[str, object]] = {
    "window": {"depth_phase.window": 1, "depth_phase.layer_decay": 0.5},
    "gradual": {"depth_phase.gradual_epochs": 1, "depth_phase.epochs": 3},
    "bias_and_norm": {"depth_phase.parameters": "bias_and_norm"},
    "lora": LORA,
    "auto_rgn": {"depth_phase.auto_rgn": True},
    "lora with everything": {
        **LORA,
        "depth_phase.gradual_epochs": 1,
        "depth_phase.epochs": 3,
        "micro_batch": 8,
        "regularization.sam_rho": 0.05,
        "regularization.l2_sp": 0.01,
        "regularization.ema_decay": 0.9,
    },
}


@pytest.mark.parametrize(("name", "way"), [*(("test_resnet", way) for way in WAYS), ("test_vit", "lora")])
def test_the_cache_changes_nothing(name, way, plain, keeping):
    config = with_values(TINY, {**WAYS[way], "backbone.name": name})
    expected, expected_state = run_trial(config, plain), state(config, plain)
    for _ in range(2):
        found = run_trial(config, keeping)
        assert_equal(found, expected)
        torch.testing.assert_close(state(config, keeping), expected_state, rtol=1e-5, atol=1e-5)
    assert all(record.cached for record in found.records)
    assert moved(config, plain)


def block_parameters(config: TrialConfig, session: TrainingSession, *indices: int) -> set[str]:
    blocks = session._network(config).model.blocks
    return {name for index in indices for name in blocks[index].parameters}


def test_a_window_moves_its_own_blocks_and_no_others(plain):
    config = with_values(TINY, {"depth": 3, "depth_phase.window": 2})
    result = run_trial(config, plain)
    trained = block_parameters(config, plain, -3, -2)
    found = moved(config, plain)
    assert found & trained
    parents = {name.rpartition(".")[0] for name in trained}
    assert all(name in trained or name.rpartition(".")[0] in parents for name in found)  # buffers beside them
    model = plain._network(config).model
    assert result.trainable_fraction == sum(b.size for b in model.blocks[-3:-1]) / sum(b.size for b in model.blocks)
    assert result.records[-1].block_lr == pytest.approx(run_trial(TINY, plain).records[-1].block_lr)


def test_a_window_of_the_whole_depth_is_none_bit_for_bit(plain):
    expected, expected_state = run_trial(TINY, plain), state(TINY, plain)
    config = with_values(TINY, {"depth_phase.window": 3})
    assert_equal(run_trial(config, plain), expected)
    found = state(config, plain)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected_state.items())


@pytest.mark.parametrize("batch_norm", ["frozen", "adapt"])
def test_gradients_pass_through_the_blocks_behind_a_window(batch_norm):
    model = build_model(with_values(TINY, {"backbone.name": "test_efficientnet"}), 5)
    net, images = model.net.eval(), torch.randn(4, 3, 32, 32)
    chain = split_model(net, 32, optimize_graph)
    crossing = chain.advance((images,), None, [3])[3]
    set_trainable(net, 3, window=1)
    for module, training in training_modes(net, 3, batch_norm, window=1).items():
        module.training = training
    parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
    found, expected = (
        torch.autograd.grad(logits.square().sum(), parameters) for logits in (chain.suffix(3, crossing), net(images))
    )
    assert len(found) > 2
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def stages(config: TrialConfig, session: TrainingSession) -> list[set[str]]:
    """Return what had moved after each epoch."""
    found: list[set[str]] = []
    run_trial(config, session, lambda _record: not found.append(moved(config, session)))
    return found


def test_gradual_unfreezing_comes_to_the_depth_block_by_block(plain):
    values = {"head_phase.epochs": 0, "depth_phase.epochs": 5, "depth_phase.gradual_epochs": 2, "batch_norm": "frozen"}
    config = with_values(TINY, values)
    model = plain._network(config).model
    unfreezing = Unfreezing(model, config, "depth")
    assert [unfreezing.depth_at(epoch) for epoch in range(1, 8)] == [1, 1, 2, 2, 3, 3, 3]
    expected = [trained_names(model.net, depth) - head_names(model.net) for depth in (1, 1, 2, 2, 3)]
    assert stages(config, plain) == expected


def test_blocks_of_equal_learning_rates_can_be_unfrozen_one_after_the_other_with_sgd(plain):
    values = {"depth_phase.epochs": 3, "depth_phase.gradual_epochs": 1, "depth_phase.layer_decay": 1.0}
    result = run_trial(with_values(TINY, {**values, "optimizer.name": "sgd"}), plain)
    assert np.isfinite([record.running_loss for record in result.records]).all()


def test_one_optimizer_and_one_schedule_run_through_all_stages(plain):
    config = with_values(TINY, {"depth_phase.epochs": 3, "depth_phase.gradual_epochs": 1})
    assert [record.head_lr for record in run_trial(config, plain).records] == [
        record.head_lr for record in run_trial(with_values(config, {"depth_phase.gradual_epochs": 0}), plain).records
    ]
    context = plain.prepare(config)
    trainer = Trainer(context, "depth")
    for epoch in (1, 2, 3):
        trainer.unfreeze(epoch)
        trainer.train_epoch(epoch)
    updates = {id(parameter): int(about["step"]) for parameter, about in trainer.optimizer.state.items()}
    found = [
        {updates[id(context.model.net.get_parameter(name))] for name in block.parameters}
        for block in context.model.blocks[-3:]
    ]
    assert found == [{trainer.batches}, {2 * trainer.batches}, {3 * trainer.batches}]


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_bias_and_norm_moves_vectors_only(name, plain):
    config = with_values(TINY, {"backbone.name": name, "depth_phase.parameters": "bias_and_norm", "depth": 2})
    result = run_trial(config, plain)
    model = plain._network(config).model
    parameters = dict(model.net.named_parameters())
    found = moved(config, plain) & parameters.keys()
    vectors = {name for name in block_parameters(config, plain, -2, -1) if parameters[name].ndim == 1}
    assert found
    assert found <= vectors
    total = sum(block.size for block in model.blocks)
    assert result.trainable_fraction == sum(parameters[name].numel() for name in vectors) / total


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit"])
def test_lora_moves_weights_by_low_rank_and_is_kept_merged(name, plain, tmp_path):
    values = {**LORA, "backbone.name": name, "head_phase.epochs": 0, "depth_phase.epochs": 1, "batch_norm": "frozen"}
    config = with_values(TINY, {**values, "depth_phase.lr": 0.02})
    result = run_trial(config, plain)
    model = plain._network(config).model
    now = model.net.state_dict()
    updates = {name: (now[name] - model.pretrained[name]).flatten(1) for name in moved(config, plain)}
    assert updates
    assert updates.keys() <= block_parameters(config, plain, -3, -2, -1)
    assert all(torch.linalg.matrix_rank(update, rtol=1e-4) <= 2 for update in updates.values())

    save_checkpoint(tmp_path / "best.safetensors", result.best_state, config, 5)
    loaded, _ = load_checkpoint(tmp_path / "best.safetensors")
    stored = result.predictions["validation"].probabilities[0].astype(np.float32)
    assert probabilities(loaded, plain, config) == pytest.approx(stored, abs=2e-3)


def probabilities(model: Model, session: TrainingSession, config: TrialConfig) -> np.ndarray:
    views = Views(load_images(session.dataset, 32), model.mean, model.std, device=torch.device("cpu"), seed=0)
    validation = session.prepare(config).split.validation
    with torch.no_grad():
        return model.net.eval()(views.normalize(views.plain(validation))).softmax(dim=1).numpy()


def test_lora_leaves_the_workbench_as_it_was(plain):
    expected = run_trial(TINY, plain)
    run_trial(with_values(TINY, LORA), plain, lambda record: record.phase == "head")  # pruned amid its depth phase
    assert_equal(run_trial(TINY, plain), expected)


def test_the_share_of_lora_counts_its_factors():
    config = with_values(TINY, {**LORA, "backbone.name": "test_vit", "depth": 1})
    model = build_model(config, 5)
    last = [model.net.get_parameter(name) for name in model.blocks[-1].parameters]
    weights = [parameter for parameter in last if parameter.ndim == 2]
    assert len(weights) == 4  # qkv, proj, fc1, fc2
    factors = sum(2 * (len(weight) + weight.shape[1]) for weight in weights)
    assert trained_fraction(model, config) == factors / sum(block.size for block in model.blocks)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"depth_phase.window": 4}, "window: depth 3 has no 4 blocks to train"),
        ({"depth_phase.window": 1, "depth": 0}, "window: depth 0 has no 1 blocks to train"),
        ({"depth_phase.window": 1, "depth_phase.gradual_epochs": 1, "depth_phase.epochs": 3}, "set one of the two"),
        ({"depth_phase.gradual_epochs": 2, "depth_phase.epochs": 4}, "depth 3 in epoch 5, and depth_phase.epochs is 4"),
        ({**LORA, "depth_phase.auto_rgn": True}, "auto_rgn"),
    ],
)
def test_contradictions_are_refused_before_training(values, fault, plain):
    config = with_values(TINY, values)
    assert len(list(contradictions(config))) == 1
    assert values.keys() <= {*CHECKED_SETTINGS, *LORA}  # or search spaces would not be checked for it
    with pytest.raises(ConfigError, match=fault):
        plain.prepare(config)


def test_what_does_not_contradict_itself_is_let_through():
    for values in ({"depth_phase.window": 3}, {"depth_phase.gradual_epochs": 1, "depth_phase.epochs": 3}, {"depth": 0}):
        assert not list(contradictions(with_values(TINY, values)))
