"""Training and validation accuracy, epoch by epoch."""

from collections.abc import Callable, Sequence

from study.analysis import Curve, Statistics, Withheld
from study.report import figures
from study.report.chapters.parts import Chapter, Figure, make_figure
from study.report.wording import percent
from study.results.study_results import StudyResults


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show the curves of the recommended depth; without a verdict, those of the search at each depth."""
    recommended = statistics.recommended
    figure = (
        search_curves("curves", statistics)
        if isinstance(recommended, Withheld)
        else _panels("curves", "The trainings at the recommended depth", (recommended.curve,), _recommended_caption)
    )
    return Chapter("curves", "Curves", "Training and validation, epoch by epoch", (figure,))


def search_curves(name: str, statistics: Statistics) -> Figure:
    """Return the curves of the search's trials, one panel per depth."""
    return _panels(name, "The trials of the search, by depth", statistics.curves, _search_caption)


def _panels(
    name: str, title: str, curves: tuple[Curve, ...] | Withheld, caption: Callable[[tuple[Curve, ...]], str]
) -> Figure:
    return make_figure(
        name,
        title,
        curves,
        lambda curves: figures.curve_panels(curves, columns=min(len(curves), 3 if len(curves) <= 6 else 4)),
        caption,
        draw_narrow=lambda curves: figures.curve_panels(curves, columns=min(len(curves), 2)),
    )


def _recommended_caption(curves: tuple[Curve, ...]) -> str:
    (curve,) = curves
    return (
        f"Median accuracy (line) and quartiles (band) of the {curve.n} trainings that were cross-validated at depth "
        f"{curve.depth}, in evaluation mode on plain images. {_ends(curve)}"
    )


def _search_caption(curves: tuple[Curve, ...]) -> str:
    shown = len(figures.evenly_spaced(curves))
    some = f" {shown} of {len(curves)} depths are shown." if shown < len(curves) else ""
    return (
        "Median accuracy (line) and quartiles (band) of the completed trials at each epoch, in evaluation mode on "
        f"plain images. {_ends(curves[-1])} Pruned trials are not included, so the curves show the better "
        f"trials.{some}"
    )


def _ends(curve: Curve) -> str:
    medians: Sequence[float] = [median for _, median, _ in curve.validation]
    return (
        "Training is dashed, validation solid; the dotted line ends the head phase. At depth "
        f"{curve.depth} training ends at {percent(curve.train[-1][1])}, while the median validation curve is "
        f"highest at epoch {curve.steps[medians.index(max(medians))]} of {curve.steps[-1]}."
    )
