"""Weights put together, tensor by tensor.

A state holds the tensors that a training changed; those it does not name are the pretrained ones. Running statistics of
batch norms are averaged like weights here, and estimated anew by whoever uses the mixture. Counters are those of the
first state.
"""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

State = Mapping[str, Tensor]


def average(states: Sequence[State], pretrained: State) -> dict[str, Tensor]:
    """Return the mean of some states: a model soup (Wortsman et al. 2022, ICML, *Model soups*).

    Args:
        states: at least one.
        pretrained: every tensor of the network before training.
    """
    names = dict.fromkeys(name for state in states for name in state)
    return {name: _mean([state.get(name, pretrained[name]) for state in states]) for name in names}


def interpolate(tuned: State, pretrained: State, alpha: float, head: Collection[str]) -> dict[str, Tensor]:
    """Return weights between pretrained and tuned ones: WiSE-FT (Wortsman et al. 2022, CVPR).

    The paper interpolates a zero-shot or probed head as well. The head that the head phase left is not stored, so the
    tuned head is kept as it is.

    Args:
        tuned: the state of a trial.
        pretrained: every tensor of the network before training.
        alpha: 0 for the pretrained backbone, 1 for the tuned one.
        head: names of the classifier's tensors.
    """
    return {
        name: tensor if name in head or not tensor.is_floating_point() else torch.lerp(pretrained[name], tensor, alpha)
        for name, tensor in tuned.items()
    }


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    if not tensors[0].is_floating_point():
        return tensors[0]
    return torch.stack(list(tensors)).mean(dim=0)
