"""The first screen: below the answers, accuracy and gap by depth, the configuration to copy and the next commands."""

import shlex
from collections.abc import Iterator

import yaml

from drft.config.trial_config import TrialConfig, config_paths, nested
from study.analysis import Statistics, Withheld
from study.analysis.verdict import Verdict
from study.report import figures
from study.report.chapters.depth import search_by_depth
from study.report.chapters.parts import Chapter, Code, Pair, Part, Text, make_figure
from study.report.wording import points
from study.results.finalists_plan import read_finalists
from study.results.metric_names import metric_name
from study.results.study_results import StudyResults
from study.space.settings import get_setting

_CONFIGURATION = (
    "Every setting that was searched, and every other one that differs from its default. In Python, "
    "drft.TrialConfig.model_validate(yaml.safe_load(TEXT)) reads it."
)


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show what the answers rest on, and what to do with them."""
    parts = (
        *_goal(results),
        *_limit(results),
        *_backbone(results, statistics),
        *_by_depth(results, statistics),
        *_to_copy(results, statistics),
    )
    return Chapter("answer", "Answer", "The answer", parts)


def _goal(results: StudyResults) -> tuple[Text, ...]:
    """Define "best" when the metric is not accuracy, since the answers are about accuracy."""
    metric = results.info.metric
    if metric == "accuracy":
        return ()
    goal = f"the {'lowest' if metric == 'nll' else 'highest'} {metric_name(metric)}"
    return (Text(f"The best trial and the best epoch are those with {goal}; accuracies are the ones they reached."),)


def _limit(results: StudyResults) -> tuple[Text, ...]:
    """State which trials can be the best when the study limits the gap."""
    limit, n, within = results.info.max_gap, len(results.complete), len(results.eligible)
    if limit is None or not n:
        return ()
    text = f"Only trials with a gap of {points(limit)} or less at their best epoch can be best: {within} of {n} can."
    return (Text(text if within else f"{text} There is no best trial."),)


def _backbone(results: StudyResults, statistics: Statistics) -> tuple[Text, ...]:
    """Name the backbone whose depths follow, when the study has several."""
    if isinstance(statistics.backbones, Withheld):
        return ()
    best = results.of_best_backbone(results.complete)["backbone.name"].iloc[0]
    text = (
        f"The study has {len(results.info.backbones)} backbones, and the same number of blocks is a different share "
        "of each. All results by depth, including the gaps and the curves, are those of "
        f"{best} alone, the backbone of the best trial."
    )
    return (Text(text),)


def _by_depth(results: StudyResults, statistics: Statistics) -> Iterator[Part]:
    """Yield accuracy and gap of the cross-validated depths; without a verdict, those of the search's trials."""
    verdict = statistics.verdict
    if isinstance(verdict, Withheld):
        if results.info.goal == "depth":
            yield Text(f"There is no verdict on depth: {verdict.reason}.")
        yield search_by_depth(results, statistics)
        return
    yield Pair(
        make_figure(
            "verdict",
            "Accuracy by depth",
            verdict,
            lambda verdict: figures.verdict_accuracy(verdict, statistics.floor),
            _accuracy_caption,
        ),
        make_figure("verdict-gap", "Gap by depth", verdict, figures.verdict_gap, _gap_caption),
    )


def _accuracy_caption(verdict: Verdict) -> str:
    return (
        f"Expected accuracy of one training on new images, out of fold over {verdict.images} images, smoothed over "
        "depth; the 95% intervals hold for all depths together. The diamond is the recommended depth: the shallowest "
        f"within {100 * verdict.tolerance:g} points of the best with probability {verdict.confidence:.0%}"
        + (". " if verdict.certain else "; none is, so the one with the smallest expected loss. ")
        + f"Trainings that differ in seed and fold alone differ by {points(verdict.training_sd)} (sd)."
    )


def _gap_caption(verdict: Verdict) -> str:
    first, last = verdict.by_depth[0], verdict.by_depth[-1]
    return (
        "Training minus validation accuracy of the same trainings, with 95% intervals for all depths together. At the "
        f"last epoch it is {points(first.gap_last.value)} at depth {first.depth} and {points(last.gap_last.value)} at "
        f"depth {last.depth}; at the epoch that is kept, chosen on the other folds, {points(first.gap.value)} and "
        f"{points(last.gap.value)}."
    )


def _to_copy(results: StudyResults, statistics: Statistics) -> Iterator[Part]:
    """Yield the configuration of the answer and the next commands."""
    title, config = _configuration(results, statistics.verdict)
    commands = Code("What to do next", tuple(_next_commands(results, statistics)))
    if config is None:
        yield commands
        return
    searched = {"depth", *results.info.dimensions}
    values = {
        path: get_setting(config, path)
        for path in config_paths()
        if path in searched or get_setting(config, path) != get_setting(TrialConfig(), path)
    }
    text = yaml.safe_dump(nested(values), sort_keys=False, allow_unicode=True)
    yield Pair(Code(title, ((_CONFIGURATION, text.rstrip()),)), commands)


def _configuration(results: StudyResults, verdict: Verdict | Withheld) -> tuple[str, TrialConfig | None]:
    """Return the configuration that the answer is about, and its title; None if there is none."""
    if not isinstance(verdict, Withheld) and (finalists := read_finalists(results)):
        chosen = next(each for each in finalists.plan.finalists if each.depth == verdict.recommended_depth)
        return "The recommended configuration", chosen.config
    if results.eligible.empty:
        return "", None
    number = int(results.eligible["number"].iloc[0])
    return f"The configuration of the best trial, {number}", results.config(number)


def _next_commands(results: StudyResults, statistics: Statistics) -> Iterator[tuple[str, str]]:
    """Yield what each command does, and the command."""
    info = results.info
    if results.eligible.empty or (info.goal == "depth" and isinstance(statistics.verdict, Withheld)):
        yield "There is no answer yet. This command continues the study.", info.command
        return
    where = info.arguments()
    closed = statistics.test is None and statistics.promise_on_test is None and info.split["n_test"]
    if closed:
        after = ", after new trainings" if isinstance(statistics.verdict, Withheld) else ""
        opens = f"Opens the {info.split['n_test']} held-out test images, once{after}."
        yield opens, shlex.join(["drft-study", "confirm", *where])
    model = "the best trial's model" if isinstance(statistics.verdict, Withheld) else "the ensemble"
    yield f"Writes {model} with a model card.", shlex.join(["drft-study", "export", *where, "--out", "model"])
    if not closed:
        yield "Classifies the images of a folder with the exported model.", "drft-study predict model IMAGES"
