"""Executors run trainings: in processes on this machine, or on a Ray cluster (``study.executors.ray``)."""

from study.executors.base import Event, Executor, Failed, Finished, Job, Kind, Reported, Started, WorkerLost, Workload
from study.executors.local.executor import LocalExecutor
from study.executors.resources import Slot, check_address_space, choose_slots, cpu_slots, gpu_slots

__all__ = [
    "Event",
    "Executor",
    "Failed",
    "Finished",
    "Job",
    "Kind",
    "LocalExecutor",
    "Reported",
    "Slot",
    "Started",
    "WorkerLost",
    "Workload",
    "check_address_space",
    "choose_slots",
    "cpu_slots",
    "gpu_slots",
]
