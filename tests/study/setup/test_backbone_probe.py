"""The driver asks another process about backbones; that process and the workers share one import of torch."""

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
def inspector():
    with BackboneProbe() as inspector:
        yield inspector


def test_blocks_come_stem_first(inspector):
    blocks = inspector.blocks("test_resnet")
    rows = describe_backbone("test_resnet")
    assert [block["index"] for block in blocks] == list(range(len(rows)))
    assert [block["name"] for block in blocks] == [row.name for row in reversed(rows)]
    assert blocks[0]["trainable_fraction"] == 1


def test_a_model_that_can_be_built_passes(inspector):
    inspector.check(CONFIG, 5)


def test_faults_are_raised_where_the_question_was_asked(inspector):
    with pytest.raises(BackboneError, match="did you mean 'resnet18'") as caught:
        inspector.blocks("resnet1888")
    assert len(caught.value.faults) == 1
    with pytest.raises(WeightsError, match="no such weight file"):
        inspector.check(with_values(CONFIG, {"backbone.weights": "gone.pth"}), 5)


def test_a_defect_keeps_its_traceback(inspector):
    with pytest.raises(ZeroDivisionError) as caught:
        inspector._ask(divmod, 1, 0)
    assert "in _answer" in caught.value.__notes__[0]


def test_an_inspector_that_dies_says_how():
    with BackboneProbe() as inspector, pytest.raises(DrftError, match="checks backbones left with exit code 3"):
        inspector._ask(os._exit, 3)


def test_the_environment_is_that_of_now(inspector, monkeypatch):
    monkeypatch.setenv("DRFT_SAYS", "now")
    with BackboneProbe() as later:
        assert later._ask(os.getenv, "DRFT_SAYS") == "now"
    assert inspector._ask(os.getenv, "DRFT_SAYS") is None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every process imports for itself")
def test_processes_start_with_torch_imported_and_cuda_untouched(inspector):
    imported = "__import__('sys').modules.keys() >= {'torch', 'timm', 'drft.training.trial', 'drft.training.session'}"
    assert inspector._ask(eval, imported)
    assert not inspector._ask(eval, "__import__('torch').cuda._is_in_bad_fork()")


def test_the_driver_imports_no_torch():
    script = "import sys, study.run, study.cli.run; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "timm", "plotly", "sklearn", "scipy"} & set(output.split())
