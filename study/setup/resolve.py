"""A search space brought together with what the command says, on the backbones it is about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from drft.config.trial_config import BackboneConfig, TrialConfig, with_values
from drft.errors import UsageError
from study.setup.backbone_probe import BackboneProbe, Block
from study.setup.faults import OptionErrors
from study.setup.options import RunOptions
from study.space import BoundSpace, Space, default_weights


@dataclass(frozen=True, slots=True)
class ResolvedSpace:
    """A search space as written, and on its backbones."""

    written: Space
    space: BoundSpace
    blocks: Sequence[Block]
    """Of the backbone, or of the first one."""


def said_by(options: RunOptions) -> TrialConfig:
    """Return the defaults with what the command says laid over them."""
    name = options.backbone or BackboneConfig().name
    weights = options.weights or default_weights(name)
    seeds = {"split.seed": options.seed, "augmentation.seed": options.seed}
    return with_values(
        TrialConfig(), {**seeds, **options.config_values, "backbone.name": name, "backbone.weights": weights}
    )


def bind(options: RunOptions, inspector: BackboneProbe, faults: OptionErrors) -> ResolvedSpace:
    """Bring together, weakest first: defaults and the study's seed, what the space fixes, what the command says.

    Raises:
        UsageError: when the space or a backbone cannot be used; what is wrong with the options goes to ``faults``.
    """
    written, base, said = Space.load(options.space), said_by(options), options.config_values
    searched = {dimension.path for dimension in written.dimensions}
    if written.backbones is not None:
        searched.add("backbone.weights")
    faults.attempt(lambda: _refuse_searched(said, searched, options.space))
    names = [base.backbone.name] if written.backbones is None else list(map(str, written.backbones.options))
    unknown = OptionErrors()
    blocks = {name: unknown.attempt(partial(inspector.blocks, name)) or () for name in names}
    unknown.raise_all()
    space = written.bind(base, {name: len(found) for name, found in blocks.items()})
    return ResolvedSpace(written, replace(space, base=with_values(space.base, said)), blocks[names[0]])


def _refuse_searched(said: Mapping[str, str | int | None], searched: set[str], space: str) -> None:
    twice = sorted(searched & said.keys())
    if twice:
        raise UsageError(
            f"--{_option(path)}: the space {space} searches {path}; leave the option out, "
            "or take the dimension out of the space"
            for path in twice
        )


def _option(path: str) -> str:
    return "backbone" if path == "backbone.name" else path.rpartition(".")[2].replace("_", "-")
