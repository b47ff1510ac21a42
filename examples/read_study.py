"""Read a study back.

``python examples/read_study.py STUDY [RESULTS]``
"""

import sys
from pathlib import Path

from study import read_study, read_verdict
from study.analysis import Withheld

name, results = sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else "results")
study = read_study(name, results)

verdict = read_verdict(study)
if isinstance(verdict, Withheld):
    print(f"No verdict: {verdict.reason}")
else:
    print(f"Recommended depth: {verdict.recommended_depth} of {len(study.info.blocks)}")
    for row in verdict.by_depth:
        print(f"  depth {row.depth}: {row.accuracy.value:.1%} ({row.accuracy.low:.1%} to {row.accuracy.high:.1%})")
print("Floor:", study.floor)

complete = study.complete.astype({"depth": int})
print(complete.groupby("depth")["gap_best"].describe()[["count", "mean", "min", "max"]].round(3))
curve = study.epochs.groupby("step")[["train_accuracy", "val_accuracy"]].mean()
print(curve.round(3))
