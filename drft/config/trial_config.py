"""TrialConfig: everything one two-phase fine-tuning depends on, besides the images.

Every dimension of a search space names a path in here (``depth_phase.lr``), so a dimension that is
searched but never applied cannot exist. All parts are frozen; unknown keys are errors that name the
nearest known key; ``parse_config`` reports every fault at once.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from drft.config.sections import ConfigSection, DepthPhaseConfig, HeadPhaseConfig, RegularizationConfig
from drft.errors import ConfigError

LossKind = Literal["cross_entropy", "coral", "corn", "expected_grade"]
Metric = Literal["accuracy", "qwk", "balanced_accuracy", "nll"]
Normalization = Literal["auto", "imagenet", "half"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""The grid of augmentation strengths: few values, so that trials share their views."""

METRICS: tuple[Metric, ...] = get_args(Metric)
NORMALIZATIONS: tuple[Normalization, ...] = get_args(Normalization)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


class BackboneConfig(ConfigSection):
    """Which pretrained network is fine-tuned."""

    name: str = "mobilenetv3_small_050"
    """Name of a timm model."""

    weights: str = "embedded"
    """``embedded`` (shipped with this package), ``hub`` (timm's download), ``none`` (random), or the path of a
    ``.safetensors`` or ``.pth`` file."""

    normalization: Normalization = "auto"
    """Mean and standard deviation of the inputs: ``auto`` asks the weight file's metadata, then timm; ``imagenet``
    and ``half`` (both 0.5) say it for files whose weights were trained with another one than timm's."""

    drop_path: float = Field(0.0, ge=0, lt=1)
    """Stochastic depth rate (Huang et al. 2016); backbones without it refuse a value above 0."""


class SplitConfig(ConfigSection):
    """How the training images are divided; official test images are never in either part."""

    validation_fraction: float = Field(0.2, gt=0, lt=1)
    """Share of the training images that is held out for validation, stratified by grade."""

    seed: int = Field(0, ge=0)
    """Seed of the split; one study uses one split for all its trials."""

    folds: int | None = Field(None, ge=2)
    """Divide into so many folds, stratified by grade and with groups whole, and validate on one of them (stratified
    group k-fold cross-validation, Kohavi 1995); ``validation_fraction`` is then not used. None holds out a share."""

    fold: int | None = Field(0, ge=0)
    """Which of the ``folds`` validates, counted from 0; the others are trained on. None trains once for each fold, so
    that every training image validates once: ``drft.run_folds``, and what ``drft-study run --folds`` sets."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.folds is None and self.fold != 0:
            one = "null, which is every fold," if self.fold is None else self.fold
            raise ValueError(f"fold {one} needs folds: say how many folds there are")
        if self.folds is not None and self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} should be below folds, which is {self.folds}: folds count from 0")
        usual = SplitConfig.model_fields["validation_fraction"].default
        if self.folds is not None and self.validation_fraction != usual:
            raise ValueError("validation_fraction is not used with folds: leave one of them out")
        return self

    @property
    def every_fold(self) -> bool:
        """Whether a training is one for each fold, and every training image validates once."""
        return self.fold is None

    @property
    def turns(self) -> tuple[Self, ...]:
        """The splits to train on, one after the other: itself, or one for each fold."""
        if not self.every_fold:
            return (self,)
        return tuple(self.model_copy(update={"fold": fold}) for fold in range(self.folds or 0))


def _on_grid(strength: float) -> float:
    if strength not in STRENGTHS:
        raise ValueError(f"strength should be one of {', '.join(map(str, STRENGTHS))}")
    return strength


class AugmentationConfig(ConfigSection):
    """Random views of the training images."""

    strength: Annotated[float, AfterValidator(_on_grid), Field(json_schema_extra={"enum": list(STRENGTHS)})] = 0.5
    """Augmentation strength: 0 shows the plain images, 1 the strongest views that keep small lesions."""

    seed: int = Field(0, ge=0)
    """Seed of the views; trials with equal seed and strength see the same views (common random numbers)."""


class OptimizerConfig(ConfigSection):
    """The optimizer of both phases; each phase gets a new one."""

    name: Literal["adamw", "sgd"] = "adamw"
    """AdamW (Loshchilov & Hutter 2019) or SGD with Nesterov momentum."""

    weight_decay: float = Field(0.01, ge=0)
    """Decoupled (AdamW) or L2 (SGD) weight decay; biases and norm parameters are exempt."""

    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of SGD; first moment coefficient of AdamW."""


