"""The synthetic data set: as many images as IDRiD, equal images for equal seeds, lesions by grade."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from drft.data import open_dataset
from drft.data.checks import check_source
from drft.data.datasets import synthetic
from drft.data.rendering import LesionAmounts, render_eye, render_image, sample_lesions
from drft.data.rendering.pool import RenderJob, render_files
from drft.errors import DataError

HEIGHT = 96


def small_plans(plans: list[synthetic.RenderPlan]) -> list[synthetic.RenderPlan]:
    """One image of each origin and grade."""
    seen: Counter[tuple[str, int]] = Counter()
    chosen = []
    for plan in plans:
        seen[plan.origin, plan.label] += 1
        if seen[plan.origin, plan.label] == 1:
            chosen.append(plan)
    return chosen


@pytest.fixture
def small_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten small images instead of 516."""
    whole = synthetic.plan_dataset
    monkeypatch.setattr(synthetic, "plan_dataset", lambda seed: small_plans(list(whole(seed))))
    monkeypatch.setattr(synthetic, "HEIGHT", 48)


def eye_with(amounts: LesionAmounts, seed: int) -> np.ndarray:
    """The eye of a seed with these lesions and the same exposure; as float."""
    eye, lesions, camera = np.random.default_rng(seed).spawn(3)
    return render_eye(eye, lesions, camera, amounts, HEIGHT).astype(float)


def test_counts_are_those_of_idrid():
    plans = list(synthetic.plan_dataset(0))
    assert Counter((plan.origin, plan.label) for plan in plans) == {
        **{("train", grade): count for grade, count in enumerate((134, 20, 136, 74, 49))},
        **{("test", grade): count for grade, count in enumerate((34, 5, 32, 19, 13))},
    }


@given(seed=st.integers(0, 2**40))
@settings(max_examples=10, deadline=None)
def test_plans_depend_on_the_seed(seed: int):
    plans = list(synthetic.plan_dataset(seed))
    assert plans == list(synthetic.plan_dataset(seed))
    assert plans != list(synthetic.plan_dataset(seed + 1))
    assert len({plan.entropy for plan in plans}) == len(plans)


def test_graders_disagree_by_one_grade_about_as_often_as_stated():
    plans = [plan for seed in range(5) for plan in synthetic.plan_dataset(seed)]
    apart = np.array([abs(plan.shown - plan.label) for plan in plans])
    assert set(apart) == {0, 1}
    assert np.mean(apart == 1) == pytest.approx(synthetic.DISAGREEMENT, abs=0.03)


