"""What this validation set can show."""

from study.report.chapters.parts import Chapter, Text
from study.report.statistics import Noise, Statistics, Withheld
from study.report.wording import percent, points
from study.results import StudyResults


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Say what differences the validation photographs can show."""
    return Chapter("noise", "Noise", "What this validation set can show", (Text(noise_text(statistics.noise)),))


def noise_text(noise: Noise | Withheld) -> str:
    """Say what differences the validation photographs can show."""
    if isinstance(noise, Withheld):
        return f"Not said, since {noise.reason}."
    source = "as counted from the stored predictions" if noise.discordance_measured else "as for independent errors"
    return (
        f"Validation accuracy is measured on {noise.n_images} photographs: one photograph is "
        f"{points(1 / noise.n_images)}, and the best trial's {percent(noise.best.value)} has a 95% interval of "
        f"{percent(noise.best.low or 0.0)} to {percent(noise.best.high or 1.0)} (Wilson). Of {noise.n_trials} "
        f"completed trials, {noise.within} lie inside it. Two trials that disagree on {percent(noise.discordance)} of "
        f"the photographs ({source}) must truly differ by {points(noise.detectable)} before a 5% test on these "
        "photographs finds it four times out of five (McNemar's test, Connor 1987). And the best of many is lucky by "
        "construction: its true accuracy is more likely below the figure than above."
    )
