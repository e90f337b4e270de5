"""Products of 4-bit weights with 8-bit inputs: a scale for each group of 32 columns, on both sides.

Within a group the sums are whole numbers, so they are exact; groups are added up in fp32, always in
the same order. So a token gets the same bits alone and in company. The inputs' groups have scales
of their own since single channels of a token are far larger than all others: with one scale for
the token there would be little left of the rest. (So does llama.cpp, in its Q8_0.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int16, int32, prange

from decodeloop.kernels.compiled import rms_norm, row_times
from decodeloop.kernels.elementary import exp, half, largest, largest_magnitude
from decodeloop.kernels.int4 import GROUP, TILE
from decodeloop.kernels.jit import UNITS, kernel
from decodeloop.kernels.nibbles import WIDTH, four_tokens, one_token
from decodeloop.kernels.paged import ALONE
from decodeloop.kernels.screened import MOST, WIDTHS

LARGEST = 127
STEPS = GROUP // 8
FOUR = 4  # tokens that meet a tile together
PARTS = 32  # into which the scores of a token are divided among threads
SLAB = 64  # tokens whose products are made before those of others: their inputs stay near
(VECTORS, _) = UNITS

Array = np.ndarray[Any, Any]


@kernel()
def room(N: int, C: int) -> tuple[Array, Array, Array]:
    """Room for N tokens of C numbers in 8 bits, filled up to whole groups: (N', C') int8, a scale
    for each group, and what is too much in each group's sums; N' is N, made a multiple of four."""
    padded, groups = (N + FOUR - 1) // FOUR * FOUR, (C + GROUP - 1) // GROUP
    tokens = np.zeros((padded, groups * GROUP), np.int8)
    return tokens, np.zeros((padded, groups), np.float32), np.zeros((padded, groups), np.int32)


@kernel()
def quantize(x: Array, out: Array, scale: Array, excess: Array) -> None:
    """One token in 8 bits. x (C,), out (C',) int8, scale and excess (groups,). Weights are read as
    w + 8, so 8 times the group's sum is in each product, too much: `excess` takes it away."""
    for g in range(scale.shape[0]):
        group = x[g * GROUP : (g + 1) * GROUP]
        top = largest_magnitude(group)
        inverse = np.float32(LARGEST) / top if top > 0 else np.float32(0)
        total = int32(0)
        for c in range(group.shape[0]):
            whole = int32(np.rint(group[c] * inverse))
            out[g * GROUP + c] = whole
            total += whole
        scale[g], excess[g] = top / np.float32(LARGEST), int32(-8) * total


@kernel(parallel=True)
def quantize_rows(x: Array, out: Array, scale: Array, excess: Array) -> None:
    """`quantize`, of each token. x (N, C), out (N', C'), scale and excess (N', groups)"""
    if x.shape[0] <= ALONE:
        for n in range(x.shape[0]):
            quantize(x[n], out[n], scale[n], excess[n])
    else:
        for n in prange(x.shape[0]):
            quantize(x[n], out[n], scale[n], excess[n])


@kernel(parallel=True)
def norm_and_quantize(
    x: Array, weight: Array, eps: float, normed: Array, out: Array, scale: Array, excess: Array
) -> None:
    """RMSNorm of each token, then `quantize`. x (N, C), weight (C,), normed (N, C) is room on the
    way; the rest as in `quantize_rows`"""
    if x.shape[0] <= ALONE:
        for n in range(x.shape[0]):
            rms_norm(x[n], weight, eps, normed[n])
            quantize(normed[n], out[n], scale[n], excess[n])
    else:
        for n in prange(x.shape[0]):
            rms_norm(x[n], weight, eps, normed[n])
            quantize(normed[n], out[n], scale[n], excess[n])


@kernel()
def spread(tokens: Array) -> Array:
    """Tokens as `plain_tile` takes them: of each four columns sixteen copies, beside the rows of a
    tile that they meet. tokens (N, C') int8 → (N, groups, 4, 2, 64) int16"""
    N, groups = tokens.shape[0], tokens.shape[1] // GROUP
    out = np.empty((N, groups, STEPS, 2, WIDTH), np.int16)
    for n in range(N):
        for g in range(groups):
            for step in range(STEPS):
                for part in range(2):
                    first = g * GROUP + part * GROUP // 2 + 4 * step
                    for lane in range(WIDTH):
                        out[n, g, step, part, lane] = tokens[n, first + lane % 4]
    return out


@kernel()
def plain_tile(packed: Array, scale: Array, x: Array, x_scale: Array, excess: Array, out: Array):
    """`nibbles.one_token`, in Python. The numbers are 16 bits wide: eight products of 15 · 127 fit
    in, and a vector holds twice as many as of 32 bits. packed (groups, 4, 64), scale (groups, 16),
    x (groups, 4, 2, 64) as `spread` makes it, x_scale and excess (groups,), out (1, 16)"""
    sums = np.empty(WIDTH, np.int16)
    out[0, :] = 0
    for g in range(packed.shape[0]):
        for lane in range(WIDTH):
            sums[lane] = 0
        for step in range(STEPS):
            both, low, high = packed[g, step], x[g, step, 0], x[g, step, 1]
            for lane in range(WIDTH):
                first = int16(int16(both[lane] & 15) * low[lane])
                second = int16(int16(both[lane] >> 4) * high[lane])
                sums[lane] = int16(sums[lane] + int16(first + second))
        for row in range(TILE):
            whole = excess[g]
            for column in range(4):
                whole += int32(sums[4 * row + column])
            out[0, row] += np.float32(whole) * (half(scale[g, row]) * x_scale[g])


@kernel()
def products_of(
    packed: Array,
    scale: Array,
    tile: int,
    tokens: Array,
    copies: Array,
    x_scale: Array,
    excess: Array,
    out: Array,
) -> None:
    """The products of a tile with each token. packed (tiles, groups, 4, 64), scale (tiles, groups,
    16), tokens (N', C') and spread, x_scale and excess (N', groups), out (N, R)"""
    N, begin = out.shape[0], tile * TILE
    end = min(begin + TILE, out.shape[1])
    sums = np.empty((FOUR, TILE), np.float32)
    n = 0
    while n < N:
        if not VECTORS:
            count = 1
            plain_tile(packed[tile], scale[tile], copies[n], x_scale[n], excess[n], sums)
        elif N - n > 1:
            count = min(FOUR, N - n)
            four_tokens(
                packed[tile], scale[tile], tokens[n : n + FOUR], x_scale[n:], excess[n:], sums
            )
        else:
            count = 1
            one_token(packed[tile], scale[tile], tokens[n:], x_scale[n:], excess[n:], sums)
        for t in range(count):
            for row in range(begin, end):
                out[n + t, row] = sums[t, row - begin]
        n += count


@kernel()
def copies_of(tokens: Array) -> Array:
    """Tokens spread, where `plain_tile` computes; nothing elsewhere."""
    return spread(tokens[: 0 if VECTORS else tokens.shape[0]])


@kernel(parallel=True)
def product(
    packed: Array, scale: Array, tokens: Array, x_scale: Array, excess: Array, out: Array
) -> None:
    """out = tokens @ matrixᵀ, times the scales. Shapes as in `products_of`."""
    for first in range(0, out.shape[0], SLAB):
        some, factors, more = tokens[first:], x_scale[first:], excess[first:]
        some = some[:SLAB]
        copies, to = copies_of(some), out[first : first + SLAB]
        for tile in prange(packed.shape[0]):
            products_of(packed, scale, tile, some, copies, factors, more, to)


@kernel(parallel=True)
def query_key_value(
    w_query: Array,
    s_query: Array,
    w_key: Array,
    s_key: Array,
    w_value: Array,
    s_value: Array,
    tokens: Array,
    x_scale: Array,
    excess: Array,
    keys: int,
    out: Array,
) -> None:
    """Three projections in one parallel region. keys: rows of the key's matrix, and the value's;
    out (N, H·D + 2·G·D): query, key, value"""
    queries = out.shape[1] - 2 * keys
    one, two = w_query.shape[0], w_query.shape[0] + w_key.shape[0]
    for first in range(0, out.shape[0], SLAB):
        some, factors, more = tokens[first:], x_scale[first:], excess[first:]
        some = some[:SLAB]
        copies, to = copies_of(some), out[first : first + SLAB]
        for tile in prange(two + w_value.shape[0]):
            if tile < one:
                part = to[:, :queries]
                products_of(w_query, s_query, tile, some, copies, factors, more, part)
            elif tile < two:
                part = to[:, queries : queries + keys]
                products_of(w_key, s_key, tile - one, some, copies, factors, more, part)
            else:
                part = to[:, queries + keys :]
                products_of(w_value, s_value, tile - two, some, copies, factors, more, part)


@kernel(parallel=True)
def gated(
    w_gate: Array,
    s_gate: Array,
    w_up: Array,
    s_up: Array,
    tokens: Array,
    x_scale: Array,
    excess: Array,
    out: Array,
) -> None:
    """silu(gate) · up of each token, in one parallel region. out (2, N, F), of which the first
    half gets that; the second is room on the way"""
    for first in range(0, out.shape[1], SLAB):
        some, factors, more = tokens[first:], x_scale[first:], excess[first:]
        some = some[:SLAB]
        copies, gate, up = (
            copies_of(some),
            out[0, first : first + SLAB],
            out[1, first : first + SLAB],
        )
        for tile in prange(w_gate.shape[0]):
            products_of(w_gate, s_gate, tile, some, copies, factors, more, gate)
            products_of(w_up, s_up, tile, some, copies, factors, more, up)
            for n in range(gate.shape[0]):
                for r in range(tile * TILE, min((tile + 1) * TILE, gate.shape[1])):
                    gate[n, r] = gate[n, r] / (np.float32(1) + exp(-gate[n, r])) * up[n, r]


@kernel()
def least_of(scores: Array, deviation: np.float32) -> np.float32:
    """From which score on they are looked at again. scores (R,), deviation: of their rounding"""
    top = largest(scores)
    least = top - np.float32(WIDTHS[0]) * deviation
    for width in WIDTHS[1:]:
        lower, count = top - np.float32(width) * deviation, int32(0)
        for r in range(scores.shape[0]):
            count += int32(scores[r] >= lower)
        if count <= MOST:
            least = lower
    return least


@kernel(parallel=True)
def score_again(quantized: Array, scale: Array, x: Array, error: float, scores: Array) -> None:
    """Scores that are near the best of their token, by rows in 8 bits (`screened`). quantized
    (R, C) int8, scale (R,), x (N, C), error: of a weight, from rounding; scores (N, R) in place"""
    R = scores.shape[1]
    for n in range(x.shape[0]):
        least = least_of(scores[n], np.sqrt(row_times(x[n], x[n])) * np.float32(error))
        for part in prange(PARTS):
            for r in range(part * R // PARTS, (part + 1) * R // PARTS):
                if scores[n, r] >= least:
                    scores[n, r] = row_times(quantized[r], x[n]) * scale[r]
