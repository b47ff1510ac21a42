"""How trials came to their depths: what comparing depths with each other may rest on."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from study.analysis.estimators.intervals import Withheld

EVEN_SAMPLERS = ("random", "qmc", "grid")
"""Samplers that choose without looking at scores."""


class Design(NamedTuple):
    """Depths that were chosen without looking at scores."""

    pruned: bool
    """Whether trials may have been pruned: such trials count with their best score so far."""
    learning: bool
    """Whether each depth had a sampler of its own that learns from the scores at this depth."""
    note: str
    """What this limits, in words; empty for nothing."""


def depth_design(space: str, sampler: str, pruned: int) -> Design | Withheld:
    """Say whether trials of different depths may be compared as random draws.

    Args:
        space: the search space as written (YAML).
        sampler: name of the study's sampler.
        pruned: how many trials were pruned.
    """
    learning = sampler not in EVEN_SAMPLERS
    written = yaml.safe_load(space)
    isolated = isinstance(written, dict) and _isolates_depth(written)
    if learning and not isolated:
        return Withheld(
            f"the sampler {sampler} gave more trials, and better ones, to depths that began well; "
            "search_spaces/depth_isolation.yaml, or --sampler random, gives all depths the same chance"
        )
    notes = []
    if learning:
        notes.append(
            f"at each depth {sampler} learned from its earlier trials, and the figures treat them as independent"
        )
    if pruned:
        notes.append(f"{pruned} pruned trials count with their best score so far")
    return Design(pruned > 0, learning, "; ".join(notes))


def _isolates_depth(written: Mapping[str, Any]) -> bool:
    """Tell whether every depth has a sub-study; shares of several backbones' blocks do not, in each of them."""
    isolate, search = written.get("isolate"), written.get("search")
    several = isinstance(search, dict) and "backbone.name" in search
    return isolate == "depth" or (isolate == "depth_fraction" and not several)
