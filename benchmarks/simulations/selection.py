"""Selection and noise: winner's curse, corrected scores, overtuning, ranks, and what cannot be told from the best."""

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.simulations.base import Measure, Simulation
from benchmarks.simulations.intervals import LEVEL, covered
from benchmarks.simulations.synthetic_candidates import IMAGES, TEST_IMAGES, candidates, planted, right, spread
from study.analysis import (
    Estimate,
    Overtuning,
    alike,
    corrected_selection,
    noise_verdict,
    overtuning,
    overtuning_by_halves,
    proportion,
    rank_agreement,
    winners_curse,
)
from study.analysis.overtuning import incumbents

Rng = np.random.Generator


def share_of(happens: Callable[[Rng, int], bool]) -> Measure:
    """Measure in how many simulated studies something happens; it takes the source of chance and a seed."""
    return lambda runs, rng: proportion(sum(bool(happens(rng, seed)) for seed in range(runs)), runs)


def _noise_is_noise(rng: Rng, seed: int, trials: int, in_common: float) -> bool:
    found = alike(candidates(right(rng, np.full(trials, 0.6), IMAGES, in_common)), 1000, seed)
    return len(found.trials) == trials


def _the_best_is_inside(rng: Rng, seed: int) -> bool:
    accuracies = spread(rng, 100, sd=0.08)
    return int(accuracies.argmax()) in alike(candidates(right(rng, accuracies, IMAGES)), 1000, seed).trials


def _the_bad_are_told(rng: Rng, seed: int) -> bool:
    accuracies = np.repeat([0.7, 0.3], (5, 45))
    return set(alike(candidates(right(rng, accuracies, IMAGES)), 1000, seed).trials) <= set(range(5))


def _corrected(rng: Rng, seed: int, sd: float) -> bool:
    accuracies = np.repeat(spread(rng, 50, sd=sd), 5)
    correct = right(rng, accuracies, IMAGES)
    found = corrected_selection(candidates(correct, steps=5), 200, seed)
    return covered(found.corrected, accuracies[correct.sum(axis=1).argmax()])


def _curse(runs: int, rng: Rng) -> Estimate:
    """The truth is the mean difference, taken from the simulation itself: its noise is a tenth of the intervals'."""
    found = []
    for _ in range(runs):
        accuracies = spread(rng, 50)
        validation, test = right(rng, accuracies, IMAGES), right(rng, accuracies, TEST_IMAGES)
        best = validation.sum(axis=1).argmax()
        found.append(winners_curse(int(validation[best].sum()), IMAGES, int(test[best].sum()), TEST_IMAGES).difference)
    mean = float(np.mean([one.value for one in found]))
    return proportion(sum(covered(one, mean) for one in found), runs)


def _lost(rng: Rng, seed: int, sd: float) -> tuple[Overtuning, float]:
    accuracies = spread(rng, 50, sd=sd)
    validation = right(rng, accuracies, IMAGES).mean(axis=1)
    true = accuracies[incumbents(validation[None])[0]]
    return overtuning(np.arange(50), validation, right(rng, accuracies, TEST_IMAGES), seed), true.max() - true[-1]


def _overtuning_covered(rng: Rng, seed: int) -> bool:
    found, truth = _lost(rng, seed, sd=0.06)
    return covered(found.overtuning, truth)


def _overtuning_alarm(rng: Rng, seed: int) -> bool:
    return _lost(rng, seed, sd=0.0)[0].overtuning.low > 0


def _halves_alarm(rng: Rng, seed: int) -> bool:
    found = overtuning_by_halves(candidates(right(rng, np.full(50, 0.6), IMAGES)), 100, seed)
    return found.overtuning.value > found.chance


def _tau(runs: int, rng: Rng, sd: float) -> Estimate:
    """The truth is the mean tau, as in ``_curse``."""
    found = []
    for seed in range(runs):
        accuracies = spread(rng, 50, sd=sd)
        scores = (right(rng, accuracies, images).mean(axis=1) for images in (IMAGES, TEST_IMAGES))
        found.append(rank_agreement(*scores, seed))
    mean = float(np.mean([one.value for one in found]))
    return proportion(sum(covered(one, mean) for one in found), runs)


