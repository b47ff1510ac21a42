"""Views are pure functions of seed, image, view and strength, and preserve small lesions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drft.config.trial_config import STRENGTHS
from drft.data.augment import Views

SIZE, COUNT = 24, 9
STRENGTH = st.sampled_from(STRENGTHS)


def make_views(seed: int = 0) -> Views:
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    field = (x**2 + y**2 < 0.8)[None, :, :, None]
    pixels = np.random.default_rng(0).integers(60, 200, (COUNT, SIZE, SIZE, 3)) * field
    return Views(pixels.astype(np.uint8), (0.0,) * 3, (1.0,) * 3, device=torch.device("cpu"), seed=seed)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(COUNT)), st.integers(1, COUNT), st.integers(0, 50), STRENGTH)
def test_a_view_does_not_depend_on_its_batch(order, count, view, strength):
    views, some = make_views(), np.array(order[:count])
    together = views.augmented(np.arange(COUNT), view, strength)[some]
    assert torch.equal(views.augmented(some, view, strength), together)


@pytest.mark.parametrize("strength", STRENGTHS[1:])
def test_seed_and_view_change_the_image(strength):
    everything = np.arange(COUNT)
    first = make_views().augmented(everything, 1, strength)
    assert torch.equal(first, make_views().augmented(everything, 1, strength))
    for other in (make_views().augmented(everything, 2, strength), make_views(1).augmented(everything, 1, strength)):
        assert (first.int() - other.int()).abs().max() > 5


def test_strength_zero_is_the_plain_image():
    views, everything = make_views(), np.arange(COUNT)
    assert torch.equal(views.augmented(everything, 3, 0.0), views.plain(everything))


@pytest.mark.parametrize("strength", STRENGTHS)
def test_images_on_the_device_give_the_same_views(strength):
    pixels = np.random.default_rng(0).integers(0, 255, (COUNT, SIZE, SIZE, 3)).astype(np.uint8)
    some = np.array([4, 0, 7])
    from_array, from_tensor = (
        Views(images, (0.0,) * 3, (1.0,) * 3, device=torch.device("cpu")).augmented(some, 2, strength)
        for images in (pixels, torch.from_numpy(pixels))
    )
    assert torch.equal(from_array, from_tensor)
    assert from_array.stride() == from_tensor.stride()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 200), STRENGTH)
def test_views_are_images_and_the_surround_stays_black(view, strength):
    images = make_views().augmented(np.arange(COUNT), view, strength)
    assert images.dtype == torch.uint8
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert images[:, :, 0, 0].max() < 13


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 500))
def test_a_lesion_of_two_pixels_survives_the_strongest_view(view):
    pixels = np.full((1, 64, 64, 3), 150, dtype=np.uint8)
    pixels[0, 30:32, 34:36] = 20
    views = Views(pixels, (0.0,) * 3, (1.0,) * 3, device=torch.device("cpu"))
    image = views.augmented(np.array([0]), view, 1.0)[0, :, 16:48, 16:48]
    assert image.min() < 0.75 * image.float().median()


def test_normalization_uses_mean_and_deviation_of_the_backbone():
    pixels = np.full((1, 4, 4, 3), 255, dtype=np.uint8)
    views = Views(pixels, (0.5, 0.0, 1.0), (0.5, 2.0, 1.0), device=torch.device("cpu"))
    normalized = views.normalize(views.plain(np.array([0])))
    assert normalized[0, :, 0, 0].tolist() == pytest.approx([1.0, 0.5, 0.0], abs=1e-6)
