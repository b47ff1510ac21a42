"""What follows from a study's seed and a trial's number alone."""

import numpy as np

CONTROL_EVERY = 10
"""One trial in so many is never pruned: the control arm, which tells what pruning cost."""


def trial_seed(study_seed: int, number: int) -> int:
    """Return the seed of a trial."""
    return int(np.random.SeedSequence([study_seed, number]).generate_state(1)[0])


def is_control(study_seed: int, number: int) -> bool:
    """Return whether a trial is in the control arm: one at a random place in every ``CONTROL_EVERY``."""
    block, place = divmod(number, CONTROL_EVERY)
    draw = np.random.SeedSequence([study_seed, block, 1]).generate_state(1)[0]
    return place == int(draw) % CONTROL_EVERY


def confirmation_seeds(study_seed: int, index: int) -> tuple[int, int]:
    """Return the seeds of training and split of one draw of a study's confirmation."""
    seed, split = np.random.SeedSequence([study_seed, index, 2]).generate_state(2)
    return int(seed), int(split)
