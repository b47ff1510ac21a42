"""Search spaces: YAML in, one validated TrialConfig per Optuna trial out."""

from study.space.bound import BoundSpace
from study.space.dimension import Choices, Condition, Dimension, Fixed, Range, Value
from study.space.space import Space, shipped_spaces

__all__ = ["BoundSpace", "Choices", "Condition", "Dimension", "Fixed", "Range", "Space", "Value", "shipped_spaces"]
