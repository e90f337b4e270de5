"""Attention over block tables, in place: the tokens of a step, of several texts, in one row.

Nothing is gathered and nothing padded. A text's positions are taken in chunks of `CHUNK`, which
begin at the same positions whoever else is in the step and however many threads there are; so the
same numbers are added in the same order, and a text gets the same bits alone and in company.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from decodeloop.kernels.compiled import turn
from decodeloop.kernels.elementary import exp, largest
from decodeloop.kernels.jit import kernel
from decodeloop.kernels.prefetch import LINE, prefetch
from decodeloop.kernels.vectors import LANES, add_rows, dot_sixteen

CHUNK = 128  # positions that one thread attends to at a time
TILE = 8  # new tokens of a text that meet them together: a key is fetched once for all of them
ALONE = 4  # for so few tokens it is not worth waking other threads, but for attention itself

Array = np.ndarray[Any, Any]


@kernel()
def turn_and_store_one(
    projected: Array, cos: Array, sin: Array, keys: Array, values: Array
) -> None:
    """Of one token. projected (H + 2·G, D), cos and sin (D/2,), keys and values (G, D)"""
    rows, D = projected.shape
    G = keys.shape[0]
    turn(projected[: rows - G], cos, sin)
    for g in range(G):
        for d in range(D):
            keys[g, d] = projected[rows - 2 * G + g, d]
            values[g, d] = projected[rows - G + g, d]


@kernel(parallel=True)
def turn_and_store(
    projected: Array,
    cos: Array,
    sin: Array,
    blocks: Array,
    offsets: Array,
    keys: Array,
    values: Array,
) -> None:
    """Turn queries and keys by their positions, in place, and put keys and values into the pool.

    projected (N, H + 2·G, D): queries, keys, values; cos and sin (N, D/2); token n's place is
    offsets[n] of block blocks[n]; keys and values (blocks, G, size, D)
    """
    N = projected.shape[0]
    if N <= ALONE:
        for n in range(N):
            k, v = keys[blocks[n], :, offsets[n]], values[blocks[n], :, offsets[n]]
            turn_and_store_one(projected[n], cos[n], sin[n], k, v)
    else:
        for n in prange(N):
            k, v = keys[blocks[n], :, offsets[n]], values[blocks[n], :, offsets[n]]
            turn_and_store_one(projected[n], cos[n], sin[n], k, v)


@kernel()
def scores_of(page: Array, q: Array, out: Array) -> None:
    """The products of one query with some keys, sixteen at a time. page (n, D), q (D,) →
    out (n,)"""
    (n, D), first = page.shape, 0
    while D % LANES == 0 and first + LANES <= n:
        dot_sixteen(page[first : first + LANES], q, out[first : first + LANES])  # type: ignore[call-arg]
        first += LANES
    for s in range(first, n):
        total = np.float32(0)
        for d in range(D):
            total += page[s, d] * q[d]
        out[s] = total


@kernel()
def soften(scores: Array, scale: np.float32) -> tuple[np.float32, np.float32]:
    """Each product, times the scale, becomes its weight before the division, in place → the largest
    score, and the sum of the weights. scores (n,)"""
    top, total = largest(scores), np.float32(0)
    for s in range(scores.shape[0]):
        scores[s] = exp((scores[s] - top) * scale)
        total += scores[s]
    return top * scale, total


@kernel()
def add_weighted(weights: Array, page: Array, out: Array) -> None:
    """Add values, each times its weight. weights (n,), page (n, D), out (D,)"""
    if out.shape[0] % LANES == 0:
        add_rows(weights, page, out)  # type: ignore[call-arg]
        return
    for s in range(page.shape[0]):
        for d in range(out.shape[0]):
            out[d] += weights[s] * page[s, d]


@kernel()
def ask_for(page: Array, part: int, parts: int) -> None:
    """Have a part of the keys or values of a block on their way from the memory. page (n, D)"""
    n = min(page.shape[0], CHUNK)
    for s in range(part * n // parts, (part + 1) * n // parts):
        for d in range(0, page.shape[1], LINE):
            prefetch(page[s, d:])  # type: ignore[call-arg]


@kernel(parallel=True)
def attend_chunks(
    projected: Array,
    keys: Array,
    values: Array,
    tables: Array,
    texts: Array,
    positions: Array,
    jobs: Array,
    part: Array,
    peak: Array,
    mass: Array,
) -> None:
    """Attend to each chunk by itself: what it gives before the division, its largest score, and
    the sum of its weights (online softmax: Milakov and Gimelshein, 2018).

    projected (N, H + 2·G, D), of which the queries are taken; keys and values (blocks, G, size, D);
    tables (texts, most); texts and positions (N,); jobs (J, 3): tokens from, to, all of one text,
    and a chunk; part (N, chunks, H, D), peak and mass (N, chunks, H).
    """
    _, G, size, D = keys.shape
    share = (projected.shape[1] - 2 * G) // G
    scale = np.float32(1) / np.sqrt(np.float32(D))
    J = jobs.shape[0]
    for job in prange(J * G):  # a head's jobs together: the last chunks have less to do
        g = job // J
        begin, end, chunk = jobs[job % J, 0], jobs[job % J, 1], jobs[job % J, 2]
        table = tables[texts[begin]]
        start = chunk * CHUNK
        stop = min(start + CHUNK, positions[end - 1] + 1)  # what the last token sees, the others no
        scores = np.empty((TILE, share, CHUNK), np.float32)
        s = start
        while s < stop:  # block by block: its keys meet all the queries that share them
            offset = s % size
            n = min(size - offset, stop - s)
            page = keys[table[s // size], g, offset : offset + n]
            more = values[table[s // size], g, offset : offset + n]
            following = keys[table[(s + n) // size], g] if s + n < stop else page
            for t in range(begin, end):
                seen = min(n, positions[t] + 1 - s)
                for h in range(share if seen > 0 else 0):
                    if t == begin:
                        ask_for(more, h, share)
                        ask_for(following, h, share)
                    row = scores[t - begin, h, s - start : s - start + seen]
                    scores_of(page[:seen], projected[t, g * share + h], row)
            s += n
        for t in range(begin, end):
            seen = min(CHUNK, positions[t] + 1 - start)
            for h in range(share):
                head = g * share + h
                for d in range(D):
                    part[t, chunk, head, d] = 0
                if seen > 0:
                    top, total = soften(scores[t - begin, h, :seen], scale)
                    peak[t, chunk, head], mass[t, chunk, head] = top, total
        s = start
        while s < stop:
            offset = s % size
            n = min(size - offset, stop - s)
            page = values[table[s // size], g, offset : offset + n]
            for t in range(begin, end):
                seen = min(n, positions[t] + 1 - s)
                for h in range(share if seen > 0 else 0):
                    row = scores[t - begin, h, s - start : s - start + seen]
                    add_weighted(row, page[:seen], part[t, chunk, g * share + h])
            s += n


@kernel()
def merge_chunks_of(part: Array, peak: Array, mass: Array, out: Array) -> None:
    """What the chunks of one token found, together. part (chunks, H, D), peak and mass (chunks, H)
    → out (H, D)"""
    chunks, H, D = part.shape
    for h in range(H):
        top = peak[0, h]
        for c in range(1, chunks):
            top = max(top, peak[c, h])
        total = np.float32(0)
        for d in range(D):
            out[h, d] = 0
        for c in range(chunks):
            factor = exp(peak[c, h] - top)
            total += mass[c, h] * factor
            for d in range(D):
                out[h, d] += part[c, h, d] * factor
        for d in range(D):
            out[h, d] /= total


@kernel(parallel=True)
def merge_chunks(part: Array, peak: Array, mass: Array, positions: Array, out: Array) -> None:
    """`merge_chunks_of`, of each token. part (N, chunks, H, D), peak and mass (N, chunks, H),
    positions (N,) → out (N, H, D)"""
    N = part.shape[0]
    if N <= ALONE:
        for n in range(N):
            chunks = positions[n] // CHUNK + 1
            merge_chunks_of(part[n, :chunks], peak[n, :chunks], mass[n, :chunks], out[n])
    else:
        for n in prange(N):
            chunks = positions[n] // CHUNK + 1
            merge_chunks_of(part[n, :chunks], peak[n, :chunks], mass[n, :chunks], out[n])


@kernel()
def attend(
    projected: Array,
    keys: Array,
    values: Array,
    tables: Array,
    texts: Array,
    positions: Array,
    jobs: Array,
    slabs: Array,
    out: Array,
) -> None:
    """Attention of a step. jobs (J, 3) of slab after slab: those of the i-th begin at slabs[i, 1],
    and count tokens from slabs[i, 0], its first one; slabs (n + 1, 2). The rest as in
    `attend_chunks`, → out (N, H, D)"""
    _, H, D = out.shape
    for i in range(slabs.shape[0] - 1):
        begin, end = slabs[i, 0], slabs[i + 1, 0]
        places = positions[begin:end]
        shape = (end - begin, places.max() // CHUNK + 1, H)
        part = np.empty((shape[0], shape[1], H, D), np.float32)
        peak, mass = np.empty(shape, np.float32), np.empty(shape, np.float32)
        attend_chunks(
            projected[begin:end],
            keys,
            values,
            tables,
            texts[begin:end],
            places,
            jobs[slabs[i, 1] : slabs[i + 1, 1]],
            part,
            peak,
            mass,
        )
        merge_chunks(part, peak, mass, places, out[begin:end])
