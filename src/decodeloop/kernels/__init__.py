"""The fast path: a compiled decode step, a prefill to match, and weights in 8 or 4 bits."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn

from decodeloop.compress.cache import QuantizedKVCache
from decodeloop.errors import one_line
from decodeloop.kernels.int4 import Int4Linear, Int4Matrix
from decodeloop.kernels.int8 import Int8Embedding, Int8Linear, Int8Matrix, dequantize, quantize
from decodeloop.kernels.known import not_in_kernels
from decodeloop.kernels.screened import ScreenedLinear
from decodeloop.model import TINY, ContiguousKVCache, Decoder
from decodeloop.model.decoder import LIBRARY_PARTS

__all__ = [
    "Int4Linear",
    "Int4Matrix",
    "Int8Embedding",
    "Int8Linear",
    "Int8Matrix",
    "ScreenedLinear",
    "compile_all",
    "dequantize",
    "fast",
    "obstacle",
    "quantize",
]


def obstacle(
    device: torch.device, dtype: str = "fp32", quantized_cache: bool = False
) -> str | None:
    """What stands in the way of a compiled decode step on this device, with weights of this type
    (fp32, int8, w8a8 or int4) and keys and values in fp32 or fewer bits; None if nothing does.

    It is tried: Numba may be missing, switched off, or without a folder for its machine code, a
    threading layer, room on the disk. The first time, compiling takes up to a minute; the machine
    code is kept beside the package, or in the user's cache folder.
    """
    if device.type != "cpu":
        return f"there is none for {device.type}"
    try:
        config = cast(Any, importlib.import_module("numba")).config
        if config.DISABLE_JIT:
            return "NUMBA_DISABLE_JIT switches Numba off: unset it"
        load_machine_code(dtype, quantized_cache)
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
    if unknown := not_in_kernels(decoder.config):
        reason: str | None = f"kernels do not know {unknown}"
    else:
        quantized_cache = decoder.parts.cache is not LIBRARY_PARTS.cache
        reason = obstacle(decoder.device, dtype_of(decoder.output), quantized_cache)
    if reason is None:
        from decodeloop.kernels.decoder import FastDecoder

        return FastDecoder(decoder)
    warnings.warn(f"no compiled decode step: {reason}; plain PyTorch computes.", stacklevel=2)
    return decoder


def dtype_of(head: nn.Module) -> str:
    """Which of the kinds of weights a decoder has, by its head."""
    if isinstance(head, ScreenedLinear):
        return "int4"
    if isinstance(head, Int8Linear):
        return "w8a8" if head.products == torch.int8 else "int8"
    return "fp32"


def compile_all(report: Callable[[float], None] = lambda fraction: None) -> str | None:
    """Compile what the course needs, batches of unequal texts included, so that nobody has to wait
    for it later; what stands in the way, if something does. What is there by asking alone, 8-bit
    activations (w8a8, most of a minute) and caches in fewer bits, is compiled when it is first
    asked for. `report` is told the fraction that is done."""
    cpu, kinds = torch.device("cpu"), ("fp32", "int8", "int4")
    for done, dtype in enumerate(kinds, start=1):
        if reason := obstacle(cpu, dtype):
            return reason
        report(done / (len(kinds) + 1))
    load_batched_code()
    report(1.0)
    return None


def tiny_decoder(dtype: str) -> Decoder:
    """A decoder whose kernels are those of any: the code is the same for all sizes."""
    with torch.random.fork_rng(devices=[]):  # its weights are drawn, which is nobody else's affair
        tiny = Decoder(TINY)
    if dtype == "fp32":
        return tiny

    for owner in list(tiny.modules()):
        for name, module in list(owner.named_children()):
            if isinstance(module, nn.Linear):
                linear = (
                    Int4Linear(Int4Matrix(module.weight))
                    if dtype == "int4"
                    else Int8Linear(
                        Int8Matrix(module.weight), torch.int8 if dtype == "w8a8" else None
                    )
                )
                setattr(owner, name, linear)
    table = Int8Matrix(tiny.embedding.weight)
    if dtype == "int4":
        tiny.output = ScreenedLinear(table)  # type: ignore[assignment]
    tiny.embedding = Int8Embedding(table)  # type: ignore[assignment]
    return tiny


@torch.inference_mode()
def load_machine_code(dtype: str, quantized_cache: bool = False) -> None:
    """Read a prompt and decode a token with a tiny decoder: the code is loaded (or compiled) now,
    not in front of somebody's first tokens."""
    from decodeloop.kernels.decoder import FEW, FastDecoder

    quick, room = FastDecoder(tiny_decoder(dtype)), FEW + 2
    cache = ContiguousKVCache(TINY, 1, room)
    if quantized_cache:  # with 4 bits the code is the same
        cache = QuantizedKVCache(TINY, 1, room, bits=8)
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
