import pytest
import torch
from torch import nn

from drft.errors import ConfigError
from drft.models.devices import autocast, pick_device, pick_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
DENSE, DEPTHWISE = nn.Sequential(nn.Linear(4, 4)), nn.Sequential(nn.Conv2d(4, 4, 3, groups=4))


@pytest.mark.parametrize(
    ("net", "amx", "picked"), [(DENSE, True, "bf16"), (DENSE, False, "fp32"), (DEPTHWISE, True, "fp32")]
)
def test_auto_is_bf16_on_a_cpu_that_gains_by_it(monkeypatch, net, amx, picked):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"amx_bf16": amx}, raising=False)
    assert pick_precision("auto", CPU, net) == picked


@pytest.mark.parametrize(
    ("allowed", "picked"), [("AVX512_CORE", "fp32"), ("AVX10_1_512_AMX", "bf16"), ("all", "bf16"), ("", "bf16")]
)
def test_onednn_can_be_kept_from_amx(monkeypatch, allowed, picked):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", allowed)
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert pick_precision("auto", CPU, DENSE) == picked


@pytest.mark.parametrize(("supported", "picked"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_bf16_on_a_gpu_that_has_it(monkeypatch, supported, picked):
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: supported)
    assert pick_precision("auto", CUDA, DEPTHWISE) == picked


@pytest.mark.parametrize("wanted", ["fp32", "bf16"])
def test_a_wish_is_granted(wanted):
    assert pick_precision(wanted, CPU, DEPTHWISE) == wanted


def test_fp16_without_a_gpu_is_refused():
    with pytest.raises(ConfigError, match="fp16 needs a GPU, this training runs on cpu: choose bf16 or fp32"):
        pick_precision("fp16", CPU, DENSE)


def test_fp16_on_a_gpu_is_granted():
    assert pick_precision("fp16", CUDA, DENSE) == "fp16"


def test_a_named_device_is_taken():
    assert pick_device("cpu") == CPU


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_networks_compute_in_the_precision_and_keep_their_parameters(precision, dtype):
    with autocast(precision, CPU):
        assert DENSE(torch.ones(2, 4)).dtype == dtype
    assert DENSE[0].weight.dtype == torch.float32
