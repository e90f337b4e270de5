"""Attention over a cache in 8 bits or 4 (`compress.cache`): what is read of it becomes fp32 in the
processor's cache, some positions at a time, and then goes the way of all keys and values.

A token at 2,048 positions reads more of the cache than of the weights, in fp32; so most of what it
takes is reading, and a quarter of the bytes is faster although each number has to be made again.
"""

from __future__ import annotations

from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import int32, prange

from decodeloop.compress.cache import GROUP, QuantizedKVCache
from decodeloop.kernels.compiled import turn
from decodeloop.kernels.elementary import half, half_bits
from decodeloop.kernels.jit import kernel
from decodeloop.kernels.paged import CHUNK, TILE, add_weighted, merge_chunks, scores_of, soften

Array = np.ndarray[Any, Any]


class Layer(NamedTuple):
    """The memory of one layer of a `QuantizedKVCache`; numbers in fp16 as their bits."""

    keys: Array  # (B, G, S, D or D/2) uint8
    key_step: Array  # (B, G, S/64, D) int16
    key_low: Array
    tail: Array  # (B, G, 128, D) fp32: keys from position `folded` on
    values: Array  # (B, G, S, D or D/2) uint8
    value_step: Array  # (B, G, S) int16
    value_low: Array
    folded: int


def layers_of(cache: QuantizedKVCache) -> list[Layer]:
    """The memory of each layer."""
    tensors = (
        cache.keys,
        cache.key_step.view(torch.int16),
        cache.key_low.view(torch.int16),
        cache.tail,
        cache.values,
        cache.value_step.view(torch.int16),
        cache.value_low.view(torch.int16),
    )
    each: Any = zip(*(x.numpy() for x in tensors), repeat(cache.folded), strict=False)
    return [Layer(*own) for own in each]


@kernel()
def widen(stored: Array, step: Array, low: Array, out: Array) -> None:
    """Positions whose channels have a step each. stored (n, D or D/2), step and low (D,) fp32, out
    (n, D)"""
    n, width = stored.shape
    D = out.shape[1]
    for s in range(n):
        if width == D:
            for d in range(D):
                out[s, d] = np.float32(stored[s, d]) * step[d] + low[d]
        else:
            for d in range(width):
                both = stored[s, d]
                out[s, d] = np.float32(both & 15) * step[d] + low[d]
                out[s, d + width] = np.float32(both >> 4) * step[d + width] + low[d + width]


@kernel()
def widen_evenly(stored: Array, step: np.float32, low: np.float32, out: Array) -> None:
    """One position whose channels share a step. stored (D or D/2,), out (D,)"""
    width = stored.shape[0]
    if width == out.shape[0]:
        for d in range(width):
            out[d] = np.float32(stored[d]) * step + low
    else:
        for d in range(width):
            out[d] = np.float32(stored[d] & 15) * step + low
            out[d + width] = np.float32(stored[d] >> 4) * step + low


@kernel()
def keys_between(cache: Layer, text: int, g: int, start: int, stop: int, out: Array) -> None:
    """Keys of one head, in fp32; start is a multiple of 64. out (stop - start, D)"""
    D = out.shape[1]
    step, low = np.empty(D, np.float32), np.empty(D, np.float32)
    s = start
    while s < stop:
        if s < cache.folded:
            n, group = min(GROUP, stop - s), s // GROUP
            for d in range(D):
                step[d] = half(cache.key_step[text, g, group, d])
                low[d] = half(cache.key_low[text, g, group, d])
            widen(cache.keys[text, g, s : s + n], step, low, out[s - start : s - start + n])
        else:
            n = stop - s
            out[s - start :] = cache.tail[text, g, s - cache.folded : stop - cache.folded]
        s += n


@kernel()
def values_between(cache: Layer, text: int, g: int, start: int, stop: int, out: Array) -> None:
    """Values of one head, in fp32. out (stop - start, D)"""
    for s in range(start, stop):
        step, low = half(cache.value_step[text, g, s]), half(cache.value_low[text, g, s])
        widen_evenly(cache.values[text, g, s], step, low, out[s - start])


