import numpy as np
import pytest
import torch

from drft.config.trial_config import parse_config, with_values
from drft.errors import ConfigError
from drft.feature_cache.cache import default_memory
from drft.training.session import TrainingSession

TINY = parse_config(
    {
        "backbone": {"name": "test_resnet", "weights": "none"},
        "image_size": 32,
        "precision": "fp32",
        "split": {"validation_fraction": 0.33},
    }
)


@pytest.fixture
def session(tiny_dataset, tmp_path) -> TrainingSession:
    return TrainingSession(tiny_dataset, cache_dir=tmp_path, device="cpu")


def test_a_network_serves_all_trials_that_differ_in_training_alone(session):
    first = session.prepare(TINY)
    again = session.prepare(with_values(TINY, {"depth": 3, "dropout": 0.5, "batch_size": 4}))
    assert again.network.model.net is first.network.model.net


@pytest.mark.parametrize(
    "other",
    [
        with_values(TINY, {"backbone.name": "test_efficientnet"}),
        with_values(TINY, {"image_size": 48}),
        with_values(TINY, {"precision": "bf16"}),
        with_values(TINY, {"seed": 1}),
    ],
    ids=["backbone", "image size", "precision", "random weights of another seed"],
)
def test_what_activations_depend_on_makes_another_network(session, other):
    first, second = session.prepare(TINY).network, session.prepare(other).network
    assert second.model.net is not first.model.net
    assert second.identity != first.identity


def test_two_networks_are_kept_and_the_one_used_last_is_among_them(session):
    def net(size):
        return session.prepare(with_values(TINY, {"image_size": size})).network.model.net

    small, middle = net(32), net(40)
    assert net(32) is small
    net(48)
    assert net(32) is small
    assert net(40) is not middle


def test_every_trial_starts_from_the_pretrained_weights_and_a_head_of_its_seed(session):
    net = session.prepare(TINY).network.model.net
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1.0)
    session.prepare(TINY)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_every_boundary_has_a_cost_and_the_images_come_first(session):
    context = session.prepare(TINY)
    assert list(context.costs) == [context.network.images_at, *context.network.split_model.cuts]
    assert context.costs[context.network.images_at].nbytes == 3 * 32 * 32
    assert all(cost.seconds > 0 and cost.nbytes > 0 for cost in context.costs.values())


def test_no_epochs_are_refused_by_name(session):
    config = with_values(TINY, {"head_phase.epochs": 0, "depth_phase.epochs": 0})
    with pytest.raises(ConfigError, match=r"head_phase\.epochs and depth_phase\.epochs are both 0"):
        session.prepare(config)


def test_workers_share_the_memory_of_their_machine():
    assert default_memory(4) == default_memory() // 4


def test_the_split_is_of_the_dataset(session):
    split = session.prepare(TINY).split
    parts = np.concatenate([split.train, split.validation, split.test])
    assert len(np.unique(parts)) == len(parts) == len(session.dataset)
