from study.analysis import DepthRow, Estimate, Withheld
from study.analysis.best_of_k import Contrast, EqualDepths
from study.analysis.noise import ImagesNeeded, Noise
from study.report.wording import depth_sentence, epoch_sentence, gap_sentence, interval, number, percent, points


def estimate(value, reach=0.01, n=9):
    return Estimate(value, value - reach, value + reach, n)


def row(depth, best, gap, trial, reach=0.01):
    gaps = {"gap_best": estimate(gap), "gap_last": estimate(gap, reach)}
    return DepthRow(depth, depth / 5, depth / 5, 9, estimate(best, 0.1, 83), trial, estimate(best), **gaps)


def noise(best, trial, detectable):
    return Noise(83, trial, estimate(best, 0.1, 83), 0.3, True, detectable, 4, 18, (ImagesNeeded(0.05, 940),))


def test_number_formats():
    assert (percent(0.6142), points(0.0414), number(-1.25)) == ("61.4%", "4.1 points", "\N{MINUS SIGN}1.2")
    assert (number(-0.04), number(-0.0), number(-0.004, 2)) == ("0.0", "0.0", "0.00")
    assert interval(Estimate(0.1, 0.05, 0.15, 7)) == "95% interval 5.0 to 15.0, n = 7"
    assert interval(Estimate(0.1, None, None, 1)) == "n = 1, too few for an interval"


DEPTHS = (row(0, 0.55, 0.02, 1), row(5, 0.60, 0.3, 2))


def equal(p):
    """Return three depths at equal numbers of trials, the deepest best; the widest difference has this p."""
    against = tuple(Contrast(depth, 5, estimate(0.1), p + extra) for depth, extra in ((0, 0.0), (2, 0.5)))
    return EqualDepths(2, 30, (), against, against, p, "")


def test_without_equal_chances_depths_are_not_compared():
    """The shallowest depth has one trial, and the others have many: its best one says nothing about depth."""
    reason = Withheld("the sampler tpe gave more trials, and better ones, to depths that scored well early")
    for best in (1, 2):
        text = depth_sentence(DEPTHS, noise(0.60, best, 0.18), reason)
        assert text.startswith("The best of 18 completed trials reached 60.0% validation accuracy")
        assert text.endswith(f"Whether depth had a part in it is not answered: {reason.reason}.")


def test_at_equal_numbers_of_trials_depths_differ_only_beyond_chance():
    assert "depth 5 is better than depth 0 (p = 0.010)" in depth_sentence(DEPTHS, noise(0.60, 2, 0.18), equal(0.01))
    assert "cannot be distinguished (p = 0.300)" in depth_sentence(DEPTHS, noise(0.60, 1, 0.18), equal(0.3))


def test_a_gap_below_zero_is_not_called_a_lead():
    assert "training minus validation accuracy is \N{MINUS SIGN}4.0 points at" in gap_sentence((row(0, 0.5, -0.04, 1),))


def test_gap_grows_only_when_the_intervals_are_disjoint():
    assert "grows from 2.0 points" in gap_sentence((row(0, 0.5, 0.02, 1), row(5, 0.5, 0.3, 2)))
    assert "shrinks from 30.0 points" in gap_sentence((row(0, 0.5, 0.3, 1), row(5, 0.5, 0.02, 2)))
    assert "cannot distinguish the two" in gap_sentence((row(0, 0.5, 0.02, 1, 0.2), row(5, 0.5, 0.3, 2, 0.2)))


def test_depths_with_too_few_trials_for_an_interval_are_skipped():
    lone = row(7, 0.5, 0.1, 3)._replace(gap_last=Estimate(0.1, None, None, 2))
    known = (row(0, 0.5, 0.02, 1), row(5, 0.5, 0.3, 2), lone)
    assert "to 30.0 points at depth 5" in gap_sentence(known)
    assert "10.0 points at depth 7 (n = 2, too few" in gap_sentence(known[1:])


def test_withheld_statistics_give_their_reason():
    reason = Withheld("no trial has completed")
    assert depth_sentence(reason, reason, reason) == "Not answered yet: no trial has completed."
    assert epoch_sentence(reason, reason) == "Not answered yet: no trial has completed."
