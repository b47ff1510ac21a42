"""Choose the executor of a run: workers on this machine, or a Ray cluster."""

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
    """An executor that can be created."""

    description: str
    """How many trials run at once, and on which devices."""
    make: Callable[[Path], Executor]
    """Creates the executor. The argument is the file that the output of its workers is written to."""


@contextmanager
def choose_executor(plan: StudyPlan[Suggester], options: RunOptions) -> Iterator[ExecutorChoice]:
    """Choose the executor that the options name. A Ray cluster that is started here is stopped at the end.

    Raises:
        UsageError: when the executor cannot be used.
    """
    if options.executor == "local":
        devices = Counter("the CPU" if slot.gpu is None else f"GPU {slot.gpu}" for slot in plan.slots)
        description = ", ".join(f"{count} at once on {device}" for device, count in devices.items())
        yield ExecutorChoice(description, lambda log: LocalExecutor(plan.workload, plan.slots, log))
        return

    # Ray is an optional dependency, and its import takes seconds.
    from study.executors.ray.cluster import join_cluster  # noqa: PLC0415
    from study.executors.ray.executor import RayExecutor  # noqa: PLC0415
    from study.executors.ray.files import pack  # noqa: PLC0415

    jobs = options.jobs
    with join_cluster(options.ray_address, options.cpus_per_trial, options.gpus_per_trial, jobs) as cluster:
        if plan.metadata.base_config.precision == "fp16" and not cluster.share.gpus:
            raise UsageError("precision: fp16 needs a GPU, and the cluster has none; choose bf16 or fp32")
        shipped = pack(plan.dataset, plan.image_sizes, plan.backbones, plan.workload.cache_dir)

        def make(log: Path) -> Executor:
            log = log.absolute()
            return RayExecutor(plan.workload, cluster, jobs=jobs, shipped=shipped, log=log, folder=log.parent)

        yield ExecutorChoice(cluster.describe(jobs or max(1, cluster.capacity())), make)
