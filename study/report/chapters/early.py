"""How early one can tell which trials will be good."""

from collections.abc import Mapping

import plotly.graph_objects as go

from study.analysis import Early, EarlyGroup, Estimate, Statistics, Withheld
from study.report import figures
from study.report.chapters.parts import Chapter, FigurePair, Part, Table, Text, exhibit, wide
from study.report.wording import number, percent
from study.results.study_results import StudyResults

SURE = 0.7
"""A tau from which on ranks may be called settled: of two trials, the one ahead ends ahead in about 85 of 100."""

_HEADINGS = ("trials", "n", "tau after the head phase", "best quarter kept", f"first step with tau of {SURE:g} or more")


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show how far scores at each step rank the final ones, over all trials and at each depth."""
    found = statistics.early
    pair = FigurePair(
        exhibit("early-ranks", "Do early ranks hold?", found, _ranks, _ranks_caption),
        exhibit("early-recall", "Would the best have been kept?", found, _recall, _recall_caption),
    )
    parts: tuple[Part, ...] = (Text(early_text(found)),)
    if not isinstance(found, Withheld):
        parts = (*parts, pair, _table(found))
    return Chapter("early", "Early", "How early can one tell?", parts)


def early_text(found: Early | Withheld) -> str:
    """Say how far the head phase alone, and each step after it, tells who will be good."""
    if isinstance(found, Withheld):
        return f"Not said: {found.reason}."
    everyone = found.everyone
    return " ".join(
        (
            f"Over {everyone.n} trials that ran to their end, {_at_head(everyone)}",
            _settled(everyone),
            _without_pruning(found),
        )
    )


def _at_head(group: EarlyGroup) -> str:
    tau, kept = group.head.tau, group.head.recall
    if isinstance(tau, Withheld) or isinstance(kept, Withheld):
        reason = tau.reason if isinstance(tau, Withheld) else "its ranks are too few"
        return f"nothing is said of the head phase alone: {reason}."
    return (
        f"the head phase alone ranks final scores at a Kendall's tau of {_tau(tau)}; keeping the upper half after it "
        f"would have kept {round(kept.value * kept.n)} of the {kept.n} trials that end in the best quarter "
        f"(exact 95% interval {percent(kept.low or 0.0)} to {percent(1.0 if kept.high is None else kept.high)}), "
        "where chance keeps about half."
    )


def _settled(group: EarlyGroup) -> str:
    step = first_sure_step(group)
    if step is None:
        return f"At no step before the last does tau reach {SURE:g}: early scores do not settle the order here."
    return f"Tau reaches {SURE:g} at step {step}."


def _without_pruning(found: Early) -> str:
    if isinstance(found.control, Withheld):
        arm = f"The control arm alone is not shown: {found.control.reason}."
    else:
        arm = f"In the control arm alone, {_at_head(found.control)}"
    if not found.pruned:
        return "No trial was pruned."
    return (
        f"The ends of {found.pruned} pruned trials are not known; those that were let run differ less in their early "
        f"scores than all would, so agreement among them is rather too low. {arm}"
    )


def first_sure_step(group: EarlyGroup) -> int | None:
    """Return the first step whose tau is at least ``SURE``; None where there is none before the last."""
    return next((look.step for look in group.looks if isinstance(look.tau, Estimate) and look.tau.value >= SURE), None)


def _ranks(found: Early) -> Mapping[str, go.Figure]:
    return wide(figures.early_ranks(found))


def _ranks_caption(found: Early) -> str:
    return (
        "Kendall's tau-b between the best validation score up to a step and the best of the whole training, over "
        f"{found.everyone.n} completed trials, with 95% bootstrap intervals over trials; thin lines are depths with at "
        "least ten of them. The best so far is part of the best of all, so tau must come to 1 at the end."
    )


def _recall(found: Early) -> Mapping[str, go.Figure]:
    return wide(figures.early_recall(found))


def _recall_caption(found: Early) -> str:
    return (
        "Of the trials that end in the best quarter, the share that is in the upper half at each step: what a rule "
        "that stops half of the trials there, as successive halving does, would have kept. Exact 95% intervals; chance "
        "keeps about half, and some more where many tie (dotted line)."
    )


def _table(found: Early) -> Part:
    groups = [("all", found.everyone), *((f"depth {group.depth}", group) for group in found.depths)]
    if not isinstance(found.control, Withheld):
        groups.insert(1, ("control arm", found.control))
    caption = "Completed trials by depth; depths with fewer than ten are left out, for their ranks would say nothing."
    return Table("How early each depth can be told", caption, _HEADINGS, [_row(*one) for one in groups])


def _row(name: str, group: EarlyGroup) -> tuple[str, ...]:
    tau, kept, sure = group.head.tau, group.head.recall, first_sure_step(group)
    return (
        name,
        str(group.n),
        "" if isinstance(tau, Withheld) else _tau(tau),
        "" if isinstance(kept, Withheld) else f"{round(kept.value * kept.n)} of {kept.n}",
        "none" if sure is None else str(sure),
    )


def _tau(tau: Estimate) -> str:
    if tau.low is None or tau.high is None:
        return number(tau.value, 2)
    return f"{number(tau.value, 2)} ({number(tau.low, 2)} to {number(tau.high, 2)})"
