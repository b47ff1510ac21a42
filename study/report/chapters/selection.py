"""How much the selection flatters."""

from drft.config.trial_config import Metric
from study.analysis import CorrectedScore, Overtuning, Statistics, Withheld
from study.report import figures
from study.report.chapters.parts import Chapter, Text, exhibit, wide
from study.report.wording import score, score_difference, score_interval
from study.results.metric_names import metric_name
from study.results.study_results import StudyResults


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Say what the best trial scores once its selection is paid for, and whether searching on did harm."""
    metric = results.info.metric
    lost = exhibit(
        "overtuning",
        "The best so far, on images that did not select it",
        statistics.overtuning,
        lambda found: wide(figures.incumbent_path(found, metric)),
        lambda found: _path_caption(found, metric),
    )
    parts = (Text(corrected_text(statistics.corrected, metric)), lost)
    return Chapter("selection", "Selection", "How much selection flatters", parts)


def corrected_text(found: CorrectedScore | Withheld, metric: Metric) -> str:
    """Say what the selected trial scores on images that took no part in the selection."""
    if isinstance(found, Withheld):
        return f"What the selection added to the best score is not said, since {found.reason}."
    corrected = found.corrected
    return (
        f"The best of {found.n_candidates} candidates (every step of every completed trial) scores "
        f"{score(metric, found.observed)} in validation {metric_name(metric)}. When the selection is done anew on "
        "resampled images and scored on those that were not drawn, it scores "
        f"{score(metric, corrected.value)} ({score_interval(metric, corrected)} images; BBC, Tsamardinos et al. "
        f"2018): selection added about {score_difference(metric, found.optimism)}. The interval is rather too "
        "wide, since only a third of the images score each time. What the sampler learned from these "
        "images, and what pruning left out, is not corrected."
    )


def _path_caption(lost: Overtuning, metric: Metric) -> str:
    last, value = lost.path[-1], lost.overtuning.value
    by_luck = score_difference(metric, lost.chance)
    verdict = (
        "more than the same trials reach in 95% of random orders: later trials were chosen for their luck"
        if value > lost.chance
        else f"no more than the same trials reach by luck in random orders (up to {by_luck} in 95% of them)"
    )
    return (
        f"One half of the {lost.overtuning.n} validation images picks the best trial and step so far, the other "
        f"half scores it; means over random halves. In the end it scores {score(metric, last.inner)} on the half that "
        f"picked it and {score(metric, last.outer)} on the other. The best that the solid line had been is "
        f"{score_difference(metric, value)} better than its end (overtuning, Schneider, Bischl & Feurer 2025), "
        f"{verdict}. Half of the images select with more noise than all of them do."
    )
