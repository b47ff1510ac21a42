"""Which trainings of a study's finalists are still to come."""

from collections.abc import Collection, Sequence

from study.analysis.evidence import read_evidence
from study.analysis.verdict import CONFIDENCE, decide_depth
from study.results.finalists_plan import CONTENDERS, Finalists, FinalistsPlan


def are_finished(finalists: Finalists) -> bool:
    """Return whether no training of any round is left: then the verdict and the model do not change any more."""
    return not next_trainings(finalists.plan, finalists)


def next_trainings(plan: FinalistsPlan, finalists: Finalists | None, given_up: Collection[int] = ()) -> list[int]:
    """Return the trainings that come next and are not over; none at the end.

    The leading depths are in all rounds, and so is the depth that is recommended in the end: the gain of an ensemble
    is known from several rounds alone.

    Args:
        plan: of the finalists.
        finalists: what is trained; None for nothing.
        given_up: trainings that are not waited for, such as those that failed for good.
    """
    over = {*given_up, *(finalists.done if finalists else ()), *(finalists.diverged if finalists else ())}
    for number in range(plan.rounds):
        missing = [index for index in plan.indices(number, _contenders(plan, finalists, number)) if index not in over]
        if missing or finalists is None:
            return missing
    assert finalists is not None
    depths = read_evidence(finalists).depths
    if len(depths) < 2:
        return []
    recommended = [plan.position(decide_depth(depths).recommended_depth)]
    rounds = (plan.indices(number, recommended) for number in range(plan.rounds))
    return [index for indices in rounds for index in indices if index not in over]


def _contenders(plan: FinalistsPlan, finalists: Finalists | None, number: int) -> Sequence[int]:
    """Return the positions of the finalists of a round: in the first round all of them.

    Later, the depths whose accuracy is most probably within the tolerance of the best one's, if that is not unlikely.
    """
    if number == 0 or finalists is None:
        return range(len(plan.finalists))
    depths = read_evidence(finalists, number).depths
    if len(depths) < 2:
        return []
    likely = sorted(decide_depth(depths).by_depth, key=lambda row: -row.probability_within)[:CONTENDERS]
    return sorted(plan.position(row.depth) for row in likely if row.probability_within > 1 - CONFIDENCE)
