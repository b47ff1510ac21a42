"""What this validation set can show."""

from drft.config.trial_config import Metric
from study.analysis import Indistinguishable, Noise, Statistics, Withheld
from study.analysis.noise import FEWEST
from study.report import figures
from study.report.chapters.parts import Chapter, Text, exhibit, wide
from study.report.wording import percent, points, score_difference
from study.results.study_results import StudyResults


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Say what differences the validation images can show."""
    text = Text(noise_text(statistics.noise))
    metric = results.info.metric
    same = exhibit(
        "alike",
        "Who cannot be told from the best",
        statistics.alike,
        lambda alike: wide(figures.told_apart(alike, metric)),
        lambda alike: _alike_caption(alike, metric),
    )
    return Chapter("noise", "Noise", "What this validation set can show", (text, same))


def noise_text(noise: Noise | Withheld) -> str:
    """Say what differences the validation images can show."""
    if isinstance(noise, Withheld):
        return f"Not said, since {noise.reason}."
    source = "as counted from the stored predictions" if noise.discordance_measured else "as for independent errors"
    return (
        f"Validation accuracy is measured on {noise.n_images} images: one image is "
        f"{points(1 / noise.n_images)}, and the best trial's {percent(noise.best.value)} has a 95% interval of "
        f"{percent(noise.best.low or 0.0)} to {percent(noise.best.high or 1.0)} (Wilson). Of {noise.n_trials} "
        f"completed trials, {noise.within} lie inside it. Two trials that disagree on {percent(noise.discordance)} of "
        f"the images ({source}{_too_few(noise)}) must truly differ by {points(noise.detectable)} before a 5% test "
        f"on these images finds it four times out of five (McNemar's test, Connor 1987). {_needed(noise)} "
        "And the best of many is lucky by construction: its true accuracy is more likely below the figure than above."
    )


def _too_few(noise: Noise) -> str:
    few = noise.discordance * noise.n_images < FEWEST
    return f", and counted as {FEWEST} images, since the formula needs so many" if few else ""


def _needed(noise: Noise) -> str:
    numbers = [f"{100 * one.difference:.0f} points {one.images:,} images" for one in noise.needed]
    return f"To show {', '.join(numbers)} would be needed."


def _alike_caption(alike: Indistinguishable, metric: Metric) -> str:
    best, count = alike.compared[0], len(alike.trials)
    return (
        f"Of {len(alike.compared)} completed trials, {count} cannot be told from the best, trial {best.trial} "
        f"(itself{'' if count == 1 else ' included'}): they lie within {score_difference(metric, alike.critical)} of "
        "it, above the dotted line. With 95% confidence they include every trial that is truly as good as the best "
        f"one, the best having been picked among all of them (paired bootstrap over {alike.n_images} images, max "
        "statistic). That a trial is among them does not show that it is as good."
    )
