"""The GPU benchmark, as far as a CPU goes: its pages, and parts that fail."""

import json

import pytest
import torch

from benchmarks import gpu_parts
from benchmarks.gpu import notes, tables
from drft.config.trial_config import parse_config
from drft.training.session import TrainingSession

PARTS = {
    "training": {"depth 8": {"seconds": 2.0, "kernel_seconds": 0.5}, "part_seconds": 30.0},
    "steps": {"bf16, depth 8": {"graph_ms": 2.5, "one_by_one_ms": 20.0, "kernel_ms": 2.0, "evaluation_ms": 40.0}},
    "together": {"depth 8": {"trainings": 4, "in_turn_ms": 10.0, "on_streams_ms": 8.0, "stacked_4_ms": "RuntimeError"}},
    "study:8": {"at_once": 8, "trainings": 90, "per_minute": 180.0, "kernel_share": 0.9, "memory_mib": 2048.0},
    "mps:8": {"at_once": 8, "trainings": 90, "per_minute": 240.0},
    "plain:1:resnet50": {"failed": "Traceback\nOSError: no such file"},
}


def cells(part: str) -> list[str]:
    """Return the cells of all rows of the tables of one part."""
    return [cell for _, rows in tables({part: PARTS[part]}) for row in rows for cell in row]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("training", ["depth 8", "2.00", "0.50 s", "25%"]),
        ("steps", ["bf16, depth 8", "2.50 ms", "20.00 ms", "2.00 ms", "", "40.00 ms"]),
        ("together", ["depth 8", "10.0 ms", "8.0 ms", "cannot", "cannot"]),
        ("study:8", ["mobilenetv2_100", "drft-study, 8 at once", "180.0", "90%", "2.0 GiB"]),
        ("mps:8", ["mobilenetv2_100", "drft-study, 8 at once, MPS", "240.0", "", ""]),
        ("plain:1:resnet50", ["resnet50", "plain Optuna loop", "not measured: OSError: no such file", "", ""]),
    ],
)
def test_every_part_has_its_row(part, expected):
    assert cells(part) == expected


def test_what_is_missing_and_what_failed_is_said():
    said = "\n".join(notes({**PARTS, "agreement": {"failed": "no memory"}}))
    assert "agreement: no memory" in said
    assert "study:16" in said.partition("Not run yet: ")[2]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_part_that_fails_is_written_and_the_next_one_runs(tmp_path, monkeypatch):
    out = tmp_path / "result.json"
    monkeypatch.setattr("sys.argv", ["gpu_parts", "card+steps", str(out), "--data=none", "--weights=none"])
    gpu_parts.main()
    results = json.loads(out.read_text())
    assert results.keys() == {"card", "steps"}
    assert all(result["failed"].startswith("Traceback") for result in results.values())


@pytest.mark.parametrize("depth", [6, 3])
def test_stacked_steps_leave_the_network_as_it_was(tiny_dataset, tmp_path, depth):
    config = parse_config({"image_size": 48, "depth": depth, "precision": "bf16"})
    session = TrainingSession(tiny_dataset, device="cpu", cache_dir=tmp_path)
    trainer, step = gpu_parts._trainer(session, config, fold=False)
    gradients = gpu_parts._stacked_step(trainer, 3)()
    assert {len(gradient) for gradient in gradients.values()} == {3}
    step()
    session.prepare(config)  # loads weights into the network, which tensors of a stacked call would refuse
