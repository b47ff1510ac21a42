"""Search spaces: read from YAML, bound to backbones, and drawn from as one validated TrialConfig per trial."""

from study.space.backbones import Backbones, default_weights
from study.space.bound import BoundSpace
from study.space.dimension import Choices, Condition, Dimension, FixedSetting, Range, Value
from study.space.space import Space, shipped_spaces

__all__ = [
    "Backbones",
    "BoundSpace",
    "Choices",
    "Condition",
    "Dimension",
    "FixedSetting",
    "Range",
    "Space",
    "Value",
    "default_weights",
    "shipped_spaces",
]
