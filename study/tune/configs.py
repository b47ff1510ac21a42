"""The search space of a Tune run, and the training that one configuration of Tune stands for."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from drft.config.trial_config import LARGEST_SEED, TrialConfig, nearest
from drft.errors import ConfigError, UsageError
from drft.files.home import expand_home
from study.setup.backbone_probe import BackboneProbe
from study.setup.faults import OptionErrors
from study.setup.options import RunOptions
from study.setup.resolve import ResolvedSpace, resolve_space
from study.space import BoundSpace, Choices, Range, Value
from study.space.seeds import trial_seed

SEED = "seed"
"""The only key of a Tune configuration that is no dimension of the search space."""

_OPTIONS = (
    *("data_options", "backbone", "weights", "normalization", "settings", "image_size", "precision", "metric"),
    *("seed", "cache_size", "trainer"),
)


def run_options(space: str | Mapping[str, Any], data: str, options: Mapping[str, Any]) -> RunOptions:
    """Return the options of the study that a Tune run becomes.

    Args:
        space: search space, as ``run_study`` takes it.
        data: data source, likewise.
        options: further fields of ``RunOptions``: those that decide what one training is.

    Raises:
        UsageError: when there is no such option, or one has a wrong value.
    """
    if unknown := [name for name in options if name not in _OPTIONS]:
        raise UsageError(f"study.tune has no option {name!r}{nearest(name, list(_OPTIONS))}" for name in unknown)
    weights = options.get("weights")
    if weights is not None and expand_home(weights).is_file():  # Tune's trials have another working folder
        options = {**options, "weights": str(expand_home(weights).absolute())}
    return RunOptions(space=space, data=data, goal="best", **options)


def bind_space(options: RunOptions, classes: int | None = None) -> BoundSpace:
    """Return the search space on its backbones.

    Args:
        options: of the run.
        classes: number of classes of the models to build and run, as a check; None builds none.

    Raises:
        UsageError: when the space, an option or a backbone cannot be used.
    """
    faults = OptionErrors()
    resolved: ResolvedSpace | None = None
    with BackboneProbe() as probe:
        with faults:
            resolved = resolve_space(options, probe, faults)
        if resolved is not None and classes is not None:
            for config in resolved.space.base_configs:
                with faults:
                    probe.check(config, classes, min(resolved.space.image_sizes, default=None))
    faults.raise_all()
    assert resolved is not None
    if resolved.space.base.split.every_fold:
        raise UsageError(
            "split.folds: Tune stops a trial at an epoch, and this trial would be one training for each fold; set "
            "split.fold too, or use drft-study run --folds"
        )
    return resolved.space


def read_params(space: BoundSpace, config: Mapping[str, Any]) -> dict[str, Value]:
    """Return the values of the active dimensions in a Tune configuration, as the space has them.

    Values of dimensions that are inactive are left out: Tune draws all dimensions of a trial.

    Args:
        space: the search space.
        config: values by the paths of dimensions; ``seed`` is not read.

    Raises:
        ConfigError: with one fault for each key that the space does not have, and each active dimension whose value is
            missing or not in it.
    """
    paths = [dimension.path for dimension in space.dimensions]
    faults = [
        f"{key}: the space {space.name} does not search it{nearest(key, paths)}"
        for key in config
        if key not in (*paths, SEED)
    ]
    params: dict[str, Value] = {}
    for dimension in space.dimensions:
        if not dimension.active(params):
            continue
        if dimension.path not in config:
            faults.append(f"{dimension.path}: the configuration lacks it, and the space {space.name} searches it")
            continue
        value = config[dimension.path]
        value = value.item() if isinstance(value, np.generic) else value
        known = _value_in(dimension.domain, value)
        if known is None:
            faults.append(f"{dimension.path}: {value!r} is not in the space {space.name}, which has {dimension.domain}")
        else:
            params[dimension.path] = known[0]
    if faults:
        raise ConfigError(faults)
    return params


def config_of(space: BoundSpace, config: Mapping[str, Any], study_seed: int = 0) -> TrialConfig:
    """Return the training that a Tune configuration stands for.

    Its seed is ``config["seed"]`` if there is one. Else it follows from the study's seed and the parameters, so equal
    configurations give equal trainings, in whatever order Tune runs them.

    Raises:
        ConfigError: as :func:`read_params`, and when the seed is no whole number.
    """
    params = read_params(space, config)
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).digest()
    seed = config.get(SEED, trial_seed(study_seed, int.from_bytes(digest[:4])))
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed <= LARGEST_SEED:
        raise ConfigError(f"seed: should be a whole number from 0 to {LARGEST_SEED}, not {seed!r}")
    return space.configure(params).model_copy(update={"seed": int(seed)})


def _value_in(domain: Range | Choices, value: object) -> tuple[Value] | None:
    """Return a value as the domain has it (0.3 for 0.30000000000000004); None if it is not in the domain."""
    if isinstance(domain, Choices):
        return next(((option,) for option in domain.options if option == value), None)
    if isinstance(value, bool) or not isinstance(value, int | float) or not domain.low <= value <= domain.high:
        return None
    values = domain.values()
    if values is None and domain.whole:
        return (int(value),) if value == int(value) else None
    if values is None:
        return (float(value),)
    near = min(values, key=lambda known: abs(float(known or 0) - value))
    return (near,) if abs(float(near or 0) - value) < 1e-6 * (domain.step or 1) else None
