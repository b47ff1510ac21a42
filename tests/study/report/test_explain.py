"""The questions that a report will answer, by the thresholds of its statistics."""

import pytest

from drft.config.trial_config import TrialConfig
from study.report.explain import Explanation, explain
from study.space import Space

SEARCHED = "search:\n  depth: {type: int, low: 0, high: 4}\n  dropout: {type: float, low: 0, high: 0.5}\n"


def explained(text: str = SEARCHED, trials: int = 100, images: int = 413, blocks: int | None = 5) -> Explanation:
    space = Space.parse(text, "x.yaml")
    return explain(space, space.bind(TrialConfig(), blocks) if blocks else None, trials, images)


def answer(explanation: Explanation, words: str) -> str:
    (question,) = (question for question in explanation.questions if words in question.question)
    return question.answer


@pytest.mark.parametrize(
    ("trials", "expected"),
    [(19, "no: 1 trials short"), (20, "yes, unless too many are pruned"), (60, "yes")],
)
def test_importance_needs_as_many_trials_as_the_report(trials, expected):
    assert answer(explained(trials=trials), "PED-ANOVA") == expected


def test_importance_needs_two_settings():
    one = "search: {dropout: {type: float, low: 0, high: 0.5}}"
    assert answer(explained(one), "PED-ANOVA") == "no: the space varies one setting"


def test_depths_are_compared_only_with_equal_numbers_of_trials():
    assert answer(explained(), "What does training deeper gain").startswith("no with --sampler tpe")
    isolated = explained(f"isolate: depth\n{SEARCHED}")
    assert (
        answer(isolated, "What does training deeper gain") == "yes: 20 trials at each depth, their best of 3 compared"
    )
    assert (
        answer(explained(f"isolate: depth\n{SEARCHED}", trials=34), "What does training deeper gain")
        == "no: 1 trials short"
    )


def test_unknown_number_of_depths():
    text = SEARCHED.replace("high: 4", "high: all")
    assert "--backbone" in answer(explained(text, blocks=None), "gap differ by depth")
    assert answer(explained(text), "gap differ by depth") == "yes"  # 18 trials at 6 depths


def test_a_space_without_depth():
    assert "one depth" in answer(
        explained("search: {dropout: {type: float, low: 0, high: 0.5}}"), "training deeper gain"
    )


def test_statistics_of_images_need_enough_images():
    explanation = explained(images=140)
    assert explanation.n_validation == 28
    assert answer(explanation, "suspect") == "no: 2 images short"
    assert answer(explanation, "How optimistic") == "yes"
    assert "So few images cannot distinguish two trials" in explained(images=40).noise[-1]


def test_validation_share_of_the_space_is_used():
    assert explained(f"fixed: {{split.validation_fraction: 0.5}}\n{SEARCHED}", images=100).n_validation == 50
    assert explained(f"fixed: {{split.folds: 4, split.fold: 1}}\n{SEARCHED}", images=100).n_validation == 25


def test_more_images_show_smaller_differences():
    few, many = explained().noise[1], explained(images=4130).noise[1]
    differences = [float(line.rpartition(" from ")[2].split()[0]) for line in (few, many)]
    assert differences[0] > 2 * differences[1]
