"""Random inputs for the exercises of lesson 01."""

from __future__ import annotations

import math

import torch

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven, drawn, seeds, shaped, sizes
from decodeloop.exercises.lesson_01 import placed


def random_scores(shape, seed, scale, axis):
    x = drawn(seed, *shape, scale=scale)
    chance = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return x.masked_fill(chance < 0.3, -math.inf), axis % len(shape) - len(shape) * (axis < 0)


def random_lengths(T, cached):
    return (T,) if cached is None else (T, T + cached)


def random_queries(B, H, T, S, D, seed, share):
    q, k, v = drawn(seed, B, H, T, D), drawn(seed + 1, B, H, S, D), drawn(seed + 2, B, H, S, D)
    if share is None:
        return q, k, v
    return q, k, v, torch.rand(B, 1, T, S, generator=torch.Generator().manual_seed(seed)) < share


def random_maps(L, H, T, seed):
    return (drawn(seed, L, H, T, T, scale=3.0).softmax(-1),)


def random_padding(lengths, more):
    return torch.tensor(lengths), max(lengths) + more


def random_weights(shape, seed):
    x = drawn(seed, *shape, scale=3.0)
    x[..., 1:] = x[..., 1:].masked_fill(x[..., 1:] > 2.0, -math.inf)  # some weights are 0
    return (x.softmax(-1),)


lengths = st.integers(1, 8) | st.integers(1, 50)

RANDOM = {
    "softmax": shaped(
        random_scores,
        st.lists(sizes, min_size=1, max_size=4),
        seeds,
        st.sampled_from([1.0, 30.0]),
        st.integers(-4, 3),
    ),
    "causal_mask": shaped(random_lengths, lengths, st.none() | st.integers(0, 8) | lengths),
    "attention": shaped(
        random_queries, *[sizes] * 5, seeds, st.sampled_from([None, 0.0, 0.5, 1.0])
    ),
    "previous_token_head": Driven(
        shaped(random_maps, sizes, sizes, st.integers(2, 6), seeds), placed
    ),
    "padding_mask": shaped(
        random_padding, st.lists(st.integers(0, 6), min_size=1, max_size=4), st.integers(1, 3)
    ),
    "effective_keys": shaped(random_weights, st.lists(sizes, min_size=1, max_size=3), seeds),
}
