"""Regularizers in a training: exact with the cache and in parts, and gone when it is over."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from drft.config.trial_config import TrialConfig, parse_config, with_values
from drft.data.dataset import ImageDataset
from drft.errors import BackboneError, ConfigError
from drft.training.phase import run_phase
from drft.training.regularization.ema import ExponentialMovingAverage
from drft.training.regularization.mixup import mixed_batches
from drft.training.regularization.penalties import classifier_inputs
from drft.training.session import TrainingSession
from drft.training.trainer import Trainer, shuffled_batches
from drft.training.trial import run_trial

PLAIN = parse_config(
    {
        "image_size": 32,
        "batch_size": 16,
        "depth": 2,
        "dropout": 0.2,
        "precision": "fp32",
        "split": {"validation_fraction": 0.33},
        "backbone": {"name": "test_resnet", "weights": "none"},
        "head_phase": {"epochs": 1},
        "depth_phase": {"epochs": 1},
    }
)
EXACT_IN_PARTS = {
    "regularization.l2_sp": 0.5,
    "regularization.ema_decay": 0.9,
    "regularization.sam_rho": 0.1,
    "regularization.feature_mixup": 0.4,
    "head_phase.init": "linear_probe",
}
OTHERS = {"regularization.bss": 0.1, "regularization.stoch_norm": 0.5}
EVERYTHING = with_values(PLAIN, {**EXACT_IN_PARTS, **OTHERS, "depth_phase.epochs": 2})


@pytest.fixture(autouse=True)
def keep_everything(monkeypatch):
    """As in test_exactness.py: what such a small network costs is not worth keeping."""
    monkeypatch.setattr("drft.feature_cache.features._SECONDS_PER_BYTE", 0.0)


@pytest.fixture(scope="module")
def even_dataset(tiny_dataset) -> ImageDataset:
    """As in test_exactness.py: 32 images to train on, so that rows are added up alike."""
    images = tiny_dataset.images[:4] + tiny_dataset.images[5:]
    return ImageDataset("even", images, "even" + tiny_dataset.fingerprint)


@pytest.fixture(scope="module")
def session(even_dataset):
    return TrainingSession(even_dataset, device="cpu", cache_size=0)


def told(config: TrialConfig, session: TrainingSession):
    result = run_trial(config, session)
    return [dataclasses.replace(record, seconds=0, cached=False) for record in result.records], result.best_state


def test_cached_equals_uncached_and_the_network_is_left_as_it_was(session, tmp_path):
    before = told(PLAIN, session)
    expected = told(EVERYTHING, session)
    keeping = TrainingSession(session.dataset, cache_dir=tmp_path, device="cpu", cache_size=10**9)
    for _ in ("cold", "warm"):
        records, state = told(EVERYTHING, keeping)
        assert records == expected[0]
        for name, tensor in expected[1].items():
            np.testing.assert_allclose(state[name], tensor, rtol=1e-5, atol=1e-5)
    run_trial(EVERYTHING, session, on_epoch=lambda record: record.step < 2)
    after = told(PLAIN, session)
    assert after[0] == before[0]
    assert all(np.array_equal(after[1][name], tensor) for name, tensor in before[1].items())


def test_parts_of_a_batch_give_the_whole(session):
    whole = with_values(
        PLAIN, {**EXACT_IN_PARTS, "batch_norm": "frozen", "dropout": 0.0, "loss.class_weighting": "sqrt"}
    )
    expected, _ = told(whole, session)
    found, _ = told(with_values(whole, {"micro_batch": 5}), session)
    for one, other in zip(found, expected, strict=True):
        assert one.running_loss == pytest.approx(other.running_loss, rel=1e-4)
        assert one.val_loss == pytest.approx(other.val_loss, rel=1e-4)


def test_the_mean_of_two_updates_is_evaluated_and_kept(session, monkeypatch):
    config = with_values(PLAIN, {"regularization.ema_decay": 0.99})
    states = []
    update = ExponentialMovingAverage.update

    def spy(average):
        states.append(
            {name: tensor.clone() for name, tensor in session._network(config).model.net.state_dict().items()}
        )
        update(average)

    monkeypatch.setattr(ExponentialMovingAverage, "update", spy)
    context = session.prepare(config)
    ((_, log_probabilities),) = run_phase(context, "depth", 1)
    net, expected = context.model.net, states[1] | _mean(states)
    assert len(states) == 2
    assert states[0]["fc.weight"].ne(states[1]["fc.weight"]).any()
    torch.testing.assert_close(dict(net.state_dict()), expected)
    net.load_state_dict(expected)
    with torch.no_grad():
        logits = net.eval()(context.views.normalize(context.views.plain(context.split.validation)))
    np.testing.assert_allclose(log_probabilities["validation"], logits.log_softmax(dim=1), rtol=1e-4, atol=1e-5)


def _mean(states):
    return {name: (tensor + states[1][name]) / 2 for name, tensor in states[0].items() if tensor.is_floating_point()}


def test_a_step_that_the_loss_scaler_skips_is_not_averaged(session, monkeypatch):
    scaler = torch.amp.GradScaler("cpu")
    monkeypatch.setattr("drft.training.trainer.loss_scaler", lambda *_: scaler)
    trainer = Trainer(session.prepare(with_values(PLAIN, {"regularization.ema_decay": 0.99})), "depth")
    head, backward, found = trainer.context.model.net.get_classifier(), torch.autograd.backward, []

    def overflow_first(loss):
        backward(loss)
        if not found:
            head.weight.grad.fill_(torch.inf)
        found.append(head.weight.detach().clone())

    monkeypatch.setattr("torch.autograd.backward", overflow_first)
    trainer.train_epoch(1)
    trainer.train_epoch(2)
    found = [*found[2:], head.weight.detach().clone()]  # after each of the three steps that were made
    assert len(found) == 3
    with trainer.ema.applied():
        torch.testing.assert_close(head.weight.detach(), sum(found) / 3)


def test_the_weights_that_are_trained_do_not_depend_on_their_average(session):
    averaged, _ = told(with_values(PLAIN, {"regularization.ema_decay": 0.9, "head_phase.epochs": 0}), session)
    plain, _ = told(with_values(PLAIN, {"head_phase.epochs": 0}), session)
    assert [record.running_loss for record in averaged] == [record.running_loss for record in plain]
    assert [record.val_loss for record in averaged] != [record.val_loss for record in plain]


def test_in_the_head_phase_the_inputs_of_the_classifier_are_mixed(session):
    values = {"regularization.feature_mixup": 1.0, "batch_size": 32, "dropout": 0.0, "augmentation.strength": 0.0}
    context = session.prepare(with_values(PLAIN, values))
    net, train = context.model.net, context.split.train
    with torch.no_grad(), classifier_inputs(net.eval()) as seen:
        net(context.views.normalize(context.views.plain(train)))
        (batch,) = mixed_batches(shuffled_batches(len(train), 1, 0, 1), 1.0, seed=0, step=1)
        mixed = batch.share * seen[0][batch.rows] + (1 - batch.share) * seen[0][batch.partners]
        logits, grades = net.get_classifier()(mixed), torch.from_numpy(context.grades[train])
    losses = [F.cross_entropy(logits, grades[rows]) for rows in (batch.rows, batch.partners)]
    record, _ = next(run_phase(context, "head", 1))
    assert record.running_loss == pytest.approx(
        float(batch.share * losses[0] + (1 - batch.share) * losses[1]), rel=1e-5
    )


def test_the_sharpest_point_of_low_rank_updates_is_computed_with_and_left(session, monkeypatch):
    values = {"depth_phase.parameters": "lora", "regularization.sam_rho": 0.5, "batch_size": 32}
    trainer = Trainer(session.prepare(with_values(PLAIN, values)), "depth")
    net, factors, part_loss, seen = trainer.context.model.net, trainer.lora.factors, Trainer._part_loss, []

    def spy(*args):
        seen.append({name: net.get_parameter(name).detach().clone() for name in factors})
        return part_loss(*args)

    monkeypatch.setattr(Trainer, "_part_loss", spy)
    trainer.train_epoch(1)
    start, sharpest = seen
    assert any(not torch.equal(sharpest[name], start[name]) for name in factors)
    for name, (down, up) in factors.items():
        learnt = (net.get_parameter(name) - start[name]).flatten(1)
        torch.testing.assert_close(learnt, up @ down)


def test_stochastic_norms_that_could_do_nothing_are_refused(session):
    config = with_values(PLAIN, {"regularization.stoch_norm": 0.5})
    with pytest.raises(ConfigError, match=r"^regularization.stoch_norm: with batch_norm frozen"):
        session.prepare(with_values(config, {"batch_norm": "frozen"}))
    with pytest.raises(BackboneError, match=r"^regularization.stoch_norm: test_vit has no batch norms"):
        session.prepare(with_values(config, {"backbone.name": "test_vit"}))
