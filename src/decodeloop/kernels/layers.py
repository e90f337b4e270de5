"""One layer for the tokens of a step, compiled as a whole: over block tables, or a cache in fewer
bits.

Between one kernel and the next no Python runs: with inputs in 8 bits that would take as long as a
fifth of the products.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload

from decodeloop.kernels import compiled, int4_products, paged, quantized_cache, w8a8
from decodeloop.kernels.batched import Places
from decodeloop.kernels.jit import kernel
from decodeloop.kernels.quantized_cache import Layer

Array = np.ndarray[Any, Any]


class Pages(NamedTuple):
    """Keys and values of one layer in fp32."""

    keys: Array  # (blocks, G, size, D)
    values: Array


class Sizes(NamedTuple):
    """What the tiles of a matrix in 4 bits don't tell, by the letters of the README."""

    H: int
    G: int
    D: int
    F: int


def store_and_attend(heads: Array, cache: Pages | Layer, places: Places, out: Array) -> None:
    """Turn queries and keys, store keys and values, attend. heads (N, H + 2·G, D), out (N, H, D)"""
    raise NotImplementedError("kernels call it: its code is chosen below, by the kind of cache")


@overload(store_and_attend)
def chosen(heads: Any, cache: Any, places: Any, out: Any) -> Any:
    def in_pages(heads: Any, cache: Any, places: Any, out: Any) -> Any:
        p = places
        paged.turn_and_store(heads, p.cos, p.sin, p.blocks, p.offsets, cache.keys, cache.values)
        paged.attend(
            heads, cache.keys, cache.values, p.tables, p.texts, p.positions, p.jobs, p.slabs, out
        )

    def in_fewer_bits(heads: Any, cache: Any, places: Any, out: Any) -> Any:
        p = places
        quantized_cache.turn_and_store(heads, p.cos, p.sin, cache, p.texts, p.positions)
        quantized_cache.attend(heads, cache, p.texts, p.positions, p.jobs, out)

    plain = getattr(cache, "instance_class", None) is Pages
    return in_pages if plain else in_fewer_bits


@kernel()
def layer_of_few(
    x: Array,
    cache: Pages | Layer,
    places: Places,
    sizes: Sizes,
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
    """Few tokens, with matrices in fp32 or int8: each is read once. x (N, C) in place; weights as
    in `compiled.decode_layer`"""
    N = x.shape[0]
    rows, D = sizes.H + 2 * sizes.G, sizes.D
    normed = np.empty_like(x)
    for n in range(N):
        compiled.rms_norm(x[n], attention_norm, eps, normed[n])
    projected = np.zeros((N, rows * D), np.float32)
    compiled.query_key_value(w_query, s_query, w_key, s_key, w_value, s_value, normed, projected)
    attended = np.empty((N, sizes.H, D), np.float32)
    store_and_attend(projected.reshape(N, rows, D), cache, places, attended)
    compiled.add_product(w_output, s_output, attended.reshape(N, sizes.H * D), x)
    for n in range(N):
        compiled.rms_norm(x[n], feed_forward_norm, eps, normed[n])
    inner = np.zeros((2, N, sizes.F), np.float32)
    compiled.gated(w_gate, s_gate, w_up, s_up, normed, inner)
    compiled.add_product(w_down, s_down, inner[0], x)


@kernel()
def layer_in_8_bits(
    x: Array,
    cache: Pages | Layer,
    places: Places,
    sizes: Sizes,
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
    """Any number of tokens, whose products are of 8-bit numbers. Arguments as `layer_of_few`."""
    N, C = x.shape
    rows, D = sizes.H + 2 * sizes.G, sizes.D
    normed, (tokens, scale, total) = np.empty_like(x), w8a8.room(N, C)
    w8a8.norm_and_quantize(x, attention_norm, eps, normed, tokens, scale, total)
    projected = np.empty((N, rows * D), np.float32)
    w8a8.query_key_value(
        w_query, s_query, w_key, s_key, w_value, s_value, tokens, scale, total, projected
    )
    attended = np.empty((N, sizes.H, D), np.float32)
    store_and_attend(projected.reshape(N, rows, D), cache, places, attended)
    more, more_scale, more_total = w8a8.room(N, sizes.H * D)
    w8a8.quantize_rows(attended.reshape(N, sizes.H * D), more, more_scale, more_total)
    w8a8.product(w_output, s_output, more, more_scale, more_total, normed)
    x += normed
    w8a8.norm_and_quantize(x, feed_forward_norm, eps, normed, tokens, scale, total)
    inner = np.empty((2, N, sizes.F), np.float32)
    w8a8.gated(w_gate, s_gate, w_up, s_up, tokens, scale, total, inner)
    most, most_scale, most_total = w8a8.room(N, sizes.F)
    w8a8.silu_and_quantize(inner, most, most_scale, most_total)
    w8a8.product(w_down, s_down, most, most_scale, most_total, normed)
    x += normed


@kernel()
def layer_in_4_bits(
    x: Array,
    cache: Pages | Layer,
    places: Places,
    sizes: Sizes,
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
    """Any number of tokens, whose products are of 4-bit weights and 8-bit inputs. Arguments as
    `layer_of_few`, matrices and scales as `int4_products` takes them."""
    N, C = x.shape
    rows, D = sizes.H + 2 * sizes.G, sizes.D
    normed, (tokens, scale, excess) = np.empty_like(x), int4_products.room(N, C)
    int4_products.norm_and_quantize(x, attention_norm, eps, normed, tokens, scale, excess)
    projected, keys = np.empty((N, rows * D), np.float32), sizes.G * D
    int4_products.query_key_value(
        w_query, s_query, w_key, s_key, w_value, s_value, tokens, scale, excess, keys, projected
    )
    attended = np.empty((N, sizes.H, D), np.float32)
    store_and_attend(projected.reshape(N, rows, D), cache, places, attended)
    more, more_scale, more_excess = int4_products.room(N, sizes.H * D)
    int4_products.quantize_rows(attended.reshape(N, sizes.H * D), more, more_scale, more_excess)
    int4_products.product(w_output, s_output, more, more_scale, more_excess, normed)
    x += normed
    int4_products.norm_and_quantize(x, feed_forward_norm, eps, normed, tokens, scale, excess)
    inner = np.empty((2, N, sizes.F), np.float32)
    int4_products.gated(w_gate, s_gate, w_up, s_up, tokens, scale, excess, inner)
    most, most_scale, most_excess = int4_products.room(N, sizes.F)
    int4_products.quantize_rows(inner[0], most, most_scale, most_excess)
    int4_products.product(w_down, s_down, most, most_scale, most_excess, normed)
    x += normed
