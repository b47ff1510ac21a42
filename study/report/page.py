"""The report as a page (``index.html``) and as Markdown (``report.md``), from the templates beside this file."""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from study.analysis import Confirmed, Statistics, Withheld
from study.report.chapters import Chapter, Figure, all_exhibits
from study.report.explorer import explorer_json
from study.report.provenance import limits, provenance
from study.report.tables import trial_headings, trial_rows, trials_by_state
from study.report.thumbnails import NO_THUMBNAILS, Thumbnails
from study.report.wording import answer, between, number, percent
from study.results.study_metadata import describe_split
from study.results.study_results import StudyResults

DISCLAIMER = (
    "For research and education only. Nothing here is a medical device, and no figure of this report may guide the "
    "diagnosis or treatment of anyone."
)
RENDERED = "Rendered images, not patients: this data set was drawn by a program. Its figures say nothing about eyes."


def html_page(
    results: StudyResults,
    statistics: Statistics,
    chapters: Sequence[Chapter],
    thumbnails: Thumbnails = NO_THUMBNAILS,
) -> str:
    """Return one self-contained HTML page that needs no network."""
    return (
        environment()
        .get_template("index.html")
        .render(
            **_context(results, statistics, chapters),
            trial_headings=trial_headings(results.info),
            trial_rows=trial_rows(results),
            thumbnails=thumbnails,
            depths=sorted(set(results.trials["depth"].dropna().astype(int))),
            figures=figures_json(all_exhibits(chapters)),
            explorer=_as_script(explorer_json(results)),
            plotly=plotly_script(),
        )
    )


def markdown_page(results: StudyResults, statistics: Statistics, chapters: Sequence[Chapter]) -> str:
    """Return the report as Markdown: answers, tables and captions."""
    return environment().get_template("report.md").render(**_context(results, statistics, chapters))


def _context(results: StudyResults, statistics: Statistics, chapters: Sequence[Chapter]) -> dict[str, Any]:
    info = results.info
    n_train, n_validation = info.split["n_train"], info.split["n_validation"]
    return {
        "info": info,
        "images": describe_split(info.split, f"{n_train} training and {n_validation} validation images"),
        "backbone": ", ".join(info.backbones) or info.base_config.get("backbone", {}).get("name", "?"),
        "banner": RENDERED if info.dataset["rendered"] else "",
        "answers": answer(statistics),
        "tiles": _tiles(results, statistics),
        "chapters": chapters,
        "limits": limits(results),
        "provenance": provenance(info),
        "disclaimer": DISCLAIMER,
    }


def _tiles(results: StudyResults, statistics: Statistics) -> list[tuple[str, str]]:
    counts = trials_by_state(results)
    tiles = [(f"{counts['COMPLETE']}", f"completed, {counts['PRUNED']} pruned, {counts['FAIL']} failed")]
    if results.eligible.empty:
        return tiles
    best = results.eligible.iloc[0]
    return [
        *tiles,
        (percent(best["val_accuracy_best"]), f"validation accuracy of the best, trial {best['number']}"),
        *_test_tile(statistics.test),
        (
            f"{best['depth']} of {results.info.block_count(best.get('backbone.name'))}",
            "blocks trained in the best trial (its depth)",
        ),
        (f"{best['best_step']} of {best['last_step']}", "its best step, of all its steps"),
        (number(100 * best["gap_best"]), "points of gap between train and validation there"),
    ]


def _test_tile(test: Confirmed | Withheld | None) -> list[tuple[str, str]]:
    """Say beside the validation accuracy what the same configuration scores on the test images."""
    if not isinstance(test, Confirmed):
        return []
    score = next(score for score in test.scores if score.trial is not None)
    words = f"test accuracy of {score.name}, trained anew on {score.n_draws} seeds ({between(score.accuracy)})"
    return [(percent(score.accuracy.value), words)]


def figures_json(shown: Iterable[Figure]) -> Markup:
    """Return the drawings of figures by id and size, as the page's script reads them."""
    entries = (
        f'"{exhibit.id}":{{{",".join(_drawing(size, drawing) for size, drawing in exhibit.drawings.items())}}}'
        for exhibit in shown
        if exhibit.drawings
    )
    return _as_script(f"{{{','.join(entries)}}}")


def plotly_script() -> Markup:
    """Return the installed plotly.js, fit to stand in a script element."""
    return Markup(get_plotlyjs().replace("</script", "<\\/script"))  # noqa: S704  the installed plotly's own text


def _as_script(text: str) -> Markup:
    """Return JSON that can stand in a script element: no character of HTML is left in it."""
    escaped = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(escaped)  # noqa: S704


def _drawing(size: str, drawing: go.Figure) -> str:
    return f'"{size}":{drawing.to_json(validate=False)}'


@cache
def environment() -> Environment:
    """Return the templates of pages, with the filter ``md`` for Markdown."""
    environment = Environment(
        loader=PackageLoader("study.report"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["md"] = _markdown_text
    return environment


def _markdown_text(text: str) -> str:
    """Escape what Markdown and HTML would take for markup, and keep a text on its line."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(text.split()))
