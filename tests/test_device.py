"""Device and precision, decided in one place."""

from __future__ import annotations

import pytest
import torch
from helpers import refused

from pltutorial import LossNetwork, best_device, best_precision, device
from pltutorial.device import has_fast_bfloat16

CPU = torch.device("cpu")


def test_the_device_given_or_the_best_there_is():
    assert best_device("cpu") == CPU
    assert best_device(CPU) == CPU
    kind = (
        "cuda"
        if torch.cuda.is_available()
        else "mps"
        if torch.backends.mps.is_available()
        else "cpu"
    )
    assert best_device().type == best_device("auto").type == kind


def test_what_the_machine_does_not_have_is_refused():
    for name in ("cuda:99", "gpu", "xpu"):
        with refused(f"'{name}'", "'cpu'"):
            best_device(name)
    with refused("'gpu'"):
        LossNetwork(device="gpu")


@pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="no CUDA device: all tests run on the CPU alone",
)
def test_a_gpu_takes_part_in_these_tests(device, network):
    assert network.mean.device.type == device.type


class TestPrecision:
    def test_by_name(self):
        assert best_precision(CPU, "float32") == torch.float32
        assert best_precision(CPU, "bfloat16") == torch.bfloat16
        with refused("'half'", "'bfloat16'"):
            best_precision(CPU, "half")
        with refused("'half'"):
            LossNetwork(device="cpu", precision="half")

    def test_the_environment_takes_the_place_of_auto(self, monkeypatch):
        for name in ("float32", "bfloat16"):
            monkeypatch.setenv("PLTUTORIAL_PRECISION", name)
            assert best_precision(CPU) == getattr(torch, name)
        assert best_precision(CPU, "float32") == torch.float32
        monkeypatch.setenv("PLTUTORIAL_PRECISION", "double")
        with refused("'double'"):
            best_precision(CPU)

    def fast(
        self,
        monkeypatch,
        capability="AVX512",
        bf16=True,
        amx=False,
        isa=None,
        amd=True,
    ) -> bool:
        monkeypatch.setattr(device, "_is_amd", lambda: amd)
        monkeypatch.setattr(
            torch.backends.cpu, "get_cpu_capability", lambda: capability
        )
        monkeypatch.setattr(
            torch.cpu, "_is_avx512_bf16_supported", lambda: bf16, raising=False
        )
        monkeypatch.setattr(
            torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False
        )
        monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
        if isa is not None:
            monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", isa)
        return has_fast_bfloat16(CPU)

    def test_only_where_the_processor_really_has_it(self, monkeypatch):
        monkeypatch.delenv("PLTUTORIAL_PRECISION", raising=False)
        assert self.fast(monkeypatch)
        assert best_precision(CPU) == torch.bfloat16
        assert self.fast(monkeypatch, bf16=False, amx=True, amd=False)
        assert not self.fast(monkeypatch, bf16=False)
        assert best_precision(CPU) == torch.float32

    def test_the_instruction_alone_gains_nothing_on_intel(self, monkeypatch):
        assert not self.fast(monkeypatch, amd=False)
        assert not self.fast(monkeypatch, amx=True, amd=False, isa="AVX512_CORE_BF16")
        assert self.fast(monkeypatch, amx=True, amd=False, isa="AVX512_CORE_AMX")

    def test_limits_of_the_environment_are_respected(self, monkeypatch):
        assert not self.fast(monkeypatch, capability="AVX2")
        assert not self.fast(monkeypatch, isa="AVX2")
        assert not self.fast(monkeypatch, isa="AVX512_CORE")
        assert self.fast(monkeypatch, isa="AVX512_CORE_BF16")
        assert self.fast(monkeypatch, isa="DEFAULT")

    def test_elsewhere_it_is_float32(self):
        assert not has_fast_bfloat16(torch.device("mps"))
        assert not has_fast_bfloat16(torch.device("meta"))
