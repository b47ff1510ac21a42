"""One contract for all executors: however a training ends, its job ends with exactly one event."""

import os
import select
import signal
import subprocess
import sys

import pytest
from PIL import Image

from drft.errors import DrftError, UsageError
from study.executors import (
    Failed,
    Finished,
    Job,
    LocalExecutor,
    Reported,
    Started,
    WorkerLost,
    Workload,
    choose_slots,
    gpu_slots,
)
from study.executors.ray.executor import RayExecutor
from study.executors.resources import Slot, cpu_slots, visible_gpus
from tests.helpers import ROOT
from tests.helpers.fake_training import BREAKS, DIES, HANGS, LEAVES, RAISES, STARVES, scripted
from tests.helpers.ray_cluster import own_cluster

WAIT = 60.0

TUNER = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.helpers.fake_training import HANGS, scripted
from study.executors import Job, LocalExecutor, Reported, Workload, cpu_slots

if __name__ == "__main__":
    with LocalExecutor(Workload("none", trainer="tests.helpers.fake_training:fake_trainer"), cpu_slots(1)) as executor:
        executor.submit(Job(0, scripted(HANGS)))
        while not any(isinstance(event, Reported) for event in executor.wait(60)):
            pass
        executor.answer(0, keep_on=True)
        print(executor._workers[0]._process.pid, flush=True)
        input()
