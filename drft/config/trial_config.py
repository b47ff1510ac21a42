"""TrialConfig: everything that one two-phase fine-tuning depends on, besides the images.

Every dimension of a search space names a path in it (``depth_phase.lr``), so no dimension can be searched without
being applied. All parts are frozen. An unknown key is an error that names the nearest known key. ``parse_config``
reports all faults at once.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from drft.config.sections import ConfigSection, DepthPhaseConfig, HeadPhaseConfig, RegularizationConfig
from drft.errors import ConfigError
from drft.own_function import is_function

LossKind = Literal["cross_entropy", "coral", "corn", "expected_grade"]
Metric = Literal["accuracy", "qwk", "balanced_accuracy", "nll"]
Normalization = Literal["auto", "imagenet", "half"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]

ORDINAL_LOSSES: tuple[LossKind, ...] = ("coral", "corn", "expected_grade")
"""Losses that rely on the order of the classes."""

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""The allowed augmentation strengths. They are few, so that trials share their augmented views."""

LARGEST_SEED = 2**64 - 1
"""The random generators of torch and of the views take no larger seeds."""

METRICS: tuple[Metric, ...] = get_args(Metric)
NORMALIZATIONS: tuple[Normalization, ...] = get_args(Normalization)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

NAMED_WEIGHTS = ("embedded", "imagenet", "hub", "none")
"""Sources of weights that are no files."""

IMAGENET_BACKBONE = "tf_efficientnet_lite0"
"""The backbone whose weights are named ``imagenet``."""


class BackboneConfig(ConfigSection):
    """Which pretrained network is fine-tuned."""

    name: str = "mobilenetv3_small_050"
    """Name of a timm model, or ``module:function``: a function that takes the number of classes and returns a
    ``torch.nn.Module``."""

    weights: str = "embedded"
    """``embedded`` (shipped with this package), ``imagenet`` (of ``tf_efficientnet_lite0``, with the extra
    ``imagenet``), ``hub`` (timm's download), ``none`` (random, or as the function returns it), or the path of a
    ``.safetensors`` or ``.pth`` file."""

    normalization: Normalization = "auto"
    """Mean and standard deviation of the inputs. ``auto`` takes them from the weight file's metadata, else from timm.
    ``imagenet`` and ``half`` (both 0.5) are for files whose weights were trained with other values than timm's."""

    drop_path: float = Field(0.0, ge=0, lt=1)
    """Stochastic depth rate (Huang et al. 2016); a value above 0 is an error for backbones without it."""

    @property
    def is_function(self) -> bool:
        """Whether the name is that of a function, such as ``my_networks:small``."""
        return is_function(self.name)


class SplitConfig(ConfigSection):
    """How the training images are divided. Official test images are in neither part."""

    validation_fraction: float = Field(0.2, gt=0, lt=1)
    """Share of the training images that is held out for validation, stratified by grade."""

    seed: int = Field(0, ge=0)
    """Seed of the split. All trials of a study use the same split."""

    folds: int | None = Field(None, ge=2)
    """Number of folds, stratified by grade and with groups kept whole; one fold is the validation part (stratified
    group k-fold cross-validation, Kohavi 1995). Replaces ``validation_fraction``. null holds out a share instead."""

    fold: int | None = Field(0, ge=0)
    """The fold that is the validation part, counted from 0; the other folds are trained on. null trains once for each
    fold, so that every training image is validated once (``drft.run_folds``, ``drft-study run --folds``)."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.folds is None and self.fold != 0:
            fold = "null (every fold)" if self.fold is None else self.fold
            raise ValueError(f"fold {fold} needs folds: set the number of folds")
        if self.folds is not None and self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} should be below folds, which is {self.folds}: folds are counted from 0")
        default = SplitConfig.model_fields["validation_fraction"].default
        if self.folds is not None and self.validation_fraction != default:
            raise ValueError("validation_fraction is not used with folds: leave one of them out")
        return self

    @property
    def every_fold(self) -> bool:
        """Whether one training is run for each fold, so that every training image is validated once."""
        return self.fold is None

    @property
    def turns(self) -> tuple[Self, ...]:
        """The splits to train on, one after the other: this one, or one for each fold."""
        if not self.every_fold:
            return (self,)
        return tuple(self.model_copy(update={"fold": fold}) for fold in range(self.folds or 0))


def _check_on_grid(strength: float) -> float:
    if strength not in STRENGTHS:
        raise ValueError(f"strength should be one of {', '.join(map(str, STRENGTHS))}")
    return strength


class AugmentationConfig(ConfigSection):
    """Random views of the training images."""

    strength: Annotated[float, AfterValidator(_check_on_grid), Field(json_schema_extra={"enum": list(STRENGTHS)})] = 0.5
    """Augmentation strength: 0 uses the plain images, 1 the strongest augmentation that preserves small lesions."""

    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    """Seed of the views. Trials with equal seed and strength get the same views (common random numbers)."""


class OptimizerConfig(ConfigSection):
    """The optimizer of both phases. Each phase starts with a new one."""

    name: Literal["adamw", "sgd"] = "adamw"
    """AdamW (Loshchilov & Hutter 2019) or SGD with Nesterov momentum."""

    weight_decay: float = Field(0.01, ge=0)
    """Decoupled (AdamW) or L2 (SGD) weight decay. Parameters with one axis, as biases and norms have them, are
    exempt."""

    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of SGD; first moment coefficient of AdamW."""


