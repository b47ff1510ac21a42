"""Nodes that leave and join, files that nodes lack, and the real command on Ray."""

import fcntl
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState
from PIL import Image
from ray.cluster_utils import Cluster as Nodes

from drft.config.trial_config import BackboneConfig, TrialConfig, with_values
from drft.data import load_images, open_dataset
from drft.errors import DataError, UsageError
from study.executors import Failed, Finished, Job, LocalExecutor, Reported, Started, WorkerLost, Workload, cpu_slots
from study.executors.ray.cluster import TrialResources, join_cluster
from study.executors.ray.executor import RayExecutor
from study.executors.ray.files import ShippedFile, ShippedFiles, pack
from study.setup.options import RunOptions
from study.storage.open import close_storage, open_storage, study_url
from tests.helpers import ROOT
from tests.helpers.fake_training import HANGS, WAITS, scripted
from tests.helpers.ray_cluster import ray_path

pytestmark = pytest.mark.timeout(600)  # nodes start and end in it

WAIT = 60.0
FAST = {"health_check_period_ms": 500, "health_check_timeout_ms": 500, "health_check_failure_threshold": 2}


@pytest.fixture(scope="module")
def head():
    """A cluster of one node without room for trials."""
    with ray_path():
        cluster = Nodes()
        cluster.add_node(num_cpus=0, include_dashboard=False, _system_config=FAST)
        yield cluster
        cluster.shutdown()


@pytest.fixture
def nodes(head):
    """The cluster, to which a test adds nodes."""
    yield head
    for node in list(head.worker_nodes):
        head.remove_node(node)


def wait_for(executor, condition):
    """Answer reports until an event fulfils a condition; return all events."""
    events = []
    while not any(condition(event) for event in events):
        for event in executor.wait(WAIT):
            events.append(event)
            if isinstance(event, Reported):
                executor.answer(event.number, keep_on=True)
    return events


def finish(executor, *jobs):
    """Submit jobs and return all events until they have ended."""
    for job in jobs:
        executor.submit(job)
    left, events = {job.number for job in jobs}, []
    while left:
        new = wait_for(executor, lambda event: isinstance(event, Finished | Failed))
        events += new
        left -= {event.number for event in new if isinstance(event, Finished | Failed)}
    return events


def test_a_slot_that_cannot_start_again_is_retired(nodes, tmp_path):
    node = nodes.add_node(num_cpus=2, env_vars={"DRFT_TEST_MARKS": str(tmp_path)})
    gate = tmp_path / "gate"
    workload = Workload(
        "none", source_options=(("gate", str(gate)),), trainer="tests.helpers.fake_training:third_trainer"
    )
    with (
        join_cluster(nodes.address, None, None, None) as cluster,
        RayExecutor(workload, cluster, jobs=2) as executor,
        gate.open("w") as file,
    ):
        fcntl.flock(file, fcntl.LOCK_EX)
        for number in range(2):
            executor.submit(Job(number, scripted(WAITS)))
        events = []
        while sum(isinstance(event, Reported) for event in events) < 2:
            events += wait_for(executor, lambda event: isinstance(event, Reported))
        executor.kill(0)
        wait_for(executor, lambda event: isinstance(event, Failed))
        executor.submit(Job(2, scripted()))
        (retired,) = wait_for(executor, lambda event: isinstance(event, WorkerLost))
        assert "the GPU is gone" in retired.reason
        assert executor.slots == 1
        fcntl.flock(file, fcntl.LOCK_UN)
        events = []
        while sum(isinstance(event, Finished) for event in events) < 2:  # job 2 follows job 1
            events += wait_for(executor, lambda event: isinstance(event, Finished))
        assert {event.number for event in events if isinstance(event, Finished)} == {1, 2}
        nodes.add_node(num_cpus=2)
        nodes.remove_node(node, allow_graceful=False)
        while executor.slots != 2:  # the broken place has left with its node
            executor.wait(0.1)


