"""The decode step, in loops that Numba compiles: one token, or a few, of one text or of some.

A step of T tokens reads each matrix once, so for few tokens it takes little longer than for one:
as long as reading the matrices. All else must stay out of the way: few parallel regions, nothing
written that is not read again. A matrix is fp32 or int8, and either has a scale for each row (all
1 for fp32). The `_rows` at the end do for many tokens what stands between the matrix products of a
prefill. Each function has its plain PyTorch twin in the tests. They all stand in this file: Numba's
cache on disk misses edits in others.
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


# Two rows go through the vectors together: each number of x that is fetched meets two weights, and
# the memory is asked for two streams at once. Four vectors with two rows are eight running sums,
# as many as have room in the processor's registers beside what they are made of.


@njit(cache=True, fastmath=REORDER)
def pair_times_one(v: Array, w: Array, x: Array) -> tuple[np.float32, ...]:
    """Two rows with one vector, all (C,): v·x, w·x"""
    vx = wx = np.float32(0)
    for c in range(x.shape[0]):
        vx += np.float32(v[c]) * x[c]
        wx += np.float32(w[c]) * x[c]
    return vx, wx


@njit(cache=True, fastmath=REORDER)
def pair_times_two(v: Array, w: Array, x: Array, y: Array) -> tuple[np.float32, ...]:
    """Two rows with two vectors, all (C,): v·x, v·y, w·x, w·y"""
    vx = vy = wx = wy = np.float32(0)
    for c in range(x.shape[0]):
        a, b = np.float32(v[c]), np.float32(w[c])
        vx += a * x[c]
        vy += a * y[c]
        wx += b * x[c]
        wy += b * y[c]
    return vx, vy, wx, wy


@njit(cache=True, fastmath=REORDER)
def pair_times_four(v: Array, w: Array, x: Array) -> tuple[np.float32, ...]:
    """Two rows (C,) with four vectors (4, C): the four products of v, then those of w"""
    x0, x1, x2, x3 = x[0], x[1], x[2], x[3]
    v0 = v1 = v2 = v3 = w0 = w1 = w2 = w3 = np.float32(0)
    for c in range(x0.shape[0]):
        a, b = np.float32(v[c]), np.float32(w[c])
        v0 += a * x0[c]
        v1 += a * x1[c]
        v2 += a * x2[c]
        v3 += a * x3[c]
        w0 += b * x0[c]
        w1 += b * x1[c]
        w2 += b * x2[c]
        w3 += b * x3[c]
    return v0, v1, v2, v3, w0, w1, w2, w3


@njit(cache=True, fastmath=REORDER)
def add_pair(
    v: Array, w: Array, s_v: float, s_w: float, x: Array, out_v: Array, out_w: Array
) -> None:
    """Add the products of two rows with each vector, times the rows' scales. v and w (C,),
    x (T, C), out_v and out_w (T,)"""
    T, t = x.shape[0], 0
    while t + 4 <= T:
        v0, v1, v2, v3, w0, w1, w2, w3 = pair_times_four(v, w, x[t : t + 4])
        out_v[t] += v0 * s_v
        out_v[t + 1] += v1 * s_v
        out_v[t + 2] += v2 * s_v
        out_v[t + 3] += v3 * s_v
        out_w[t] += w0 * s_w
        out_w[t + 1] += w1 * s_w
        out_w[t + 2] += w2 * s_w
        out_w[t + 3] += w3 * s_w
        t += 4
    if t + 2 <= T:
        v0, v1, w0, w1 = pair_times_two(v, w, x[t], x[t + 1])
        out_v[t] += v0 * s_v
        out_v[t + 1] += v1 * s_v
        out_w[t] += w0 * s_w
        out_w[t + 1] += w1 * s_w
        t += 2
    if t < T:
        v0, w0 = pair_times_one(v, w, x[t])
        out_v[t] += v0 * s_v
        out_w[t] += w0 * s_w


@njit(cache=True, fastmath=REORDER)
def add_rows(matrix: Array, scale: Array, pair: int, x: Array, out: Array) -> None:
    """`add_product`, of two rows: the pair-th of the upper and of the lower half of the matrix.
    (Pairs of neighbours took a tenth longer where it was measured; perhaps what fetches memory
    ahead follows two distant streams better.) The last of an odd number of rows is alone."""
    half = matrix.shape[0] // 2
    if pair < half:
        v, w = pair, pair + half
        add_pair(matrix[v], matrix[w], scale[v], scale[w], x, out[:, v], out[:, w])
    else:
        last = matrix.shape[0] - 1
        for t in range(x.shape[0]):
            out[t, last] += row_times(matrix[last], x[t]) * scale[last]


@njit(cache=True, parallel=True, nogil=True, fastmath=REORDER)
def add_product(matrix: Array, scale: Array, x: Array, out: Array) -> None:
    """out += x @ (scale · matrix)ᵀ. matrix (R, C), scale (R,), x (T, C), out (T, R)"""
    for pair in prange((matrix.shape[0] + 1) // 2):
        add_rows(matrix, scale, pair, x, out)


@njit(cache=True, parallel=True, nogil=True, fastmath=REORDER)
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
    """Three projections in one parallel region, added to out (T, H·D + 2·G·D): query, key, value"""
    queries, keys = w_query.shape[0], w_key.shape[0]
    query_pairs, key_pairs = (queries + 1) // 2, (keys + 1) // 2
    for pair in prange(query_pairs + 2 * key_pairs):
        if pair < query_pairs:
            add_rows(w_query, s_query, pair, x, out[:, :queries])
        elif pair < query_pairs + key_pairs:
            to = out[:, queries : queries + keys]
            add_rows(w_key, s_key, pair - query_pairs, x, to)
        else:
            to = out[:, queries + keys :]
            add_rows(w_value, s_value, pair - query_pairs - key_pairs, x, to)


@njit(cache=True, parallel=True, nogil=True, fastmath=REORDER)
def gated(w_gate: Array, s_gate: Array, w_up: Array, s_up: Array, x: Array, out: Array) -> None:
    """silu(gate @ x) · (up @ x) for each token, in one parallel region. x (T, C); out (2, T, F)
    holds zeros, then that in out[0]; out[1] is room on the way."""
    gate, up = out[0], out[1]
    for r in prange(out.shape[2]):
        add_pair(w_gate[r], w_up[r], s_gate[r], s_up[r], x, gate[:, r], up[:, r])
        for t in range(x.shape[0]):
            gate[t, r] = gate[t, r] / (np.float32(1) + np.exp(-gate[t, r])) * up[t, r]


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


@njit(cache=True, parallel=True, nogil=True, fastmath=REORDER)
def attend_blocks(
    q: Array,
    keys: Array,
    values: Array,
    texts: Array,
    places: Array,
    part: Array,
    peak: Array,
    mass: Array,
) -> None:
    """Attend to the cache in blocks, each by itself: what it gives before the weights are divided
    by their sum, its largest score, and that sum (online softmax: Milakov and Gimelshein, 2018).

    Token t sees positions 0 to places[t] of text texts[t]. q (T, H, D), keys and values
    (B, G, S, D); part (T, n, H, D), peak and mass (T, n, H) for n blocks, of which a token has as
    many as its positions fill. A key is read once for all the query heads that share it.
    """
    T, H, D = q.shape
    G = keys.shape[1]
    share, blocks = H // G, part.shape[1]
    scale = np.float32(1) / np.sqrt(np.float32(D))
    for job in prange(blocks * G * T):  # tokens innermost: those of one text meet the same keys
        block, g, t = job // (G * T), job // T % G, job % T
        first, text = block * BLOCK, texts[t]
        last = min(first + BLOCK, places[t] + 1)
        scores = np.empty((share, BLOCK), np.float32)
        for s in range(first, last):
            for j in range(share):
                scores[j, s - first] = row_times(keys[text, g, s], q[t, g * share + j]) * scale
        for j in range(share if first < last else 0):
            h = g * share + j
            top = scores[j, 0]
            for s in range(1, last - first):
                top = max(top, scores[j, s])
            total = np.float32(0)
            for s in range(last - first):
                scores[j, s] = np.exp(scores[j, s] - top)
                total += scores[j, s]
            peak[t, block, h], mass[t, block, h] = top, total
            for d in range(D):
                part[t, block, h, d] = 0
        for s in range(first, last):
            for j in range(share):
                weight = scores[j, s - first]
                for d in range(D):
                    part[t, block, g * share + j, d] += weight * values[text, g, s, d]


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
def attend(q: Array, keys: Array, values: Array, texts: Array, places: Array, out: Array) -> None:
    """Attention of T new tokens. q (T, H, D), keys and values (B, G, S, D), texts and places (T,)
    as in `attend_blocks` → out (T, H, D)"""
    T, H, D = q.shape
    blocks = places.max() // BLOCK + 1
    part = np.empty((T, blocks, H, D), np.float32)
    peak = np.empty((T, blocks, H), np.float32)
    mass = np.empty((T, blocks, H), np.float32)
    attend_blocks(q, keys, values, texts, places, part, peak, mass)
    for t in range(T):
        n = places[t] // BLOCK + 1
        merge_blocks(part[t, :n], peak[t, :n], mass[t, :n], out[t])


@njit(cache=True, fastmath=REORDER)
def decode_layer(
    x: Array,
    texts: Array,
    places: Array,
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
    """One layer for T tokens, in place: normalise, attend, add; normalise, feed forward, add.

    Token t stands at position places[t] of text texts[t], and sees what stands before it there:
    also other tokens of this step. x (T, C), texts and places (T,), cos and sin (T, D/2); keys and
    values (B, G, S, D), which get the new positions' too.
    """
    T = x.shape[0]
    _, G, _, D = keys.shape
    H = w_query.shape[0] // D
    normed = np.empty_like(x)
    for t in range(T):
        rms_norm(x[t], attention_norm, eps, normed[t])
    projected = np.zeros((T, (H + 2 * G) * D), np.float32)
    query_key_value(w_query, s_query, w_key, s_key, w_value, s_value, normed, projected)
    heads = projected.reshape(T, H + 2 * G, D)
    for t in range(T):
        turn(heads[t, : H + G], cos[t], sin[t])
        keys[texts[t], :, places[t]] = heads[t, H : H + G]
        values[texts[t], :, places[t]] = heads[t, H + G :]
    queries = np.ascontiguousarray(heads[:, :H])
    attended = np.empty_like(queries)
    attend(queries, keys, values, texts, places, attended)
    add_product(w_output, s_output, attended.reshape(T, H * D), x)
    for t in range(T):
        rms_norm(x[t], feed_forward_norm, eps, normed[t])
    inner = np.zeros((2, T, w_gate.shape[0]), np.float32)
    gated(w_gate, s_gate, w_up, s_up, normed, inner)
    add_product(w_down, s_down, inner[0], x)


@njit(cache=True, parallel=True, nogil=True, fastmath=REORDER)
def rms_norm_rows(x: Array, weight: Array, eps: float, out: Array) -> None:
    """`rms_norm` of each token. x and out (T, C), weight (C,)"""
    for t in prange(x.shape[0]):
        rms_norm(x[t], weight, eps, out[t])


@njit(cache=True, parallel=True, nogil=True, fastmath=REORDER)
def turn_rows(x: Array, cos: Array, sin: Array) -> None:
    """`turn` for each token, in place. x (T, n, D), cos and sin (T, D/2)"""
    for t in prange(x.shape[0]):
        turn(x[t], cos[t], sin[t])