def _stopped_at(correct: np.ndarray, seed: int) -> int:
    """Return after how many trials the rule stops that is asked after every fifth trial; all of them if never."""
    asked = range(60, len(correct), 5)
    return next((count for count in asked if noise_verdict(correct[:count], seed=seed).stop), len(correct))


def _stops_in_noise(rng: Rng, seed: int) -> bool:
    return _stopped_at(right(rng, np.full(100, 0.55), IMAGES), seed) < 100


def _stops_before(rng: Rng, seed: int, share: float) -> bool:
    accuracies = planted(rng, 200, share, gain=0.2)
    stopped = _stopped_at(right(rng, accuracies, IMAGES), seed)
    return bool((accuracies[:stopped] == accuracies.min()).all() and accuracies.max() > accuracies.min())


def _stopping_costs(rng: Rng, seed: int) -> bool:
    accuracies = spread(rng, 200)
    correct = right(rng, accuracies, IMAGES)
    early, late = (accuracies[correct[:end].sum(axis=1).argmax()] for end in (_stopped_at(correct, seed), 200))
    return bool(late - early > 0.05)


_SIZES = ((20, 0.6), (100, 0.3), (100, 0.6), (100, 0.9))

SIMULATIONS = (
    *(
        Simulation(
            f"alike-noise-{trials}-{in_common}",
            f"{trials} equally good trials on {IMAGES} images (correlation {in_common}): none is told from the best",
            LEVEL,
            share_of(partial(_noise_is_noise, trials=trials, in_common=in_common)),
            "at least",
        )
        for trials, in_common in _SIZES
    ),
    Simulation(
        "alike-best",
        "100 trials whose accuracies spread (sd 8 points): the truly best one is in the set",
        LEVEL,
        share_of(_the_best_is_inside),
        "at least",
    ),
    Simulation(
        "alike-planted",
        "5 trials with 70 % among 45 with 30 %: all of the 45 are told from the best",
        0.8,
        share_of(_the_bad_are_told),
        "at least",
    ),
    *(
        Simulation(
            f"corrected-{name}",
            f"50 trials of 5 steps, {words}: the corrected score's interval holds the true accuracy of the selected",
            LEVEL,
            share_of(partial(_corrected, sd=sd)),
            "at least",
            runs=400,
        )
        for name, words, sd in (("noise", "equally good", 0.0), ("spread", "sd 6 points", 0.06))
    ),
    Simulation(
        "curse", "Best of 50 trials: the interval of validation minus test holds its mean", LEVEL, _curse, "at least"
    ),
    Simulation(
        "overtuning-covered",
        "50 trials (sd 6 points): the interval holds the true overtuning of the incumbents",
        LEVEL,
        share_of(_overtuning_covered),
        "at least",
        runs=400,
    ),
    Simulation(
        "overtuning-noise",
        "50 equally good trials: the interval of the overtuning on test images does not start at 0",
        0.05,
        share_of(_overtuning_alarm),
        "at most",
        runs=400,
    ),
    Simulation(
        "overtuning-halves-noise",
        "50 equally good trials: the overtuning by halves is above what random orders give",
        0.05,
        share_of(_halves_alarm),
        "at most",
        runs=400,
    ),
    *(
        Simulation(
            f"tau-{name}",
            f"50 trials, {words}: the interval of tau-b holds its mean",
            LEVEL,
            partial(_tau, sd=sd),
            runs=400,
        )
        for name, words, sd in (("noise", "equally good", 0.0), ("spread", "sd 6 points", 0.06))
    ),
    Simulation(
        "stop-noise",
        "100 equally good trials: the rule stops before the last",
        0.9,
        share_of(_stops_in_noise),
        "at least",
        runs=200,
    ),
    *(
        Simulation(
            f"stop-early-{share:.0%}".rstrip("%"),
            f"{share:.0%} of trials are 20 points better: the rule stops before one of them was tried",
            (1 - share) ** 60,
            share_of(partial(_stops_before, share=share)),
            "at most",
            runs=200,
        )
        for share in (0.02, 0.05, 0.1)
    ),
    Simulation(
        "stop-cost",
        "Accuracies spread (sd 6 points): stopping costs more than 5 points of true accuracy against 200 trials",
        0.25,
        share_of(_stopping_costs),
        "at most",
        runs=200,
    ),
)
