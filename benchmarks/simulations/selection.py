"""Selection and noise: winner's curse, corrected scores, overtuning, ranks, and the set of indistinguishable trials."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulations.base import LEVEL, Measure, Rng, Simulation, covered, valid
from benchmarks.simulations.synthetic_candidates import (
    IMAGES,
    TEST_IMAGES,
    as_candidates,
    draw_accuracies,
    draw_correct,
    draw_two_accuracies,
)
from study.analysis import Estimate, proportion
from study.analysis.estimators.agreement import rank_agreement
from study.analysis.indistinguishable import indistinguishable_trials
from study.analysis.overtuning import Overtuning, incumbents, overtuning, overtuning_by_halves
from study.analysis.running import noise_verdict
from study.analysis.selection import corrected_selection, winners_curse


def _share_of(event: Callable[[Rng, int], bool]) -> Measure:
    """Return a measure of how often an event happens; the number of the study seeds its resampling."""
    return lambda runs, rng: proportion(sum(bool(event(rng, seed)) for seed in range(runs)), runs)


def _mean_covered(estimates: Sequence[Estimate]) -> Estimate:
    """Return how many intervals hold the mean of all values; its noise is a tenth of the intervals' width."""
    mean = float(np.mean([estimate.value for estimate in estimates]))
    return proportion(sum(covered(estimate, mean) for estimate in estimates), len(estimates))


def _noise_is_noise(rng: Rng, seed: int, trials: int, correlation: float) -> bool:
    correct = draw_correct(rng, np.full(trials, 0.6), IMAGES, correlation)
    return len(valid(indistinguishable_trials(as_candidates(correct), 1000, seed)).trials) == trials


def _best_is_inside(rng: Rng, seed: int) -> bool:
    accuracies = draw_accuracies(rng, 100, sd=0.08)
    found = valid(indistinguishable_trials(as_candidates(draw_correct(rng, accuracies, IMAGES)), 1000, seed))
    return int(accuracies.argmax()) in found.trials


def _bad_trials_are_outside(rng: Rng, seed: int) -> bool:
    accuracies = np.repeat([0.7, 0.3], (5, 45))
    found = valid(indistinguishable_trials(as_candidates(draw_correct(rng, accuracies, IMAGES)), 1000, seed))
    return set(found.trials) <= set(range(5))


def _corrected(rng: Rng, seed: int, sd: float) -> bool:
    accuracies = np.repeat(draw_accuracies(rng, 50, sd=sd), 5)
    correct = draw_correct(rng, accuracies, IMAGES)
    found = valid(corrected_selection(as_candidates(correct, steps=5), 200, seed))
    return covered(found.corrected, accuracies[correct.sum(axis=1).argmax()])


def _curse(runs: int, rng: Rng) -> Estimate:
    differences = []
    for _ in range(runs):
        accuracies = draw_accuracies(rng, 50)
        validation, test = draw_correct(rng, accuracies, IMAGES), draw_correct(rng, accuracies, TEST_IMAGES)
        best = validation.sum(axis=1).argmax()
        curse = winners_curse(int(validation[best].sum()), IMAGES, int(test[best].sum()), TEST_IMAGES)
        differences.append(curse.difference)
    return _mean_covered(differences)


def _overtuning(rng: Rng, seed: int, sd: float) -> tuple[Overtuning, float]:
    """Return the overtuning of a simulated study, and its true value."""
    accuracies = draw_accuracies(rng, 50, sd=sd)
    validation = draw_correct(rng, accuracies, IMAGES).mean(axis=1)
    path = accuracies[incumbents(validation[None])[0]]
    found = overtuning(np.arange(50), validation, draw_correct(rng, accuracies, TEST_IMAGES), seed)
    return valid(found), float(path.max() - path[-1])


def _overtuning_covered(rng: Rng, seed: int) -> bool:
    found, truth = _overtuning(rng, seed, sd=0.06)
    return covered(found.overtuning, truth)


def _overtuning_alarm(rng: Rng, seed: int) -> bool:
    low = _overtuning(rng, seed, sd=0.0)[0].overtuning.low
    assert low is not None
    return low > 0


def _halves_alarm(rng: Rng, seed: int) -> bool:
    found = valid(overtuning_by_halves(as_candidates(draw_correct(rng, np.full(50, 0.6), IMAGES)), 100, seed))
    return found.overtuning.value > found.chance


def _tau(runs: int, rng: Rng, sd: float) -> Estimate:
    estimates = []
    for seed in range(runs):
        accuracies = draw_accuracies(rng, 50, sd=sd)
        validation, test = (draw_correct(rng, accuracies, images).mean(axis=1) for images in (IMAGES, TEST_IMAGES))
        estimates.append(valid(rank_agreement(validation, test, seed)))
    return _mean_covered(estimates)


