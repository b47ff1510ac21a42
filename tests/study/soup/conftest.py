"""Candidates with known predictions, and the soups of a real study."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from study.soup.report import SoupReport
from study.soup.run import make_soups
from study.soup.selection import EnsembleCandidates, subset_count


@pytest.fixture(scope="session")
def make_candidates() -> Callable[..., EnsembleCandidates]:
    """Return candidates of two grades whose predictions are correct where ``correct``, shape (candidates, images)."""

    def make(correct: np.ndarray, k: int = 2) -> EnsembleCandidates:
        assert len(correct) > 2 * subset_count(k)
        grades = np.arange(correct.shape[1]) % 2
        predicted = np.where(correct, grades, 1 - grades)
        return EnsembleCandidates(tuple(range(10, 10 + k)), np.eye(2)[predicted] * 0.8 + 0.1, grades, "accuracy")

    return make


@pytest.fixture(scope="session")
def soups(trained_study: Path) -> tuple[SoupReport, Path]:
    """The soups of the study ``real``: the report and the folder; do not change it."""
    return make_soups("real", trained_study)
