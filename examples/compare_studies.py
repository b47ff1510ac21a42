"""Compare studies of the same images.

``python examples/compare_studies.py STUDY OTHER ... [--results FOLDER]``

The first study is compared with each of the others, image by image.
"""

import argparse
from pathlib import Path

from study.analysis import Estimate, Withheld
from study.compare.comparison import compare

parser = argparse.ArgumentParser()
parser.add_argument("studies", nargs="+")
parser.add_argument("--results", type=Path, default=Path("results"))
arguments = parser.parse_args()


def text(estimate: Estimate | Withheld) -> str:
    """Return an estimate with its interval, or the reason why there is none."""
    if isinstance(estimate, Withheld):
        return estimate.reason
    return f"{estimate.value:.1%} (95% interval {estimate.low:.1%} to {estimate.high:.1%})"


comparison = compare(arguments.studies, arguments.results)
for side in comparison.sides:
    print(f"{side.name}, {side.trainings} trainings: expected accuracy {text(side.expected)}")
for pair in comparison.against:
    print(f"{pair.one} minus {pair.other}, {pair.unpaired or 'image by image'}: {text(pair.difference)}")
