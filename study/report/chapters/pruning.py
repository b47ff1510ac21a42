"""What pruning saved, and what it may have cost."""

from study.analysis import Estimate, PrunerAudit, Savings, Statistics, Withheld
from study.report.chapters.parts import Chapter, Text
from study.report.wording import number, percent
from study.results.study_results import StudyResults


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Audit the pruner on the trials that were never to be pruned."""
    return Chapter("pruning", "Pruning", "What pruning saved and cost", (Text(pruning_text(statistics.pruner)),))


def pruning_text(audit: PrunerAudit | Withheld) -> str:
    """Say what the control arm tells about the pruner."""
    if isinstance(audit, Withheld):
        return f"The pruner is not audited: {audit.reason}."
    return " ".join((_saved(audit.savings), _flagged(audit), _cost(audit)))


def _saved(savings: Savings) -> str:
    return (
        f"Pruning ended {savings.pruned} trials early and spared {savings.epochs_saved} epochs, "
        f"{percent(savings.share)} of all that were planned for the trials that ended, about "
        f"{number(savings.hours, 2)} hours of work."
    )


def _flagged(audit: PrunerAudit) -> str:
    stopped = round(audit.flagged.value * audit.control)
    return (
        f"The control arm, {audit.control} completed trials chosen by their number alone, was never pruned: the pruner "
        f"would have stopped {stopped} of them ({_exact(audit.flagged)})."
    )


def _cost(audit: PrunerAudit) -> str:
    winners, missed = audit.winners, audit.missed
    if isinstance(winners, Withheld) or isinstance(missed, Withheld):
        return "So what it costs cannot be told from them."
    best = " One of them is the best trial of the study." if audit.killed_best else ""
    regret = audit.regret
    lost = "" if regret is None else f" Without them the control arm's best would score {number(regret, 3)} less."
    return (
        f"Of these, {round(winners.value * winners.n)} ended among the study's best five ({_exact(winners)})."
        f"{best}{lost} If the pruned trials were like them, about {number(missed.value, 0)} would have ended as high "
        f"as today's fifth best; {number(missed.low or 0.0, 0)} to {number(missed.high or 0.0, 0)} are "
        "compatible with so small a control arm."
    )


def _exact(share: Estimate) -> str:
    return f"exact 95% interval {percent(share.low or 0.0)} to {percent(1.0 if share.high is None else share.high)}"
