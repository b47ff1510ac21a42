"""Where a study's trials run: on this machine, or on a Ray cluster that is joined for it."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from drft.errors import UsageError
from study.executors import Executor, LocalExecutor
from study.setup.options import RunOptions
from study.setup.plan import StudyPlan
from study.space.suggester import Suggester


@dataclass(frozen=True, slots=True)
class ExecutorChoice:
    """An executor that can be made, and what a user should know of it."""

    words: str
    """How many trials run at once, and where."""
    make: Callable[[Path], Executor]
    """Makes the executor; whatever its workers print goes to this file."""


@contextmanager
def placed(plan: StudyPlan[Suggester], options: RunOptions) -> Iterator[ExecutorChoice]:
    """Find the place that the options ask for; a cluster that is started for the study ends with the block.

    Raises:
        UsageError: when it cannot be had.
    """
    if options.executor == "ray":
        with _on_ray(plan, options) as placement:
            yield placement
        return
    devices = Counter("the CPU" if slot.gpu is None else f"GPU {slot.gpu}" for slot in plan.slots)
    words = ", ".join(f"{count} at once on {device}" for device, count in devices.items())
    yield ExecutorChoice(words, lambda log: LocalExecutor(plan.workload, plan.slots, log))


@contextmanager
def _on_ray(plan: StudyPlan[Suggester], options: RunOptions) -> Iterator[ExecutorChoice]:
    # Ray is an optional dependency and takes its time to import
    from study.executors.ray.cluster import joined  # noqa: PLC0415
    from study.executors.ray.executor import RayExecutor  # noqa: PLC0415
    from study.executors.ray.files import pack  # noqa: PLC0415

    base, jobs = plan.metadata.base_config, options.jobs
    with joined(options.ray_address, options.cpus_per_trial, options.gpus_per_trial, jobs) as cluster:
        if base.precision == "fp16" and not cluster.share.gpus:
            raise UsageError("precision: fp16 needs a GPU, the cluster has none: choose bf16 or fp32")
        supplies = pack(plan.dataset, plan.image_sizes, plan.backbones, plan.workload.cache_dir)

        def make(log: Path) -> Executor:
            return RayExecutor(plan.workload, cluster, jobs=jobs, supplies=supplies, log=log.absolute())

        yield ExecutorChoice(cluster.describe(jobs or max(1, cluster.capacity())), make)
