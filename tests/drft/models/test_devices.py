import pytest
import torch
from torch import nn

from drft.errors import ConfigError
from drft.models.devices import autocast, pick_device, pick_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
DENSE, DEPTHWISE = nn.Sequential(nn.Linear(4, 4)), nn.Sequential(nn.Conv2d(4, 4, 3, groups=4))


@pytest.mark.parametrize(
    ("net", "amx", "expected"), [(DENSE, True, "bf16"), (DENSE, False, "fp32"), (DEPTHWISE, True, "fp32")]
)
def test_auto_is_bf16_on_a_cpu_where_it_is_faster(monkeypatch, net, amx, expected):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"amx_bf16": amx}, raising=False)
    assert pick_precision("auto", CPU, net) == expected


@pytest.mark.parametrize(
    ("allowed", "expected"), [("AVX512_CORE", "fp32"), ("AVX10_1_512_AMX", "bf16"), ("all", "bf16"), ("", "bf16")]
)
def test_the_environment_can_forbid_amx(monkeypatch, allowed, expected):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", allowed)
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert pick_precision("auto", CPU, DENSE) == expected


@pytest.mark.parametrize(("supported", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_bf16_on_a_gpu_that_supports_it(monkeypatch, supported, expected):
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: supported)
    assert pick_precision("auto", CUDA, DEPTHWISE) == expected


@pytest.mark.parametrize("wanted", ["fp32", "bf16"])
def test_a_set_precision_is_used(wanted):
    assert pick_precision(wanted, CPU, DEPTHWISE) == wanted


def test_fp16_without_a_gpu_is_refused():
    with pytest.raises(ConfigError, match="fp16 needs a GPU, this training runs on cpu: choose bf16 or fp32"):
        pick_precision("fp16", CPU, DENSE)


def test_fp16_is_used_on_a_gpu():
    assert pick_precision("fp16", CUDA, DENSE) == "fp16"


def test_a_named_device_is_used():
    assert pick_device("cpu") == CPU


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_networks_compute_in_the_precision_and_their_parameters_stay_float32(precision, dtype):
    with autocast(precision, CPU):
        assert DENSE(torch.ones(2, 4)).dtype == dtype
    assert DENSE[0].weight.dtype == torch.float32