@kernel()
def store_value(value: Array, stored: Array) -> tuple[np.int16, np.int16]:
    """One token's values of one head → the bits of their step and low. value (D,), stored (D or
    D/2,) uint8"""
    D, width = value.shape[0], stored.shape[0]
    top = least = value[0]
    for d in range(D):
        top, least = max(top, value[d]), min(least, value[d])
    most = np.float32(255 if width == D else 15)
    low_bits = half_bits(least)
    low = half(low_bits)
    step_bits = half_bits((top - low) / most)
    step = half(step_bits)
    inverse = np.float32(1) / step if step > 0 else np.float32(0)
    if width == D:
        for d in range(D):
            whole = min(max(np.rint((value[d] - low) * inverse), np.float32(0)), most)
            stored[d] = np.uint8(int32(whole))
    else:
        for d in range(width):
            first = min(max(np.rint((value[d] - low) * inverse), np.float32(0)), most)
            second = min(max(np.rint((value[d + width] - low) * inverse), np.float32(0)), most)
            stored[d] = np.uint8(int32(first) | int32(second) << int32(4))
    return step_bits, low_bits


@kernel()
def turn_and_store(
    projected: Array, cos: Array, sin: Array, cache: Layer, texts: Array, positions: Array
) -> None:
    """As `paged.turn_and_store`: keys go to the tail, values are quantized. projected
    (N, H + 2·G, D), texts and positions (N,)"""
    N, rows, _ = projected.shape
    G = cache.tail.shape[1]
    for n in range(N):
        turn(projected[n, : rows - G], cos[n], sin[n])
        text, place = texts[n], positions[n]
        for g in range(G):
            cache.tail[text, g, place - cache.folded] = projected[n, rows - 2 * G + g]
            step, low = store_value(projected[n, rows - G + g], cache.values[text, g, place])
            cache.value_step[text, g, place], cache.value_low[text, g, place] = step, low


@kernel(parallel=True)
def attend_chunks(
    projected: Array,
    cache: Layer,
    texts: Array,
    positions: Array,
    jobs: Array,
    part: Array,
    peak: Array,
    mass: Array,
) -> None:
    """As `paged.attend_chunks`, with the same arguments and order of additions."""
    _, rows, D = projected.shape
    G = cache.tail.shape[1]
    share = (rows - 2 * G) // G
    scale = np.float32(1) / np.sqrt(np.float32(D))
    J = jobs.shape[0]
    for job in prange(J * G):  # a head's jobs together: the last chunks have less to do
        g = job // J
        begin, end, chunk = jobs[job % J, 0], jobs[job % J, 1], jobs[job % J, 2]
        start, text = chunk * CHUNK, texts[begin]
        stop = min(start + CHUNK, positions[end - 1] + 1)
        page = np.empty((stop - start, D), np.float32)
        scores = np.empty((TILE, share, CHUNK), np.float32)
        keys_between(cache, text, g, start, stop, page)
        for t in range(begin, end):
            seen = min(CHUNK, positions[t] + 1 - start)
            for h in range(share if seen > 0 else 0):
                row = scores[t - begin, h, :seen]
                scores_of(page[:seen], projected[t, g * share + h], row)
                top, total = soften(row, scale)
                peak[t, chunk, g * share + h], mass[t, chunk, g * share + h] = top, total
        values_between(cache, text, g, start, stop, page)
        for t in range(begin, end):
            seen = min(CHUNK, positions[t] + 1 - start)
            for h in range(share):
                out = part[t, chunk, g * share + h]
                for d in range(D):
                    out[d] = 0
                if seen > 0:
                    add_weighted(scores[t - begin, h, :seen], page[:seen], out)


@kernel()
def attend(
    projected: Array,
    cache: Layer,
    texts: Array,
    positions: Array,
    jobs: Array,
    slabs: Array,
    out: Array,
) -> None:
    """Attention of a step, slab after slab, as `paged.attend`. → out (N, H, D)"""
    _, H, D = out.shape
    for i in range(slabs.shape[0] - 1):
        begin, end = slabs[i, 0], slabs[i + 1, 0]
        places = positions[begin:end]
        shape = (end - begin, places.max() // CHUNK + 1, H)
        part = np.empty((shape[0], shape[1], H, D), np.float32)
        peak, mass = np.empty(shape, np.float32), np.empty(shape, np.float32)
        own = jobs[slabs[i, 1] : slabs[i + 1, 1]]  # they count tokens from the slab's first one
        attend_chunks(projected[begin:end], cache, texts[begin:end], places, own, part, peak, mass)
        merge_chunks(part, peak, mass, places, out[begin:end])