def _stopping_trial(correct: NDArray[np.bool_], seed: int) -> int:
    """Return the number of trials at which the rule, checked after every fifth trial, stops; all trials if never."""
    counts = range(60, len(correct), 5)
    return next((count for count in counts if noise_verdict(correct[:count], seed=seed).stop), len(correct))


def _stops_in_noise(rng: Rng, seed: int) -> bool:
    return _stopping_trial(draw_correct(rng, np.full(100, 0.55), IMAGES), seed) < 100


def _stops_too_early(rng: Rng, seed: int, share: float) -> bool:
    accuracies = draw_two_accuracies(rng, 200, share, gain=0.2)
    stopped = _stopping_trial(draw_correct(rng, accuracies, IMAGES), seed)
    return bool((accuracies[:stopped] == accuracies.min()).all() and accuracies.max() > accuracies.min())


def _stopping_costs(rng: Rng, seed: int) -> bool:
    accuracies = draw_accuracies(rng, 200)
    correct = draw_correct(rng, accuracies, IMAGES)
    ends = (_stopping_trial(correct, seed), 200)
    early, late = (accuracies[correct[:end].sum(axis=1).argmax()] for end in ends)
    return bool(late - early > 0.05)


_SIZES = ((20, 0.6), (100, 0.3), (100, 0.6), (100, 0.9))
_SPREADS = (("noise", "equally good", 0.0), ("spread", "sd 6 points", 0.06))

SIMULATIONS = (
    *(
        Simulation(
            f"alike-noise-{trials}-{correlation}",
            f"{trials} equally good trials on {IMAGES} images (correlation {correlation}): all are indistinguishable "
            "from the best",
            LEVEL,
            _share_of(partial(_noise_is_noise, trials=trials, correlation=correlation)),
            "at least",
        )
        for trials, correlation in _SIZES
    ),
    Simulation(
        "alike-best",
        "100 trials whose accuracies spread (sd 8 points): the truly best one is in the set",
        LEVEL,
        _share_of(_best_is_inside),
        "at least",
    ),
    Simulation(
        "alike-planted",
        "5 trials with 70 % among 45 with 30 %: all of the 45 are distinguished from the best",
        0.8,
        _share_of(_bad_trials_are_outside),
        "at least",
    ),
    *(
        Simulation(
            f"corrected-{name}",
            f"50 trials of 5 epochs, {words}: the corrected score's interval contains the selected one's accuracy",
            LEVEL,
            _share_of(partial(_corrected, sd=sd)),
            "at least",
            runs=400,
        )
        for name, words, sd in _SPREADS
    ),
    Simulation(
        "curse", "Best of 50 trials: the interval of validation minus test contains its mean", LEVEL, _curse, "at least"
    ),
    Simulation(
        "overtuning-covered",
        "50 trials (sd 6 points): the interval contains the true overtuning of the incumbents",
        LEVEL,
        _share_of(_overtuning_covered),
        "at least",
        runs=400,
    ),
    Simulation(
        "overtuning-noise",
        "50 equally good trials: the interval of the overtuning on test images does not start at 0",
        0.05,
        _share_of(_overtuning_alarm),
        "at most",
        runs=400,
    ),
    Simulation(
        "overtuning-halves-noise",
        "50 equally good trials: the overtuning by halves is higher than in random orders",
        0.05,
        _share_of(_halves_alarm),
        "at most",
        runs=400,
    ),
    *(
        Simulation(
            f"tau-{name}",
            f"50 trials, {words}: the interval of tau-b contains its mean",
            LEVEL,
            partial(_tau, sd=sd),
            runs=400,
        )
        for name, words, sd in _SPREADS
    ),
    Simulation(
        "stop-noise",
        "100 equally good trials: the rule stops before the last",
        0.9,
        _share_of(_stops_in_noise),
        "at least",
        runs=200,
    ),
    *(
        Simulation(
            f"stop-early-{share:.0%}".rstrip("%"),
            f"{share:.0%} of trials are 20 points better: the rule stops before one of them was tried",
            (1 - share) ** 60,
            _share_of(partial(_stops_too_early, share=share)),
            "at most",
            runs=200,
        )
        for share in (0.02, 0.05, 0.1)
    ),
    Simulation(
        "stop-cost",
        "Accuracies spread (sd 6 points): stopping costs more than 5 points of true accuracy against 200 trials",
        0.25,
        _share_of(_stopping_costs),
        "at most",
        runs=200,
    ),
)
