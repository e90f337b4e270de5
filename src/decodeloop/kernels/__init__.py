"""The fast path: a compiled decode step, a prefill to match, and weights in 8 bits."""

from __future__ import annotations

import importlib
import warnings

import torch
from torch import nn

from decodeloop.kernels.int8 import Int8Embedding, Int8Linear, Int8Matrix, dequantize, quantize
from decodeloop.model import TINY, ContiguousKVCache, Decoder

__all__ = [
    "Int8Embedding",
    "Int8Linear",
    "Int8Matrix",
    "compile_all",
    "dequantize",
    "fast",
    "obstacle",
    "quantize",
]


def obstacle(device: torch.device) -> str | None:
    """What stands in the way of a compiled decode step on this device; None if nothing does."""
    if device.type != "cpu":
        return f"there is none for {device.type}"
    try:
        importlib.import_module("decodeloop.kernels.decoder")
    except ImportError as error:
        return f"it needs Numba, which can't be imported ({error}): pip install numba"
    return None


def fast(decoder: Decoder) -> Decoder:
    """The same decoder with a compiled decode step, where there can be one; else the decoder.

    It takes the CPU and Numba. Where one is missing a warning says so, once.
    """
    reason = obstacle(decoder.device)
    if reason is None:
        from decodeloop.kernels.decoder import FastDecoder

        quick = FastDecoder(decoder)
        two_steps(quick)  # the machine code is loaded here, and not in front of the first tokens
        return quick
    warnings.warn(f"no compiled decode step: {reason}; plain PyTorch computes.", stacklevel=2)
    return decoder


def compile_all() -> None:
    """Compile what both kinds of weights need, so that nobody has to wait for it later.

    It takes some ten seconds, once; the machine code is kept beside the package, or in the user's
    cache folder.
    """
    from decodeloop.kernels.decoder import FastDecoder

    plain, small = Decoder(TINY), Decoder(TINY)
    for owner in list(small.modules()):
        for name, module in list(owner.named_children()):
            if isinstance(module, nn.Linear):
                setattr(owner, name, Int8Linear(Int8Matrix(module.weight)))
    for decoder in (plain, small):
        two_steps(FastDecoder(decoder))


@torch.inference_mode()
def two_steps(decoder: Decoder) -> None:
    """Read a token, and decode one more."""
    cache = ContiguousKVCache(decoder.config, 1, 2)
    for _ in range(2):
        decoder(torch.tensor([[0]]), cache)
