from study.analysis import DepthRow, Estimate, Withheld
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
    assert interval(Estimate(0.1, 0.05, 0.15, 7)) == "95% interval 5.0 to 15.0, n = 7"
    assert interval(Estimate(0.1, None, None, 1)) == "n = 1, too few for an interval"


def test_small_lead_is_compared_with_the_detectable_difference():
    text = depth_sentence((row(0, 0.55, 0.02, 1), row(5, 0.60, 0.3, 2)), noise(0.60, 2, 0.18))
    assert "60.0% validation accuracy" in text
    assert "the head alone (depth 0) reached 55.0%, and the lead of 5.0 points is less than the 18.0 points" in text


def test_large_lead_is_compared_with_the_detectable_difference():
    text = depth_sentence((row(1, 0.30, 0.02, 1), row(5, 0.60, 0.3, 2)), noise(0.60, 2, 0.18))
    assert "depth 1 reached 30.0%, and the lead of 30.0 points is more than" in text


def test_best_trial_at_the_shallowest_depth_means_no_gain():
    text = depth_sentence((row(0, 0.60, 0.02, 1), row(5, 0.55, 0.3, 2)), noise(0.60, 1, 0.18))
    assert "training deeper gained nothing" in text


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
    assert depth_sentence(reason, reason) == "Not answered yet: no trial has completed."
    assert epoch_sentence(reason, reason) == "Not answered yet: no trial has completed."
