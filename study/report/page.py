"""The report as a page (``index.html``) and as Markdown (``report.md``), from the templates in this package."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from study.analysis import Statistics, Withheld
from study.analysis.confirmation import Confirmed
from study.analysis.floor import FloorScores
from study.analysis.promise_on_test import PromiseOnTest
from study.report.chapters import Chapter, Figure, Table, all_figures
from study.report.disclaimer import FULL_DISCLAIMER, RENDERED
from study.report.explorer import explorer_json
from study.report.provenance import limits, provenance
from study.report.tables import STATES, trial_headings, trial_rows, trials_by_state
from study.report.thumbnails import NO_THUMBNAILS, Thumbnails
from study.report.wording import answer, between, escape_markdown, number, percent
from study.results.study_metadata import describe_split
from study.results.study_results import StudyInfo, StudyResults


def html_page(
    results: StudyResults,
    statistics: Statistics,
    chapters: Sequence[Chapter],
    thumbnails: Thumbnails = NO_THUMBNAILS,
) -> str:
    """Return one self-contained HTML page that needs no network."""
    page = environment().get_template("index.html")
    return page.render(
        **_context(results, statistics, chapters),
        trial_headings=trial_headings(results.info),
        trial_rows=trial_rows(results),
        states=STATES.values(),
        depths=sorted(set(results.trials["depth"].dropna().astype(int))),
        blocks=_blocks(results.info),
        thumbnails=thumbnails,
        figures=figures_json(all_figures(chapters)),
        explorer=_as_script(explorer_json(results)),
    )


def markdown_page(results: StudyResults, statistics: Statistics, chapters: Sequence[Chapter]) -> str:
    """Return the report as Markdown: answers, figures with captions, tables and texts."""
    return environment().get_template("report.md").render(**_context(results, statistics, chapters))


def _context(results: StudyResults, statistics: Statistics, chapters: Sequence[Chapter]) -> dict[str, Any]:
    info = results.info
    n_train, n_validation = info.split["n_train"], info.split["n_validation"]
    return {
        "name": info.name,
        "info": info,
        "images": describe_split(info.split, f"{n_train} training and {n_validation} validation images"),
        "backbone": ", ".join(info.backbones) or info.base_config.get("backbone", {}).get("name", "?"),
        "rendered": info.dataset["rendered"],
        "answers": answer(statistics, info.metric),
        "tiles": _tiles(results, statistics),
        "chapters": chapters,
        "limits": limits(results),
        "provenance": provenance(results),
    }


def _tiles(results: StudyResults, statistics: Statistics) -> list[tuple[str, str]]:
    """Return figures of the best trial; with a verdict, which is not about a trial, the test accuracy alone."""
    if not isinstance(statistics.verdict, Withheld):
        return [*_promise_tile(statistics.promise_on_test), *_test_tile(statistics.test)]
    counts = trials_by_state(results)
    tiles = [(f"{counts['COMPLETE']}", f"completed, {counts['PRUNED']} pruned, {counts['FAIL']} failed")]
    if results.eligible.empty:
        return tiles
    best = results.eligible.iloc[0]
    return [
        *tiles,
        (percent(best["val_accuracy_best"]), f"validation accuracy of the best, trial {best['number']} (optimistic)"),
        *_floor_tile(statistics.floor),
        *_test_tile(statistics.test),
        (
            f"{best['depth']} of {results.info.block_count(best.get('backbone.name'))}",
            "blocks trained in the best trial (its depth)",
        ),
        (f"{best['best_step']} of {best['last_step']}", "its best epoch, of all its epochs"),
        (number(100 * best["gap_best"]), "points of gap between train and validation at that epoch"),
    ]


def _floor_tile(floor: FloorScores | Withheld) -> list[tuple[str, str]]:
    """Return the accuracy of a linear model on frozen features, if it was computed."""
    if isinstance(floor, Withheld):
        return []
    label = f"floor: a linear model on frozen features, out of fold ({between(floor.accuracy)})"
    return [(percent(floor.accuracy.value), label)]


def _promise_tile(promise: PromiseOnTest | Withheld | None) -> list[tuple[str, str]]:
    """Return the test accuracy of the recommended model, once the test set is open, and whether it was promised."""
    if not isinstance(promise, PromiseOnTest):
        return []
    measured, outcome = promise.check.measured, promise.check.outcome
    label = f"test accuracy of the recommended model ({between(measured)}); the promise: {outcome}"
    return [(percent(measured.value), label)]


def _test_tile(test: Confirmed | Withheld | None) -> list[tuple[str, str]]:
    """Return the test accuracy of the best retrained trial, once the test set is open."""
    if not isinstance(test, Confirmed):
        return []
    score = next((score for score in test.scores if score.trial is not None), None)
    if score is None:  # all retrained trials diverged
        return []
    label = f"test accuracy of {score.name}, trained again on {score.n_draws} seeds ({between(score.accuracy)})"
    return [(percent(score.accuracy.value), label)]


def _blocks(info: StudyInfo) -> Table:
    caption = "Blocks in the order of the network, stem first. Depth d trains the last d of them and the head."
    headings = ("block", "name", "parameters", "trained from depth", "trainable share at that depth")
    rows = [
        (
            str(block["index"]),
            block["name"],
            f"{block['parameters']:,}",
            str(len(info.blocks) - position),
            percent(block["trainable_fraction"]),
        )
        for position, block in enumerate(info.blocks)
    ]
    return Table("Blocks", caption, headings, rows)


def figures_json(figures: Iterable[Figure]) -> Markup:
    """Return the drawings of figures by id and size, as the page's script reads them."""
    entries = []
    for figure in figures:
        drawings = (f'"{size}":{drawing.to_json(validate=False)}' for size, drawing in figure.drawings.items())
        if figure.drawings:
            entries.append(f'"{figure.id}":{{{",".join(drawings)}}}')
    return _as_script(f"{{{','.join(entries)}}}")


def _plotly_script() -> Markup:
    """Return the installed plotly.js for a script element."""
    return Markup(get_plotlyjs().replace("</script", "<\\/script"))  # noqa: S704  the installed plotly's own text


def _as_script(text: str) -> Markup:
    """Return JSON for a script element: escaped, so that it cannot contain HTML."""
    escaped = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(escaped)  # noqa: S704


@cache
def environment() -> Environment:
    """Return the Jinja environment of all pages, with the filter ``md`` for Markdown."""
    environment = Environment(
        loader=PackageLoader("study.report"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["md"] = escape_markdown
    environment.globals |= {
        "disclaimer": FULL_DISCLAIMER,
        "rendered_note": RENDERED,
        "thumbnails": NO_THUMBNAILS,
        "plotly_script": _plotly_script,
    }
    return environment