@pytest.mark.parametrize("grade", range(5))
def test_equal_seeds_give_equal_images(grade: int):
    first, again, other = (render_image(np.random.default_rng(seed), grade, HEIGHT) for seed in (3, 3, 4))
    assert first.dtype == np.uint8
    assert first.shape == (HEIGHT, round(1.506 * HEIGHT), 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_files_do_not_depend_on_the_number_of_processes(tmp_path: Path):
    contents = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        jobs = [RenderJob(str(folder / f"{number}.jpg"), (7, number), number % 5, 48) for number in range(16)]
        counted: list[int] = []
        render_files(jobs, counted.append, processes=processes)
        assert counted == list(range(1, 17))
        contents.append([Path(job.path).read_bytes() for job in jobs])
    assert contents[0] == contents[1]


def test_a_failing_process_is_reported(tmp_path: Path):
    with pytest.raises(DataError, match=r"could not be rendered: FileNotFoundError.*no-such-folder"):
        render_files([RenderJob(str(tmp_path / "no-such-folder" / "1.jpg"), (0,), 0, 48)], lambda _: None)


def test_a_process_that_cannot_start_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("drft.data.rendering.pool.__name__", "drft.no_such_module")
    with pytest.raises(DataError, match=r"could not be rendered: .*no_such_module"):
        render_files([RenderJob(str(tmp_path / "1.jpg"), (0,), 0, 48)] * 2000, lambda _: None, processes=2)


def test_a_rendered_image_has_a_black_frame_and_a_reddish_field():
    image = render_image(np.random.default_rng(0), 0, HEIGHT).astype(float)
    corner, field = image[:8, :8], image[HEIGHT // 3 : 2 * HEIGHT // 3, HEIGHT // 2 : HEIGHT]
    assert corner.max() < 10
    red, green, blue = field.mean(axis=(0, 1))
    assert red > 1.3 * green > 1.3 * blue


def test_the_disc_is_brighter_than_the_macula():
    image = render_image(np.random.default_rng(1), 0, HEIGHT)[..., 1].astype(float)
    left = round(0.462 * image.shape[1])
    assert image.max() > 1.5 * np.median(image[HEIGHT // 2 - 6 : HEIGHT // 2 + 6, left - 6 : left + 6])


def test_lesions_follow_the_international_scale():
    sampled = [
        [sample_lesions(np.random.default_rng([seed, grade]), grade) for seed in range(60)] for grade in range(5)
    ]
    assert all(amounts == LesionAmounts() for amounts in sampled[0])
    assert all(
        replace(amounts, microaneurysms=0) == LesionAmounts() and amounts.microaneurysms for amounts in sampled[1]
    )
    assert all(amounts.haemorrhages for grade in (2, 3, 4) for amounts in sampled[grade])
    signs = [[a.vessels_on_disc or a.vessels_elsewhere or a.preretinal_haemorrhages for a in eyes] for eyes in sampled]
    assert not any(any(grade) for grade in signs[:4])
    assert all(signs[4])
    mean = [np.mean([amounts.haemorrhages for amounts in eyes]) for eyes in sampled]
    assert mean[0] == mean[1] == 0 < mean[2] < mean[3]


@pytest.mark.parametrize(
    ("amounts", "darker"),
    [
        (LesionAmounts(haemorrhages=60), True),
        (LesionAmounts(preretinal_haemorrhages=3), True),
        (LesionAmounts(vessels_on_disc=True, vessels_elsewhere=4), True),
        (LesionAmounts(microaneurysms=40), True),
        (LesionAmounts(hard_exudates=200, exudate_clusters=2), False),
        (LesionAmounts(soft_exudates=8), False),
        (LesionAmounts(fibrous_bands=3), False),
    ],
)
def test_lesions_darken_or_brighten_the_same_eye(amounts: LesionAmounts, darker: bool):
    changes = [(eye_with(amounts, seed) - eye_with(LesionAmounts(), seed))[..., 1] for seed in range(3)]
    assert all((change.mean() < 0) == darker for change in changes)
    assert all(np.abs(change).max() > 15 for change in changes)


def test_beading_changes_the_veins_alone():
    plain, beaded = (eye_with(LesionAmounts(venous_beading=depth), 5) for depth in (0.0, 1.0))
    changed = np.abs(plain - beaded).max(axis=2) > 12
    assert 0 < changed.mean() < 0.08


def test_dataset_is_rendered_once(small_dataset: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    reported: list[tuple[int, int]] = []
    first = synthetic.render_dataset(1, tmp_path, lambda _, done, total: reported.append((done, total)))
    assert reported == [(done, 10) for done in range(1, 11)]
    monkeypatch.setattr(synthetic, "render_files", lambda *_: pytest.fail("rendered again"))
    assert synthetic.render_dataset(1, tmp_path) == first
    assert first.rendered
    assert first.notes
    assert first.name == "synthetic"
    assert {image.id for image in first.images} >= {"train/SYN_001", "test/SYN_001"}
    assert all(Image.open(image.path).format == "JPEG" for image in first.images)
    assert [path.name for path in (tmp_path / "synthetic").iterdir()] == [first.images[0].path.parents[1].name]


def test_the_fingerprint_depends_on_the_seed(small_dataset: None, tmp_path: Path):
    prints = [
        synthetic.render_dataset(seed, tmp_path / folder).fingerprint for seed, folder in ((0, "a"), (0, "b"), (1, "a"))
    ]
    assert prints[0] == prints[1] != prints[2]


def test_a_source_names_the_seed(small_dataset: None, tmp_path: Path):
    default, zero, seven, again, other = (
        open_dataset(source, cache_dir=tmp_path)
        for source in ("synthetic", "synthetic:0", "synthetic:7", "synthetic:07", "synthetic:8")
    )
    assert default == zero == synthetic.render_dataset(0, tmp_path)
    assert seven == again == synthetic.render_dataset(7, tmp_path)
    assert len({default.fingerprint, seven.fingerprint, other.fingerprint}) == 3
    assert other.rendered


@pytest.mark.parametrize("seed", ["", "x", "-1", "1.5", " 7", "\u0663", "1" * 19, "1" * 5000, "1:2"])
@pytest.mark.parametrize("opened", [open_dataset, check_source])
def test_a_bad_seed_is_one_line(seed: str, opened: Callable[[str], object]):
    with pytest.raises(DataError) as raised:
        opened(f"synthetic:{seed}")
    (fault,) = raised.value.faults
    assert fault.startswith("data source 'synthetic:")
    assert "should be a whole number" in fault
    assert "as in synthetic:7" in fault
    assert len(fault) < 250


def test_an_interrupted_rendering_leaves_nothing(small_dataset: None, tmp_path: Path):
    def interrupt(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthetic.render_dataset(0, tmp_path, interrupt)
    assert not list((tmp_path / "synthetic").iterdir())


def test_two_processes_that_render_the_same_end_with_one_folder(small_dataset: None, tmp_path: Path):
    def overtake(what: str, done: int, total: int) -> None:
        if done == total:
            overtaken.append(synthetic.render_dataset(0, tmp_path))

    overtaken: list[synthetic.ImageDataset] = []
    assert synthetic.render_dataset(0, tmp_path, overtake) == overtaken[0]
    assert len(list((tmp_path / "synthetic").iterdir())) == 1


def test_a_deleted_image_is_reported(small_dataset: None, tmp_path: Path):
    deleted = synthetic.render_dataset(0, tmp_path).images[3].path
    deleted.unlink()
    with pytest.raises(DataError, match=rf"{deleted.name}.*remove"):
        synthetic.render_dataset(0, tmp_path)


def test_a_cache_folder_that_is_a_file_is_an_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be written.*choose another"):
        synthetic.render_dataset(0, tmp_path / "file")


def test_renders_from_a_script_on_standard_input(tmp_path: Path):
    script = f"""
from drft.data.rendering.pool import RenderJob, render_files
jobs = [RenderJob({json.dumps(str(tmp_path))} + f"/{{n}}.jpg", (n,), 0, 48) for n in range(16)]
render_files(jobs, lambda _: None, 2)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-"], input=script, text=True, check=True, env=environment, cwd=tmp_path)
    assert len(list(tmp_path.glob("*.jpg"))) == 16
