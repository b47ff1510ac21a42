"""Combine a search space with the options of a run, on the backbones of the space."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from drft.config.trial_config import IMAGENET_BACKBONE, BackboneConfig, TrialConfig, with_values
from drft.errors import UsageError
from study.setup.backbone_probe import BackboneProbe, Block
from study.setup.faults import OptionErrors
from study.setup.options import RunOptions
from study.space import BoundSpace, Space, default_weights


@dataclass(frozen=True, slots=True)
class ResolvedSpace:
    """A search space as written, and bound to its backbones."""

    written: Space
    space: BoundSpace
    blocks: Sequence[Block]
    """Blocks of the backbone, or of the first one."""


def config_of(options: RunOptions) -> TrialConfig:
    """Return the default configuration with the values that the options set.

    Raises:
        ConfigError: when an option has a value that its setting refuses.
    """
    name = options.backbone or (IMAGENET_BACKBONE if options.weights == "imagenet" else BackboneConfig().name)
    weights = options.weights or default_weights(name)
    seeds = {"split.seed": options.seed, "augmentation.seed": options.seed}
    return with_values(
        TrialConfig(), {**seeds, **options.config_values, "backbone.name": name, "backbone.weights": weights}
    )


def resolve_space(options: RunOptions, probe: BackboneProbe, faults: OptionErrors) -> ResolvedSpace:
    """Bind the search space of a run to its backbones.

    A value comes from the options, ``settings`` among them, else from what the space fixes, else from the study's
    seed, else from the defaults.

    Raises:
        UsageError: when the space or a backbone cannot be used. Options that the space searches are added to
        ``faults``.
    """
    written, base, values = Space.load(options.space), config_of(options), options.config_values
    fixed = written
    with faults:
        fixed = written.fix(options.settings)
        if twice := sorted(options.settings.keys() & values.keys()):
            raise UsageError(f"--set {path}: --{_option(path)} sets it, too; keep one" for path in twice)
    searched = {dimension.path for dimension in written.dimensions}
    if written.backbones is not None:
        searched.add("backbone.weights")
    with faults:
        if conflicts := sorted(searched & values.keys()):
            raise UsageError(
                f"--{_option(path)}: the space {written.file} searches {path}; leave the option out, "
                "or take the dimension out of the space"
                for path in conflicts
            )
    names = [base.backbone.name] if written.backbones is None else list(map(str, written.backbones.options))
    blocks: dict[str, Sequence[Block]] = {}
    backbone_faults = OptionErrors()
    for name in names:
        with backbone_faults:
            blocks[name] = probe.blocks(name)
    backbone_faults.raise_all()
    space = fixed.bind(base, {name: len(blocks[name]) for name in names})
    return ResolvedSpace(written, replace(space, base=with_values(space.base, values)), blocks[names[0]])


def _option(path: str) -> str:
    """Return the option that sets a path, without its dashes."""
    named = {"backbone.name": "backbone", "split.fold": "folds"}
    return named.get(path, path.rpartition(".")[2].replace("_", "-"))