class LossConfig(ConfigSection):
    """The training loss over the grades."""

    kind: LossKind = "cross_entropy"
    """Cross-entropy, which ignores the order of the grades, or an ordinal loss: ``coral`` (one score and thresholds;
    Cao, Mirjalili & Raschka 2020), ``corn`` (conditional probabilities of exceeding each grade; Shi, Cao & Raschka
    2023) or ``expected_grade`` (squared error of the expected grade, Beckham & Pal 2016; after each epoch, thresholds
    are set where the quadratic weighted kappa of the training images is highest). The most probable grade is predicted
    with every loss; the papers of ``coral`` and ``corn`` predict the median. The ordinal losses need
    ``label_smoothing`` and ``focal_gamma`` 0."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Label smoothing (Szegedy et al. 2016)."""

    class_weighting: Literal["none", "balanced", "sqrt", "effective_number"] = "none"
    """Weight of a grade in the loss: equal (``none``), inverse frequency (``balanced``), square root of the inverse
    frequency (``sqrt``), or inverse of the effective number of its images (``effective_number``; class-balanced loss,
    Cui et al. 2019)."""

    effective_beta: float = Field(0.999, ge=0, lt=1)
    """Beta of ``effective_number``: 0 weights all grades equally, values near 1 approach ``balanced``. Used only with
    ``class_weighting`` ``effective_number``."""

    focal_gamma: float = Field(0.0, ge=0)
    """Focal loss (Lin et al. 2017): each term of the cross-entropy, including those of smoothed labels, is multiplied
    by (1 - p)^gamma. 0 is the plain cross-entropy."""


class EarlyStoppingConfig(ConfigSection):
    """When a training ends before its last epoch."""

    patience: int = Field(0, ge=0)
    """The training ends after this many depth-phase epochs without a new best validation score. 0 never ends it
    early."""


class TrialConfig(ConfigSection):
    """One two-phase fine-tuning."""

    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    """Seed of head initialization, batch order and dropout."""

    depth: int = Field(2, ge=0)
    """How many blocks, counted from the head, the depth phase trains; 0 trains the head alone."""

    image_size: int = Field(96, ge=16, le=2048)
    """Height and width of the network's input, in pixels."""

    batch_size: int = Field(32, ge=1)
    """Largest number of training images per optimizer step. The batches of an epoch differ by at most one image."""

    micro_batch: int | None = Field(None, ge=1)
    """How many images of a batch are on the device at once; the gradients of the parts are added up. null takes the
    whole batch. Batch norms that adapt use the statistics of the micro-batch; apart from that and from rounding, the
    training is the same and needs less memory."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout before the classifier."""

    metric: Metric = "accuracy"
    """Validation score that selects the best epoch. Scores are maximized; the score ``nll`` is the negative of the mean
    negative log likelihood, in nats."""

    batch_norm: Literal["frozen", "adapt"] = "adapt"
    """Running statistics of the trained blocks' batch norms: kept as pretrained (``frozen``), or updated on the new
    images (``adapt``). Those of frozen blocks never change."""

    precision: Precision = "auto"
    """Floating-point type of the computation; parameters stay float32. ``auto`` is bf16 on a GPU that supports it, and
    on a CPU with bf16 matrix multiplication (AMX) for backbones without grouped convolutions, such as depthwise ones;
    else fp32. ``fp16`` needs a GPU."""

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
        """Number of epochs of both phases, without early stopping."""
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
    """Turn ``{"depth_phase.lr": 1e-3}`` into ``{"depth_phase": {"lr": 1e-3}}``.

    Raises:
        ConfigError: naming every path that is part of another one.
    """
    tree: dict[str, Any] = {}
    faults = []
    for path, value in values.items():
        *parents, leaf = path.split(".")
        branch = tree
        for length, parent in enumerate(parents, start=1):
            if (above := ".".join(parents[:length])) in values:
                faults.append(f"{path}: {above} has a value of its own; keep one of the two")
                break
            branch = branch.setdefault(parent, {})
        else:
            branch[leaf] = value
    if faults:
        raise ConfigError(faults)
    return tree


def flat_settings(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Turn ``{"depth_phase": {"lr": 1e-3}}`` into ``{"depth_phase.lr": 1e-3}``."""
    settings: dict[str, Any] = {}
    sections = [("", tree)]
    while sections:
        prefix, section = sections.pop(0)
        for name, value in section.items():
            if isinstance(value, Mapping):
                sections.append((f"{prefix}{name}.", value))
            else:
                settings[f"{prefix}{name}"] = value
    return settings


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the values of the nested mapping ``changes`` in place of its own."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def parse_config(values: Mapping[str, Any], base: TrialConfig | None = None) -> TrialConfig:
    """Return ``base`` (by default all default values) with the values of a nested mapping, validated.

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
    path = ".".join(map(str, detail["loc"]))
    if detail["type"] == "extra_forbidden":
        return f"{path}: unknown setting{nearest(path, list(config_paths()))}"
    if isinstance(detail["input"], Mapping):  # a validator of several settings: its message names them
        return f"{path}: {detail.get('ctx', {}).get('error', detail['msg'])}"
    return f"{path}: {detail['msg'][0].lower()}{detail['msg'][1:]}, got {detail['input']!r}"
