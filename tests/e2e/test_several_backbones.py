"""A tiny study of two backbones is run, resumed and read."""

import csv

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from study.results.study_results import read_study
from study.run import run_study
from study.setup.options import RunOptions

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SPACE = """
fixed: {image_size: 32, batch_size: 16, head_phase.epochs: 1, depth_phase.epochs: 1}
search:
  backbone.name: {type: categorical, choices: {test_resnet: none, test_vit: none}}
  depth_fraction: {type: float, low: 0.5, high: 1, step: 0.5}
"""


def test_two_backbones_share_a_study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        rows = [("image", "level"), *((f"photo{index}", str(index % 5)) for index in range(30))]
        csv.writer(file).writerows(rows)
    for index in range(30):
        pixels = np.random.default_rng(index).integers(0, 255, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"photo{index}.png")
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
