"""Networks of one's own: a function ``module:function`` that returns a torch module, in place of a timm model."""

import importlib

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

from drft.errors import BackboneError, one_line
from drft.models.blocks import head_modules


def build_own(backbone: str, classes: int) -> nn.Module:
    """Call the function that a backbone names with the number of classes; return its network.

    The network maps images (n, 3, size, size) to outputs (n, classes). Its classifier is what ``get_classifier()``
    returns, else its last linear layer; its blocks are those of ``group_matcher()`` (as timm's), else its layers, in
    the order in which it registers them. ``pretrained_cfg`` may hold ``mean`` and ``std`` of its inputs; else they are
    ImageNet's.

    Raises:
        BackboneError: when there is no such function, or it fails, or it returns no network for these classes.
    """
    module, _, function = backbone.partition(":")
    try:
        build = getattr(importlib.import_module(module), function, None)
    except Exception as error:  # the module is the user's: anything may fail
        hint = " (name its folder in PYTHONPATH)" if isinstance(error, ModuleNotFoundError) else ""
        raise BackboneError(f"backbone {backbone}: {module} cannot be imported: {one_line(error)}{hint}") from error
    if not callable(build):
        raise BackboneError(f"backbone {backbone}: the module {module} has no function {function}")
    try:
        net = build(classes)
    except Exception as error:  # the function is the user's: anything may fail
        raise BackboneError(f"backbone {backbone}: {function}({classes}) failed: {one_line(error)}") from error
    if not isinstance(net, nn.Module):
        raise BackboneError(f"backbone {backbone}: {function}({classes}) returned no torch.nn.Module, but {net!r:.60}")
    for head in head_modules(net):
        outputs = getattr(head, "out_features", classes)
        if outputs != classes:
            raise BackboneError(
                f"backbone {backbone}: {function}({classes}) returned a classifier of {outputs} outputs: give its last "
                "linear layer as many outputs as the function is told"
            )
    usual = {"architecture": backbone, "mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD}
    own = getattr(net, "pretrained_cfg", None) or {}
    setattr(net, "pretrained_cfg", {**usual, **own})  # noqa: B010 (torch types attributes)
    return net
