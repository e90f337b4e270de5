"""One layer for the tokens of a step over block tables, compiled as a whole.

Between one kernel and the next no Python runs: with inputs in 8 bits that would take as long as a
fifth of the products.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from decodeloop.kernels import compiled, int4_products, w8a8
from decodeloop.kernels.jit import kernel
from decodeloop.kernels.paged import attend, turn_and_store

Array = np.ndarray[Any, Any]


@kernel()
def layer_of_few(
    x: Array,
    keys: Array,
    values: Array,
    cos: Array,
    sin: Array,
    blocks: Array,
    offsets: Array,
    tables: Array,
    texts: Array,
    positions: Array,
    jobs: Array,
    slabs: Array,
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
    """Few tokens, with matrices in fp32 or int8: each is read once. x (N, C) in place, the rest as
    in `paged` and `compiled.decode_layer`"""
    N = x.shape[0]
    _, G, _, D = keys.shape
    H = w_query.shape[0] // D
    normed = np.empty_like(x)
    for n in range(N):
        compiled.rms_norm(x[n], attention_norm, eps, normed[n])
    projected = np.zeros((N, (H + 2 * G) * D), np.float32)
    compiled.query_key_value(w_query, s_query, w_key, s_key, w_value, s_value, normed, projected)
    heads = projected.reshape(N, H + 2 * G, D)
    turn_and_store(heads, cos, sin, blocks, offsets, keys, values)
    attended = np.empty((N, H, D), np.float32)
    attend(heads, keys, values, tables, texts, positions, jobs, slabs, attended)
    compiled.add_product(w_output, s_output, attended.reshape(N, H * D), x)
    for n in range(N):
        compiled.rms_norm(x[n], feed_forward_norm, eps, normed[n])
    inner = np.zeros((2, N, w_gate.shape[0]), np.float32)
    compiled.gated(w_gate, s_gate, w_up, s_up, normed, inner)
    compiled.add_product(w_down, s_down, inner[0], x)


@kernel()
def layer_in_8_bits(
    x: Array,
    keys: Array,
    values: Array,
    cos: Array,
    sin: Array,
    blocks: Array,
    offsets: Array,
    tables: Array,
    texts: Array,
    positions: Array,
    jobs: Array,
    slabs: Array,
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
    _, G, _, D = keys.shape
    H, inner_width = w_query.shape[0] // D, w_gate.shape[0]
    normed, (tokens, scale, total) = np.empty_like(x), w8a8.room(N, C)
    w8a8.norm_and_quantize(x, attention_norm, eps, normed, tokens, scale, total)
    projected = np.empty((N, (H + 2 * G) * D), np.float32)
    w8a8.query_key_value(
        w_query, s_query, w_key, s_key, w_value, s_value, tokens, scale, total, projected
    )
    heads = projected.reshape(N, H + 2 * G, D)
    turn_and_store(heads, cos, sin, blocks, offsets, keys, values)
    attended = np.empty((N, H, D), np.float32)
    attend(heads, keys, values, tables, texts, positions, jobs, slabs, attended)
    more, more_scale, more_total = w8a8.room(N, H * D)
    w8a8.quantize_rows(attended.reshape(N, H * D), more, more_scale, more_total)
    w8a8.product(w_output, s_output, more, more_scale, more_total, normed)
    x += normed
    w8a8.norm_and_quantize(x, feed_forward_norm, eps, normed, tokens, scale, total)
    inner = np.empty((2, N, inner_width), np.float32)
    w8a8.gated(w_gate, s_gate, w_up, s_up, tokens, scale, total, inner)
    most, most_scale, most_total = w8a8.room(N, inner_width)
    w8a8.silu_and_quantize(inner, most, most_scale, most_total)
    w8a8.product(w_down, s_down, most, most_scale, most_total, normed)
    x += normed


@kernel()
def layer_in_4_bits(
    x: Array,
    keys: Array,
    values: Array,
    cos: Array,
    sin: Array,
    blocks: Array,
    offsets: Array,
    tables: Array,
    texts: Array,
    positions: Array,
    jobs: Array,
    slabs: Array,
    eps: float,
    sizes: tuple[int, int],
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
    """Any number of tokens, whose products are of 4-bit weights and 8-bit inputs. sizes: query
    heads, and feed-forward width, which the tiles of a matrix don't tell; the rest as in
    `layer_of_few`."""
    N, C = x.shape
    H, inner_width = sizes
    _, G, _, D = keys.shape
    normed, (tokens, scale, excess) = np.empty_like(x), int4_products.room(N, C)
    int4_products.norm_and_quantize(x, attention_norm, eps, normed, tokens, scale, excess)
    projected = np.empty((N, (H + 2 * G) * D), np.float32)
    int4_products.query_key_value(
        w_query, s_query, w_key, s_key, w_value, s_value, tokens, scale, excess, G * D, projected
    )
    heads = projected.reshape(N, H + 2 * G, D)
    turn_and_store(heads, cos, sin, blocks, offsets, keys, values)
    attended = np.empty((N, H, D), np.float32)
    attend(heads, keys, values, tables, texts, positions, jobs, slabs, attended)
    more, more_scale, more_excess = int4_products.room(N, H * D)
    int4_products.quantize_rows(attended.reshape(N, H * D), more, more_scale, more_excess)
    int4_products.product(w_output, s_output, more, more_scale, more_excess, normed)
    x += normed
    int4_products.norm_and_quantize(x, feed_forward_norm, eps, normed, tokens, scale, excess)
    inner = np.empty((2, N, inner_width), np.float32)
    int4_products.gated(w_gate, s_gate, w_up, s_up, tokens, scale, excess, inner)
    most, most_scale, most_excess = int4_products.room(N, inner_width)
    int4_products.quantize_rows(inner[0], most, most_scale, most_excess)
    int4_products.product(w_down, s_down, most, most_scale, most_excess, normed)
    x += normed
