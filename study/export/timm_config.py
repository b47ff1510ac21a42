"""The file by which timm, and Hugging Face's hub, build an exported network: ``config.json``."""

from collections.abc import Sequence
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory

from timm.models import filter_pretrained_cfg, save_for_hf

from drft.config.trial_config import TrialConfig
from drft.models.backbone import Model
from drft.models.probabilities import learned_tensors
from drft.models.variant import Variant
from study.export.names import TIMM_CONFIG


def write_timm_config(folder: Path, model: Model, config: TrialConfig, classes: Sequence[str]) -> None:
    """Write what ``timm.create_model("local-dir:FOLDER", pretrained=True)`` needs beside the tensors.

    Nothing is written for a network that timm does not have or would build otherwise, or whose outputs are no logits
    of classes (those of ordinal losses).
    """
    if (
        config.backbone.is_function
        or model.variant != Variant()
        or learned_tensors(model.probabilities)
        or config.loss.kind != "cross_entropy"
    ):
        return
    source = filter_pretrained_cfg(model.net.pretrained_cfg, remove_source=True)  # type: ignore[no-untyped-call]
    described = {
        **{name: value for name, value in source.items() if not name.startswith(("test_", "label_"))},
        "input_size": (3, config.image_size, config.image_size),
        "mean": model.mean,
        "std": model.std,
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "num_classes": len(classes),
        "custom_load": False,
    }
    settings = {"label_names": list(classes), "pretrained_cfg": described}
    with TemporaryDirectory() as draft:  # timm publishes no function that writes the configuration alone
        save_for_hf(model.net, draft, model_config=settings, safe_serialization=True)
        copyfile(Path(draft) / TIMM_CONFIG, folder / TIMM_CONFIG)
