"""The two levels of a report: the answer and what it rests on, then everything else in a closed section."""

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import yaml
from optuna.trial import TrialState

from drft.config.trial_config import TrialConfig
from study.analysis import Estimate, Withheld, summarize
from study.analysis.estimators.grading import grading
from study.analysis.selection import CorrectedScore
from study.analysis.verdict_text import describe_verdict
from study.report.chapters import all_figures, confusion, write_chapters
from study.report.page import html_page, markdown_page
from study.report.wording import answer
from study.results.study_results import read_study

COMPLETE = TrialState.COMPLETE


@pytest.fixture(scope="module")
def place(make_study, add_graded_finalists, tmp_path_factory):
    """A results folder: ``deep`` has a verdict, ``young`` was run for one, ``best`` looks for the best trial."""
    results = tmp_path_factory.mktemp("levels")
    make_study(results, "deep", [COMPLETE, COMPLETE, TrialState.PRUNED] * 8, goal="depth")
    make_study(results, "young", [COMPLETE] * 6, goal="depth")
    make_study(results, "best", [COMPLETE] * 12)
    add_graded_finalists(results, "deep", never=4)
    return results


@pytest.fixture(scope="module")
def deep(place):
    read = read_study("deep", place)
    return read, summarize(read)


def page_of(read, statistics):
    return unescape(html_page(read, statistics, write_chapters(read, statistics)))


def first_level(page):
    return page.split('<details id="statistics"')[0]


def configuration(page):
    (text,) = (text for text in re.findall("<pre[^>]*>(.+?)</pre>", page, re.DOTALL) if "depth: " in text)
    return TrialConfig.model_validate(yaml.safe_load(text))


def test_the_first_level_of_a_verdict(deep):
    read, statistics = deep
    first = first_level(page_of(read, statistics))
    text = describe_verdict(statistics.verdict)
    positions = [first.index(part) for part in (text.recommendation, text.accuracy, text.cost, "Accuracy by depth")]
    assert positions == sorted(positions)
    assert text.undecided in first
    for figure in ("verdict", "verdict-gap", "curves", "kept", "kept-last", "confusion"):
        assert f'data-figure="{figure}"' in first
    assert re.findall(r'<section id="(.+?)"', first) == ["answer", "curves", "peak", "confusion", "test"]


def test_the_configuration_of_the_recommended_depth_can_be_copied(deep):
    config = configuration(first_level(page_of(*deep)))
    assert (config.depth, config.depth_phase.lr, config.head_phase.epochs) == (5, 0.00123, 2)


def test_the_configuration_of_the_best_trial_can_be_copied(place):
    read = read_study("best", place)
    best = read.complete.iloc[0]
    config = configuration(first_level(page_of(read, summarize(read))))
    assert config == read.config(int(best["number"]))
    assert (config.depth, config.depth_phase.lr) == (best["depth"], best["depth_phase.lr"])


def test_the_next_commands_confirm_and_export(deep, place):
    first = first_level(page_of(*deep))
    assert f"drft-study confirm {place / 'deep'}</pre>" in first
    assert f"drft-study export {place / 'deep'} --out model</pre>" in first


@pytest.mark.parametrize(
    ("folder", "url", "where"),
    [
        ("results/deep", None, "deep"),
        ("results/deep", "postgresql://me@host/db", "deep --storage postgresql://me@host/db"),
        ("my work/deep", None, "'my work/deep'"),
        ("x/deep", "postgresql://me@host/db", "deep --storage postgresql://me@host/db --results x"),
    ],
)
def test_commands_name_the_study_as_the_command_line_takes_it(deep, folder, url, where):
    read, statistics = deep
    url = url or str((Path(folder) / "study.db").resolve())
    read = replace(read, info=replace(read.info, folder=Path(folder), url=url))
    assert f"drft-study confirm {where}</pre>" in page_of(read, statistics)