"""
"""Starts a training that hangs, prints the process id of its worker, and waits to be killed."""


def workload(trainer: str = "fake_trainer") -> Workload:
    return Workload("none", trainer=f"tests.helpers.fake_training:{trainer}")


@pytest.fixture(scope="module", params=["local", "ray"])
def executor(request):
    if request.param == "local":
        with LocalExecutor(workload(), cpu_slots(2)) as executor:
            yield executor
    else:
        with own_cluster(jobs=2) as cluster, RayExecutor(workload(), cluster, jobs=2) as executor:
            yield executor


def run(executor, *jobs: Job, keep_on=lambda record: True) -> dict[int, list]:
    """Submit jobs, answer their reports and return the events of each."""
    for job in jobs:
        executor.submit(job)
    events: dict[int, list] = {job.number: [] for job in jobs}
    open_jobs = set(events)
    while open_jobs:
        for event in executor.wait(WAIT):
            events[event.number].append(event)
            if isinstance(event, Reported):
                executor.answer(event.number, keep_on=keep_on(event.record))
            if isinstance(event, Finished | Failed):
                open_jobs.remove(event.number)
    return events


def kill(executor, *workers) -> None:
    """Kill workers of a local executor and wait until they have successors or are retired."""
    killed = {worker: worker._process.pid for worker in workers}
    for worker in workers:
        worker.kill()
    while any(worker in executor._workers and worker._process.pid == pid for worker, pid in killed.items()):
        executor.wait(WAIT)


class TestContract:
    def test_a_training_starts_reports_every_epoch_and_finishes(self, executor):
        started, *reports, finished = run(executor, Job(0, scripted()))[0]
        assert isinstance(started, Started)
        assert [event.record.step for event in reports] == [1, 2, 3, 4, 5]
        assert finished.result.ending == "completed"
        assert finished.result.config == scripted()
        assert finished.result.records == tuple(event.record for event in reports)

    def test_a_negative_answer_stops_the_training(self, executor):
        *_, finished = run(executor, Job(0, scripted()), keep_on=lambda record: record.step < 2)[0]
        assert finished.result.ending == "pruned"
        assert finished.result.last.step == 2

    def test_jobs_run_side_by_side(self, executor):
        events = run(executor, *(Job(number, scripted(depth=number)) for number in range(executor.slots)))
        assert {number: of_job[-1].result.config.depth for number, of_job in events.items()} == {0: 0, 1: 1}

    def test_an_exception_fails_the_job_with_reason_and_traceback(self, executor):
        failed = run(executor, Job(0, scripted(RAISES)))[0][-1]
        assert failed.reason == "ValueError: the loss went astray"
        assert "make_trouble" in failed.traceback

    def test_a_killed_worker_fails_only_its_job(self, executor):
        events = run(executor, Job(0, scripted(DIES)), Job(1, scripted()))
        assert "SIGKILL" in events[0][-1].reason
        assert isinstance(events[1][-1], Finished)

    def test_a_worker_that_exits_fails_its_job(self, executor):
        assert "exit code 3" in run(executor, Job(0, scripted(LEAVES)))[0][-1].reason

    def test_all_slots_run_jobs_again_after_deaths(self, executor):
        run(executor, *(Job(number, scripted(DIES)) for number in range(executor.slots)))
        events = run(executor, *(Job(number, scripted()) for number in range(executor.slots)))
        assert all(isinstance(of_job[-1], Finished) for of_job in events.values())

    def test_a_job_can_be_killed_whatever_it_does(self, executor):
        executor.submit(Job(0, scripted(HANGS)))
        failed = None
        while failed is None:
            for event in executor.wait(WAIT):
                if isinstance(event, Reported):
                    executor.answer(0, keep_on=True)
                    executor.kill(0)
                failed = event if isinstance(event, Failed) else failed
        assert failed.kind == "lost"
        assert isinstance(run(executor, Job(1, scripted()))[1][-1], Finished)

    def test_a_lack_of_memory_is_distinguished_from_other_errors(self, executor):
        events = run(executor, Job(0, scripted(STARVES)), Job(1, scripted(RAISES)))
        assert [events[number][-1].kind for number in (0, 1)] == ["memory", "error"]

    def test_waiting_without_events_returns_none(self, executor):
        assert list(executor.wait(0.0)) == []


class TestLocal:
    def test_a_slot_that_cannot_start_again_is_retired(self, tmp_path, monkeypatch):
        monkeypatch.setenv("DRFT_TEST_MARKS", str(tmp_path))
        slots = [Slot("a", None, 1), Slot("b", None, 2)]
        with LocalExecutor(workload("once_trainer"), slots) as executor:
            run(executor, Job(0, scripted()), Job(1, scripted()))
            executor.submit(Job(2, scripted(DIES)))
            events: list = []
            while not any(isinstance(event, WorkerLost) for event in events):
                for event in executor.wait(WAIT):
                    events.append(event)
                    if isinstance(event, Reported):
                        executor.answer(event.number, keep_on=True)
            assert executor.slots == 1
            assert "the GPU is gone" in events[-1].reason
            assert isinstance(run(executor, Job(3, scripted()))[3][-1], Finished)

    def test_a_worker_with_a_broken_gpu_context_is_replaced(self):
        with LocalExecutor(workload(), cpu_slots(1)) as executor:
            before = executor._workers[0]._process.pid
            failed = run(executor, Job(0, scripted(BREAKS)))[0][-1]
            assert (failed.kind, "CUDA error" in failed.reason) == ("lost", True)
            assert isinstance(run(executor, Job(1, scripted()))[1][-1], Finished)
            assert executor._workers[0]._process.pid != before

    def test_leaving_ends_busy_workers(self):
        with LocalExecutor(workload(), cpu_slots(1)) as executor:
            executor.submit(Job(0, scripted(HANGS)))
            while not any(isinstance(event, Reported) for event in executor.wait(WAIT)):
                pass
            process = executor._workers[0]._process
            pid = process.pid
            executor.answer(0, keep_on=True)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    @pytest.mark.parametrize(
        ("trainer", "error", "message"),
        [
            ("unfit_trainer", UsageError, "bring them back"),
            ("missing_trainer", UsageError, "trainer tests.helpers.fake_training:missing_trainer: AttributeError"),
            ("broken_trainer", DrftError, r"cannot start.*SIGKILL"),
        ],
    )
    def test_workers_that_cannot_start_end_the_study(self, trainer, error, message):
        with LocalExecutor(workload(trainer), cpu_slots(1)) as executor, pytest.raises(error, match=message):
            run(executor, Job(0, scripted()))

    def test_a_worker_that_dies_while_the_others_start_does_not_end_the_study(self):
        with LocalExecutor(workload(), cpu_slots(2)) as executor:
            run(executor, Job(0, scripted()), Job(1, scripted()))
            unlucky, other = executor._workers
            for _ in range(3):  # both were ready before the first kill
                kill(executor, unlucky, other)
            while unlucky in executor._workers:
                kill(executor, unlucky)
            assert executor.slots == 1
            assert isinstance(run(executor, Job(2, scripted()))[2][-1], Finished)

    @pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfd_open of Linux")
    def test_workers_end_with_a_killed_tuner_even_in_the_middle_of_an_epoch(self):
        tuner = subprocess.Popen(
            [sys.executable, "-c", TUNER, str(ROOT)],
            stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True,
        )  # fmt: skip
        worker = os.pidfd_open(int(tuner.stdout.readline()))
        tuner.kill()
        tuner.wait()
        ended, _, _ = select.select([worker], [], [], WAIT)
        assert ended == [worker]
        os.close(worker)

    def test_workers_ignore_ctrl_c(self):
        with LocalExecutor(workload(), cpu_slots(1)) as executor:
            run(executor, Job(0, scripted()))
            os.kill(executor._workers[0]._process.pid, signal.SIGINT)
            assert isinstance(run(executor, Job(1, scripted()))[1][-1], Finished)

    def test_the_output_of_workers_goes_to_the_log(self, tmp_path, capfd):
        with LocalExecutor(workload(), cpu_slots(1), log=tmp_path / "log") as executor:
            run(executor, Job(0, scripted(RAISES)))
        assert "output of a library" in (tmp_path / "log").read_text()
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize(
        ("slot", "expected"),
        [
            (Slot("a", "1", 3), "CUDA_VISIBLE_DEVICES=1 OMP_NUM_THREADS=3"),
            (Slot("b", None, 2), "CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=2"),
        ],
    )
    def test_a_worker_has_the_device_and_threads_of_its_slot(self, slot, expected, monkeypatch):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
        with LocalExecutor(workload("environment_trainer"), [slot]) as executor:
            assert expected in run(executor, Job(0, scripted()))[0][-1].reason
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"

    def test_torch_uses_the_threads_of_its_slot(self, tmp_path):
        for index in range(2):
            Image.new("RGB", (40, 40), (90 * index, 50, 20)).save(tmp_path / f"photo{index}.png")
        table = tmp_path / "table.csv"
        table.write_text("image,level\nphoto0,0\nphoto1,1\n")
        slots = [Slot("a", None, 3), Slot("b", None, 2)]
        with LocalExecutor(
            Workload(str(table), trainer="tests.helpers.fake_training:thread_trainer"), slots
        ) as executor:
            events = run(executor, Job(0, scripted()), Job(1, scripted()))
        assert [events[number][-1].reason for number in (0, 1)] == ["RuntimeError: 3", "RuntimeError: 2"]


class TestSlots:
    def test_cpu_slots_share_the_cores(self, monkeypatch):
        monkeypatch.setattr("study.executors.resources.cores", lambda: 8)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        assert [slot.threads for slot in cpu_slots(3)] == [2, 2, 2]
        assert [slot.threads for slot in cpu_slots()] == [1] * 8
        assert [slot.threads for slot in cpu_slots(20)] == [1] * 20

    def test_omp_num_threads_limits_the_threads(self, monkeypatch):
        monkeypatch.setattr("study.executors.resources.cores", lambda: 8)
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        assert [slot.threads for slot in cpu_slots(1) + cpu_slots(4)] == [3, 2, 2, 2, 2]

    def test_neighbouring_slots_are_on_different_gpus(self):
        assert [slot.gpu for slot in gpu_slots(["0", "1"], 2)] == ["0", "1", "0", "1"]
        assert len({slot.name for slot in gpu_slots(["0", "1"], 2)}) == 4

    def test_all_gpus_are_used_by_default(self, monkeypatch):
        monkeypatch.setattr("study.executors.resources.visible_gpus", lambda: {"0": 12 * 2**30, "1": 80 * 2**30})
        monkeypatch.setattr("study.executors.resources.cores", lambda: 16)
        assert [slot.gpu for slot in choose_slots(None, None, None)] == ["0", "1"]
        assert [slot.gpu for slot in choose_slots(None, ["1"], None)] == ["1"] * 8
        assert [slot.gpu for slot in choose_slots(None, ["1"], 2)] == ["1", "1"]
        assert [slot.gpu for slot in choose_slots(1, None, None)] == [None]

    @pytest.mark.parametrize(
        ("allowed", "names"), [(None, ["0", "1"]), ("3,1", ["3", "1"]), ("MIG-a,MIG-b", ["MIG-a", "MIG-b"])]
    )
    def test_gpus_have_the_names_that_the_environment_gives_them(self, allowed, names, monkeypatch):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if allowed:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
        printed = subprocess.CompletedProcess([], 0, stdout="100 200\n")
        monkeypatch.setattr("study.executors.resources._has_gpu_driver", lambda: True)
        monkeypatch.setattr("study.executors.resources.subprocess.run", lambda *_, **__: printed)
        assert visible_gpus() == dict(zip(names, (100, 200), strict=True))

    def test_without_gpus_the_cpu_is_used(self, monkeypatch):
        monkeypatch.setattr("study.executors.resources.visible_gpus", dict)
        assert {slot.gpu for slot in choose_slots(None, None, None)} == {None}

    @pytest.mark.parametrize("options", [(2, ["0"], None), (None, ["5"], None), (None, None, 2)])
    def test_missing_devices_and_contradictions_are_refused(self, options, monkeypatch):
        monkeypatch.setattr("study.executors.resources.visible_gpus", dict)
        with pytest.raises(UsageError):
            choose_slots(*options)
