import subprocess
import sys

import pytest
import torch

from decodeloop import devices
from decodeloop.devices import (
    CHOICES,
    VARIABLE,
    failure,
    pick_device,
    synchronize,
    total_memory,
)
from decodeloop.errors import DeviceError, UserError


@pytest.fixture
def machine(monkeypatch):
    """Pretend to be a machine with these devices."""

    def pretend(cuda: int = 0, mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    monkeypatch.delenv(VARIABLE, raising=False)
    pretend()
    return pretend


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(1, True, "cuda"), (1, False, "cuda"), (0, True, "mps"), (0, False, "cpu")],
)
@pytest.mark.parametrize("name", [None, "auto"])
def test_auto_takes_cuda_then_mps_then_the_cpu(machine, name, cuda, mps, expected):
    machine(cuda, mps)
    assert pick_device(name) == torch.device(expected)


def test_the_variable_chooses_where_no_name_is_given(machine, monkeypatch):
    machine(cuda=1)
    monkeypatch.setenv(VARIABLE, "cpu")
    assert pick_device() == torch.device("cpu")
    assert pick_device("cuda") == torch.device("cuda")


def test_an_empty_variable_is_none(machine, monkeypatch):
    machine(mps=True)
    monkeypatch.setenv(VARIABLE, "")
    assert pick_device() == torch.device("mps")


@pytest.mark.parametrize("name", ["cpu", "cuda", "mps", "cuda:1", "cpu:0", torch.device("cuda", 1)])
def test_a_device_that_is_there_is_taken(machine, name):
    machine(cuda=2, mps=True)
    assert pick_device(name) == torch.device(name)


@pytest.mark.parametrize("name", ["cuda", "mps", "cuda:0"])
def test_a_device_that_this_machine_lacks_is_named_with_what_to_do(machine, name):
    with pytest.raises(DeviceError) as error:
        pick_device(name)
    assert f"device '{name}' was asked for" in str(error.value)
    assert "use 'auto' or 'cpu'" in str(error.value)


def test_a_gpu_beyond_the_last_is_named(machine):
    machine(cuda=2)
    with pytest.raises(DeviceError, match=r"'cuda:2'.*2 CUDA devices.*'cuda:0'"):
        pick_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "CUDA", "tpu:0", "", "meta"])
def test_an_unknown_device_is_named_with_the_known_ones(machine, name):
    with pytest.raises(DeviceError) as error:
        pick_device(name)
    message = str(error.value)
    assert f"unknown device {name!r}" in message
    assert all(choice in message for choice in CHOICES)
    assert VARIABLE in message


def test_an_unknown_device_in_the_variable_is_named(machine, monkeypatch):
    monkeypatch.setenv(VARIABLE, "gpu")
    with pytest.raises(DeviceError, match="unknown device 'gpu'"):
        pick_device()


@pytest.mark.parametrize("name", ["cuda:x", "cuda:", "cpu:-1", "cuda:0:1"])
def test_an_index_that_is_none_is_named(machine, name):
    machine(cuda=1)
    with pytest.raises(DeviceError, match=f"unknown device '{name}'.*kind and an index.*'cuda:0'"):
        pick_device(name)


def test_device_errors_are_addressed_to_the_user():
    assert issubclass(DeviceError, UserError)


def test_a_device_that_computes_has_no_failure():
    assert failure(torch.device("cpu")) is None
    assert failure(pick_device()) is None


def test_a_device_that_pytorch_finds_and_that_cannot_compute_says_why(monkeypatch):
    def too_old(*shape, device):
        raise RuntimeError(
            "CUDA error: no kernel image is available\nCompile with `TORCH_USE_CUDA`"
        )

    monkeypatch.setattr(torch, "ones", too_old)
    assert failure(torch.device("cuda")) == "CUDA error: no kernel image is available"


def test_a_device_that_computes_nonsense_says_what(monkeypatch):
    monkeypatch.setattr(torch, "ones", lambda *shape, device: torch.zeros(shape))
    assert "0 in place of 64" in failure(torch.device("cuda"))


@pytest.mark.parametrize(
    ("device", "expected"),
    [("cpu", []), ("cuda:1", [("cuda", torch.device("cuda:1"))]), ("mps", [("mps",)])],
)
def test_synchronize_waits_for_that_device_alone(monkeypatch, device, expected):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waited.append(("cuda", device)))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append(("mps",)))
    synchronize(torch.device(device))
    assert waited == expected


def test_asking_where_does_not_import_torch_before_it_must():
    code = "import sys, decodeloop, decodeloop.devices; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_this_machine_has_some_memory_or_does_not_say(monkeypatch):
    total = total_memory()
    assert total is None or total > 1e8
    monkeypatch.delattr(devices.os, "sysconf", raising=False)
    assert total_memory() is None
