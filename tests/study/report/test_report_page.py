import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from plotly.offline import get_plotlyjs

from study.analysis import summarize
from study.analysis.confirmation import score_retrained
from study.analysis.sweep_on_test import sweep_on_test
from study.report.chapters import write_chapters
from study.report.chapters.test_set import HELD_OUT
from study.report.page import html_page, markdown_page
from study.results.retrained import RetrainedConfig
from study.results.study_results import read_study

COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
NASTY = '<script>alert("x")</script>&{{ 7*7 }}'


class Page(HTMLParser):
    """Collects resources, tags, rows, scripts and ids of a page."""

    def __init__(self, text):
        super().__init__()
        self.resources, self.tags, self.rows, self.scripts, self.ids = [], [], [], [], []
        self._open = None
        plotly = get_plotlyjs()
        assert plotly in text
        self.feed(text.replace(plotly, "plotly"))  # parsing 5 MB of JavaScript takes long

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.tags.append((tag, named))
        self.ids += [named["id"]] if "id" in named else []
        if tag != "a":
            self.resources += [named[key] for key in ("src", "href", "data", "action") if key in named]
        if tag == "tr" and "data-state" in named:
            self.rows.append(named["data-state"])
        if tag == "script":
            self.scripts.append("")
            self._open = tag

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        if self._open:
            self.scripts[-1] += data


def page_of(read):
    statistics = summarize(read)
    return html_page(read, statistics, write_chapters(read, statistics))


def markdown_of(read):
    statistics = summarize(read)
    return markdown_page(read, statistics, write_chapters(read, statistics))


@pytest.fixture(scope="module")
def read(demo):
    return read_study("demo", demo)


@pytest.fixture(scope="module")
def text(read):
    return page_of(read)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_page_needs_no_network(page, text):
    assert page.resources == []
    assert "default-src 'none'" in text
    assert not re.search(r"@import|url\(", text.split("</style>")[0])
    assert len(text.encode()) < 8_000_000


def test_page_begins_with_banner_and_answers_and_ends_with_the_disclaimer(text):
    first, last = text.split("<figure", 1)[0], text.split("</main>")[1]
    assert "Rendered images, not patients" in first
    for question in (
        "What does training deeper gain?",
        "What does it cost in generalization?",
        "Which epoch should be kept?",
    ):
        assert question in first
    assert "For research and education only" in last


def test_real_images_have_no_banner(make_study, tmp_path):
    dataset = {"name": "idrid", "fingerprint": "ab" * 32, "rendered": False, "notes": [], "n": 516}
    make_study(tmp_path, "real", [COMPLETE] * 2, cohort=json.dumps(dataset))
    assert "Rendered images" not in page_of(read_study("real", tmp_path))


def test_every_trial_has_a_row(page, read):
    assert len(page.rows) == len(read.trials) == 60
    assert set(page.rows) == {"completed", "pruned", "failed", "running", "waiting"}


def test_all_figures_are_drawn_from_plain_lists(page):
    ids = [named["data-figure"] for _, named in page.tags if "data-figure" in named]
    figures = json.loads(page.scripts[0])
    assert set(ids) == set(figures)
    importances = {"score-importance", "gap-importance", "score-fanova", "gap-fanova"}
    early = {"early-ranks", "early-recall"}
    assert {"curves", "gap", "depth", "peak", "saved", "rising", *importances, *early, "cost", "history"} == set(ids)
    assert set(figures["curves"]) == {"wide", "narrow"}
    assert "bdata" not in page.scripts[0]  # packed arrays need a recent plotly


def test_ids_are_unique_and_links_have_targets(page):
    assert len(page.ids) == len(set(page.ids))
    targets = [named["href"][1:] for tag, named in page.tags if tag == "a" and named["href"].startswith("#")]
    assert targets
    assert set(targets) <= set(page.ids)


def test_test_set_is_not_opened(text):
    assert HELD_OUT in text


