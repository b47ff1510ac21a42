"""Plans of studies: their content, the faults that are refused, and that nothing is written."""

import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import timm
from safetensors.torch import save_file

from drft.config.trial_config import with_values
from drft.data.datasets import synthetic
from drft.errors import DataError, UsageError
from study.cli.options import read_settings
from study.messages import opening_lines
from study.report.provenance import provenance
from study.results.image_list import write_image_list
from study.results.open_dataset import reopen_dataset
from study.results.study_results import read_study
from study.setup.options import RunOptions
from study.setup.plan import prepare, versions
from study.storage.open import open_storage
from study.tuner.trial_scheduler import TrialScheduler
from tests.helpers.small_images import draw_noise, write_table

SPACE = """
name: tiny
question: Does the program work?
fixed:
  image_size: 32
  head_phase.epochs: 1
search:
  depth: {type: int, low: 0, high: all}
"""


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("my data")
    for index in range(30):
        draw_noise(folder / f"photo{index}.png", index)
    write_table(folder / "my labels.csv", ("image", "level"), *((f"photo{index}", index % 5) for index in range(30)))
    return folder / "my labels.csv"


@pytest.fixture
def ready(tmp_path, labels, monkeypatch):
    """Prepare a tiny study in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def ready(space=SPACE, **options):
        (tmp_path / "tiny.yaml").write_text(space)
        usual = {"space": "tiny.yaml", "data": str(labels), "backbone": "test_resnet", "weights": "none", "jobs": 1}
        return prepare(RunOptions(**usual | options), lambda what, done, total: None)

    return ready


def create(plan):
    """Create the study of a plan."""
    return TrialScheduler(plan.metadata, plan.space, open_storage(plan.storage), plan.sampler, plan.pruner)


def test_a_plan_writes_nothing(ready, tmp_path):
    ready()
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


@pytest.mark.parametrize(
    ("trainer", "fault"),
    [
        ("no_such_module:make", "no_such_module cannot be imported: ModuleNotFoundError"),
        ("json:missing", "the module json has no function missing"),
        ("json", "trainer 'json' should be module:function, such as my_training:make"),
        ("__main__:make", "the processes that train cannot import it"),
    ],
)
def test_a_trainer_that_cannot_be_imported_is_refused_before_the_study_exists(ready, trainer, fault):
    with pytest.raises(UsageError, match=fault) as caught:
        ready(trainer=trainer)
    assert len(caught.value.faults) == 1


def test_a_study_is_named_after_space_data_and_backbone(ready):
    assert ready().metadata.name == "tiny-my-labels-test_resnet"
    assert ready(study="mine").folder.as_posix() == "results/mine"


def test_the_assumed_normalization_of_a_weight_file_is_printed(ready, tmp_path):
    file = tmp_path / "weights.safetensors"
    save_file(
        {name: tensor.contiguous() for name, tensor in timm.create_model("test_resnet").state_dict().items()}, file
    )
    note = (
        "inputs are normalized as specified in the weight file or usual for its kind, else as by timm for test_resnet"
    )
    assert note in "\n".join(opening_lines(ready(weights=str(file))))
    assert note not in "\n".join(opening_lines(ready(weights=str(file), normalization="half")))
    assert note not in "\n".join(opening_lines(ready()))


def test_the_metadata_describe_data_backbone_and_configuration(ready):
    metadata = ready().metadata
    assert metadata.dataset["n"] == sum(metadata.split[part] for part in ("n_train", "n_validation", "n_test")) == 30
    assert metadata.dataset["counts_train"] == (6, 6, 6, 6, 6)
    assert [block["index"] for block in metadata.blocks] == list(range(len(metadata.blocks)))
    assert metadata.blocks[0]["name"] == "stem"
    assert metadata.blocks[0]["trainable_fraction"] == 1
    assert json.loads(metadata.attributes()["base_config"])["image_size"] == 32


def test_options_override_the_space_and_the_space_overrides_the_seed(ready):
    plan = ready(image_size=48, seed=5)
    base = plan.metadata.base_config
    assert (base.image_size, base.head_phase.epochs, base.split.seed, base.augmentation.seed) == (48, 1, 5, 5)
    assert plan.space.base == base


def test_an_option_for_a_searched_setting_is_refused(ready):
    searching = SPACE.replace("  image_size: 32\n", "") + "  image_size: {type: categorical, choices: [32, 48]}\n"
    assert ready(searching).space.dimensions[1].path == "image_size"
    with pytest.raises(UsageError, match=r"--image-size: the space tiny\.yaml searches image_size"):
        ready(searching, image_size=32)


def test_a_backbone_is_run_on_the_smallest_images_that_are_searched(ready):
    sizes = SPACE.replace("  image_size: 32\n", "") + "  image_size: {type: categorical, choices: [240, 64]}\n"
    with pytest.raises(
        UsageError, match="backbone crossvit_tiny_240 cannot be used with images of 64 pixels"
    ) as caught:
        ready(sizes, backbone="crossvit_tiny_240")
    assert len(caught.value.faults) == 1


def test_settings_replace_those_of_the_space(ready):
    plan = ready(settings={"head_phase.epochs": 2, "batch_size": 8})
    assert (plan.space.base.head_phase.epochs, plan.metadata.base_config.batch_size) == (2, 8)
    assert plan.space.max_steps == 2 + plan.space.base.depth_phase.epochs
    assert plan.metadata.space_fingerprint == ready().metadata.space_fingerprint


def test_wrong_settings_are_reported_together(ready):
    wrong = {"bach_size": 8, "epochs": 3, "batch_size": "many", "depth": 2, "seed": 1, "depth_phase": 3}
    with pytest.raises(UsageError) as caught:
        ready(settings=wrong)
    faults = "\n".join(caught.value.faults)
    for part in (
        "--set unknown setting 'bach_size' (did you mean 'batch_size'?)",
        "--set unknown setting 'epochs' (did you mean 'head_phase.epochs' or 'depth_phase.epochs'?)",
        "--set batch_size: input should be a valid integer",
        "--set depth: tiny.yaml searches depth; take it out there, or leave this out",
        "--set seed: each trial's seed follows from the study's; use --seed",
        "--set depth_phase is a group of settings; name one of them: depth_phase.epochs",
    ):
        assert part in faults


def test_a_value_that_yaml_cannot_read_is_one_line(ready):
    with pytest.raises(UsageError) as caught:
        ready(settings=read_settings(["dropout=!!bool maybe"]))
    (fault,) = caught.value.faults
    assert (
        fault == "--set dropout: input should be a valid number, unable to parse string as a number, got '!!bool maybe'"
    )


def test_a_fixed_depth_can_be_all_blocks(ready):
    space = SPACE.replace("depth: {type: int, low: 0, high: all}", "dropout: {type: float, low: 0, high: 0.3}")
    with pytest.raises(
        UsageError, match="--set depth: 20 is beyond the 5 blocks of test_resnet; use at most 5, or all"
    ):
        ready(space, settings=read_settings(["depth=20"]))
    assert ready(space, settings=read_settings(["depth=all"])).space.base.depth == 5
    with pytest.raises(UsageError, match=r"--set depth: tiny\.yaml searches depth; take it out there"):
        ready(settings=read_settings(["depth=all"]))


def test_a_fixed_depth_of_several_backbones_is_a_fraction(ready):
    space = SEVERAL.replace(
        "depth_fraction: {type: float, low: 0, high: 1, step: 0.5}", "batch_size: {type: int, low: 4, high: 8}"
    )
    with pytest.raises(UsageError, match="--set depth: all is another number for each backbone; name depth_fraction"):
        ready(space, backbone=None, weights=None, settings=read_settings(["depth=all"]))


def test_a_setting_that_contradicts_the_space_is_named_as_such(ready):
    with pytest.raises(UsageError, match=r"--set depth_phase\.window: depth 0 has no 3 blocks to train"):
        ready(settings={"depth_phase.window": 3})


def test_an_option_and_a_setting_for_the_same_are_refused(ready):
    with pytest.raises(UsageError, match="--set image_size: --image-size sets it, too; keep one"):
        ready(image_size=48, settings={"image_size": 48})


@pytest.mark.parametrize("path", ["split.fold", "split.folds"])
def test_a_setting_that_folds_set_names_this_option(ready, path):
    with pytest.raises(UsageError, match=rf"--set {path}: --folds sets it, too; keep one"):
        ready(folds=3, settings={path: 2})


def test_a_study_is_resumed_with_the_same_settings_only(ready):
    create(ready(settings={"batch_size": 8}))
    ready(settings={"batch_size": 8})
    with pytest.raises(UsageError, match=r"another batch_size \(8 there, 32 here\)"):
        ready()


@pytest.mark.parametrize("path", ["split.seed", "augmentation.seed"])
def test_a_study_is_resumed_on_the_same_split_and_views_only(ready, path):
    create(ready(goal="best"))
    with pytest.raises(UsageError, match=rf"exists with another {path} \(0 there, 9 here\): choose another name"):
        ready(goal="best", settings={path: 9})
    create(ready(goal="best", settings={path: 9}, study="other"))
    ready(goal="best", settings={path: 9}, study="other")
    with pytest.raises(UsageError, match=rf"exists with another {path} \(9 there, 0 here\): choose another name"):
        ready(goal="best", study="other")


def test_another_seed_is_reported_once(ready):
    create(ready())
    with pytest.raises(UsageError, match=r"exists with another seed \(0 there, 3 here\): choose another name"):
        ready(seed=3)


def test_stopping_at_noise_is_refused_for_other_metrics(ready):
    with pytest.raises(UsageError, match="--stop-when-noise: it compares accuracies, and this study maximizes qwk"):
        ready(metric="qwk", stop_when_noise=True)


def test_default_weights_are_embedded_or_from_the_hub(ready, monkeypatch):
    monkeypatch.setattr("study.setup.plan.BackboneProbe.check", lambda *_: None)
    assert ready(backbone=None, weights=None).metadata.base_config.backbone.weights == "embedded"
    assert ready(weights=None).metadata.base_config.backbone.weights == "hub"


def test_imagenet_weights_choose_their_backbone(ready, monkeypatch):
    monkeypatch.setattr("study.setup.plan.BackboneProbe.check", lambda *_: None)
    assert ready(backbone=None, weights="imagenet").metadata.base_config.backbone.name == "tf_efficientnet_lite0"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"space": SPACE.replace("high: all", "high: 2")}, "another search space"),
        ({"seed": 3}, "another seed"),
        ({"image_size": 48}, r"another image_size \(32 there, 48 here\)"),
    ],
)
def test_a_different_study_of_the_same_name_is_refused(ready, change, expected):
    create(ready(study="mine"))
    with pytest.raises(UsageError, match=expected):
        ready(study="mine", **change)


@pytest.fixture
def few_rendered_images(tmp_path, monkeypatch):
    """Every tenth rendered image, in a cache of its own."""
    whole = synthetic.plan_dataset
    monkeypatch.setattr(synthetic, "plan_dataset", lambda seed: list(whole(seed))[::10])
    monkeypatch.setattr(synthetic, "HEIGHT", 48)
    monkeypatch.setenv("DRFT_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("few_rendered_images")
def test_a_study_of_rendered_images_is_resumed_with_the_same_seed_alone(ready):
    create(ready(study="mine", data="synthetic"))
    assert ready(study="mine", data="synthetic:0").metadata.source == "synthetic:0"
    with pytest.raises(UsageError, match=r"other data \(synthetic there, synthetic:7 here\)"):
        ready(study="mine", data="synthetic:7")


@pytest.mark.usefixtures("few_rendered_images")
def test_a_study_of_images_that_another_version_rendered_says_so(ready, monkeypatch):
    create(ready(study="mine", data="synthetic"))
    info = read_study("mine").info
    monkeypatch.setattr(synthetic, "HEIGHT", 40)
    with pytest.raises(UsageError, match="'mine' exists with other images of synthetic, rendered by another version"):
        ready(study="mine", data="synthetic")
    with pytest.raises(DataError, match=r"renders other images for synthetic than study 'mine' was run on: run a new"):
        reopen_dataset(info, "synthetic", {}, lambda what, done, total: None)


@pytest.mark.usefixtures("few_rendered_images")
def test_the_name_of_a_study_of_rendered_images_has_the_seed(ready):
    assert ready(data="synthetic").metadata.name == "tiny-synthetic-test_resnet"
    assert ready(data="synthetic:7").metadata.name == "tiny-synthetic-7-test_resnet"


def test_the_sampler_of_a_resumed_study_gets_its_number_of_trials(ready, monkeypatch):
    scheduler = create(ready(study="mine"))
    scheduler.ask()
    seen = []
    monkeypatch.setattr("study.setup.plan.make_sampler", lambda *_, **given: seen.append(given) or True)
    ready(study="mine", trials=200)
    assert seen[0]["finished_trials"] == 1


def test_faults_of_a_sampler_and_a_pruner_of_ones_own_are_told_together_and_nothing_is_written(ready, tmp_path):
    with pytest.raises(UsageError) as raised:
        ready(sampler="no_such_module:f", pruner="json:no_such_function")
    assert [fault.partition(": ")[0] for fault in raised.value.faults] == [
        "--sampler no_such_module:f",
        "--pruner json:no_such_function",
    ]
    assert not (tmp_path / "results").exists()


def test_a_pruner_of_ones_own_compares_epochs_and_not_folds(ready):
    with pytest.raises(UsageError, match="--pruner my_search:pruner: it compares epochs, and these trials compare fol"):
        ready(pruner="my_search:pruner", folds=4)


def test_a_storage_of_another_schema_is_refused(ready, tmp_path):
    create(ready(study="mine"))
    with sqlite3.connect(tmp_path / "results/mine/study.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v9.9.9.a'")
    connection.close()
    with pytest.raises(UsageError, match="another schema"):
        ready(study="mine")


def test_a_study_of_a_different_program_is_refused(ready, tmp_path):
    storage = open_storage(tmp_path / "shared.db")
    optuna.create_study(study_name="mine", storage=storage).set_user_attr("by", "someone else")
    with pytest.raises(UsageError, match="was not created by drft-study"):
        ready(study="mine", storage=f"sqlite:///{tmp_path / 'shared.db'}")


def test_faults_of_all_parts_are_raised_together(ready):
    with pytest.raises(UsageError) as caught:
        ready(SPACE.replace("high: all", "high: 99"), data="nowhere", study="a/b", weights="gone.pth")
    faults = "\n".join(caught.value.faults)
    assert all(word in faults for word in ("99", "nowhere", "a/b", "gone.pth"))


def test_versions_name_the_packages_that_results_depend_on():
    assert {"python", "torch", "timm", "optuna", "drft-study"} <= versions().keys()


def test_corrected_labels_make_a_different_study(ready, tmp_path):
    create(ready())
    (tmp_path / "out.csv").write_text("id\ntrain/photo3\n")

    with pytest.raises(
        UsageError, match=r"other data \(.*my labels.csv there, .* --exclude out.csv [0-9a-f]{8} here\)"
    ):
        ready(data_options={"exclude": "out.csv"})

    create(plan := ready(data_options={"exclude": "out.csv"}, study="corrected"))
    (correction,) = plan.metadata.dataset["corrections"]
    assert (correction["kind"], correction["file"], correction["photographs"]) == ("exclude", "out.csv", 1)
    results = read_study("corrected")
    assert dict(provenance(results))["Labels"].startswith("1 images excluded by out.csv (SHA-256 ")


def test_an_edited_label_is_named(ready, labels, tmp_path):
    labels = shutil.copytree(labels.parent, tmp_path / "mine") / labels.name
    create(plan := ready(data=str(labels)))
    write_image_list(plan.folder, plan.dataset.images)
    rows = labels.read_text().splitlines()
    name, grade, *others = rows[4].split(",")
    rows[4] = ",".join([name, str((int(grade) + 1) % 5), *others])
    labels.write_text("\n".join(rows) + "\n")
    with pytest.raises(UsageError, match=rf"1 label differs: \w+/{name}\S* \(class {grade} there, \d here\)"):
        ready(data=str(labels))


def test_a_study_is_not_continued_with_its_rows_in_another_order(ready, labels, tmp_path):
    """Equal data in another order have other splits."""
    labels = shutil.copytree(labels.parent, tmp_path / "mine") / labels.name
    create(plan := ready(data=str(labels), study="sorted"))
    write_image_list(plan.folder, plan.dataset.images)
    header, first, *rows = labels.read_text().splitlines()
    labels.write_text("\n".join([header, *rows, first]) + "\n")
    said = (
        rf"are in another order than when study 'sorted' was run \(number 1 is \S*photo0\S* there, \S*photo1\S* here"
        rf"\).* put the rows into the order of {plan.folder / 'images.csv'} again"
    )
    with pytest.raises(UsageError, match=said):
        ready(data=str(labels), study="sorted")
    info = read_study("sorted").info
    with pytest.raises(DataError, match=said):
        reopen_dataset(info, info.source, info.source_options, lambda what, done, total: None)
    labels.write_text("\n".join([header, first, *rows]) + "\n")
    assert ready(data=str(labels), study="sorted").dataset.images == plan.dataset.images
    again = reopen_dataset(info, info.source, info.source_options, lambda what, done, total: None)
    assert again.images == plan.dataset.images


SEVERAL = """
fixed: {image_size: 32}
search:
  backbone.name: {type: categorical, choices: {test_resnet: none, test_vit: none}}
  depth_fraction: {type: float, low: 0, high: 1, step: 0.5}
