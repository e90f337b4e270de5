"""Random inputs for the exercises of lesson 02."""

from __future__ import annotations

import torch

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import drawn, seeds, shaped, sizes


def random_mask(seed, share, *shape):
    if share is None:
        return ()
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share,)


def random_widths(B, T, H, D, seed):
    return drawn(seed, B, T, H * D), H


def random_heads(B, H, T, D, seed):
    return (drawn(seed, B, H, T, D),)


def random_groups(B, G, N, T, S, D, seed, share, own):
    H = G * N
    q, k, v = drawn(seed, B, H, T, D), drawn(seed + 1, B, G, S, D), drawn(seed + 2, B, G, S, D)
    return q, k, v, *random_mask(seed, share, B, H if own else 1, T, S)


def random_layer(B, G, N, T, C, D, seed, share):
    H = G * N
    shapes = ((H * D, C), (G * D, C), (G * D, C), (C, H * D))
    weights = [drawn(seed + 1 + i, *s, scale=s[1] ** -0.5) for i, s in enumerate(shapes)]
    return drawn(seed, B, T, C), *weights, H, *random_mask(seed, share, T, T)


def random_outputs(B, H, T, D, C, seed):
    return drawn(seed, B, H, T, D), drawn(seed + 1, C, H * D)


def random_kv_weight(G, N, D, C, seed):
    return drawn(seed, G * N * D, C), G * N, G


shares = st.sampled_from([None, 0.0, 0.5, 1.0])

few = st.integers(1, 3)

RANDOM = {
    "split_heads": shaped(random_widths, sizes, sizes, sizes, sizes, seeds),
    "merge_heads": shaped(random_heads, sizes, sizes, sizes, sizes, seeds),
    "grouped_query_attention": shaped(
        random_groups, sizes, few, few, sizes, sizes, sizes, seeds, shares, st.booleans()
    ),
    "multi_head_attention": shaped(
        random_layer, sizes, few, few, sizes, sizes, sizes, seeds, shares
    ),
    "head_outputs": shaped(random_outputs, sizes, sizes, sizes, sizes, sizes, seeds),
    "mean_pool_kv_heads": shaped(random_kv_weight, few, few, sizes, sizes, seeds),
}
