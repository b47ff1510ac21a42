"""The built-in data set: rendered fundus images with IDRiD's numbers of images and grades.

It needs no download and no patient, and is hard in the same way as a small set of real images: few images,
a rare grade, lesions of a few pixels, and graders who do not always agree.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from drft.data.dataset import ImageDataset, LabeledImage, Origin, fingerprint
from drft.data.progress import Progress
from drft.data.rendering.pool import RenderJob, render_files
from drft.errors import DataError
from drft.files.atomic import default_cache_dir

COUNTS: dict[Origin, tuple[int, ...]] = {"train": (134, 20, 136, 74, 49), "test": (34, 5, 32, 19, 13)}
"""Images of each grade: those of IDRiD (Porwal et al. 2018, *Data* 3:25)."""

DISAGREEMENT = 0.2
"""Share of images whose label is a grade next to the one rendered: graders of the same images differ
too (Krause et al. 2018, *Ophthalmology* 125:1264)."""

HEIGHT = 256
"""Height of the images in pixels."""


@dataclass(frozen=True, slots=True)
class RenderPlan:
    """One image before it is rendered."""

    stem: str
    origin: Origin
    label: int
    shown: int
    """The grade the eye is rendered with."""
    entropy: tuple[int, ...]


def render_dataset(seed: int = 0, cache_dir: Path | None = None, progress: Progress | None = None) -> ImageDataset:
    """Return the synthetic data set of one seed, rendering its images if the cache lacks them.

    Args:
        seed: equal seeds give equal images and labels.
        cache_dir: where images are kept; the user's cache folder if None.
        progress: told how many images are rendered.

    Raises:
        DataError: if the cache folder cannot be written, or lacks some of its images.
    """
    plans = list(plan_dataset(seed))
    folder = (cache_dir or default_cache_dir()) / "synthetic" / _cache_key(seed)
    if not folder.is_dir():
        _render_whole(plans, folder, progress)
    images = tuple(_image(plan, folder) for plan in plans)
    return ImageDataset(
        name="synthetic",
        images=images,
        fingerprint=fingerprint(images, _digests(images, folder)),
        rendered=True,
        notes=(
            "Rendered images, not patients: figures on them say nothing about clinical performance.",
            f"About {DISAGREEMENT:.0%} of the labels differ by a grade from what was rendered, as graders do.",
        ),
    )


def plan_dataset(seed: int) -> Iterator[RenderPlan]:
    """Yield the plans of all images, train before test, with grades in random order."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    for part, (origin, counts) in enumerate(COUNTS.items()):
        labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
        for number, label in enumerate(labels.tolist(), start=1):
            shown = _second_opinion(rng, label, len(counts) - 1)
            yield RenderPlan(f"SYN_{number:03d}", origin, label, shown, (seed, part, number))


def _second_opinion(rng: np.random.Generator, label: int, highest: int) -> int:
    """Return the label, or now and then a grade next to it."""
    if rng.random() >= DISAGREEMENT:
        return label
    return int(rng.choice([grade for grade in (label - 1, label + 1) if 0 <= grade <= highest]))


def _cache_key(seed: int) -> str:
    """Return a name for the images of one seed that changes with the code that renders them."""
    digest = hashlib.sha256(f"{seed} {HEIGHT}".encode())
    painter = resources.files("drft.data.rendering")
    sources = [file for file in painter.iterdir() if file.name.endswith(".py")]
    for source in [*sorted(sources, key=lambda file: file.name), Path(__file__)]:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _image(plan: RenderPlan, folder: Path) -> LabeledImage:
    identity = f"{plan.origin}/{plan.stem}"
    return LabeledImage(identity, folder / plan.origin / f"{plan.stem}.jpg", plan.label, plan.origin, group=identity)


def _digests(images: tuple[LabeledImage, ...], folder: Path) -> list[str]:
    try:
        return [hashlib.sha256(image.path.read_bytes()).hexdigest() for image in images]
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}; remove {folder} to render it anew") from None


def _render_whole(plans: list[RenderPlan], folder: Path, progress: Progress | None) -> None:
    """Render beside the folder, then rename: it is there whole or not at all, whoever else renders it too."""
    beside = _scratch(folder)
    try:
        _render(plans, beside, progress)
        beside.rename(folder)
    except OSError as error:
        if not folder.is_dir():
            raise DataError(f"{folder}: cannot be written ({error.strerror}); choose another cache folder") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _scratch(folder: Path) -> Path:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".rendering-", dir=folder.parent))
    except OSError as error:
        raise DataError(f"{folder.parent}: cannot be written ({error.strerror}); choose another cache folder") from None


def _render(plans: list[RenderPlan], folder: Path, progress: Progress | None) -> None:
    for origin in COUNTS:
        (folder / origin).mkdir()
    folder.chmod(0o755)
    jobs = [RenderJob(str(folder / p.origin / f"{p.stem}.jpg"), p.entropy, p.shown, HEIGHT) for p in plans]

    def on_saved(done: int) -> None:
        if progress:
            progress("rendering fundus images", done, len(jobs))

    render_files(jobs, on_saved)
