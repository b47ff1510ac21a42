"""The judge of verdicts: its tables, from results whose truth is known."""

from benchmarks.verdict import claim_rows, contestant_rows, known_rows


def entry(seed, true, promise, optuna):
    estimate = {"value": 0.05, "low": 0.01, "high": 0.09, "n": 413}
    depths = [
        {"depth": depth, "trainings": 5, "value": 0.6, "low": 0.5, "high": 0.7, "n": 413, "true": true - 0.01 * depth}
        for depth in (0, 8)
    ]
    default = {
        "trainings": 170, "seconds": 60.0, "depth": 0, "certain": True, "tolerance": 0.02, "promise": promise,
        "low": promise - 0.04, "high": promise + 0.04, "true": true, "true_single": true - 0.01,
        "untuned": {"single": 0.5, "ensemble": 0.52}, "by_depth": depths,
        "contrasts": [
            {"other": "all blocks", **estimate, "true": 0.03},
            {"other": "best depth", **estimate, "true": 0.03},  # the same depth
            {"other": "untuned", **estimate, "true": -0.02},
        ],
        "reach": [(120, 0.055 if seed == 1 else 0.045), (135, 0.04)],
    }  # fmt: skip
    other = {"trainings": 170, "seconds": 30.0, "depth": 3, "promise": 0.7, "true": optuna, "reach": [(170, 0.1)]}
    return {"seed": seed, "default": default, "best": other, "optuna": other}


ENTRIES = [entry(1, 0.60, 0.61, 0.56), entry(2, 0.62, 0.61, 0.58), entry(3, 0.64, 0.75, 0.60)]


def test_contestants_are_compared_with_optuna_on_the_same_data_sets():
    default, best, optuna, untuned = contestant_rows(ENTRIES)
    assert default[:2] == ("default", "170")
    assert default[4].startswith("62.0 (")
    assert default[5].startswith("3.7 (")
    assert default[6].startswith("4.0")
    assert best[6].startswith("0.0")
    assert optuna[6] == ""
    assert untuned[4] == "52.0"


def test_claims_are_held_against_the_truth():
    rows = {row[0]: row for row in claim_rows(ENTRIES)}
    assert rows["the interval of the promise holds the truth"][1:2] == ("66.7%",)
    assert rows["the interval of a contrast holds the truth"][1] == "50.0%"
    assert rows["the interval of a contrast holds the truth"][3] == "6"
    assert rows["a contrast excludes 0"][1] == "100.0%"
    assert rows["such a claim is wrong"][1] == "50.0%"
    assert rows["regret of the recommended depth"][1] == "1.0"
    assert rows["gain of the ensemble over its members"][1] == "1.0"
    assert rows["a depth said to be within the tolerance is"][3] == "3"


def test_the_trainings_until_a_difference_between_depths_is_known_are_counted():
    default, best, optuna = known_rows(ENTRIES)
    assert default[:3] == ("default", "125", "3 of 3")
    assert default[3].startswith("4.0")
    assert best[:3] == ("best", "", "0 of 3")
    assert optuna[3].startswith("10.0")
    head_alone = [{**ENTRIES[0], "optuna": ENTRIES[0]["optuna"] | {"reach": []}}]
    assert [row[0] for row in known_rows(head_alone)] == ["default", "best"]
