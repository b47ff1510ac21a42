"""How ``--timeout`` is divided between the search and its finalists."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from rich.console import Console

from study import run
from study.results.progress import StudyProgress
from study.setup.options import RunOptions
from study.tuner.stopping import RunOutcome


@pytest.mark.parametrize(("trials", "seconds"), [(3, 50.0), (45, 50.0), (195, 75.0)])
def test_the_search_has_at_least_half_of_the_time(monkeypatch, trials, seconds):
    """Nine depths have 65 trainings of finalists: three trials would have four seconds, and none would end."""
    limits = []

    def search(_plan, options, *_):
        limits.append(options.timeout)
        return RunOutcome("interrupted", StudyProgress(), 1.0)

    plan = SimpleNamespace(
        metadata=SimpleNamespace(goal="depth"),
        folder=None,
        dataset=SimpleNamespace(images=()),
        space=SimpleNamespace(values=lambda _name: range(9)),
    )
    replaced = {
        "run_trials": search,
        "choose_executor": lambda *_: nullcontext(SimpleNamespace(description="")),
        "opening_lines": lambda *_: [],
        "write_image_list": lambda *_: None,
        "find_floor": lambda _plan: None,
        "floor_line": lambda _floor: "",
    }
    for name, function in replaced.items():
        monkeypatch.setattr(run, name, function)
    run.run_plan(plan, RunOptions(trials=trials, timeout=100.0), Console(quiet=True))
    assert limits == [pytest.approx(seconds)]
