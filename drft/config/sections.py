"""The base class of all parts of ``TrialConfig``, and the parts for the two phases and the regularization."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Schedule = Literal["cosine", "constant"]
TrainedParameters = Literal["all", "bias_and_norm", "lora"]


class ConfigSection(BaseModel):
    """A frozen part of the configuration. Unknown keys are errors."""

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
    """Initialization of the head: random weights, or a multinomial logistic regression on the features of the plain
    training images, with the class weights of ``loss.class_weighting``. With 0 epochs of the head phase this is LP-FT
    (Kumar et al. 2022). ``linear_probe`` needs a backbone whose classifier is a linear layer."""

    probe_l2: float = Field(0.01, gt=0)
    """L2 penalty of that regression: half this value times the sum of the squared weights, without biases, is added to
    the mean loss. Used only with ``init`` ``linear_probe``."""

    lr: float = Field(3e-3, gt=0)
    """Peak learning rate of the head."""

    schedule: Schedule = "constant"
    """Learning rate schedule after the warm-up."""

    warmup_epochs: float = Field(0.0, ge=0, le=1e6)
    """Length of the linear warm-up, in epochs."""


class DepthPhaseConfig(ConfigSection):
    """Phase 2: the last ``depth`` blocks and the head are trained."""

    epochs: int = Field(7, ge=0)
    """Epochs of the depth phase."""

    lr: float = Field(5e-4, gt=0)
    """Peak learning rate of the trained block next to the head."""

    head_lr: float = Field(1e-3, gt=0)
    """Peak learning rate of the head in the depth phase."""

    layer_decay: float = Field(0.8, gt=0, le=1)
    """Discriminative learning rates (Howard & Ruder 2018): ratio of a block's learning rate to that of the next block
    towards the head."""

    schedule: Schedule = "cosine"
    """Learning rate schedule after the warm-up."""

    warmup_epochs: float = Field(0.5, ge=0, le=1e6)
    """Length of the linear warm-up, in epochs."""

    window: int | None = Field(None, ge=1)
    """Surgical fine-tuning (Lee et al. 2023): how many of the last ``depth`` blocks are trained, the earliest first.
    The blocks after them stay frozen; the head is trained. At most ``depth``; null trains all ``depth`` blocks."""

    gradual_epochs: int = Field(0, ge=0)
    """Gradual unfreezing (Howard & Ruder 2018): number of epochs after which one more block is unfrozen. The phase
    starts with the last block and must be long enough to reach ``depth`` blocks. 0 unfreezes all of them at once."""

    parameters: TrainedParameters = "all"
    """Trained parameters of a block: ``all``; only its biases and norm parameters (``bias_and_norm``: all parameters
    with one axis, as most layer scales are, too; BitFit, Zaken et al. 2022, trains only biases); or low-rank updates of
    the weights of its linear and convolutional layers (``lora``; Hu et al. 2022)."""

    lora_rank: int = Field(4, ge=1)
    """Rank of the low-rank updates, lower for weights with fewer rows or columns. Used only with ``parameters``
    ``lora``."""

    lora_alpha: float = Field(4.0, gt=0, le=1e6)
    """The low-rank updates are multiplied by this value divided by ``lora_rank``. Used only with ``parameters``
    ``lora``."""

    auto_rgn: bool = False
    """Auto-RGN (Lee et al. 2023): before each epoch, the learning rate of every layer of the trained blocks is
    multiplied by its relative gradient norm (norm of the gradient divided by norm of the weights), scaled so that the
    largest is 1. The head keeps its learning rate. Cannot be combined with ``parameters`` ``lora``."""


class RegularizationConfig(ConfigSection):
    """Regularizers besides weight decay, dropout and label smoothing. 0 turns each off."""

    l2_sp: float = Field(0.0, ge=0)
    """L2-SP (Li, Grandvalet & Davoine 2018): adds to the loss this value times half the squared distance of the trained
    blocks' parameters from the pretrained ones. It replaces the weight decay of these blocks; the head keeps its own.
    The method was proposed for SGD. AdamW divides the penalty's gradient by its second-moment estimate, so there its
    strength is not that of a weight decay."""

    bss: float = Field(0.0, ge=0)
    """Batch spectral shrinkage (Chen et al. 2019): adds to the loss this value times the square of the smallest
    singular value of a batch's features (the classifier's inputs before dropout). With micro-batches it is computed for
    each of them and weighted by their sizes. Not used in the head phase, where the features are frozen."""

    stoch_norm: float = Field(0.0, ge=0, le=1)
    """StochNorm (Kou et al. 2020): probability that, in training, a channel of a trained block's batch norm is
    normalized by the running statistics from before the batch instead of the statistics of the batch. Drawn for each
    micro-batch. Needs ``batch_norm`` ``adapt``."""

    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Decay of the exponential moving average of the weights (Polyak & Juditsky 1992; Tarvainen & Valpola 2017) and of
    the running statistics of batch norms. The average is evaluated and stored. In update t the decay is at most
    1 - 1/t, so the average starts as a plain mean. Each phase has its own average; the depth phase starts from the
    averaged weights of the head phase."""

    sam_rho: float = Field(0.0, ge=0)
    """Sharpness-aware minimization (Foret et al. 2021): the gradient is computed at the point within this distance of
    the weights where the loss is highest, to first order. Each batch takes two forward passes and updates batch-norm
    statistics once. Weight decay and L2-SP use the weights themselves."""

    feature_mixup: float = Field(0.0, ge=0)
    """Mixup (Zhang et al. 2018) of the features between the frozen and the trained blocks (manifold mixup, Verma et al.
    2019, at this one layer): alpha of the Beta(alpha, alpha) distribution from which each batch draws its mixing
    coefficient. The head phase mixes the classifier's inputs; full depth mixes images, and so do networks that cannot
    be cut at that layer."""
