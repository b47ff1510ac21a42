"""A tiny study of two backbones is run, resumed and read."""

import pandas as pd
import pytest
import yaml

from study.results.study_results import read_study
from study.run import run_study
from study.setup.options import RunOptions
from tests.helpers.small_images import draw_noise, write_table

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SPACE = """
fixed: {image_size: 32, batch_size: 16, head_phase.epochs: 1, depth_phase.epochs: 1}
search:
  backbone.name: {type: categorical, choices: {test_resnet: none, test_vit: none}}
  depth_fraction: {type: float, low: 0.5, high: 1, step: 0.5}
"""


def test_two_backbones_share_a_study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "labels.csv", ("image", "level"), *((f"photo{index}", index % 5) for index in range(30)))
    for index in range(30):
        draw_noise(tmp_path / f"photo{index}.png", index)
    (tmp_path / "two.yaml").write_text(SPACE)
    options = {"space": "two.yaml", "data": "labels.csv", "study": "two", "jobs": 1, "sampler": "grid"}
    run_study(RunOptions(trials=2, report=False, **options))
    outcome = run_study(RunOptions(trials=4, pruner="predictive", **options))
    assert outcome.progress.complete == 4
    trials = pd.read_csv("results/two/report/trials.csv")
    depths = {(row["backbone.name"], row["depth_fraction"]): row["depth"] for row in trials.to_dict("records")}
    assert depths == {
        ("test_resnet", 0.5): 3,
        ("test_resnet", 1.0): 5,
        ("test_vit", 0.5): 4,
        ("test_vit", 1.0): 7,
    }
    config = yaml.safe_load((tmp_path / "results/two/trials/0003/config.yaml").read_text())
    assert config["backbone"]["name"] == trials.loc[3, "backbone.name"]
    assert read_study("two").info.backbones == {"test_resnet": 5, "test_vit": 7}
    assert "The study has 2 backbones" in (tmp_path / "results/two/report/report.md").read_text()
