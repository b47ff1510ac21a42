"""Fine-tune a network of one's own.

``PYTHONPATH=examples python examples/own_network.py [DATA] [TRIALS]``

The processes that train import this module by its name; ``PYTHONPATH`` tells them where it is.
"""

import sys

from torch import nn

from study import run_study


def small(classes: int) -> nn.Module:
    """Return a network with random weights; load weights of your own here."""

    def stage(before: int, after: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())

    features = nn.Sequential(stage(3, 16), stage(16, 32), stage(32, 64))  # three blocks: depths 0 to 3
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


if __name__ == "__main__":
    data, trials = sys.argv[1] if len(sys.argv) > 1 else "synthetic", int(sys.argv[2]) if len(sys.argv) > 2 else 20
    study = run_study(data=data, backbone="own_network:small", trials=trials, space="quick")
    print(study)