def test_a_lost_node_fails_only_its_job_and_a_new_node_is_used(nodes):
    first, second = nodes.add_node(num_cpus=1), nodes.add_node(num_cpus=1)
    workload = Workload("none", trainer="tests.helpers.fake_training:fake_trainer")
    with join_cluster(nodes.address, None, None, None) as cluster, RayExecutor(workload, cluster) as executor:
        assert executor.slots == 2
        executor.submit(Job(0, scripted(HANGS)))
        executor.submit(Job(1, scripted(HANGS)))
        events = []
        while sum(isinstance(event, Reported) for event in events) < 2:
            events += wait_for(executor, lambda event: isinstance(event, Reported))
        job_of = {event.worker.split("-")[-2]: event.number for event in events if isinstance(event, Started)}
        assert job_of.keys() == {first.node_id[:6], second.node_id[:6]}

        nodes.remove_node(first, allow_graceful=False)
        (failed,) = [e for e in wait_for(executor, lambda e: isinstance(e, Failed)) if isinstance(e, Failed)]
        assert (failed.number, failed.kind) == (job_of[first.node_id[:6]], "lost")
        # The other slot continues, and also runs the job that was given to the slot without a node.
        executor.kill(job_of[second.node_id[:6]])
        wait_for(executor, lambda event: isinstance(event, Failed))
        events = finish(executor, Job(2, scripted()), Job(3, scripted()))
        assert sum(isinstance(event, Finished) for event in events) == 2

        third = nodes.add_node(num_cpus=1)
        for number in (4, 5):  # one on each of the two nodes
            executor.submit(Job(number, scripted(HANGS)))
        wait_for(executor, lambda event: isinstance(event, Started) and third.node_id[:6] in event.worker)


def test_a_node_without_the_data_and_the_weights_trains_the_same(nodes, tmp_path, monkeypatch):
    import timm
    from safetensors.torch import save_file

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    data, weights = tmp_path / "data", tmp_path / "own.safetensors"
    data.mkdir()
    for index in range(20):
        Image.new("RGB", (40, 40), (50 * (index % 5), 50, index)).save(data / f"photo{index}.png")
    rows = "".join(f"photo{index},{index % 5}\n" for index in range(20))
    (data / "table.csv").write_text("image,level\n" + rows)
    state = timm.create_model("test_resnet").state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, weights)
    settings = {"backbone.name": "test_resnet", "backbone.weights": str(weights), "image_size": 32, "depth": 1}
    config = with_values(TrialConfig(), {**settings, "head_phase.epochs": 1, "depth_phase.epochs": 1})
    workload = Workload(str(data), cache_size=0)
    with LocalExecutor(workload, cpu_slots(1)) as executor:
        (expected,) = [e for e in finish(executor, Job(0, config)) if isinstance(e, Finished | Failed)]

    dataset = open_dataset(str(data))
    load_images(dataset, 32)
    shipped = pack(dataset, [32], [BackboneConfig(name="test_resnet", weights=str(weights))])
    # The node has another file under the path of the weights.
    shipped = replace(shipped, weights={str(weights): replace(shipped.weights[str(weights)], digest="of the tuner's")})
    nodes.add_node(num_cpus=1, env_vars={"DRFT_CACHE": str(tmp_path / "cache of the node")})
    with (
        join_cluster(nodes.address, None, None, None) as cluster,
        RayExecutor(workload, cluster, shipped=shipped) as executor,
    ):
        data.rename(tmp_path / "gone")
        (actual,) = [e for e in finish(executor, Job(0, config)) if isinstance(e, Finished | Failed)]
    assert isinstance(actual, Finished), actual
    assert actual.result.config == config
    assert [r.val_loss for r in actual.result.records] == [r.val_loss for r in expected.result.records]
    folders = {path.parent.name for path in (tmp_path / "cache of the node").rglob("*") if path.is_file()}
    assert {"images", "weights"} <= folders


@pytest.mark.parametrize(
    ("file", "cache", "reason"),
    [
        ("own.safetensors", "own.safetensors/no folder", r"cannot be written.*DRFT_CACHE"),
        ("deleted.safetensors", "cache", r"deleted.safetensors cannot be read on the tuner's node: FileNotFoundError"),
    ],
)
def test_a_node_that_cannot_get_or_store_its_files_ends_the_study_with_the_reason(nodes, tmp_path, file, cache, reason):
    (tmp_path / "own.safetensors").write_bytes(b"weights")
    shipped = ShippedFiles(weights={"own": ShippedFile(tmp_path / file, "weights/own.safetensors", "digest")})
    workload = Workload("none", cache_dir=tmp_path / cache, trainer="tests.helpers.fake_training:fake_trainer")
    nodes.add_node(num_cpus=1)
    with (
        join_cluster(nodes.address, None, None, None) as cluster,
        RayExecutor(workload, cluster, shipped=shipped) as executor,
        pytest.raises(DataError, match=reason) as caught,
    ):
        finish(executor, Job(0, scripted()))
    assert len(str(caught.value).splitlines()) == 1


