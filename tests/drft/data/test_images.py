"""Decoding, the crop to the field of view, and the cache of decoded images."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from drft.data import images, load_images, open_dataset
from drft.data.images import decode, field_of_view
from drft.errors import DataError


@pytest.fixture
def dataset(kaggle_copy):
    return open_dataset(str(kaggle_copy({f"IDRiD_{number:03d}": number % 5 for number in range(1, 9)})))


def stored(folder):
    """Return the files in a folder, without lock files."""
    return [file for file in folder.rglob("*") if file.is_file() and file.suffix != ".lock"]


def disc(size, middle, radius, colour=(180, 90, 40), background=(4, 3, 3)):
    image = Image.new("RGB", size, background)
    ImageDraw.Draw(image).circle(middle, radius, fill=colour)
    return image


def test_shape_order_and_type(dataset, tmp_path):
    images = load_images(dataset, 24, tmp_path)

    assert images.shape == (8, 24, 24, 3)
    assert images.dtype == np.uint8
    assert not images.flags.writeable
    for index, image in enumerate(dataset.images):
        np.testing.assert_array_equal(images[index], decode(image.path, 24))


def test_nothing_is_decoded_twice(dataset, tmp_path):
    reported = []
    first = np.array(load_images(dataset, 24, tmp_path, lambda *progress: reported.append(progress)))
    for image in dataset.images:
        image.path.unlink()

    second = load_images(dataset, 24, tmp_path, lambda *progress: reported.append(progress))

    np.testing.assert_array_equal(first, second)
    assert reported == [("decoding images", done, 8) for done in range(1, 9)]


def test_other_sizes_and_other_orders_have_other_files(dataset, tmp_path):
    reversed_ = replace(dataset, images=dataset.images[::-1])

    assert load_images(dataset, 24, tmp_path).shape[1] == 24
    assert load_images(dataset, 32, tmp_path).shape[1] == 32
    np.testing.assert_array_equal(load_images(reversed_, 24, tmp_path)[0], load_images(dataset, 24, tmp_path)[-1])


def test_the_default_cache_folder_is_that_of_the_environment(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("DRFT_CACHE", str(tmp_path / "cache"))

    load_images(dataset, 16)

    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 1


def test_all_undecodable_files_are_reported_and_nothing_is_stored(dataset, tmp_path):
    for image in dataset.images[2:4]:
        image.path.write_bytes(image.path.read_bytes()[:-60])

    with pytest.raises(DataError) as raised:
        load_images(dataset, 24, tmp_path / "cache")

    assert ["IDRiD_003" in raised.value.faults[0], "IDRiD_004" in raised.value.faults[1]] == [True, True]
    assert len(raised.value.faults) == 2
    assert stored(tmp_path / "cache") == []


def test_an_interruption_leaves_nothing_behind(dataset, tmp_path):
    def interrupt(what, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_images(dataset, 24, tmp_path / "cache", interrupt)

    assert stored(tmp_path / "cache") == []


def test_several_at_once_agree(dataset, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: load_images(dataset, 24, tmp_path / "cache"), range(4)))

    assert all(np.array_equal(result, results[0]) for result in results)
    assert len(stored(tmp_path / "cache")) == 1


def test_images_that_another_thread_decodes_are_not_decoded_again(dataset, tmp_path):
    reported, waiting = [], []

    def start_second(what, done, total):
        """Start the second call while the first one decodes."""
        reported.append(done)
        if not waiting:
            waiting.append(pool.submit(load_images, dataset, 24, tmp_path, lambda *progress: reported.append(progress)))

    with ThreadPoolExecutor(1) as pool:
        first = load_images(dataset, 24, tmp_path, start_second)
        second = waiting[0].result()

    assert reported == list(range(1, 9))
    np.testing.assert_array_equal(first, second)


def test_the_lock_of_a_killed_decoder_is_free_again(dataset, tmp_path):
    script = (
        "import os, sys; from pathlib import Path; from drft.data import load_images, open_dataset\n"
        "load_images(open_dataset(sys.argv[1]), 24, Path(sys.argv[2]), lambda *_: os.kill(os.getpid(), 9))"
    )
    source = dataset.images[0].path.parents[2]
    subprocess.run([sys.executable, "-c", script, str(source), str(tmp_path)], check=False, cwd=Path.cwd())

    images = load_images(dataset, 24, tmp_path)

    np.testing.assert_array_equal(images[0], decode(dataset.images[0].path, 24))


def test_a_cache_folder_that_cannot_be_written_to_is_reported(dataset, tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(DataError, match=r"cannot be written to .*DRFT_CACHE"):
        load_images(dataset, 24, tmp_path / "file")


@pytest.mark.parametrize("size", [(300, 200), (1200, 800)])
def test_the_crop_is_the_square_around_the_disc(size):
    width, height = size
    left, top, right, bottom = field_of_view(disc(size, (width * 0.45, height / 2), width * 0.3))

    assert right - left == bottom - top
    assert abs(left - width * 0.15) < width * 0.02
    assert abs(right - width * 0.75) < width * 0.02
    assert abs((top + bottom) / 2 - height / 2) < height * 0.02


def test_a_disc_cut_off_above_and_below_stays_a_circle(tmp_path):
    path = tmp_path / "wide.png"
    disc((640, 400), (320, 200), 240).save(path)

    image = decode(path, 96).max(axis=2) > 90

    widths, heights = image.any(axis=0).sum(), image.any(axis=1).sum()
    assert widths >= 94
    assert abs(heights - 96 * 400 / 480) <= 2
    assert image[:6].sum() == 0


def test_specks_on_the_frame_do_not_widen_the_crop():
    image = disc((600, 400), (300, 200), 180)
    ImageDraw.Draw(image).rectangle((5, 5, 12, 9), fill="white")

    left, _, right, _ = field_of_view(image)
    assert abs((right - left) - 360) < 14


@pytest.mark.parametrize("level", [0, 3, 8])
def test_the_field_of_view_of_a_nearly_black_image_is_its_centre_square(level):
    assert field_of_view(Image.new("RGB", (300, 200), (level, level, level))) == (50, 0, 250, 200)


def test_an_image_without_a_frame_is_not_cropped():
    assert field_of_view(Image.new("RGB", (200, 200), (150, 80, 30))) == (0, 0, 200, 200)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=300), st.sampled_from([0, 5, 50, 95, 100]))
def test_percentiles_are_those_of_numpy(values, percent):
    histogram = np.bincount(values, minlength=256).tolist()
    assert images._percentile(histogram, percent) == pytest.approx(np.percentile(values, percent))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK"])
def test_every_common_kind_of_image_becomes_rgb(tmp_path, mode):
    path = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    disc((120, 90), (60, 45), 40).convert(mode).save(path)

    assert decode(path, 32).shape == (32, 32, 3)


@pytest.mark.parametrize(("brightest", "white"), [(255, 255), (4095, 255), (40000, 156), (65535, 255)])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_values_of_up_to_sixteen_bits_become_8_bits(tmp_path, suffix, brightest, white):
    values = np.full((40, 40), brightest, dtype=np.uint16)
    values[:20] = brightest // 2
    Image.fromarray(values).save(tmp_path / f"deep.{suffix}")

    pixels = decode(tmp_path / f"deep.{suffix}", 40)
    assert pixels[-1, 0].tolist() == [white] * 3
    assert pixels[0, 0].tolist() == [white // 2] * 3


def test_floating_point_images_are_errors(tmp_path):
    path = tmp_path / "deep.tif"
    Image.fromarray(np.full((40, 40), 0.5, dtype=np.float32)).save(path)

    with pytest.raises(DataError, match="convert it to 8 bits"):
        decode(path, 16)


def test_a_large_jpeg_is_decoded_like_its_small_copy(tmp_path):
    large, small = tmp_path / "large.jpg", tmp_path / "small.jpg"
    image = disc((2144, 1424), (1072, 712), 860)
    ImageDraw.Draw(image).circle((1300, 600), 90, fill=(250, 230, 120))
    image.save(large, quality=95)
    image.resize((536, 356)).save(small, quality=95)

    difference = np.abs(decode(large, 64).astype(int) - decode(small, 64).astype(int))
    assert difference.mean() < 3


@pytest.mark.real
def test_real_originals_and_their_small_copies_are_cropped_alike(real_data):
    for original in sorted((real_data / "full-size").glob("*.jpg")):
        small = next((real_data / "idrid").rglob(f"a. Training Set/{original.name}"))
        difference = np.abs(decode(original, 64).astype(int) - decode(small, 64).astype(int))
        assert difference.mean() < 5, original.name
