"""The feature cache and the split change no result: compared with trainings without them and with a plain loop."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from drft.config.trial_config import TrialConfig, parse_config, with_values
from drft.data.augment import Views
from drft.data.dataset import ImageDataset
from drft.data.images import load_images
from drft.data.splits import stratified_split
from drft.feature_cache.features import FrozenPrefix
from drft.feature_cache.index import stored_files
from drft.feature_cache.network import BoundaryCost
from drft.models.backbone import Model, block_count, build_model
from drft.models.blocks import set_trainable, train_mode
from drft.training.losses import training_loss
from drft.training.optim import make_optimizer, make_scheduler, parameter_groups
from drft.training.phase import run_phase
from drft.training.records import PARTS, EpochRecord, TrialResult
from drft.training.session import TrainingSession
from drft.training.trainer import shuffled_batches
from drft.training.trial import run_trial

FAMILIES = ["test_byobnet", "test_convnext3", "test_efficientnet", "test_mambaout", "test_resnet", "test_vit"]
"""Families that are tested at several depths and with both batch-norm settings."""

OTHER_FAMILIES = [*(name for name in timm.list_models("test_*") if name not in FAMILIES), "mobilenetv3_small_050"]

TINY = parse_config(
    {
        "image_size": 32,
        "batch_size": 16,
        "precision": "fp32",
        "split": {"validation_fraction": 0.33},
        "head_phase": {"epochs": 1},
        "depth_phase": {"epochs": 2},
    }
)
LARGE = 10**9
Outcome = tuple[TrialResult, Mapping[str, Tensor]]


@pytest.fixture(autouse=True)
def cache_all_boundaries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small networks are so cheap that few boundaries would be cached, and measured costs differ from run to run."""
    monkeypatch.setattr("drft.feature_cache.features._SECONDS_PER_BYTE", 0.0)


@pytest.fixture(scope="module")
def even_dataset(tiny_dataset) -> ImageDataset:
    """32 images to train on, in batches of 16.

    A convolution over a single pixel is a matrix product. BLAS sums the last rows in another order if their number is
    no multiple of 16, so that the last digit of the result would depend on the batch size.
    """
    images = tiny_dataset.images[:4] + tiny_dataset.images[5:]
    dataset = ImageDataset("even", images, "even" + tiny_dataset.fingerprint)
    assert len(stratified_split(dataset, TINY.split).train) == 32
    return dataset


@pytest.fixture(scope="module")
def uncached_sessions(even_dataset) -> Callable[[str], TrainingSession]:
    """A session without a cache for each family, so that its network is built once."""
    sessions: dict[str, TrainingSession] = {}

    def session(name: str) -> TrainingSession:
        if name not in sessions:
            sessions[name] = TrainingSession(even_dataset, device="cpu", cache_size=0)
        return sessions[name]

    return session


def backbone(name: str) -> TrialConfig:
    weights = "embedded" if name == "mobilenetv3_small_050" else "none"
    return with_values(TINY, {"backbone.name": name, "backbone.weights": weights})


def outcome(config: TrialConfig, session: TrainingSession) -> Outcome:
    """Train; return the result and the last state of the network."""
    result = run_trial(config, session)
    last = session._network(config).model.net.state_dict()
    return result, {name: tensor.clone() for name, tensor in last.items()}


def numbers(record: EpochRecord) -> dict[str, float]:
    return {name: value for name, value in asdict(record).items() if name not in {"phase", "seconds", "cached"}}


