import pytest
import torch

from tools.pretrain.procedural import TASKS, render_scenes
from tools.pretrain.procedural.fractals import CLASSES, fractal_bank
from tools.pretrain.procedural.objects import COUNTS, LINES, SHAPES, lines, shapes, spots
from tools.pretrain.procedural.textures import TEXTURES


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.fixture(scope="module")
def scenes():
    return render_scenes(24, 48, seed=3)


def test_scenes_follow_the_seed(scenes):
    again, other = render_scenes(24, 48, seed=3), render_scenes(24, 48, seed=4)
    assert torch.equal(scenes.images, again.images)
    assert torch.equal(scenes.labels, again.labels)
    assert not torch.equal(scenes.images, other.images)


def test_scenes_are_colour_images_with_a_label_per_task(scenes):
    assert scenes.images.shape == (24, 3, 48, 48)
    assert scenes.images.dtype == torch.uint8
    assert scenes.labels.shape == (24, len(TASKS))
    assert (scenes.labels < torch.tensor(list(TASKS.values()))).all()
    assert scenes.images.float().std((1, 2, 3)).min() > 2


@pytest.mark.parametrize("texture", TEXTURES)
def test_textures_fill_the_unit_range_and_differ(texture, generator):
    fields = texture(6, 32, generator)
    assert fields.shape == (6, 32, 32)
    assert fields.min() >= 0
    assert fields.max() <= 1
    assert (fields[0] - fields[1]).abs().mean() > 0.01


def test_fractals_are_fixed_and_distinguishable():
    bank = fractal_bank(32)
    fractal_bank.cache_clear()
    assert torch.equal(bank, fractal_bank(32))
    assert bank.shape[0] == CLASSES
    within = (bank[:, 0] - bank[:, 1]).abs().mean()
    across = (bank[:-1, 0] - bank[1:, 0]).abs().mean()
    assert within < across


@pytest.mark.parametrize("size", [48, 96])
def test_label_zero_draws_nothing(size, generator):
    nothing, small = torch.zeros(3, dtype=torch.long), torch.zeros(3, dtype=torch.bool)
    assert not lines(nothing, size, generator).any()
    assert not spots(nothing, small, size, generator).any()
    assert not shapes(nothing, size, generator).any()


def test_higher_labels_draw_more(generator):
    def coverage(draw, label: int) -> float:
        return float(draw(torch.full((40,), label)).mean())

    small = torch.zeros(40, dtype=torch.bool)
    spotted = [coverage(lambda labels: spots(labels, small, 64, generator), label) for label in range(len(COUNTS))]
    lined = [coverage(lambda labels: lines(labels, 64, generator), label) for label in range(len(LINES))]
    assert spotted == sorted(spotted)
    assert lined == sorted(lined)


def test_large_spots_cover_more_than_small_ones(generator):
    labels = torch.full((30,), 4)
    small = spots(labels, torch.zeros(30, dtype=torch.bool), 96, generator).mean()
    assert spots(labels, torch.ones(30, dtype=torch.bool), 96, generator).mean() > 2 * small


@pytest.mark.parametrize("label", range(1, len(SHAPES)))
def test_every_shape_covers_part_of_the_image(label, generator):
    coverage = shapes(torch.full((8,), label), 64, generator)
    assert 0.003 < float(coverage.mean()) < 0.8
