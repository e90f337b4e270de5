"""FlashAttention's forward as one kernel in Triton: an extra of lesson 16, for who has Triton.

A program takes one row of tiles of one head, and goes through its tiles of keys; scores never leave
it. On a GPU Triton compiles it, elsewhere Triton's interpreter runs it, slowly, to be read.

Dao, "FlashAttention-2" (2023), section 3.1.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, cast

import torch
from torch import Tensor

from decodeloop.errors import ShapeError, UserError, one_line

ROWS, COLUMNS = 32, 32
constexpr = Any  # by this word Triton knows what it must know when it compiles


def flash_rows(
    queries: Any,
    keys: Any,
    values: Any,
    out: Any,
    T: Any,
    S: Any,
    scale: Any,
    share: Any,
    D: constexpr,
    ROWS: constexpr,
    COLUMNS: constexpr,
) -> None:
    """The queries of one row of tiles, of one head, causal. queries, out (H, T, D), keys and values
    (G, S, D), all in one piece."""
    i, head = tl.program_id(0) * ROWS, tl.program_id(1)
    rows, inner = i + tl.arange(0, ROWS), tl.arange(0, D)
    at = head * T * D + rows[:, None] * D + inner[None, :]
    q = tl.load(queries + at, mask=rows[:, None] < T, other=0.0) * scale
    peak = tl.full([ROWS], -1e38, tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    sums = tl.zeros([ROWS, D], tl.float32)
    for j in range(0, tl.minimum(S, S - T + i + ROWS), COLUMNS):
        columns = j + tl.arange(0, COLUMNS)
        where = (head // share) * S * D + columns[:, None] * D + inner[None, :]
        k = tl.load(keys + where, mask=columns[:, None] < S, other=0.0)
        v = tl.load(values + where, mask=columns[:, None] < S, other=0.0)
        scores = tl.dot(q, tl.trans(k), input_precision="ieee")
        seen = columns[None, :] <= S - T + rows[:, None]
        scores = tl.where(seen, scores, float("-inf"))
        new = tl.maximum(peak, tl.max(scores, 1))
        exponentials = tl.exp(scores - new[:, None])
        fade = tl.exp(peak - new)
        total = total * fade + tl.sum(exponentials, 1)
        sums = sums * fade[:, None] + tl.dot(exponentials, v, input_precision="ieee")
        peak = new
    tl.store(out + at, sums / total[:, None], mask=rows[:, None] < T)


try:
    if not torch.cuda.is_available():  # to be interpreted; Triton asks when it is imported
        if "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") != "1":
            raise ImportError("PyTorch has it already; set TRITON_INTERPRET=1 before Python starts")
        os.environ["TRITON_INTERPRET"] = "1"
    triton: Any = importlib.import_module("triton")
    tl: Any = importlib.import_module("triton.language")
    kernel, missing = triton.jit(flash_rows), ""
except Exception as error:  # it is missing, or made for another PyTorch or system
    triton = tl = kernel = cast(Any, None)
    missing = one_line(error)


def obstacle() -> str | None:
    """Why there is no Triton here; None if there is."""
    hint = "" if "TRITON_INTERPRET" in missing else ": pip install triton (Linux)"
    return f"Triton can't be imported ({missing}){hint}" if missing else None


def flash_attention_in_triton(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of one text: the T queries are the last T of the S keys.

    Shapes: q (1, H, T, D), k and v (1, G, S, D), fp32, D a power of two from 16 up → (1, H, T, D).

    Raises:
        UserError: there is no Triton.
        ShapeError: the shapes are others.
    """
    if reason := obstacle():
        raise UserError(f"flash_attention_in_triton: {reason}.")
    (B, H, T, D), (G, S) = q.shape, k.shape[1:3]
    if B != 1 or k.shape != v.shape or H % G or S < T or D < 16 or D & (D - 1):
        raise ShapeError(
            f"flash_attention_in_triton: q {tuple(q.shape)}, k {tuple(k.shape)} and v "
            f"{tuple(v.shape)}: expected (1, H, T, D) and twice (1, G, S, D), H a multiple of G, "
            f"S at least T, D a power of two from 16 up."
        )
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    out = torch.empty_like(q)
    programs = (triton.cdiv(T, ROWS), H)
    kernel[programs](q, k, v, out, T, S, D**-0.5, H // G, D, ROWS, COLUMNS)
    return out