"""


def test_a_study_of_several_backbones_has_the_blocks_of_each(ready):
    plan = ready(SEVERAL, backbone=None, weights=None)
    assert plan.metadata.name == "tiny-my-labels"
    assert plan.metadata.backbones == {"test_resnet": 5, "test_vit": 7}
    assert (plan.metadata.base_config.backbone.name, len(plan.metadata.blocks)) == ("test_resnet", 5)
    assert [backbone.name for backbone in plan.backbones] == ["test_resnet", "test_vit"]
    assert plan.workload.networks == 2
    lines = "\n".join(opening_lines(plan))
    assert "test_resnet, 5 blocks, weights none" in lines
    assert "test_vit, 7 blocks, weights none" in lines


def test_all_unknown_backbones_are_reported_together(ready):
    faulty = SEVERAL.replace("test_resnet: none, test_vit: none", "test_resnett: none, test_vitt: none")
    with pytest.raises(UsageError) as raised:
        ready(faulty, backbone=None, weights=None)
    assert sum("unknown backbone" in fault for fault in raised.value.faults) == 2
    with pytest.raises(UsageError, match=r"gone\.pth"):
        ready(SEVERAL.replace("test_vit: none", "test_vit: gone.pth"), backbone=None, weights=None)


def test_backbone_options_are_refused_if_backbones_are_searched(ready):
    with pytest.raises(UsageError) as raised:
        ready(SEVERAL)
    assert [fault.partition(":")[0] for fault in raised.value.faults] == ["--backbone", "--weights"]


def test_other_groups_of_images_make_a_different_study(ready):
    plan = ready()
    create(replace(plan, metadata=replace(plan.metadata, dataset={**plan.metadata.dataset, "grouping": "other"})))

    with pytest.raises(UsageError, match="exists with other groups of images"):
        ready()


def test_a_space_that_searches_the_depth_has_the_goal_depth(ready):
    plan = ready()
    assert (plan.metadata.goal, plan.metadata.pruner) == ("depth", "none")
    lines = opening_lines(plan)
    assert "  goal      depth (the space searches the depth)" in lines
    # test_resnet has five blocks: six depths and the untuned configuration, five folds; three depths again.
    assert any(line.startswith("  then      about 50 trainings: ") for line in lines)


def test_further_trials_of_a_study_that_has_its_finalists_are_said_to_change_nothing(ready, add_graded_finalists):
    plan = ready()
    create(plan)
    assert "finalists" not in "\n".join(opening_lines(plan))
    add_graded_finalists(Path("results"), plan.metadata.name)  # chosen after 60 trials
    note = "the finalists were chosen after 60 trials and are kept: further trials do not change the verdict"
    assert note in "\n".join(opening_lines(ready(trials=70)))
    assert note not in "\n".join(opening_lines(ready(trials=60)))


@pytest.mark.parametrize(
    ("space", "options", "reason"),
    [
        (SPACE.replace("depth: {type: int, low: 0, high: all}", "dropout: {type: float, low: 0, high: 0.3}"), {},
         "the space tiny does not search depth"),
        (SPACE, {"max_gap": 0.1}, "--max-gap is for --goal best"),
        (SPACE, {"folds": 5}, "--folds is for --goal best"),
        (SPACE, {"settings": {"split.seed": 9}},
         "split.seed is 9, but splits change from block to block: leave it out and use --seed"),
        (SPACE.replace("fixed:", "fixed:\n  split.seed: 0"), {"seed": 4},
         "split.seed is 0, but splits change from block to block: leave it out and use --seed"),
        (SPACE, {"settings": {"split.folds": 3, "split.fold": None}},
         "split.fold is null, but splits change from block to block: leave split.folds and split.fold out"),
        (SPACE.replace("  depth:", "  dropout: {type: float, low: 0, high: 0.3}\n  depth:").replace(
            "high: all}", "high: all, when: {dropout: {min: 0.1}}}"), {},
         "the space tiny searches depth under a condition only: remove its when"),
    ],
)  # fmt: skip
def test_where_the_goal_depth_does_not_fit_the_goal_is_best_and_the_reason_is_printed(ready, space, options, reason):
    plan = ready(space, **options)
    assert plan.metadata.goal == "best"
    assert f"  goal      best ({reason})" in opening_lines(plan)
    with pytest.raises(UsageError, match=f"^--goal depth: {reason}, or use --goal best$"):
        ready(space, goal="depth", **options)


@pytest.mark.parametrize(
    "options", [{"seed": 4}, {"seed": 4, "settings": {"split.seed": 4}}, {"settings": {"split.folds": 3}}]
)
def test_the_split_of_the_seed_and_a_fold_as_validation_part_fit_the_goal_depth(ready, options):
    assert ready(**options).metadata.goal == ready(goal="depth", **options).metadata.goal == "depth"


@pytest.mark.parametrize("settings", [{"split.seed": 9}, {"split.folds": 3, "split.fold": None}])
def test_a_study_of_the_goal_depth_keeps_its_split_even_if_it_would_not_fit_a_new_one(ready, settings):
    # An older version created such studies.
    plan = ready()
    base = with_values(plan.space.base, settings)
    create(replace(plan, metadata=replace(plan.metadata, base_config=base)))
    assert ready(settings=settings).metadata.goal == "depth"
    with pytest.raises(UsageError, match=rf"exists with another {next(iter(settings))} "):
        ready()


@pytest.mark.parametrize("goal", ["depth", "best"])
def test_a_resumed_study_keeps_its_goal(ready, goal):
    create(ready(goal=goal))
    plan = ready()
    assert (plan.metadata.goal, plan.goal_reason) == (goal, "as recorded")
    other = "best" if goal == "depth" else "depth"
    with pytest.raises(UsageError, match=f"another goal \\({goal} there, {other} here\\)"):
        ready(goal=other)
