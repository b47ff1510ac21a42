"""The report as a page (``index.html``) and as Markdown (``report.md``), from the templates beside this file."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from study.report.provenance import limits, provenance
from study.report.sections import Exhibit, noise_text
from study.report.statistics import Statistics, Withheld
from study.report.tables import DEPTH_HEADINGS, depth_rows, trial_headings, trial_rows, trials_by_state
from study.report.wording import answer, number, percent
from study.results import StudyResults

DISCLAIMER = (
    "For research and education only. Nothing here is a medical device, and no figure of this report may guide the "
    "diagnosis or treatment of anyone."
)
RENDERED = "Rendered pictures, not patients: this cohort was drawn by a program. Its figures say nothing about eyes."
SEALED = (
    "The test photographs have not been looked at. Search, pruning and the choice of the best epoch used training and "
    "validation photographs only; the test set stays sealed until the best configurations are confirmed on it, once."
)


def html_page(results: StudyResults, statistics: Statistics, shown: Mapping[str, Exhibit]) -> str:
    """Return one self-contained HTML page that needs no network."""
    return (
        _environment()
        .get_template("index.html")
        .render(
            **_context(results, statistics, shown),
            trial_headings=trial_headings(results.info),
            trial_rows=trial_rows(results),
            figures=_figures_json(shown),
            plotly=Markup(get_plotlyjs().replace("</script", "<\\/script")),  # noqa: S704  the installed plotly's own text
        )
    )


def markdown_page(results: StudyResults, statistics: Statistics, shown: Mapping[str, Exhibit]) -> str:
    """Return the report as Markdown: answers, tables and captions."""
    context = _context(results, statistics, shown)
    return _environment().get_template("report.md").render(**context)


def _context(results: StudyResults, statistics: Statistics, shown: Mapping[str, Exhibit]) -> dict[str, Any]:
    info, depths = results.info, statistics.depths
    return {
        "info": info,
        "backbone": info.base_config.get("backbone", {}).get("name", "?"),
        "banner": RENDERED if info.cohort["rendered"] else "",
        "answers": answer(statistics),
        "tiles": _tiles(results),
        "exhibits": shown,
        "depth_headings": DEPTH_HEADINGS,
        "depth_rows": [] if isinstance(depths, Withheld) else depth_rows(depths),
        "no_depths": depths.reason if isinstance(depths, Withheld) else "",
        "noise": noise_text(statistics.noise),
        "sealed": SEALED,
        "limits": limits(results),
        "provenance": provenance(info),
        "disclaimer": DISCLAIMER,
    }


def _tiles(results: StudyResults) -> list[tuple[str, str]]:
    counts = trials_by_state(results)
    tiles = [(f"{counts['COMPLETE']}", f"completed, {counts['PRUNED']} pruned, {counts['FAIL']} failed")]
    if results.complete.empty:
        return tiles
    best = results.complete.iloc[0]
    return [
        *tiles,
        (percent(best["val_accuracy_best"]), f"validation accuracy of the best, trial {best['number']}"),
        (f"{best['depth']} of {len(results.info.blocks)}", "blocks trained in the best trial (its depth)"),
        (f"{best['best_step']} of {best['last_step']}", "its best step, of all its steps"),
        (number(100 * best["gap_best"]), "points of gap between train and validation there"),
    ]


def _figures_json(shown: Mapping[str, Exhibit]) -> Markup:
    entries = (
        f'"{exhibit.id}":{{{",".join(_drawing(size, drawing) for size, drawing in exhibit.drawings.items())}}}'
        for exhibit in shown.values()
        if exhibit.drawings
    )
    escaped = f"{{{','.join(entries)}}}".replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(escaped)  # noqa: S704  no character of HTML is left in it


def _drawing(size: str, drawing: go.Figure) -> str:
    return f'"{size}":{drawing.to_json(validate=False)}'


@cache
def _environment() -> Environment:
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