def assert_equal(actual: Outcome, expected: Outcome) -> None:
    assert actual[0].records == expected[0].records
    for part in PARTS:
        predicted, wanted = actual[0].predictions[part], expected[0].predictions[part]
        assert predicted.ids == wanted.ids
        assert np.array_equal(predicted.probabilities, wanted.probabilities)
    states = (actual[0].best_state, expected[0].best_state)
    best = [{name: torch.from_numpy(array) for name, array in state.items()} for state in states]
    torch.testing.assert_close(best[0], best[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(actual[1], expected[1], rtol=1e-5, atol=1e-5)


def compare_with_and_without(config: TrialConfig, plain: TrainingSession, folder: Path) -> None:
    def session() -> TrainingSession:
        return TrainingSession(plain.dataset, cache_dir=folder, device="cpu", cache_size=LARGE)

    expected, cold = outcome(config, plain), outcome(config, session())
    files = {file.path.name for file in stored_files(folder / "activations")}
    warm = outcome(config, session())
    assert any("view3" in name for name in files)
    assert any("plain" in name for name in files)
    assert [record.cached for record in expected[0].records] == [False] * 3
    assert [record.cached for record in cold[0].records] == [False] * 3
    assert [record.cached for record in warm[0].records] == [True] * 3
    assert_equal(cold, expected)
    assert_equal(warm, expected)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("batch_norm", ["frozen", "adapt"])
@pytest.mark.parametrize("depth", ["none", "middle", "all"])
def test_the_cache_changes_nothing(name, batch_norm, depth, uncached_sessions, tmp_path):
    blocks = block_count(name)
    values = {"batch_norm": batch_norm, "depth": {"none": 0, "middle": blocks // 2, "all": blocks}[depth]}
    compare_with_and_without(with_values(backbone(name), values), uncached_sessions(name), tmp_path)


@pytest.mark.parametrize("name", OTHER_FAMILIES)
def test_the_cache_changes_nothing_in_other_families(name, uncached_sessions, tmp_path):
    config = with_values(backbone(name), {"depth": block_count(name) // 2, "dropout": 0.2})
    compare_with_and_without(config, uncached_sessions(name), tmp_path)


def test_batches_of_any_size_differ_by_rounding_at_most(tiny_dataset, tmp_path):
    config = with_values(backbone("test_efficientnet"), {"batch_size": 7, "batch_norm": "frozen", "depth": 3})
    plain = outcome(config, TrainingSession(tiny_dataset, device="cpu", cache_size=0))
    cached = outcome(config, TrainingSession(tiny_dataset, cache_dir=tmp_path, device="cpu", cache_size=LARGE))
    torch.testing.assert_close(cached[1], plain[1], rtol=1e-5, atol=1e-5)
    for record, expected in zip(cached[0].records, plain[0].records, strict=True):
        assert numbers(record) == pytest.approx(numbers(expected), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_depth_of_these_families_has_a_boundary(name, uncached_sessions):
    split = uncached_sessions(name).prepare(backbone(name)).network.split_model
    assert split.cuts == tuple(range(block_count(name), -1, -1))


@st.composite
def configs(draw: st.DrawFn) -> TrialConfig:
    values = {
        "depth": st.integers(0, 5),
        "seed": st.integers(0, 3),
        "batch_size": st.integers(8, 40),
        "dropout": st.sampled_from([0.0, 0.4]),
        "batch_norm": st.sampled_from(["frozen", "adapt"]),
        "augmentation.strength": st.sampled_from([0.0, 0.5, 1.0]),
        "augmentation.seed": st.integers(0, 2),
        "optimizer.name": st.sampled_from(["adamw", "sgd"]),
        "loss.label_smoothing": st.sampled_from([0.0, 0.1]),
        "loss.class_weighting": st.sampled_from(["none", "balanced"]),
        "split.seed": st.integers(0, 1),
        "head_phase.epochs": st.integers(0, 2),
        "depth_phase.epochs": st.integers(1, 2),
        "depth_phase.layer_decay": st.sampled_from([0.5, 1.0]),
    }
    drawn = {path: draw(strategy) for path, strategy in values.items()}
    return with_values(backbone("test_resnet"), drawn)


def slow(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    fixtures = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=examples, suppress_health_check=fixtures, deadline=None)


@slow(12)
@given(config=configs())
def test_any_training_is_the_same_with_the_cache(config, uncached_sessions, tmp_path):
    """The cache keeps the entries of earlier examples, as within a study."""
    session = TrainingSession(
        uncached_sessions("test_resnet").dataset, cache_dir=tmp_path, device="cpu", cache_size=LARGE
    )
    assert_equal(outcome(config, session), outcome(config, uncached_sessions("test_resnet")))


def test_images_in_another_order_do_not_take_the_activations_of_others(tiny_dataset, tmp_path):
    """With folds, entries hold all training images, so that equal positions would name them in any order."""
    config = with_values(TINY, {"split.folds": 3, "split.validation_fraction": 0.2})
    train = [image for image in tiny_dataset.images if image.origin == "train"]
    test = [image for image in tiny_dataset.images if image.origin == "test"]
    turned = replace(tiny_dataset, images=(*reversed(train), *test))
    assert turned.fingerprint == tiny_dataset.fingerprint
    run_trial(config, TrainingSession(tiny_dataset, cache_dir=tmp_path, device="cpu", cache_size=LARGE))
    shared = outcome(config, TrainingSession(turned, cache_dir=tmp_path, device="cpu", cache_size=LARGE))
    clean = outcome(config, TrainingSession(turned, cache_dir=tmp_path / "new", device="cpu", cache_size=LARGE))
    assert [record.cached for record in shared[0].records] == [False] * 3
    assert_equal(shared, clean)


@slow(6)
@given(before=configs(), config=configs(), cache_size=st.sampled_from([0, LARGE]))
def test_a_training_does_not_depend_on_what_ran_before(before, config, cache_size, tiny_dataset, tmp_path_factory):
    def session() -> TrainingSession:
        folder = tmp_path_factory.mktemp("session")
        return TrainingSession(tiny_dataset, cache_dir=folder, device="cpu", cache_size=cache_size)

    used = session()
    run_trial(before, used)
    assert_equal(outcome(config, used), outcome(config, session()))


# --- comparison with a plain loop, in double precision, where rounding errors are 1e-16


def in_double(model: Model) -> Model:
    return replace(model, net=model.net.double(), pretrained={k: _double(v) for k, v in model.pretrained.items()})


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def normalized(views: Views, images: Tensor) -> Tensor:
    scale, shift = (row[:3].double().view(3, 1, 1) for row in (views._scale, views._shift))
    return images.double() * scale - shift


@pytest.fixture
def double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drft.feature_cache.network.build_model", lambda *args: in_double(build_model(*args)))
    monkeypatch.setattr(
        "drft.feature_cache.network._measure_costs", lambda split, *_: dict.fromkeys(split.cuts, BoundaryCost(1.0, 1))
    )
    monkeypatch.setattr("drft.training.trainer.training_loss", lambda *args: training_loss(*args).double())
    monkeypatch.setattr(Views, "normalize", normalized)
    monkeypatch.setattr(
        FrozenPrefix, "suffix", lambda self, features: self.network.split_model.suffix(self.depth, features)
    )


def plain_loop(config: TrialConfig, dataset) -> tuple[Model, np.ndarray]:
    """Train the whole network in a plain loop; return it and the log-probabilities of the validation part."""
    model = in_double(build_model(config, 5))
    model.start_anew(config.seed, config.dropout)
    views = Views(load_images(dataset, 32), model.mean, model.std, device=torch.device("cpu"), seed=0)
    split = stratified_split(dataset, config.split)
    loss = training_loss(config.loss, dataset.labels()[split.train], 5).double()
    torch.manual_seed(config.seed)
    step = 1
    for settings_, depth in ((config.head_phase, 0), (config.depth_phase, config.depth)):
        set_trainable(model.net, depth)
        optimizer, scheduler = _optimizer(config, model, settings_, depth, len(split.train))
        for _ in range(settings_.epochs):
            train_mode(model.net, depth, config.batch_norm)
            for rows in shuffled_batches(len(split.train), 3, config.seed, step):
                indices = split.train[rows]
                images = normalized(views, views.augmented(indices, step, config.augmentation.strength))
                optimizer.zero_grad()
                loss(model.net(images), torch.from_numpy(dataset.labels()[indices])).backward()
                optimizer.step()
                scheduler.step()
            step += 1
    model.net.eval()
    with torch.no_grad():
        logits = model.net(normalized(views, views.plain(split.validation)))
    return model, logits.log_softmax(dim=1).numpy()


def _optimizer(config, model, phase, depth, count):
    groups = parameter_groups(
        model.net,
        model.blocks[len(model.blocks) - depth :],
        head_lr=getattr(phase, "head_lr", phase.lr),
        block_lr=phase.lr,
        layer_decay=getattr(phase, "layer_decay", 1.0),
    )
    optimizer = make_optimizer(config.optimizer, groups)
    schedule = {"warmup_epochs": phase.warmup_epochs, "epochs": phase.epochs, "updates_per_epoch": -(-count // 16)}
    return optimizer, make_scheduler(optimizer, phase.schedule, **schedule)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
@pytest.mark.parametrize("batch_norm", ["frozen", "adapt"])
@pytest.mark.parametrize("cache_size", [0, LARGE])
def test_a_training_equals_the_plain_loop(name, batch_norm, cache_size, tiny_dataset, tmp_path):
    values = {"batch_norm": batch_norm, "dropout": 0.3, "depth": 3, "head_phase.epochs": 2}
    config = with_values(backbone(name), values)
    context = TrainingSession(tiny_dataset, cache_dir=tmp_path, device="cpu", cache_size=cache_size).prepare(config)
    log_probabilities = [
        measured["validation"]
        for phase, first in (("head", 1), ("depth", 3))
        for _, measured in run_phase(context, phase, first)
    ]
    model, expected = plain_loop(config, tiny_dataset)
    assert len(log_probabilities) == 4
    assert log_probabilities[-1].dtype == np.float64
    np.testing.assert_allclose(log_probabilities[-1], expected, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(context.model.net.state_dict(), model.net.state_dict(), rtol=1e-8, atol=1e-10)
    changed = [not torch.equal(model.net.state_dict()[k], model.pretrained[k]) for k in model.blocks[-1].parameters]
    assert all(changed)
