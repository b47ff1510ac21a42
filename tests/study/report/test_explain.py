"""What a search space promises before it is run, by the thresholds of the report."""

import pytest

from drft.config.trial_config import TrialConfig
from study.report.explain import Explanation, explain
from study.space import Space

SEARCHED = "search:\n  depth: {type: int, low: 0, high: 4}\n  dropout: {type: float, low: 0, high: 0.5}\n"


def explained(text: str = SEARCHED, trials: int = 100, images: int = 413, blocks: int | None = 5) -> Explanation:
    space = Space.parse(text, "x.yaml")
    return explain(space, space.bind(TrialConfig(), blocks) if blocks else None, trials, images)


def answer(told: Explanation, asks: str) -> str:
    (question,) = (question for question in told.questions if asks in question.asks)
    return question.answered


@pytest.mark.parametrize(
    ("trials", "answered"),
    [(19, "no: 1 trials short"), (20, "yes, unless too many are pruned"), (60, "yes")],
)
def test_importance_needs_the_trials_that_the_report_needs(trials, answered):
    assert answer(explained(trials=trials), "PED-ANOVA") == answered


def test_importance_compares_settings():
    one = "search: {dropout: {type: float, low: 0, high: 0.5}}"
    assert answer(explained(one), "PED-ANOVA") == "no: the space varies one setting"


def test_depths_are_compared_only_where_every_depth_has_the_same_chance():
    assert answer(explained(), "What does depth buy").startswith("no with --sampler tpe")
    isolated = explained(f"isolate: depth\n{SEARCHED}")
    assert answer(isolated, "What does depth buy") == "yes: 20 trials at each depth, their best of 3 compared"
    assert answer(explained(f"isolate: depth\n{SEARCHED}", trials=34), "What does depth buy") == "no: 1 trials short"


def test_depths_that_nobody_can_count_yet():
    text = SEARCHED.replace("high: 4", "high: all")
    assert "--backbone" in answer(explained(text, blocks=None), "gap differ by depth")
    assert answer(explained(text), "gap differ by depth") == "yes"  # 18 trials at 6 depths


def test_a_space_without_depth():
    assert "one depth" in answer(explained("search: {dropout: {type: float, low: 0, high: 0.5}}"), "depth buy")


def test_images_limit_what_is_said_of_them():
    told = explained(images=140)
    assert told.n_validation == 28
    assert answer(told, "suspect") == "no: 2 images short"
    assert answer(told, "flatter") == "yes"
    assert "So few cannot tell two trials apart" in explained(images=40).noise[-1]


def test_the_validation_share_of_the_space_counts():
    assert explained(f"fixed: {{split.validation_fraction: 0.5}}\n{SEARCHED}", images=100).n_validation == 50
    assert explained(f"fixed: {{split.folds: 4, split.fold: 1}}\n{SEARCHED}", images=100).n_validation == 25


def test_more_images_show_smaller_differences():
    few, many = explained().noise[1], explained(images=4130).noise[1]
    shown = [float(line.rpartition(" from ")[2].split()[0]) for line in (few, many)]
    assert shown[0] > 2 * shown[1]
