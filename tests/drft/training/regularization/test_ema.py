"""The average of the weights against its formula."""

import pytest
import torch

from drft.training.regularization.ema import ExponentialMovingAverage


def averaged(decay: float, values: list[float]) -> float:
    weight, average = torch.zeros(1), ExponentialMovingAverage(decay)
    average.track([weight])
    for value in values:
        weight.fill_(value)
        average.update()
    with average.applied():
        return float(weight)


def test_it_is_the_plain_mean_at_first():
    assert averaged(0.99, [2.0]) == 2.0
    assert averaged(0.99, [2.0, 4.0]) == pytest.approx(3.0)
    assert averaged(0.99, [2.0, 4.0, 9.0]) == pytest.approx(5.0)


def test_it_forgets_as_its_decay_says():
    assert averaged(0.25, [2.0, 4.0, 8.0]) == pytest.approx(0.25 * (0.25 * 2 + 0.75 * 4) + 0.75 * 8)


def test_the_weights_come_back_and_stay_only_when_told():
    weight, average = torch.tensor([1.0]), ExponentialMovingAverage(0.9)
    average.track([weight])
    for value in (2.0, 4.0):
        weight.fill_(value)
        average.update()
    with average.applied():
        assert weight == 3.0
    assert weight == 4.0
    average.apply()
    assert weight == 3.0


def test_tensors_that_come_later_have_an_average_of_their_own_age():
    early, late, count, average = torch.zeros(1), torch.zeros(1), torch.tensor(0), ExponentialMovingAverage(0.9)
    average.track([early, count])
    for value in (1.0, 3.0):
        if value == 3.0:
            average.track([early, late])
        for tensor in (early, late, count):
            tensor.fill_(value)
        average.update()
    with average.applied():
        assert (float(early), float(late), int(count)) == (2.0, 3.0, 3)


def test_decay_0_averages_nothing():
    assert averaged(0.0, [1.0, 2.0]) == 2.0
