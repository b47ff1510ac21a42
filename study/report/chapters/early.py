"""How early the final ranking of trials can be predicted."""

from study.analysis import Estimate, Statistics, Withheld
from study.analysis.early import EarlyGroup, EarlyRanking
from study.report import figures
from study.report.chapters.parts import Chapter, Pair, Table, Text, make_figure
from study.report.wording import between, exact_interval
from study.results.study_results import StudyResults

SURE = 0.7
"""A tau from which the ranking may be called settled: of two trials, the one ahead ends ahead in about 85 of 100."""

_HEADINGS = (
    "trials",
    "n",
    "tau after the head phase",
    "best quarter kept",
    f"first epoch with tau of {SURE:g} or more",
)
_RECALL_CAPTION = (
    "Of the trials that end in the best quarter, the share that is in the upper half at each epoch. This is the share "
    "that a rule which stops half of the trials there, such as successive halving, would have kept. Exact 95% "
    "intervals. Chance keeps about half, and more where many trials tie (dotted line)."
)
_TABLE_CAPTION = "Completed trials by depth. Depths with fewer than ten are left out: their ranks would show nothing."


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show how well the scores at each epoch predict the final ranking, over all trials and at each depth."""
    early = statistics.early
    heading = "How early can the best trials be recognized?"
    if isinstance(early, Withheld):
        return Chapter("early", "Early", heading, (Text(early_text(early)),))
    pair = Pair(
        make_figure("early-ranks", "Do early ranks hold?", early, figures.early_ranks, _ranks_caption),
        make_figure(
            "early-recall",
            "Would the best have been kept?",
            early,
            figures.early_recall,
            lambda _: _RECALL_CAPTION,
        ),
    )
    groups = [("all", early.everyone), *((f"depth {group.depth}", group) for group in early.depths)]
    if not isinstance(early.control, Withheld):
        groups.insert(1, ("control arm", early.control))
    rows = [_row(name, group) for name, group in groups]
    table = Table("How early the ranking of each depth is settled", _TABLE_CAPTION, _HEADINGS, rows)
    return Chapter("early", "Early", heading, (Text(early_text(early)), pair, table))


def early_text(early: EarlyRanking | Withheld) -> str:
    """Return how well the head phase alone, and each epoch after it, predicts the final ranking."""
    if isinstance(early, Withheld):
        return f"Not shown: {early.reason}."
    everyone, epoch = early.everyone, first_sure_step(early.everyone)
    settled = (
        f"At no epoch before the last does tau reach {SURE:g}: early scores do not settle the ranking here."
        if epoch is None
        else f"Tau reaches {SURE:g} at epoch {epoch}."
    )
    return f"Over {everyone.n} trials that ran to their end, {_after_head(everyone)} {settled} {_pruned(early)}"


def _after_head(group: EarlyGroup) -> str:
    tau, recall = group.head.tau, group.head.recall
    if isinstance(tau, Withheld) or isinstance(recall, Withheld):
        reason = tau.reason if isinstance(tau, Withheld) else "there are too few ranks"
        return f"nothing can be concluded from the head phase alone: {reason}."
    return (
        f"the head phase alone ranks the final scores with a Kendall's tau of {between(tau, 1, value=True)}. Keeping "
        f"the upper half after it would have kept {round(recall.value * recall.n)} of the {recall.n} trials that end "
        f"in the best quarter ({exact_interval(recall)}); chance keeps about half."
    )


def _pruned(early: EarlyRanking) -> str:
    if not early.pruned:
        return "No trial was pruned."
    control = (
        f"The control arm alone is not shown: {early.control.reason}."
        if isinstance(early.control, Withheld)
        else f"In the control arm alone, {_after_head(early.control)}"
    )
    return (
        f"The final scores of {early.pruned} pruned trials are not known. The early scores of the trials that were not "
        f"pruned vary less than those of all trials, so their agreement is probably underestimated. {control}"
    )


def first_sure_step(group: EarlyGroup) -> int | None:
    """Return the first epoch whose tau is at least ``SURE``; None when there is none before the last epoch."""
    return next((look.step for look in group.looks if isinstance(look.tau, Estimate) and look.tau.value >= SURE), None)


def _ranks_caption(early: EarlyRanking) -> str:
    return (
        "Kendall's tau-b between the best validation score up to an epoch and the best of the whole training, over "
        f"{early.everyone.n} completed trials, with 95% bootstrap intervals over trials. Thin lines are depths with at "
        "least ten trials. The best score so far is part of the best of all, so tau always reaches 1 at the end."
    )


def _row(name: str, group: EarlyGroup) -> tuple[str, ...]:
    tau, recall, epoch = group.head.tau, group.head.recall, first_sure_step(group)
    return (
        name,
        str(group.n),
        "" if isinstance(tau, Withheld) else between(tau, 1, value=True),
        "" if isinstance(recall, Withheld) else f"{round(recall.value * recall.n)} of {recall.n}",
        "none" if epoch is None else str(epoch),
    )
