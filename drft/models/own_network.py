"""Networks of one's own: a function ``module:function`` that returns a torch module, in place of a timm model."""

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

from drft.errors import BackboneError
from drft.models.blocks import head_modules
from drft.own_function import call_function


def build_own(backbone: str, classes: int) -> nn.Module:
    """Call the function that a backbone names with the number of classes; return its network.

    The network maps images (n, 3, size, size) to outputs (n, classes). Its classifier is what ``get_classifier()``
    returns, else its last linear layer; its blocks are those of ``group_matcher()`` (as timm's), else its layers, in
    the order in which it registers them. ``pretrained_cfg`` may hold ``mean`` and ``std`` of its inputs; else they are
    ImageNet's.

    Raises:
        BackboneError: when there is no such function, or it fails, or it returns no network for these classes.
    """
    net: nn.Module = call_function(
        backbone, {"classes": classes}, nn.Module, "a torch.nn.Module", "backbone", BackboneError
    )
    for head in head_modules(net):
        outputs = getattr(head, "out_features", classes)
        if outputs != classes:
            raise BackboneError(
                f"backbone {backbone}: for {classes} classes, the function returned a classifier of {outputs} outputs: "
                "give its last linear layer as many outputs as the function is told"
            )
    usual = {"architecture": backbone, "mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD}
    own = getattr(net, "pretrained_cfg", None) or {}
    setattr(net, "pretrained_cfg", {**usual, **own})  # noqa: B010 (torch types attributes)
    return net