def test_a_fraction_of_a_gpu_is_never_split_over_two():
    node = {"CPU": 16.0, "GPU": 2.0}
    assert [TrialResources(1, gpus).fits(node) for gpus in (0.0, 0.4, 0.5, 1, 2)] == [16, 4, 4, 2, 1]
    assert TrialResources(12, 0.5).fits(node) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ray_address": "auto"}, "--ray-address: use it with --executor ray"),
        ({"executor": "ray", "gpus": ["0"]}, "--gpus: Ray places trials"),
        ({"executor": "ray", "trials_per_gpu": 2}, "--trials-per-gpu: Ray places trials"),
        ({"executor": "ray", "gpus_per_trial": 1.5}, "whole number"),
        ({"executor": "ray", "cpus_per_trial": 0}, "above 0"),
    ],
)
def test_options_that_contradict_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        RunOptions(**options)


@pytest.mark.parametrize("address", ["ray://head:10001", "127.0.0.1:1", "nonsense"])
def test_a_cluster_that_cannot_be_reached_is_one_line(address):
    with pytest.raises(UsageError, match=f"--ray-address {address}") as caught, join_cluster(address, None, None, None):
        pass
    assert len(str(caught.value).splitlines()) == 1


SPACE = """
name: tiny
question: Does the program work?
fixed: {image_size: 32, batch_size: 16, head_phase.epochs: 1, depth_phase.epochs: 2}
search:
  depth: {type: int, low: 0, high: all}
"""


def records(folder: Path) -> pd.DataFrame:
    files = sorted((folder / "results/tiny/trials").glob("*/epochs.csv"))
    assert len(files) == 4
    return pd.concat([pd.read_csv(file) for file in files]).drop(columns="seconds").reset_index(drop=True)


@pytest.mark.e2e
def test_the_command_has_the_same_results_on_ray_as_on_this_machine(tmp_path, tiny_dataset):
    rows = [f"{image.path.name},{image.grade}" for image in tiny_dataset.images]
    (tmp_path / "labels.csv").write_text("\n".join(["image,level", *rows]))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    data = ("--data", str(tmp_path / "labels.csv"), "--images", str(tiny_dataset.images[0].path.parent))
    model = ("--backbone", "test_resnet", "--weights", "none")
    search = ("--study", "tiny", "--sampler", "random", "--metric", "qwk")
    processes = {}
    for executor in ("local", "ray"):
        folder = tmp_path / executor
        folder.mkdir()
        (folder / "tiny.yaml").write_text(SPACE)
        processes[executor] = subprocess.Popen(
            [sys.executable, "-m", "study", "run", "--executor", executor, "--jobs", "1", "--goal", "best",
             "--trials", "4", "--pruner", "none", "--no-cache", "--no-report", "--space", "tiny.yaml",
             *data, *model, *search],
            cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    outputs = {executor: process.communicate()[0] for executor, process in processes.items()}
    assert all(process.returncode == 0 for process in processes.values()), outputs
    assert "1 at once on this machine with Ray" in outputs["ray"]
    pd.testing.assert_frame_equal(records(tmp_path / "local"), records(tmp_path / "ray"), check_exact=True)
    logged = sorted((tmp_path / "ray/results/tiny/ray").glob("trial_000?_*"))
    assert [folder.name[:10] for folder in logged] == [f"trial_000{number}" for number in range(4)]
    for folder in logged:
        lines = [json.loads(line) for line in (folder / "result.json").read_text().splitlines()]
        assert [line["epoch"] for line in lines] == [1, 2, 3]
        assert all({"val_accuracy", "gap", "val_qwk"} <= line.keys() for line in lines)
        assert any(folder.glob("events.out.tfevents*"))


@pytest.mark.e2e
def test_a_lost_head_ends_the_command_with_one_line_and_leaves_no_running_trial(tmp_path):
    (tmp_path / "tiny.yaml").write_text(SPACE.replace("depth_phase.epochs: 2", "depth_phase.epochs: 3000"))
    with ray_path():
        cluster = Nodes()
        cluster.add_node(num_cpus=1, include_dashboard=False, _system_config=FAST)
    command = [sys.executable, "-m", "study", "run", "--executor", "ray", "--ray-address", cluster.address]
    model = ("--backbone", "test_resnet", "--weights", "none", "--study", "tiny", "--space", "tiny.yaml")
    process = subprocess.Popen(
        [*command, *model, "--goal", "best", "--trials", "2"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        printed = []
        for line in process.stdout:
            printed.append(line)
            if "are finished" in line:
                break
        cluster.head_node.kill_gcs_server()
        printed.append(process.communicate()[0])
    finally:
        process.kill()
        cluster.shutdown()
    output = "".join(printed)
    assert process.returncode == 1, output
    assert output.splitlines()[-1].startswith("error: the head of the Ray cluster"), output
    storage = open_storage(study_url(tmp_path / "results", "tiny"), create=False)
    trials = optuna.load_study(study_name="tiny", storage=storage).trials
    close_storage(storage)
    assert TrialState.RUNNING not in {trial.state for trial in trials}
