"""Backbones are built in another process; that process and the workers share one import of torch."""

import os
import subprocess
import sys

import pytest

from drft.config.trial_config import TrialConfig, with_values
from drft.errors import BackboneError, DrftError, WeightsError
from drft.models.backbone import describe_backbone
from study.setup.backbone_probe import BackboneProbe

CONFIG = with_values(TrialConfig(), {"backbone.name": "test_resnet", "backbone.weights": "none", "image_size": 32})


@pytest.fixture(scope="module")
def probe():
    with BackboneProbe() as probe:
        yield probe


def test_blocks_come_stem_first(probe):
    blocks = probe.blocks("test_resnet")
    rows = describe_backbone("test_resnet")
    assert [block["index"] for block in blocks] == list(range(len(rows)))
    assert [block["name"] for block in blocks] == [row.name for row in reversed(rows)]
    assert blocks[0]["trainable_fraction"] == 1


def test_a_model_that_can_be_built_passes(probe):
    probe.check(CONFIG, 5)


def test_a_model_that_cannot_take_the_images_is_refused_in_one_line(probe):
    """Some networks can be built for any size and fail when they run."""
    config = with_values(CONFIG, {"backbone.name": "crossvit_tiny_240"})
    with pytest.raises(BackboneError) as caught:
        probe.check(config, 5, 64)
    (fault,) = caught.value.faults
    assert fault.startswith("backbone crossvit_tiny_240 cannot be used with images of 64 pixels (")
    assert fault.endswith("): choose another image size, or another backbone")
    assert "\n" not in fault
    probe.check(config, 5, 240)
    probe.check(config, 5)


def test_faults_are_raised_in_the_calling_process(probe):
    with pytest.raises(BackboneError, match="did you mean 'resnet18'") as caught:
        probe.blocks("resnet1888")
    assert len(caught.value.faults) == 1
    with pytest.raises(WeightsError, match="no such weight file"):
        probe.check(with_values(CONFIG, {"backbone.weights": "gone.pth"}), 5)


def test_a_defect_keeps_its_traceback(probe):
    with pytest.raises(ZeroDivisionError) as caught:
        probe.call(divmod, 1, 0)
    assert "in _serve" in caught.value.__notes__[0]


def test_the_error_names_the_exit_code_of_a_process_that_died():
    with BackboneProbe() as probe, pytest.raises(DrftError, match="checks backbones left with exit code 3"):
        probe.call(os._exit, 3)


def test_a_process_gets_the_current_environment(probe, monkeypatch):
    monkeypatch.setenv("DRFT_TEST_VALUE", "now")
    with BackboneProbe() as later:
        assert later.call(os.getenv, "DRFT_TEST_VALUE") == "now"
    assert probe.call(os.getenv, "DRFT_TEST_VALUE") is None


@pytest.mark.skipif(sys.platform != "linux", reason="on other systems every process imports torch by itself")
def test_processes_start_with_torch_imported_and_cuda_untouched():
    """In a new process: another test may have started this one's fork server, before anything named its imports."""
    script = """
import sys
from study.setup.backbone_probe import BackboneProbe
if __name__ == "__main__":
    with BackboneProbe() as probe:
        names = "{'torch', 'timm', 'drft.training.trial', 'drft.training.session'}"
        print(probe.call(eval, f"__import__('sys').modules.keys() >= {names}"))
        print(probe.call(eval, "__import__('torch').cuda._is_in_bad_fork()"))
"""
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert output.split() == ["True", "False"]


def test_the_tuner_process_does_not_import_torch():
    script = "import sys, study.run, study.cli.run; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "timm", "plotly", "sklearn", "scipy"} & set(output.split())