def test_markup_in_names_is_escaped(make_study, tmp_path):
    texts = {"space": f"# {NASTY}", "command": NASTY, "source": f"</script>{NASTY}"}
    make_study(tmp_path, NASTY, [COMPLETE] * 6 + [FAIL, PRUNED], folder="nasty", **texts)
    read = read_study("nasty", tmp_path)
    page = Page(page_of(read))
    assert len(page.scripts) == 4  # figures, trials, plotly, ours
    assert not any("alert(" in script for script in page.scripts)
    assert "<script>" not in markdown_of(read)


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        ([], "no trial has completed"),
        ([FAIL] * 3, "no trial has completed"),
        ([PRUNED] * 3, "no trial has completed"),
        ([TrialState.RUNNING, TrialState.WAITING], "no trial has completed"),
        ([COMPLETE], "a paired bootstrap needs at least 5 completed trials, there are 1"),
        ([COMPLETE] * 6, "importance needs at least 20 completed trials, there are 6"),
    ],
)
def test_too_few_trials_give_a_reason(make_study, tmp_path, states, reason):
    make_study(tmp_path, "few", states)
    read = read_study("few", tmp_path)
    assert reason in page_of(read)
    assert reason in markdown_of(read)


def test_markdown_holds_answers_table_and_disclaimer(read):
    text = markdown_of(read)
    assert text.startswith("# How deep should one fine-tune? demo\n")
    assert "> **Rendered images" in text
    lines = text.splitlines()
    header = next(n for n, line in enumerate(lines) if line.startswith("| depth"))
    assert {line.count("|") for line in lines[header : header + 8]} == {9}
    assert "For research and education only" in text


def test_limits_mention_pruning_an_adaptive_sampler_and_another_metric(text, make_study, tmp_path):
    assert "pruned before the end. Statistics over whole trials" in text
    assert "The sampler (tpe) learns" in text
    make_study(tmp_path, "plain", [COMPLETE] * 2, sampler="random", metric="qwk")
    plain = page_of(read_study("plain", tmp_path))
    assert "trials were pruned before" not in plain
    assert "learns while it searches" not in plain
    goal = "The best trial and the best epoch are those with the highest quadratic weighted kappa"
    assert goal in plain
    assert goal not in text


def test_a_study_of_several_samplers_is_reported_as_mixed_and_as_adaptive(make_study, tmp_path):
    make_study(tmp_path, "mixed", [COMPLETE] * 20, sampler="random", pruner="none")
    study = optuna.load_study(study_name="mixed", storage=f"sqlite:///{tmp_path / 'mixed' / 'study.db'}")
    more = study.get_trials()[:4]  # copies
    for trial in more:
        trial.set_user_attr("sampler", "tpe")
        trial.set_user_attr("pruner", "asha")
    study.add_trials(more)
    results = read_study("mixed", tmp_path)
    assert (results.info.samplers, results.info.pruners) == (("random", "tpe"), ("none", "asha"))
    page = page_of(results)
    assert "its trials come from samplers random and tpe and pruners none and asha" in page
    assert "The sampler (random and tpe) learns" in page
    statistics = summarize(results)
    assert "the sampler tpe gave more trials" in statistics.equal_depths.reason
    assert all(row.p is None for row in statistics.gap_associations)
    assert "several pruners" in statistics.pruner.reason


def test_an_opened_test_set_is_on_the_first_screen_and_in_its_section(read):
    rng = np.random.default_rng(0)
    grades = rng.integers(0, 5, 53)
    guesses = {name: np.where(rng.random((3, 53)) < 0.5, grades, (grades + 1) % 5) for name in ("baseline", "trial 7")}
    validation = np.full(3, 0.6)
    retrained = [
        RetrainedConfig("baseline", None, 2, (0, 1, 2), 0, validation, guesses["baseline"], None),
        RetrainedConfig("trial 7", 7, 4, (0, 1, 2), 0, validation, guesses["trial 7"], 0.7),
    ]
    opened = score_retrained(retrained, grades, 83)
    right = rng.random((12, 83)) < 0.6, rng.random((12, 53)) < 0.5
    statistics = replace(summarize(read), test=opened, swept=sweep_on_test(np.arange(12), np.arange(12) % 4, *right))
    text = html_page(read, statistics, write_chapters(read, statistics))
    first, section = text.split("<figure", 1)[0], text.split('<section id="test"')[1].split("</section>")[0]
    assert "test accuracy of trial 7, trained again on 3 seeds" in first
    for words in ("baseline", "trial 7", "winner's curse", "Kendall's tau"):
        assert words.replace("'", "&#39;") in section
    without = replace(statistics, test=score_retrained(retrained[:1], grades, 83))  # all trainings of trial 7 diverged
    assert "trained again on" not in html_page(read, without, write_chapters(read, without)).split("<figure", 1)[0]
    assert HELD_OUT not in text
    assert text.index('<section id="test"') < text.index('<details id="statistics"')
