"""Random inputs for the exercises of lesson 03."""

from __future__ import annotations

import torch

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import drawn, seeds, shaped, sizes

shapes = st.lists(sizes, min_size=1, max_size=3)


def random_vectors(shape, seed, eps, scale):
    return drawn(seed, *shape, scale=scale), drawn(seed + 1, shape[-1]), eps


def random_layer_norm(shape, seed, eps):
    x = drawn(seed, *shape, 2 * shape[0] + 1)
    return x, drawn(seed + 1, x.shape[-1]), drawn(seed + 2, x.shape[-1]), eps


def random_positions(seed, B, T, own):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 30, (B, T) if own else (T,), generator=generator)


def random_rope(B, H, T, half, seed, own, base):
    return drawn(seed, B, H, T, 2 * half), random_positions(seed, B, T, own), base


def random_feed_forward(leading, C, width, seed):
    w_gate, w_up, w_down = (drawn(seed + i, width, C) for i in range(3))
    return drawn(seed + 3, *leading, C), w_gate, w_up, w_down.T.contiguous()


small = st.integers(1, 3)

RANDOM = {
    "rms_norm": shaped(
        random_vectors,
        shapes,
        seeds,
        st.sampled_from([1e-5, 0.1]),
        st.sampled_from([1e-3, 1.0, 100.0]),
    ),
    "rope": shaped(
        random_rope,
        *[small] * 4,
        seeds,
        st.booleans(),
        st.sampled_from([10_000.0, 50.0]),
    ),
    "swiglu": shaped(random_feed_forward, st.lists(sizes, max_size=2), sizes, sizes, seeds),
    "sinusoidal_positions": st.tuples(st.integers(1, 20), st.integers(1, 8).map(lambda n: 2 * n)),
    "layer_norm": shaped(random_layer_norm, shapes, seeds, st.sampled_from([1e-5, 0.1])),
}
