"""A search space in Tune's own distributions, and a searcher that gives every depth the same number of trials."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import BaseTrial
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from drft.errors import UsageError
from study.samplers.factory import make_sampler
from study.space import BoundSpace, Choices, Range
from study.tune.configs import bind_space, run_options


def search_space(space: str | Mapping[str, Any] = "default", data: str = "synthetic", **options: Any) -> dict[str, Any]:
    """Return a search space as the ``param_space`` of a ``ray.tune.Tuner``: Tune's distributions by path.

    ``all`` is the number of blocks of the backbone. Tune knows no conditions and draws every dimension; the trainable
    leaves out those that are inactive.

    Args:
        space: name of a shipped search space, path of a YAML file, or a mapping.
        data: is not read; it stands here so that all functions of ``study.tune`` can be given the same options.
        options: fields of ``RunOptions`` that decide what one training is, such as ``backbone``.

    Raises:
        UsageError: when the space, an option or a backbone cannot be used.
    """
    bound = bind_space(run_options(space, data, options))
    return {dimension.path: _distribution(dimension.domain) for dimension in bound.dimensions}


def searcher(
    space: str | Mapping[str, Any] = "default",
    data: str = "synthetic",
    *,
    sampler: str = "tpe",
    maximize: str = "best_score",
    **options: Any,
) -> OptunaSearch:
    """Return a searcher for ``TuneConfig(search_alg=...)`` that gives every depth the same number of trials.

    One Optuna sampler draws the other dimensions, conditional on the depth, as in a study with the goal ``depth``. The
    searcher has the search space, so the ``Tuner`` gets no ``param_space``.

    Args:
        space: as for :func:`search_space`; it searches the depth.
        data: is not read.
        sampler: name of the sampler.
        maximize: the reported metric that the sampler learns from.
        options: as for :func:`search_space`.

    Raises:
        UsageError: when the space does not search the depth, or it or the sampler cannot be used.
    """
    run = run_options(space, data, options)
    bound = bind_space(run)
    if "depth" not in bound.distributions:
        raise UsageError(f"the space {bound.name} does not search depth: use search_space with a searcher of Tune")
    drawn = make_sampler(sampler, seed=run.seed, space=bound, finished_trials=0, goal="depth")
    return OptunaSearch(_Draw(bound), metric=maximize, mode="max", sampler=drawn)


@dataclass(frozen=True, slots=True)
class _Draw:
    """A space as ``OptunaSearch`` takes it. Tune stores searchers with pickle, so it is no function in a function."""

    space: BoundSpace

    def __call__(self, trial: BaseTrial) -> None:
        self.space.suggest(trial)


def _distribution(domain: Range | Choices) -> Any:
    """Return a domain as a distribution of Tune.

    These are choices, too: a single value, and a range whose steps Tune would move. It rounds to multiples of the step,
    whatever the low end is, and before Ray 2.60 it never drew the highest of several integers with a step.
    """
    if isinstance(domain, Choices):
        return tune.choice(list(domain.options))
    values = domain.values()
    if values is not None and len(values) == 1:
        return tune.choice(list(values))
    return _integers(domain) if domain.whole else _floats(domain)


def _integers(domain: Range) -> Any:
    low, high, step = int(domain.low), int(domain.high), int(domain.step or 1)
    if domain.log:
        return tune.lograndint(low, high + 1)
    return tune.randint(low, high + 1) if step == 1 else tune.choice(list(range(low, high + 1, step)))


def _floats(domain: Range) -> Any:
    low, high, step, values = domain.low, domain.high, domain.step, domain.values()
    if domain.log:
        return tune.loguniform(low, high)
    if step is None:
        return tune.uniform(low, high)
    shifted = abs(low / step - round(low / step)) > 1e-9
    return tune.choice(list(values)) if shifted and values is not None else tune.quniform(low, high, step)
