"""The built-in data set: rendered fundus images, with as many of each grade as IDRiD has.

It needs no download and no patients. It has the difficulties of a small set of real images: few images,
a rare grade, lesions of a few pixels, and graders who do not always agree.

How hard it is, at depths 0, 2, 4, 6 and 8 of the embedded backbone's 8 blocks (seed 0, the epochs of the default space,
learning rate 2e-3, means over three folds, judged on 1,032 fresh images):

- without augmentation: accuracy 50, 59, 58, 59 and 61 %; gap at the last epoch 0, 9, 22, 25 and 30 points;
- at augmentation strength 0.5: accuracy 48, 58, 58, 61 and 61 %; gap at most 4 points;
- a ridge classifier on the frozen features of all training images: accuracy 59 %.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from drft.data.dataset import ImageDataset, LabeledImage, Origin, fingerprint, fingerprint_of_test
from drft.data.progress import Progress
from drft.data.rendering.pool import RenderJob, render_files
from drft.errors import DataError
from drft.files.atomic import default_cache_dir, whole_folder
from drft.files.digests import file_digest

COUNTS: dict[Origin, tuple[int, ...]] = {"train": (134, 20, 136, 74, 49), "test": (34, 5, 32, 19, 13)}
"""Images of each grade: those of IDRiD (Porwal et al. 2018, *Data* 3:25)."""

DISAGREEMENT = 0.15
"""Share of images whose label is a grade next to the rendered one: human graders of the same image differ
too (Krause et al. 2018, *Ophthalmology* 125:1264). Nobody can predict more than the others: about 85 %."""

HEIGHT = 256
"""Height of the images in pixels."""


@dataclass(frozen=True, slots=True)
class RenderPlan:
    """One image before it is rendered."""

    stem: str
    origin: Origin
    label: int
    shown: int
    """The grade that is rendered."""
    entropy: tuple[int, ...]
    """Seed of the rendering."""


def render_dataset(seed: int = 0, cache_dir: Path | None = None, progress: Progress | None = None) -> ImageDataset:
    """Return the synthetic data set of one seed, rendering its images if the cache lacks them.

    Args:
        seed: equal seeds give equal images and labels.
        cache_dir: where images are stored; by default the user's cache folder.
        progress: called with the number of rendered images.

    Raises:
        DataError: if the cache folder cannot be written, or lacks some of its images.
    """
    plans = list(plan_dataset(seed))
    folder = (cache_dir or default_cache_dir()) / "synthetic" / _cache_key(seed)
    if not folder.is_dir():
        _render(plans, folder, progress)
    ids = [f"{plan.origin}/{plan.stem}" for plan in plans]
    images = tuple(
        LabeledImage(name, folder / f"{name}.jpg", plan.label, plan.origin, group=name)
        for name, plan in zip(ids, plans, strict=True)
    )
    try:
        digests = [file_digest(image.path) for image in images]
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}; remove {folder} to render it again") from None
    return ImageDataset(
        name="synthetic",
        images=images,
        fingerprint=fingerprint(images, digests),
        rendered=True,
        notes=(
            "Rendered images, not patients: figures on them say nothing about clinical performance.",
            f"About {DISAGREEMENT:.0%} of the labels differ by a grade from the rendered one, as those of graders do.",
        ),
        test_fingerprint=fingerprint_of_test(images, digests),
    )


def plan_dataset(seed: int) -> Iterator[RenderPlan]:
    """Yield the plans of all images, train before test, with grades in random order."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    for part, (origin, counts) in enumerate(COUNTS.items()):
        labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
        for number, label in enumerate(labels.tolist(), start=1):
            shown = label
            if rng.random() < DISAGREEMENT:
                shown = int(rng.choice([grade for grade in (label - 1, label + 1) if 0 <= grade < len(counts)]))
            yield RenderPlan(f"SYN_{number:03d}", origin, label, shown, (seed, part, number))


def _cache_key(seed: int) -> str:
    """Return a folder name for the images of one seed that changes with the source code of the renderer."""
    digest = hashlib.sha256(f"{seed} {HEIGHT}".encode())
    sources = [file for file in resources.files("drft.data.rendering").iterdir() if file.name.endswith(".py")]
    for source in [*sorted(sources, key=lambda file: file.name), Path(__file__)]:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _render(plans: Sequence[RenderPlan], folder: Path, progress: Progress | None) -> None:
    """Render all images into a folder that appears whole or not at all."""

    def on_saved(done: int) -> None:
        if progress:
            progress("rendering fundus images", done, len(plans))

    try:
        with whole_folder(folder) as draft:
            for origin in COUNTS:
                (draft / origin).mkdir()
            jobs = [RenderJob(str(draft / p.origin / f"{p.stem}.jpg"), p.entropy, p.shown, HEIGHT) for p in plans]
            render_files(jobs, on_saved)
    except OSError as error:
        if not folder.is_dir():  # another process may have rendered it
            raise DataError(f"{folder}: cannot be written ({error.strerror}); choose another cache folder") from None
