"""Choose the goal of a study where the options leave it open."""

from drft.errors import UsageError
from study.samplers.names import Goal
from study.setup.options import RunOptions
from study.space import BoundSpace
from study.storage.backend import Storage


def choose_goal(options: RunOptions, space: BoundSpace, recorded: Goal | None) -> tuple[Goal, str]:
    """Return the goal of a study and why it is this one.

    Args:
        options: of the run.
        space: what is searched.
        recorded: goal of the study, if it is resumed.

    Raises:
        UsageError: when the goal is ``depth``, and the space or the options do not fit it.
    """
    faults = [*_space_faults(space, options, resumed=recorded == "depth"), *options.faults_with_goal_depth()]
    if options.goal is None and recorded is None:
        if faults:
            return "best", faults[0]
        return "depth", "the space searches the depth"
    goal = options.goal or recorded
    assert goal is not None
    if goal == "depth" and faults:
        raise UsageError([f"--goal depth: {fault}, or use --goal best" for fault in faults])
    return goal, "--goal" if options.goal else "as recorded"


def _space_faults(space: BoundSpace, options: RunOptions, *, resumed: bool) -> list[str]:
    """Return why a space cannot answer how deep to fine-tune.

    A resumed study keeps a split and a condition that older versions accepted: ``check_study`` compares its settings.
    """
    if space.backbones is not None:
        return [f"the space {space.name} searches several backbones, whose depths cannot be compared"]
    if "depth" not in space.distributions or len(space.values("depth")) < 2:
        return [f"the space {space.name} does not search depth"]
    if space.isolate not in {None, "depth"}:
        return [f"the space {space.name} isolates {space.isolate}"]
    faults: list[str] = []
    if resumed:
        return faults
    if any(dimension.path == "depth" and dimension.when for dimension in space.dimensions):
        faults.append(f"the space {space.name} searches depth under a condition only: remove its when")
    split = space.base.split
    if split.seed != options.seed:
        faults.append(f"split.seed is {split.seed}, but splits change from block to block: leave it out and use --seed")
    if split.every_fold and options.folds is None:
        faults.append("split.fold is null, but splits change from block to block: leave split.folds and split.fold out")
    return faults


def recorded_goal(storage: Storage, name: str) -> Goal | None:
    """Return the goal of a study; None if there is no such study."""
    try:
        attributes = storage.get_study_user_attrs(storage.get_study_id_from_name(name))
    except KeyError:
        return None
    if "trials_wanted" not in attributes:
        return None  # a tuner was killed while it wrote the attributes
    goal: Goal = attributes.get("goal", "best")  # version 0.1 has no goals
    return goal
