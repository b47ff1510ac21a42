"""Seeds and the control arm: functions of a study's seed and a trial's number alone."""

import numpy as np

CONTROL_EVERY = 10
"""One trial in so many is never pruned. These trials are the control arm: they show what pruning costs."""


def trial_seed(study_seed: int, number: int) -> int:
    """Return the seed of a trial."""
    return int(np.random.SeedSequence([study_seed, number]).generate_state(1)[0])


def is_control(study_seed: int, number: int) -> bool:
    """Return whether a trial is in the control arm: one random trial in every ``CONTROL_EVERY``."""
    block, index = divmod(number, CONTROL_EVERY)
    draw = np.random.SeedSequence([study_seed, block, 1]).generate_state(1)[0]
    return index == int(draw) % CONTROL_EVERY


def confirmation_seeds(study_seed: int, index: int) -> tuple[int, int]:
    """Return the seeds of training and split of one draw of a confirmation."""
    seed, split = np.random.SeedSequence([study_seed, index, 2]).generate_state(2)
    return int(seed), int(split)


def block_split_seed(study_seed: int, block: int) -> int:
    """Return the seed of the split on which one block of trials, one trial for each depth, is compared.

    Every block has another split, so that the settings that suit one validation set do not win (Nagler et al. 2024,
    reshuffling). The first block has the split of the study.
    """
    return int(np.random.SeedSequence([study_seed, block, 4]).generate_state(1)[0]) if block else study_seed
