"""What pruning saved, and what it may have cost."""

from study.analysis import Statistics, Withheld
from study.analysis.pruning import PrunerAudit
from study.report.chapters.parts import Chapter, Text
from study.report.wording import exact_interval, number, percent
from study.results.progress import counted
from study.results.study_results import StudyResults


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Audit the pruner on the trials of the control arm, which are never pruned."""
    return Chapter("pruning", "Pruning", "What pruning saved and cost", (Text(pruning_text(statistics.pruner)),))


def pruning_text(audit: PrunerAudit | Withheld) -> str:
    """Return what the pruner saved, and which trials of the control arm it would have stopped."""
    if isinstance(audit, Withheld):
        return f"The pruner is not audited: {audit.reason}."
    savings, stopped = audit.savings, round(audit.flagged.value * audit.control)
    return (
        f"Pruning ended {counted(savings.pruned, 'trial')} early and saved {counted(savings.epochs_saved, 'epoch')}, "
        f"{percent(savings.share)} of all that were planned for the finished trials, about {number(savings.hours, 2)} "
        f"hours of work. The control arm, {counted(audit.control, 'completed trial')} chosen by their number alone, "
        f"was never pruned: the pruner would have stopped {stopped} of them ({exact_interval(audit.flagged)}). "
        f"{_cost(audit)}"
    )


def _cost(audit: PrunerAudit) -> str:
    winners, missed = audit.winners, audit.missed
    if isinstance(winners, Withheld) or isinstance(missed, Withheld):
        return "They do not show what pruning costs."
    best = " One of them is the best trial of the study." if audit.killed_best else ""
    regret = audit.regret
    lost = "" if regret is None else f" Without them the control arm's best would score {number(regret, 3)} less."
    return (
        f"Of these, {round(winners.value * winners.n)} ended among the study's best five ({exact_interval(winners)})."
        f"{best}{lost} If the pruned trials were like them, about {number(missed.value, 0)} would have ended as high "
        f"as the current fifth best; {number(missed.low or 0.0, 0)} to {number(missed.high or 0.0, 0)} are "
        "compatible with so small a control arm."
    )