class LossConfig(ConfigSection):
    """The training loss over the grades."""

    kind: LossKind = "cross_entropy"
    """Cross-entropy, which knows no order of the grades, or an ordinal loss: ``coral`` (one score and thresholds; Cao,
    Mirjalili & Raschka 2020), ``corn`` (conditional probabilities of going beyond each grade; Shi, Cao & Raschka 2023)
    or ``expected_grade`` (squared error of the expected grade, Beckham & Pal 2016; after each epoch it is cut where
    kappa is highest on the training images). Of all, the most probable grade is predicted, where the papers of
    ``coral`` and ``corn`` take the median. These three need ``label_smoothing`` and ``focal_gamma`` 0."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Label smoothing (Szegedy et al. 2016)."""

    class_weighting: Literal["none", "balanced", "sqrt", "effective_number"] = "none"
    """Weight of a grade in the loss: equal, inverse frequency, the square root of inverse frequency, or the inverse of
    the effective number of its images (class-balanced loss, Cui et al. 2019)."""

    effective_beta: float = Field(0.999, ge=0, lt=1)
    """Beta of ``effective_number``, of no use to others: 0 weighs all grades alike, towards 1 as ``balanced`` does."""

    focal_gamma: float = Field(0.0, ge=0)
    """Focal loss (Lin et al. 2017): terms of the cross-entropy count (1 - p)^gamma times, those of smoothed labels
    too; 0 is the cross-entropy itself."""


class EarlyStoppingConfig(ConfigSection):
    """When a training ends by itself."""

    patience: int = Field(0, ge=0)
    """End after this many depth-phase epochs without a new best validation score; 0 never ends early."""


class TrialConfig(ConfigSection):
    """One two-phase fine-tuning."""

    seed: int = Field(0, ge=0)
    """Seed of head initialization, batch order and dropout."""

    depth: int = Field(2, ge=0)
    """How many blocks, counted from the head, the depth phase trains; 0 trains the head alone."""

    image_size: int = Field(96, ge=16, le=2048)
    """Height and width of the network's input, in pixels."""

    batch_size: int = Field(32, ge=1)
    """Training images per optimizer step."""

    micro_batch: int | None = Field(None, ge=1)
    """So many images of a batch are on the device at once, and their gradients are added up; None for all. Batch
    norms that adapt see the micro-batch; apart from that and rounding the training is the same in less memory."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout before the classifier."""

    metric: Metric = "accuracy"
    """Validation score that picks the best epoch. Scores are maximized: that of ``nll`` is the negative of the mean
    negative log likelihood, in nats."""

    batch_norm: Literal["frozen", "adapt"] = "adapt"
    """Running statistics of the trained blocks' batch norms: kept as pretrained, or adapted to the new
    images. Those of frozen blocks never move."""

    precision: Precision = "auto"
    """Floating-point type of the computation; parameters stay float32. ``auto`` is bf16 on a GPU, and on a CPU that
    multiplies matrices in it (AMX) for backbones without depthwise convolutions; else fp32. fp16 needs a GPU."""

    backbone: BackboneConfig = BackboneConfig()
    split: SplitConfig = SplitConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    loss: LossConfig = LossConfig()
    regularization: RegularizationConfig = RegularizationConfig()
    head_phase: HeadPhaseConfig = HeadPhaseConfig()
    depth_phase: DepthPhaseConfig = DepthPhaseConfig()
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()

    @property
    def steps(self) -> int:
        """Epochs of both phases, of a training that nothing ends early."""
        return self.head_phase.epochs + self.depth_phase.epochs


def config_paths(part: type[BaseModel] = TrialConfig, prefix: str = "") -> Iterator[str]:
    """Yield every leaf path of a configuration, such as ``depth_phase.lr``."""
    for name, field in part.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from config_paths(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def nearest(word: str, known: list[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the closest known word, or an empty string."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn ``{"depth_phase.lr": 1e-3}`` into ``{"depth_phase": {"lr": 1e-3}}``."""
    tree: dict[str, Any] = {}
    for path, value in values.items():
        *parents, leaf = path.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = value
    return tree


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the nested ``changes`` laid over it."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def parse_config(values: Mapping[str, Any], base: TrialConfig | None = None) -> TrialConfig:
    """Build a configuration from a nested mapping, laid over ``base``.

    Raises:
        ConfigError: with one fault per wrong key or value.
    """
    try:
        return TrialConfig.model_validate(merged(base.model_dump() if base else {}, values))
    except ValidationError as error:
        raise ConfigError(_fault(detail) for detail in error.errors()) from None


def with_values(base: TrialConfig, values: Mapping[str, Any]) -> TrialConfig:
    """Return ``base`` with dotted paths set to new values, validated.

    Raises:
        ConfigError: with one fault per wrong path or value.
    """
    return parse_config(nested(values), base)


def _fault(detail: ErrorDetails) -> str:
    path = ".".join(str(place) for place in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{path}: unknown setting{nearest(path, list(config_paths()))}"
    if isinstance(detail["input"], Mapping):  # settings that do not go together: the message names them
        return f"{path}: {detail.get('ctx', {}).get('error', detail['msg'])}"
    return f"{path}: {detail['msg'][0].lower()}{detail['msg'][1:]}, got {detail['input']!r}"
