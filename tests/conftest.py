"""What many tests share: a cache of their own, a small data set, and the real data where there is any."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

from drft.data.dataset import ImageDataset, LabeledImage, fingerprint
from tests.helpers.browser import Browser, open_browser

# Three processes share two cores: threads that wait for each other there made small trainings four times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))  # torch was imported before this was set

# Ray gives its workers a low priority. Beside two other processes of tests they would get a thirtieth of a core.
os.environ.setdefault("RAY_worker_niceness", "0")

settings.register_profile("default", deadline=None, max_examples=40)
# CI looks at the same examples every time, so that what it refuses was broken by the change.
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, database=None)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=1000)
settings.load_profile("default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have a time limit of their own: a long file that starts last is waited for alone."""
    long = {item.path for item in items if item.get_closest_marker("timeout")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory):
    """Tests never touch the user's cache; `DRFT_CACHE`, where set, is used so that runs can share one."""
    if "DRFT_CACHE" not in os.environ:
        os.environ["DRFT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """A command that is called in this process sets the safe path of its children; other tests do not inherit it."""
    before = os.environ.get("PYTHONSAFEPATH")
    yield
    if before is None:
        os.environ.pop("PYTHONSAFEPATH", None)


@pytest.fixture(autouse=True)
def seeded():
    """Random weights and images of a test are the same in every run."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> ImageDataset:
    """60 images of 40 px with 3 spots per grade: 48 to train on, 12 official test ones."""
    folder = tmp_path_factory.mktemp("tiny")
    images = [_image(folder, index) for index in range(60)]
    digests = [hashlib.sha256(image.path.read_bytes()).hexdigest() for image in images]
    return ImageDataset("tiny", tuple(images), fingerprint(images, digests))


def _image(folder: Path, index: int) -> LabeledImage:
    grade, random = index % 5, np.random.default_rng(index)
    y, x = np.mgrid[-1:1:40j, -1:1:40j]
    pixels = np.array([180, 90, 40]) * (x**2 + y**2 < 0.9)[..., None] + random.normal(0, 4, (40, 40, 3))
    for row, column in random.integers(10, 30, (3 * grade, 2)):
        pixels[row - 1 : row + 2, column - 1 : column + 2] = (60, 10, 10)
    path = folder / f"photo_{index:03d}.png"
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    origin = "test" if index >= 48 else "train"
    return LabeledImage(f"{origin}/{path.stem}", path, grade, origin, path.stem)


def _folder(variable: str) -> Path:
    if not os.environ.get(variable):
        pytest.skip(f"{variable} is not set")
    return Path(os.environ[variable])


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with `idrid/`, `idrid-kaggle/` and `full-size/`."""
    return _folder("DRFT_TEST_DATA")


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """ImageNet weights of mobilenetv2_100."""
    return _folder("DRFT_TEST_WEIGHTS") / "mobilenetv2_100.imagenet.safetensors"


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One Chromium for all tests; use ``browser``."""
    opened = open_browser(tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.driver.quit()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """A headless Chromium on an empty page; the test is skipped where there is none."""
    yield chromium
    chromium.forget()
