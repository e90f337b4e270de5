import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.testing import assert_close

from decodeloop.errors import ShapeError, UserError
from decodeloop.kernels import triton_flash
from decodeloop.kernels.triton_flash import flash_attention_in_triton, obstacle
from decodeloop.model import causal_mask


def heads(H, G, T, S, D=16, device="cpu"):
    generator = torch.Generator().manual_seed(T)
    return [
        torch.randn(1, n, m, D, generator=generator).to(device) for n, m in ((H, T), (G, S), (G, S))
    ]


SHAPES = [(2, 1, 40, 40), (1, 1, 1, 50), (3, 3, 33, 70)]


def all_equal():
    """In a process that tells Triton to interpret before anybody imports it."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    assert obstacle() is None, obstacle()
    for H, G, T, S in SHAPES:
        q, k, v = heads(H, G, T, S, device=device)
        mask = causal_mask(T, S, device=device)
        expected = scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
        assert_close(flash_attention_in_triton(q, k, v), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_it_equals_pytorch():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    if not torch.cuda.is_available():
        environment["TRITON_INTERPRET"] = "1"
    subprocess.run([sys.executable, __file__], env=environment, check=True)


def test_triton_that_was_imported_too_early_is_named(monkeypatch):
    monkeypatch.setattr(triton_flash, "missing", "set TRITON_INTERPRET=1 before Python starts")
    assert obstacle().endswith("before Python starts)")


def test_without_triton_it_is_said_what_to_do(monkeypatch):
    monkeypatch.setattr(triton_flash, "missing", "No module named 'triton'")
    with pytest.raises(UserError, match=r"can't be imported .*: pip install triton"):
        flash_attention_in_triton(*heads(1, 1, 2, 2))


@pytest.mark.parametrize("shape", [(2, 1, 3, 2), (1, 1, 3, 3)])
def test_other_shapes_are_refused(monkeypatch, shape):
    monkeypatch.setattr(triton_flash, "missing", "")
    with pytest.raises(ShapeError, match="D a power of two from 16 up"):
        flash_attention_in_triton(*heads(*shape, D=16 if shape[2] > shape[3] else 24))


if __name__ == "__main__":
    all_equal()
