"""Which differences the validation set can show."""

from study.analysis import Statistics, Withheld
from study.analysis.indistinguishable import Indistinguishable
from study.analysis.noise import FEWEST, Noise
from study.report import figures
from study.report.chapters.parts import Chapter, Text, make_figure
from study.report.wording import percent, percent_range, points, score_difference
from study.results.study_results import StudyResults


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show which differences the validation images can show, and which trials they cannot distinguish."""
    metric = results.info.metric
    figure = make_figure(
        "alike",
        "Trials indistinguishable from the best one",
        statistics.alike,
        lambda alike: figures.indistinguishable_trials(alike, metric),
        lambda alike: _caption(alike, score_difference(metric, alike.critical)),
    )
    parts = (Text(noise_text(statistics.noise)), figure)
    return Chapter("noise", "Noise", "Which differences this validation set can show", parts)


def noise_text(noise: Noise | Withheld) -> str:
    """Return the precision of the validation accuracy and the differences that its images can show."""
    if isinstance(noise, Withheld):
        return f"Not shown: {noise.reason}."
    source = "counted in the stored predictions" if noise.discordance_measured else "assuming independent errors"
    if noise.discordance * noise.n_images < FEWEST:
        source += f", and counted as {FEWEST} images, the fewest for which the formula holds"
    needed = ", ".join(f"{100 * row.difference:.0f} points {row.images:,} images" for row in noise.needed)
    return (
        f"Validation accuracy is measured on {noise.n_images} images. One image is {points(1 / noise.n_images)}, and "
        f"the best trial's {percent(noise.best.value)} has a 95% interval of {percent_range(noise.best)} (Wilson). Of "
        f"{noise.n_trials} completed trials, {noise.within} lie inside this interval. Two trials that disagree on "
        f"{percent(noise.discordance)} of the images ({source}) must truly differ by {points(noise.detectable)} "
        "before a 5% test on these images detects it four times out of five (McNemar's test, Connor 1987). To show "
        f"{needed} would be needed. The best of many trials is optimistic: its true accuracy is more likely below "
        "this value than above."
    )


def _caption(alike: Indistinguishable, critical: str) -> str:
    best, count = alike.compared[0], len(alike.trials)
    return (
        f"Of {len(alike.compared)} completed trials, {count} are indistinguishable from the best one, trial "
        f"{best.trial} ({'only itself' if count == 1 else 'itself included'}): they lie within {critical} of it, above "
        "the dotted line. With 95% confidence they include every trial that is truly as good as the best one, even "
        f"though the best was selected among all of them (paired bootstrap over {alike.n_images} images, max "
        "statistic). A trial among them is not shown to be as good."
    )
