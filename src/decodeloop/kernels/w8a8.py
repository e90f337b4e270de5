"""Products of 8-bit numbers with 8-bit numbers: a scale for each row, and one for each token.

The sums are whole numbers, so they are exact whoever adds them up and in whatever order: a token
gets the same bits alone and in company, and on every machine. (A scale for each token: Yao et al.,
"ZeroQuant", 2022, section 4.1.)

They all stand in this file, `exp` and the vector instruction aside: Numba's cache on disk misses
edits in others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int32, njit, prange

from decodeloop.kernels.exponential import exp
from decodeloop.kernels.vnni import FOUR, WIDTH, has_vnni, vector_dots

REORDER = {"reassoc", "contract", "nsz", "arcp"}  # as in `compiled`
LARGEST = 127
VECTORS = has_vnni()


Array = np.ndarray[Any, Any]


def room(N: int, C: int) -> tuple[Array, Array, Array]:
    """Room for N tokens in 8 bits: (N', C) int8, a scale and a sum for each; N' is N, made a
    multiple of four with zeros: products are made for four tokens at a time."""
    padded = -(-N // FOUR) * FOUR
    return (
        np.zeros((padded, C), np.int8),
        np.zeros(padded, np.float32),
        np.zeros(padded, np.int32),
    )


@njit(cache=True, fastmath=REORDER)
def quantize(x: Array, out: Array) -> tuple[np.float32, np.int32]:
    """One token in 8 bits → its scale, and the sum of its numbers. x (C,), out (C,) int8"""
    top = np.float32(0)
    for c in range(x.shape[0]):
        top = max(top, abs(x[c]))
    inverse = np.float32(LARGEST) / top if top > 0 else np.float32(0)
    total = int32(0)
    for c in range(x.shape[0]):
        whole = int32(np.rint(x[c] * inverse))
        out[c] = whole
        total += whole
    return top / np.float32(LARGEST), total


@njit(cache=True, parallel=True, fastmath=REORDER)
def quantize_rows(x: Array, out: Array, scale: Array, total: Array) -> None:
    """`quantize`, of each token. x (N, C), out (N', C), scale and total (N',)"""
    for n in prange(x.shape[0]):
        scale[n], total[n] = quantize(x[n], out[n])


@njit(cache=True, parallel=True, fastmath=REORDER)
def norm_and_quantize(
    x: Array, weight: Array, eps: float, normed: Array, out: Array, scale: Array, total: Array
) -> None:
    """RMSNorm of each token, then `quantize`. x (N, C), weight (C,), normed (N, C) is room on the
    way; out (N', C), scale and total (N',)"""
    for n in prange(x.shape[0]):
        squares = np.float32(0)
        for c in range(x.shape[1]):
            squares += x[n, c] * x[n, c]
        factor = np.float32(1) / np.sqrt(squares / np.float32(x.shape[1]) + np.float32(eps))
        for c in range(x.shape[1]):
            normed[n, c] = x[n, c] * factor * weight[c]
        scale[n], total[n] = quantize(normed[n], out[n])


@njit(cache=True, fastmath=REORDER)
def plain_dots(rows: Array, tokens: Array, first: int, out: Array) -> None:
    """`vnni.vector_dots`, in Python: add the products of some rows, 128 added to each of their
    numbers, with some tokens, over the columns from `first` on.

    `int32(…)` around each product keeps Numba from making it 64 bits wide. rows (R, C) and tokens
    (T, C) int8; out (T·R,) int32, the products of the first token first.
    """
    R = rows.shape[0]
    for t in range(tokens.shape[0]):
        x = tokens[t]
        for r in range(R):
            row, total = rows[r], int32(0)
            for c in range(first, rows.shape[1]):
                total = int32(total + int32((int32(row[c]) + int32(128)) * int32(x[c])))
            out[R * t + r] += total


@njit(cache=True, fastmath=REORDER)
def products_of(
    matrix: Array,
    scale: Array,
    group: int,
    tokens: Array,
    token_scale: Array,
    total: Array,
    out: Array,
) -> None:
    """The products of the group-th four rows (or of those that are left at the end) with each
    token. matrix (R, C) int8, scale (R,), tokens (N', C) int8, token_scale and total (N',),
    out (N, R)"""
    begin = group * FOUR
    end = min(begin + FOUR, matrix.shape[0])
    rows, R, C = matrix[begin:end], end - begin, matrix.shape[1]
    sums = np.empty(FOUR * FOUR, np.int32)
    for n in range(0, out.shape[0], FOUR):
        some, first = tokens[n : n + FOUR], 0
        sums[:] = 0
        if VECTORS and R == FOUR and C >= WIDTH:
            vector_dots(rows, some, C // WIDTH, sums)  # type: ignore[call-arg]
            first = C // WIDTH * WIDTH
        if first < C:
            plain_dots(rows, some, first, sums)
        for t in range(min(FOUR, out.shape[0] - n)):
            for r in range(R):
                exact = np.float32(sums[R * t + r] - int32(128) * total[n + t])
                out[n + t, begin + r] = exact * (scale[begin + r] * token_scale[n + t])


@njit(cache=True, fastmath=REORDER)
def groups(R: int) -> int:
    """Into how many groups of four rows a matrix falls."""
    return (R + FOUR - 1) // FOUR


@njit(cache=True, parallel=True, fastmath=REORDER)
def product(
    matrix: Array, scale: Array, tokens: Array, token_scale: Array, total: Array, out: Array
) -> None:
    """out = tokens @ matrixᵀ, times the scales. Shapes as in `products_of`."""
    for group in prange(groups(matrix.shape[0])):
        products_of(matrix, scale, group, tokens, token_scale, total, out)


@njit(cache=True, parallel=True, fastmath=REORDER)
def query_key_value(
    w_query: Array,
    s_query: Array,
    w_key: Array,
    s_key: Array,
    w_value: Array,
    s_value: Array,
    tokens: Array,
    token_scale: Array,
    total: Array,
    out: Array,
) -> None:
    """Three projections in one parallel region. out (N, H·D + 2·G·D): query, key, value"""
    queries, keys = w_query.shape[0], w_key.shape[0]
    first, second = groups(queries), groups(keys)
    for group in prange(first + 2 * second):
        if group < first:
            to = out[:, :queries]
            products_of(w_query, s_query, group, tokens, token_scale, total, to)
        elif group < first + second:
            to = out[:, queries : queries + keys]
            products_of(w_key, s_key, group - first, tokens, token_scale, total, to)
        else:
            to = out[:, queries + keys :]
            products_of(w_value, s_value, group - first - second, tokens, token_scale, total, to)


@njit(cache=True, parallel=True, fastmath=REORDER)
def gated(
    w_gate: Array,
    s_gate: Array,
    w_up: Array,
    s_up: Array,
    tokens: Array,
    token_scale: Array,
    total: Array,
    out: Array,
) -> None:
    """gate and up of each token, in one parallel region. out (2, N, F)"""
    half = groups(w_gate.shape[0])
    for group in prange(2 * half):
        if group < half:
            products_of(w_gate, s_gate, group, tokens, token_scale, total, out[0])
        else:
            products_of(w_up, s_up, group - half, tokens, token_scale, total, out[1])


@njit(cache=True, parallel=True, fastmath=REORDER)
def silu_and_quantize(inner: Array, out: Array, scale: Array, total: Array) -> None:
    """silu(gate) · up of each token, then `quantize`. inner (2, N, F), of which the first half
    gets that; out (N', F), scale and total (N',)"""
    for n in prange(inner.shape[1]):
        gate, up = inner[0, n], inner[1, n]
        for c in range(gate.shape[0]):
            gate[c] = gate[c] / (np.float32(1) + exp(-gate[c])) * up[c]
        scale[n], total[n] = quantize(gate, out[n])
