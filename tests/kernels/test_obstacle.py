"""Where kernels can't be had, plain PyTorch computes, and one sentence says why and what to do."""

import errno
import os
import subprocess
import sys
import warnings

import numba
import pytest
import torch

from decodeloop import kernels
from decodeloop.errors import UserError
from decodeloop.kernels import compile_all, fast, obstacle
from decodeloop.loading import form_of
from decodeloop.model import TINY, Decoder

CPU = torch.device("cpu")


def test_nothing_stands_in_the_way_here():
    assert obstacle(CPU) is None
    assert obstacle(CPU, "int8") is None
    told: list[float] = []
    assert compile_all(told.append) is None
    assert told == [0.25, 0.5, 0.75, 1.0]


def test_other_devices_have_none():
    assert obstacle(torch.device("cuda")) == "there is none for cuda"


def test_numba_may_be_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    assert "pip install numba" in obstacle(CPU)


def test_numba_may_be_switched_off(monkeypatch):
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    assert obstacle(CPU) == "NUMBA_DISABLE_JIT switches Numba off: unset it"


ERRORS = {
    "no folder": (
        RuntimeError("cannot cache function 'f': no locator available for file 'x.py'"),
        "NUMBA_CACHE_DIR",
    ),
    "full disk": (OSError(errno.ENOSPC, "No space left on device"), "disk with room"),
    "no layer": (
        ValueError("No threading layer could be loaded.\nHINT:\nIntel TBB is required"),
        "unset NUMBA_THREADING_LAYER",
    ),
    "anything": (RuntimeError("LLVM has its own mind"), "install Numba anew"),
}


@pytest.mark.parametrize(("error", "part"), ERRORS.values(), ids=ERRORS.keys())
def test_whatever_numba_raises_is_one_sentence_and_the_decoder_stays(monkeypatch, error, part):
    def fails(dtype, quantized_cache):
        raise error

    monkeypatch.setattr(kernels, "load_machine_code", fails)
    reason = obstacle(CPU)
    assert part in reason
    assert "\n" not in reason
    decoder = Decoder(TINY)
    with pytest.warns(UserWarning, match="no compiled decode step: .*; plain PyTorch computes"):
        assert fast(decoder) is decoder
    assert reason in compile_all()
    with pytest.raises(UserError, match="leave it out for plain PyTorch"):
        form_of(CPU, "fp32", compiled=True)


def test_an_interruption_is_none_of_them(monkeypatch):
    def interrupted(dtype, quantized_cache):
        raise KeyboardInterrupt

    monkeypatch.setattr(kernels, "load_machine_code", interrupted)
    with pytest.raises(KeyboardInterrupt), warnings.catch_warnings():
        fast(Decoder(TINY))


@pytest.mark.parametrize(
    ("environment", "before", "part"),
    [
        ({"NUMBA_THREADING_LAYER": "nonsense"}, "", "unset NUMBA_THREADING_LAYER"),
        ({}, "caching.CacheImpl._locator_classes = []", "NUMBA_CACHE_DIR"),
    ],
    ids=["no such layer", "no folder"],
)
def test_numba_itself_raises_what_is_expected(environment, before, part):
    code = (
        f"from numba.core import caching; {before}\n"
        "import torch; from decodeloop.kernels import obstacle\n"
        "for _ in range(2): print(obstacle(torch.device('cpu')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        encoding="utf-8",
    )
    first, second = done.stdout.splitlines()
    assert part in first
    assert part in second
    assert done.returncode == 0
