"""Products of 8-bit numbers with 8-bit numbers: a scale for each row, and one for each token.

The sums are whole numbers, so they are exact whoever adds them up and in whatever order: a token
gets the same bits alone and in company, and on every machine. (A scale for each token: Yao et al.,
"ZeroQuant", 2022, section 4.1.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int32, prange

from decodeloop.kernels.amx import ROWS, TILE_BYTES, TOKENS, tile_dots
from decodeloop.kernels.compiled import rms_norm
from decodeloop.kernels.elementary import exp, largest_magnitude
from decodeloop.kernels.jit import UNITS, kernel
from decodeloop.kernels.vnni import FOUR, WIDTH, vector_dots

LARGEST = 127
SHARE = ROWS  # of a matrix, that a thread takes at a time
ENOUGH = 8  # tokens for the matrix unit
VECTORS, TILES = UNITS


Array = np.ndarray[Any, Any]


@kernel()
def room(N: int, C: int) -> tuple[Array, Array, Array]:
    """Room for N tokens in 8 bits: (N', C) int8, a scale and a sum for each; N' is N, made a
    multiple of four with zeros: products are made for four tokens at a time."""
    padded = (N + FOUR - 1) // FOUR * FOUR
    tokens = np.empty((padded, C), np.int8)
    tokens[N:] = 0
    return tokens, np.zeros(padded, np.float32), np.zeros(padded, np.int32)


@kernel()
def quantize(x: Array, out: Array) -> tuple[np.float32, np.int32]:
    """One token in 8 bits → its scale, and the sum of its numbers. x (C,), out (C,) int8"""
    top = largest_magnitude(x)
    inverse = np.float32(LARGEST) / top if top > 0 else np.float32(0)
    total = int32(0)
    for c in range(x.shape[0]):
        whole = int32(np.rint(x[c] * inverse))
        out[c] = whole
        total += whole
    return top / np.float32(LARGEST), total


@kernel(parallel=True)
def quantize_rows(x: Array, out: Array, scale: Array, total: Array) -> None:
    """`quantize`, of each token. x (N, C), out (N', C), scale and total (N',)"""
    for n in prange(x.shape[0]):
        scale[n], total[n] = quantize(x[n], out[n])


@kernel(parallel=True)
def norm_and_quantize(
    x: Array, weight: Array, eps: float, normed: Array, out: Array, scale: Array, total: Array
) -> None:
    """RMSNorm of each token, then `quantize`. x (N, C), weight (C,), normed (N, C) is room on the
    way; out (N', C), scale and total (N',)"""
    for n in prange(x.shape[0]):
        rms_norm(x[n], weight, eps, normed[n])
        scale[n], total[n] = quantize(normed[n], out[n])


@kernel()
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


@kernel()
def interleaved(tokens: Array) -> Array:
    """Tokens in the order that `amx.tile_dots` wants: sixteen of them at a time, and of those 64
    columns, by fours. tokens (N', C) int8 → (N'/16, C/64, 16, 16, 4); nothing where that is not
    used: for want of the unit, for an odd C, or for few tokens, with which vectors are as fast"""
    N, C = tokens.shape
    used = TILES and N >= ENOUGH and C % TILE_BYTES == 0
    groups = (N + TOKENS - 1) // TOKENS if used else 0
    out = np.zeros((groups, C // 4, TOKENS), np.int32)  # four bytes are one number
    for n in range(N if groups else 0):
        words = tokens[n].view(np.int32)
        for c in range(C // 4):
            out[n // TOKENS, c, n % TOKENS] = words[c]
    return out


@kernel()
def tile_products(rows: Array, scale: Array, inputs: Array, token_scale: Array, out: Array) -> None:
    """The products of 32 rows with each token. rows (32, C) int8, scale (32,), inputs as
    `interleaved` makes them, token_scale (N',), out (N, 32)"""
    half = ROWS // 2
    sums = np.empty((2, TOKENS, half), np.int32)
    for group in range(inputs.shape[0]):
        tile_dots(rows, inputs[group], rows.shape[1] // TILE_BYTES, sums)  # type: ignore[call-arg]
        first = group * TOKENS
        for t in range(min(TOKENS, out.shape[0] - first)):
            factor = token_scale[first + t]
            for h in range(2):
                for r in range(half):
                    exact = np.float32(sums[h, t, r])
                    out[first + t, h * half + r] = exact * (scale[h * half + r] * factor)


@kernel()
def products_of(
    matrix: Array,
    scale: Array,
    share: int,
    tokens: Array,
    inputs: Array,
    token_scale: Array,
    total: Array,
    out: Array,
) -> None:
    """The products of the share-th `SHARE` rows with each token: by the matrix unit, or four rows
    and four tokens at a time. matrix (R, C) int8, scale (R,), tokens (N', C) int8 and interleaved,
    token_scale and total (N',), out (N, R)"""
    R, C = matrix.shape
    begin, end = share * SHARE, min((share + 1) * SHARE, R)
    # The constant first: where it is false the branch goes before the processor's compiler, which
    # would end the process at an instruction that it does not have.
    if TILES and inputs.shape[0] and end - begin == SHARE:
        own = out[:, begin:end]
        tile_products(matrix[begin:end], scale[begin:end], inputs, token_scale, own)
        return
    N, vectors = out.shape[0], C // WIDTH if VECTORS else 0
    sums = np.empty(FOUR * FOUR, np.int32)
    for row in range(begin, end, FOUR):
        rows = matrix[row : row + FOUR]
        count = rows.shape[0]  # four, but at the end of a matrix
        first = vectors * WIDTH if count == FOUR else 0
        for n in range(0, N, FOUR):
            some = tokens[n : n + FOUR]
            sums[:] = 0
            if VECTORS and first:
                vector_dots(rows, some, vectors, sums)  # type: ignore[call-arg]
            if first < C:
                plain_dots(rows, some, first, sums)
            for t in range(min(FOUR, N - n)):
                excess = int32(128) * total[n + t]
                for r in range(count):
                    exact = np.float32(int32(sums[count * t + r] - excess))
                    out[n + t, row + r] = exact * (scale[row + r] * token_scale[n + t])


@kernel()
def shares(R: int) -> int:
    """Into how many shares the rows of a matrix fall."""
    return (R + SHARE - 1) // SHARE


@kernel(parallel=True)
def product(
    matrix: Array, scale: Array, tokens: Array, token_scale: Array, total: Array, out: Array
) -> None:
    """out = tokens @ matrixᵀ, times the scales. Shapes as in `products_of`."""
    inputs = interleaved(tokens)
    for share in prange(shares(matrix.shape[0])):
        products_of(matrix, scale, share, tokens, inputs, token_scale, total, out)


@kernel(parallel=True)
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
    first, second, inputs = shares(queries), shares(keys), interleaved(tokens)
    for share in prange(first + 2 * second):
        if share < first:
            to = out[:, :queries]
            products_of(w_query, s_query, share, tokens, inputs, token_scale, total, to)
        elif share < first + second:
            to = out[:, queries : queries + keys]
            products_of(w_key, s_key, share - first, tokens, inputs, token_scale, total, to)
        else:
            to = out[:, queries + keys :]
            products_of(
                w_value, s_value, share - first - second, tokens, inputs, token_scale, total, to
            )


@kernel(parallel=True)
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
    half, inputs = shares(w_gate.shape[0]), interleaved(tokens)
    for share in prange(2 * half):
        if share < half:
            products_of(w_gate, s_gate, share, tokens, inputs, token_scale, total, out[0])
        else:
            products_of(w_up, s_up, share - half, tokens, inputs, token_scale, total, out[1])


@kernel(parallel=True)
def silu_and_quantize(inner: Array, out: Array, scale: Array, total: Array) -> None:
    """silu(gate) · up of each token, then `quantize`. inner (2, N, F), of which the first half
    gets that; out (N', F), scale and total (N',)"""
    for n in prange(inner.shape[1]):
        gate, up = inner[0, n], inner[1, n]
        for c in range(gate.shape[0]):
            gate[c] = gate[c] / (np.float32(1) + exp(-gate[c])) * up[c]
        scale[n], total[n] = quantize(gate, out[n])