@pytest.mark.parametrize("opened", ["test", "promise_on_test"])
def test_after_the_confirmation_the_next_commands_export_and_predict(deep, opened):
    read, statistics = deep
    first = first_level(page_of(read, replace(statistics, **{opened: Withheld("the test images are elsewhere")})))
    assert "drft-study confirm" not in first
    assert "drft-study predict model IMAGES</pre>" in first


def test_everything_else_is_in_a_closed_section(deep):
    page = page_of(*deep)
    assert '<details id="statistics">' in page
    statistics = page.split('<details id="statistics">')[1].split("</main>")[0]
    sections = re.findall(r'<section id="(.+?)"', statistics)
    assert sections[:2] == ["depth", "search-peak"]
    assert {"importance", "selection", "noise", "pruning", "cost", "trials", "provenance", "limits"} <= set(sections)
    assert set(re.findall(r'<a href="#(.+?)"', statistics.split("</nav>")[0])) == set(sections)
    for part in ('id="trial-table"', 'data-figure="depth"', 'data-figure="gap"', 'data-figure="search-curves"'):
        assert part in statistics
    assert "Recommended settings" in statistics


def test_the_markdown_report_has_the_same_levels(deep):
    read, statistics = deep
    text = markdown_page(read, statistics, write_chapters(read, statistics))
    first, folded = text.split("<details>\n")
    assert "\n    drft-study export" in first
    assert "\n    depth: 5\n" in first
    assert "## Which classes are recognised" in first
    assert "## All trials" in folded.split("</details>")[0]
    assert text.count("</details>") == 1


def test_the_kept_epoch_is_compared_with_the_last(deep):
    first = first_level(page_of(*deep))
    assert "The 10 trainings at depth 5 keep epoch 4 of 6" in first
    assert "accuracy is 80.0% there and 70.0% at the last epoch, 10.0 points more" in first


def test_a_class_that_is_never_recognised_is_named(deep):
    assert 'The class "proliferative" is never recognised: 0 of 20 images.' in first_level(page_of(*deep))


def test_a_class_that_the_best_trial_never_recognises_is_named(place):
    read = read_study("best", place)
    found = grading(np.array([0, 1, 1, 2]), np.eye(5)[[0, 0, 0, 2]])
    chapter = confusion.chapter(read, replace(summarize(read), grading=found))
    assert chapter.parts[0].text == 'The class "mild" is never recognised: 0 of 2 images.'
    assert confusion.never_recognised(grading(np.arange(5), np.eye(5)), "abcde") == ""
    assert confusion.never_recognised(grading(np.arange(5), np.eye(5)[[0, 1, 2, 3, 3]]), "abcde").endswith(
        "0 of 1 image."
    )


def test_a_study_without_finalists_shows_the_search_and_the_command_that_continues_it(place):
    read = read_study("young", place)
    first = first_level(page_of(read, summarize(read)))
    assert "There is no verdict on depth: the finalists of the depths are not trained yet" in first
    for figure in ("depth", "gap", "curves", "peak"):
        assert f'data-figure="{figure}"' in first
    assert f"{read.info.command}</pre>" in first
    assert "drft-study export" not in first


def test_the_best_trial_comes_with_the_accuracy_to_expect(place):
    statistics = summarize(read_study("best", place))
    corrected = CorrectedScore(0.59, Estimate(0.51, 0.4, 0.62, 83), 0.08, 120)
    gain, *_ = answer(replace(statistics, corrected=corrected))
    assert "on other images, about 51.0% are expected of it (95% interval 40.0 to 62.0, n = 83 images)" in gain.text


def test_no_line_joins_points_of_trials(deep, place):
    best = read_study("best", place)
    figures = [*all_figures(write_chapters(*deep)), *all_figures(write_chapters(best, summarize(best)))]
    joined = {
        figure.id
        for figure in figures
        for drawing in figure.drawings.values()
        for trace in drawing.data
        if trace.type == "scatter" and "markers" in trace.mode and "lines" in trace.mode
    }
    fitted, over_epochs = {"verdict", "verdict-gap"}, {"early-ranks"}
    assert joined <= fitted | over_epochs
