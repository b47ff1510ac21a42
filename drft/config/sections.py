"""What all parts of ``TrialConfig`` have in common, and those parts that say how to train."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Schedule = Literal["cosine", "constant"]
TrainedParameters = Literal["all", "bias_and_norm", "lora"]


class ConfigSection(BaseModel):
    """A frozen part of the configuration; keys it does not know are errors."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )


class HeadPhaseConfig(ConfigSection):
    """Phase 1: the head is trained on a frozen backbone."""

    epochs: int = Field(3, ge=0)
    """Epochs of the head phase."""

    init: Literal["random", "linear_probe"] = "random"
    """What the head starts from: random weights, or the multinomial logistic regression on the features of the plain
    training images, weighted as ``loss.class_weighting`` says. With 0 epochs here that is LP-FT (Kumar et al.
    2022). ``linear_probe`` needs a backbone whose classifier is a linear layer."""

    probe_l2: float = Field(0.01, gt=0)
    """L2 penalty of that regression: half of this times the sum of the squared weights, biases not counted, beside the
    mean loss; acts only with ``init`` ``linear_probe``."""

    lr: float = Field(3e-3, gt=0)
    """Peak learning rate of the head."""

    schedule: Schedule = "constant"
    """Learning rate after the warm-up."""

    warmup_epochs: float = Field(0.0, ge=0)
    """Linear warm-up, in epochs."""


class DepthPhaseConfig(ConfigSection):
    """Phase 2: the last ``depth`` blocks and the head are trained."""

    epochs: int = Field(7, ge=0)
    """Epochs of the depth phase."""

    lr: float = Field(5e-4, gt=0)
    """Peak learning rate of the trained block next to the head."""

    head_lr: float = Field(1e-3, gt=0)
    """Peak learning rate of the head in the depth phase."""

    layer_decay: float = Field(0.8, gt=0, le=1)
    """Discriminative learning rates (Howard & Ruder 2018): each earlier block learns at this multiple of the next."""

    schedule: Schedule = "cosine"
    """Learning rate after the warm-up."""

    warmup_epochs: float = Field(0.5, ge=0)
    """Linear warm-up, in epochs."""

    window: int | None = Field(None, ge=1)
    """Surgical fine-tuning (Lee et al. 2023): of the last ``depth`` blocks only so many are trained, the earliest ones;
    those behind them stay frozen, the head is trained. At most ``depth``; null trains all of them."""

    gradual_epochs: int = Field(0, ge=0)
    """Gradual unfreezing (Howard & Ruder 2018): the phase starts with the last block, and after every so many epochs
    one more is unfrozen, until there are ``depth``; the phase has to be that long. 0 unfreezes all at once."""

    parameters: TrainedParameters = "all"
    """What is trained of a block: ``all``; only its biases and norm parameters (``bias_and_norm``; after BitFit, Zaken
    et al. 2022, which trains biases alone), which are all its vectors, layer scales among them; or low-rank updates of
    the weights of its linear and convolutional layers (``lora``; Hu et al. 2022)."""

    lora_rank: int = Field(4, ge=1)
    """Rank of the updates; acts only with ``parameters`` ``lora``."""

    lora_alpha: float = Field(4.0, gt=0)
    """The updates count this over their rank times; acts only with ``parameters`` ``lora``."""

    auto_rgn: bool = False
    """Auto-RGN (Lee et al. 2023): before each epoch, every layer's learning rate is scaled by the norm of its gradient
    relative to that of its weights, the largest of the blocks' layers being 1. The head keeps its rate. Not with
    ``parameters`` ``lora``."""


class RegularizationConfig(ConfigSection):
    """What holds a fine-tuning back, besides weight decay, dropout and label smoothing; 0 turns each off."""

    l2_sp: float = Field(0.0, ge=0)
    """L2-SP (Li, Grandvalet & Davoine 2018): adds this times half the squared distance of the trained blocks'
    parameters from the pretrained ones to the loss, in place of these blocks' weight decay; the head keeps its own.
    Written for SGD: with AdamW the pull goes through its moments, so its strength is not that of a weight decay."""

    bss: float = Field(0.0, ge=0)
    """Batch spectral shrinkage (Chen et al. 2019): adds this times the square of the smallest singular value of a
    batch's features, as they come to the classifier before dropout, to the loss. Each micro-batch counts by its size
    with a value of its own. Acts where features are trained: not in the head phase."""

    stoch_norm: float = Field(0.0, ge=0, le=1)
    """StochNorm (Kou et al. 2020): in training, each channel of a trained block's batch norms is normalized by the
    running statistics before the batch, in place of the batch's own, with this probability. Needs ``batch_norm``
    ``adapt``; each micro-batch draws anew."""

    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Exponential moving average of the weights (Polyak & Juditsky 1992; Tarvainen & Valpola 2017) and of the running
    statistics of batch norms: it is the average that is evaluated and kept. In update t the decay is at most 1 - 1/t:
    a plain mean at first. Each phase begins an average of its own, the depth phase with the weights that the head
    phase's came to."""

    sam_rho: float = Field(0.0, ge=0)
    """Sharpness-aware minimization (Foret et al. 2021): the gradient is taken where the loss is highest, to first
    order, within this distance of the weights. Each batch is passed twice, and moves batch-norm statistics once. Weight
    decay and L2-SP act at the weights themselves."""

    feature_mixup: float = Field(0.0, ge=0)
    """Mixup (Zhang et al. 2018) of what crosses the boundary between frozen and trained blocks (Manifold mixup, Verma
    et al. 2019, at this one place): the alpha of Beta(alpha, alpha), from which each batch draws how it is mixed. In
    the head phase it mixes the classifier's inputs, at full depth images."""
