"""How optimistic the best score is."""

from drft.config.trial_config import Metric
from study.analysis import Statistics, Withheld
from study.analysis.overtuning import Overtuning
from study.analysis.selection import CorrectedScore
from study.report import figures
from study.report.chapters.parts import Chapter, Text, make_figure
from study.report.wording import score, score_difference, score_interval
from study.results.metric_names import metric_name
from study.results.study_results import StudyResults


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show the best score corrected for its selection, and whether a longer search did harm."""
    metric = results.info.metric
    path = make_figure(
        "overtuning",
        "The best trial so far, on images that did not select it",
        statistics.overtuning,
        lambda overtuning: figures.incumbent_path(overtuning, metric),
        lambda overtuning: _path_caption(overtuning, metric),
    )
    parts = (Text(corrected_text(statistics.corrected, metric)), path)
    return Chapter("selection", "Selection", "How optimistic the best score is", parts)


def corrected_text(selection: CorrectedScore | Withheld, metric: Metric) -> str:
    """Return the expected score of the selected trial on images that took no part in the selection."""
    if isinstance(selection, Withheld):
        return f"The optimism of the best score is not shown: {selection.reason}."
    corrected = selection.corrected
    return (
        f"The best of {selection.n_candidates} candidates (every epoch of every completed trial) scores "
        f"{score(metric, selection.observed)} in validation {metric_name(metric)}. When the selection is repeated on "
        f"resampled images and scored on the images not drawn, it scores {score(metric, corrected.value)} "
        f"({score_interval(metric, corrected)} images; BBC, Tsamardinos et al. 2018): selection added about "
        f"{score_difference(metric, selection.optimism)}. The interval is probably too wide, since only a third of the "
        "images score each time. The correction does not include what the sampler learned from these images, nor "
        "what pruning left out."
    )


def _path_caption(overtuning: Overtuning, metric: Metric) -> str:
    last, value = overtuning.path[-1], overtuning.overtuning.value
    chance = score_difference(metric, overtuning.chance)
    verdict = (
        "more than the same trials reach in 95% of random orders, so later trials were chosen by chance"
        if value > overtuning.chance
        else f"no more than the same trials reach by chance in random orders (up to {chance} in 95% of them)"
    )
    return (
        f"One half of the {overtuning.overtuning.n} validation images selects the best trial and epoch so far, the "
        "other half scores it; lines are means over random halves. At the end it scores "
        f"{score(metric, last.inner)} on the half that selected it and {score(metric, last.outer)} on the other half. "
        f"The best value of the solid line is {score_difference(metric, value)} better than its last (overtuning, "
        f"Schneider, Bischl & Feurer 2025), {verdict}. Half of the images select with more noise than all of them."
    )
