"""The decode step, in loops that Numba compiles: one token of one text.

Every matrix meets one vector, so a step takes as long as reading the matrices, and all else must
stay out of the way: few parallel regions, nothing written that is not read again. A matrix is fp32
or int8, and either has a scale for each row (all 1 for fp32). The `_rows` at the end do for many
tokens what stands between the matrix products of a prefill. Each function has its plain PyTorch
twin in the tests. They all stand in this file: Numba's cache on disk misses edits in others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

# The compiler may add up in another order, and so use vector instructions. It may not assume that
# NaN and infinity never come: they propagate as in PyTorch.
REORDER = {"reassoc", "contract", "nsz", "arcp"}
BLOCK = 128  # positions of the cache that one thread attends to at a time

Array = np.ndarray[Any, Any]


@njit(cache=True, fastmath=REORDER)
def row_times(row: Array, x: Array) -> np.float32:
    """The product of a row with a vector. row (C,) fp32 or int8, x (C,) → a number"""
    total = np.float32(0)
    for c in range(x.shape[0]):
        total += np.float32(row[c]) * x[c]
    return total


@njit(cache=True, parallel=True, fastmath=REORDER)
def matrix_vector(matrix: Array, scale: Array, x: Array, out: Array) -> None:
    """out = scale · (matrix @ x). matrix (R, C), scale (R,), x (C,), out (R,)"""
    for r in prange(matrix.shape[0]):
        out[r] = row_times(matrix[r], x) * scale[r]


@njit(cache=True, parallel=True, fastmath=REORDER)
def add_matrix_vector(matrix: Array, scale: Array, x: Array, out: Array) -> None:
    """out += scale · (matrix @ x): a projection back into the residual stream."""
    for r in prange(matrix.shape[0]):
        out[r] += row_times(matrix[r], x) * scale[r]


@njit(cache=True, parallel=True, fastmath=REORDER)
def query_key_value(
    w_query: Array,
    s_query: Array,
    w_key: Array,
    s_key: Array,
    w_value: Array,
    s_value: Array,
    x: Array,
    out: Array,
) -> None:
    """Three projections in one parallel region. out (H·D + 2·G·D,): query, key, value"""
    queries, keys = w_query.shape[0], w_key.shape[0]
    for r in prange(out.shape[0]):
        if r < queries:
            out[r] = row_times(w_query[r], x) * s_query[r]
        elif r < queries + keys:
            out[r] = row_times(w_key[r - queries], x) * s_key[r - queries]
        else:
            out[r] = row_times(w_value[r - queries - keys], x) * s_value[r - queries - keys]


@njit(cache=True, parallel=True, fastmath=REORDER)
def gated(w_gate: Array, s_gate: Array, w_up: Array, s_up: Array, x: Array, out: Array) -> None:
    """out = silu(gate @ x) · (up @ x), row by row: neither product is ever written. out (F,)"""
    for r in prange(out.shape[0]):
        gate = row_times(w_gate[r], x) * s_gate[r]
        up = row_times(w_up[r], x) * s_up[r]
        out[r] = gate / (np.float32(1) + np.exp(-gate)) * up


@njit(cache=True, fastmath=REORDER)
def rms_norm(x: Array, weight: Array, eps: float, out: Array) -> None:
    """out = x / √(mean(x²) + eps) · weight. x, weight, out (C,)"""
    total = np.float32(0)
    for c in range(x.shape[0]):
        total += x[c] * x[c]
    scale = np.float32(1) / np.sqrt(total / np.float32(x.shape[0]) + np.float32(eps))
    for c in range(x.shape[0]):
        out[c] = x[c] * scale * weight[c]


@njit(cache=True, fastmath=REORDER)
def turn(x: Array, cos: Array, sin: Array) -> None:
    """Rotary position, in place: channel i is paired with i + D/2. x (n, D), cos and sin (D/2,)"""
    half = cos.shape[0]
    for n in range(x.shape[0]):
        for i in range(half):
            first, second = x[n, i], x[n, i + half]
            x[n, i] = first * cos[i] - second * sin[i]
            x[n, i + half] = second * cos[i] + first * sin[i]


@njit(cache=True, parallel=True, fastmath=REORDER)
def attend_blocks(
    q: Array, keys: Array, values: Array, length: int, part: Array, peak: Array, mass: Array
) -> None:
    """Attend to the cache in blocks, each by itself: what it gives before the weights are divided
    by their sum, its largest score, and that sum (online softmax: Milakov and Gimelshein, 2018).

    q (H, D), keys and values (G, S, D) of which `length` positions count; part (n, H, D), peak and
    mass (n, H) for n blocks. A key is read once for all the query heads that share it.
    """
    H, D = q.shape
    G = keys.shape[0]
    share, blocks = H // G, part.shape[0]
    scale = np.float32(1) / np.sqrt(np.float32(D))
    for job in prange(blocks * G):
        block, g = job // G, job % G
        first = block * BLOCK
        last = min(first + BLOCK, length)
        scores = np.empty((share, BLOCK), np.float32)
        for s in range(first, last):
            for j in range(share):
                scores[j, s - first] = row_times(keys[g, s], q[g * share + j]) * scale
        for j in range(share):
            h = g * share + j
            top = scores[j, 0]
            for s in range(1, last - first):
                top = max(top, scores[j, s])
            total = np.float32(0)
            for s in range(last - first):
                scores[j, s] = np.exp(scores[j, s] - top)
                total += scores[j, s]
            peak[block, h], mass[block, h] = top, total
            for d in range(D):
                part[block, h, d] = 0
        for s in range(first, last):
            for j in range(share):
                weight = scores[j, s - first]
                for d in range(D):
                    part[block, g * share + j, d] += weight * values[g, s, d]


@njit(cache=True, fastmath=REORDER)
def merge_blocks(part: Array, peak: Array, mass: Array, out: Array) -> None:
    """What the blocks found, together. part (n, H, D), peak and mass (n, H) → out (H, D)"""
    blocks, H, D = part.shape
    for h in range(H):
        top = peak[0, h]
        for b in range(1, blocks):
            top = max(top, peak[b, h])
        total = np.float32(0)
        for d in range(D):
            out[h, d] = 0
        for b in range(blocks):
            factor = np.exp(peak[b, h] - top)
            total += mass[b, h] * factor
            for d in range(D):
                out[h, d] += part[b, h, d] * factor
        for d in range(D):
            out[h, d] /= total


@njit(cache=True, fastmath=REORDER)
def attend(q: Array, keys: Array, values: Array, length: int, out: Array) -> None:
    """Attention of one new token. q (H, D), keys and values (G, S, D) → out (H, D)"""
    H, D = q.shape
    blocks = (length + BLOCK - 1) // BLOCK
    part = np.empty((blocks, H, D), np.float32)
    peak = np.empty((blocks, H), np.float32)
    mass = np.empty((blocks, H), np.float32)
    attend_blocks(q, keys, values, length, part, peak, mass)
    merge_blocks(part, peak, mass, out)


@njit(cache=True, fastmath=REORDER)
def decode_layer(
    x: Array,
    place: int,
    cos: Array,
    sin: Array,
    keys: Array,
    values: Array,
    eps: float,
    attention_norm: Array,
    w_query: Array,
    s_query: Array,
    w_key: Array,
    s_key: Array,
    w_value: Array,
    s_value: Array,
    w_output: Array,
    s_output: Array,
    feed_forward_norm: Array,
    w_gate: Array,
    s_gate: Array,
    w_up: Array,
    s_up: Array,
    w_down: Array,
    s_down: Array,
) -> None:
    """One layer for one token at position `place`, in place: normalise, attend, add; normalise,
    feed forward, add. x (C,); keys and values (G, S, D), which get the new position's too."""
    G, _, D = keys.shape
    H = w_query.shape[0] // D
    normed = np.empty_like(x)
    rms_norm(x, attention_norm, eps, normed)
    projected = np.empty((H + 2 * G) * D, np.float32)
    query_key_value(w_query, s_query, w_key, s_key, w_value, s_value, normed, projected)
    heads = projected.reshape(H + 2 * G, D)
    turn(heads[: H + G], cos, sin)
    keys[:, place] = heads[H : H + G]
    values[:, place] = heads[H + G :]
    attended = np.empty((H, D), np.float32)
    attend(heads[:H], keys, values, place + 1, attended)
    add_matrix_vector(w_output, s_output, attended.reshape(H * D), x)
    rms_norm(x, feed_forward_norm, eps, normed)
    inner = np.empty(w_gate.shape[0], np.float32)
    gated(w_gate, s_gate, w_up, s_up, normed, inner)
    add_matrix_vector(w_down, s_down, inner, x)


@njit(cache=True, parallel=True, fastmath=REORDER)
def rms_norm_rows(x: Array, weight: Array, eps: float, out: Array) -> None:
    """`rms_norm` of each token. x and out (T, C), weight (C,)"""
    for t in prange(x.shape[0]):
        rms_norm(x[t], weight, eps, out[t])


@njit(cache=True, parallel=True, fastmath=REORDER)
def turn_rows(x: Array, cos: Array, sin: Array) -> None:
    """`turn` for each token, in place. x (T, n, D), cos and sin (T, D/2)"""
    for t in prange(x.shape[0]):
        turn(x[t], cos[t], sin[t])
