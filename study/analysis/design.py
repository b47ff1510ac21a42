"""How trials were assigned to depths: whether depths may be compared with each other."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from study.analysis.estimators.intervals import Withheld
from study.results.progress import counted

_NON_ADAPTIVE_SAMPLERS = frozenset({"random", "qmc", "grid"})
"""Samplers that choose independently of scores."""


class Design(NamedTuple):
    """Depths that were chosen independently of scores."""

    pruned: bool
    """Whether trials may have been pruned: such trials count with their best score so far."""
    learning: bool
    """Whether each depth had a sampler of its own that learns from the scores at this depth."""
    note: str
    """What limits the comparison, in words; empty for nothing."""


def is_adaptive(samplers: Sequence[str]) -> bool:
    """Return whether scores of earlier trials decided on the settings of later ones."""
    return not _NON_ADAPTIVE_SAMPLERS.issuperset(samplers)


def depth_design(space: str, samplers: Sequence[str], pruned: int) -> Design | Withheld:
    """Return whether trials of different depths may be compared as random draws.

    Withheld for an adaptive sampler over a space that does not give every depth a sub-study of its own.

    Args:
        space: the search space as written (YAML).
        samplers: names of the samplers that drew the trials.
        pruned: how many trials were pruned.
    """
    learning = " and ".join(name for name in samplers if is_adaptive([name]))
    document = yaml.safe_load(space)
    isolated = isinstance(document, dict) and _isolates_depth(document)
    if learning and not isolated:
        return Withheld(
            f"the sampler {learning} gave more trials, and better ones, to depths that scored well early; "
            "search_spaces/depth_isolation.yaml, or --sampler random, gives all depths the same chance"
        )
    notes = []
    if learning:
        notes.append(
            f"at each depth {learning} learned from its earlier trials, and the figures treat them as independent"
        )
    if pruned:
        notes.append(f"the best score so far counts for {counted(pruned, 'pruned trial')}")
    return Design(pruned > 0, bool(learning), "; ".join(notes))


def _isolates_depth(document: Mapping[str, Any]) -> bool:
    """Return whether every depth has a sub-study of its own."""
    isolate, search = document.get("isolate"), document.get("search")
    several_backbones = isinstance(search, dict) and "backbone.name" in search
    # A share of the blocks is another depth in each backbone, so that one sub-study then mixes depths.
    return isolate == "depth" or (isolate == "depth_fraction" and not several_backbones)
