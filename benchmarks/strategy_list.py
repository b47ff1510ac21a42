"""The compared fine-tuning strategies: the changes of each to one baseline, and its source."""

from collections.abc import Mapping
from typing import Any, NamedTuple

BASELINE = {
    "image_size": 128,
    "depth": 3,
    "batch_size": 16,
    "head_phase.epochs": 3,
    "depth_phase.epochs": 7,
}
"""Three of MobileNetV2's eight blocks, 89 % of its parameters; everything else has its default."""


class Strategy(NamedTuple):
    """One strategy, with the settings of its source or the middle of their range; nothing is tuned."""

    name: str
    source: str
    changes: Mapping[str, Any]


STRATEGIES = (
    # which parameters are trained
    Strategy("head alone", "linear probing", {"depth": 0}),
    Strategy("all blocks", "full fine-tuning", {"depth": 8}),
    Strategy("first 2 of the 3 blocks", "Lee et al. 2023", {"depth_phase.window": 2}),
    Strategy("gradual unfreezing", "Howard & Ruder 2018", {"depth_phase.gradual_epochs": 1}),
    Strategy("biases and norms", "Zaken et al. 2022", {"depth_phase.parameters": "bias_and_norm"}),
    Strategy("LoRA, rank 4", "Hu et al. 2022", {"depth_phase.parameters": "lora", "depth_phase.lora_rank": 4}),
    Strategy("Auto-RGN", "Lee et al. 2023", {"depth_phase.auto_rgn": True}),
    # how they are trained
    Strategy("no layer-wise decay", "one learning rate", {"depth_phase.layer_decay": 1.0}),
    Strategy("layer-wise decay 0.5", "Howard & Ruder 2018", {"depth_phase.layer_decay": 0.5}),
    Strategy("frozen batch norm", "Kornblith et al. 2019", {"batch_norm": "frozen"}),
    Strategy("linear-probe head", "Kumar et al. 2022", {"head_phase.init": "linear_probe"}),
    Strategy("L2-SP 0.1", "Li et al. 2018", {"regularization.l2_sp": 0.1}),
    Strategy("BSS 0.001", "Chen et al. 2019", {"regularization.bss": 0.001}),
    Strategy("StochNorm 0.5", "Kou et al. 2020", {"regularization.stoch_norm": 0.5}),
    Strategy("EMA 0.99", "Tarvainen & Valpola 2017", {"regularization.ema_decay": 0.99}),
    Strategy("SAM 0.05", "Foret et al. 2021", {"regularization.sam_rho": 0.05}),
    Strategy("feature mixup 0.2", "Verma et al. 2019", {"regularization.feature_mixup": 0.2}),
    Strategy("label smoothing 0.1", "Szegedy et al. 2016", {"loss.label_smoothing": 0.1}),
    Strategy("balanced weights", "King & Zeng 2001", {"loss.class_weighting": "balanced"}),
    Strategy("class-balanced 0.999", "Cui et al. 2019", {"loss.class_weighting": "effective_number"}),
    Strategy("focal loss 2", "Lin et al. 2017", {"loss.focal_gamma": 2.0}),
    Strategy("CORAL", "Cao et al. 2020", {"loss.kind": "coral"}),
    Strategy("CORN", "Shi et al. 2023", {"loss.kind": "corn"}),
    Strategy("expected grade", "squared error, thresholds for QWK", {"loss.kind": "expected_grade"}),
)
