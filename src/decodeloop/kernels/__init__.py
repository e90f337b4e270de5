"""The fast path: a compiled decode step, a prefill to match, and weights in 8 bits."""

from __future__ import annotations

import importlib
import warnings
from typing import Any, cast

import torch
from torch import nn

from decodeloop.errors import one_line
from decodeloop.kernels.int8 import Int8Embedding, Int8Linear, Int8Matrix, dequantize, quantize
from decodeloop.kernels.known import not_in_kernels
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


def obstacle(device: torch.device, dtype: str = "fp32") -> str | None:
    """What stands in the way of a compiled decode step on this device, with weights of this type
    (fp32, int8 or w8a8); None if nothing does.

    It is tried: Numba may be missing, switched off, or without a folder for its machine code, a
    threading layer, room on the disk. The first time, compiling takes some ten seconds; the machine
    code is kept beside the package, or in the user's cache folder.
    """
    if device.type != "cpu":
        return f"there is none for {device.type}"
    try:
        config = cast(Any, importlib.import_module("numba")).config
        if config.DISABLE_JIT:
            return "NUMBA_DISABLE_JIT switches Numba off: unset it"
        load_machine_code(dtype)
    except ImportError as error:
        return f"it needs Numba, which can't be imported ({one_line(error)}): pip install numba"
    except Exception as error:  # Numba, its threading layers and LLVM have each their own kinds
        return f"Numba can't compile here ({one_line(error)}): {remedy(str(error))}"
    return None


def remedy(error: str) -> str:
    """What to do about an error of Numba's."""
    if "locator" in error or "Errno" in error:
        return "set NUMBA_CACHE_DIR to a folder that can be written, on a disk with room"
    if "hread" in error:
        return "unset NUMBA_THREADING_LAYER and NUMBA_NUM_THREADS"
    return "install Numba anew"


def fast(decoder: Decoder) -> Decoder:
    """The same decoder with a compiled decode step, where there can be one; else the decoder.

    It takes the CPU, Numba, and a model that kernels know. Where there can't be one a warning says
    so, once.
    """
    head: nn.Module = decoder.output
    products = head.products if isinstance(head, Int8Linear) else None
    dtype = {None: "fp32", torch.int8: "w8a8"}.get(products, "int8")
    unknown = not_in_kernels(decoder.config)
    reason = f"kernels do not know {unknown}" if unknown else obstacle(decoder.device, dtype)
    if reason is None:
        from decodeloop.kernels.decoder import FastDecoder

        return FastDecoder(decoder)
    warnings.warn(f"no compiled decode step: {reason}; plain PyTorch computes.", stacklevel=2)
    return decoder


def compile_all() -> str | None:
    """Compile what all kinds of weights need, batches of unequal texts included, so that nobody has
    to wait for it later; what stands in the way, if something does."""
    cpu = torch.device("cpu")
    reason = obstacle(cpu) or obstacle(cpu, "int8") or obstacle(cpu, "w8a8")
    if reason is None:
        load_batched_code()
    return reason


def tiny_decoder(dtype: str) -> Decoder:
    """A decoder whose kernels are those of any: the code is the same for all sizes."""
    with torch.random.fork_rng(devices=[]):  # its weights are drawn, which is nobody else's affair
        tiny = Decoder(TINY)
    if dtype != "fp32":
        products = torch.int8 if dtype == "w8a8" else None
        for owner in list(tiny.modules()):
            for name, module in list(owner.named_children()):
                if isinstance(module, nn.Linear):
                    setattr(owner, name, Int8Linear(Int8Matrix(module.weight), products))
        tiny.embedding = Int8Embedding(Int8Matrix(tiny.embedding.weight))  # type: ignore[assignment]
    return tiny


@torch.inference_mode()
def load_machine_code(dtype: str) -> None:
    """Read a prompt and decode a token with a tiny decoder: the code is loaded (or compiled) now,
    not in front of somebody's first tokens."""
    from decodeloop.kernels.decoder import FEW, FastDecoder

    cache, quick = ContiguousKVCache(TINY, 1, FEW + 2), FastDecoder(tiny_decoder(dtype))
    for T in (FEW + 1, 1):  # a prefill, and a step: of one token or of a few, the code is the same
        quick(torch.zeros(1, T, dtype=torch.long), cache)


@torch.inference_mode()
def load_batched_code() -> None:
    """The same for a step of two texts over block tables."""
    from decodeloop.kernels.decoder import FastDecoder, tables_over

    for dtype in ("fp32", "int8"):  # w8a8 takes all its steps over tables
        quick = FastDecoder(tiny_decoder(dtype))
        quick.packed(
            torch.zeros(1, 2, dtype=torch.long), tables_over(ContiguousKVCache(TINY, 2, 1), 2, 1)
        )
