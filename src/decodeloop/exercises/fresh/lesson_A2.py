"""Random inputs for the exercises of lesson A2."""

from __future__ import annotations

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import drawn, seeds, shaped, sizes


def random_cross(B, T, S, H, D, C, share, seed):
    """Inputs of cross-attention; a share of None means no mask."""
    mask = None if share is None else drawn(seed, B, 1, T, S) < share
    weights = (drawn(seed + 2 + i, H * D, C) for i in range(3))
    x, memory = drawn(seed, B, T, C), drawn(seed + 1, B, S, C)
    return x, memory, *weights, drawn(seed + 5, C, H * D), H, mask


def random_pool(B, T, C, seed):
    real = drawn(seed + 1, B, T) > 0
    real[:, seed % T] = True
    return drawn(seed, B, T, C), real


RANDOM = {
    "cross_attention": shaped(
        random_cross,
        *(sizes,) * 6,
        st.sampled_from([None, -9.0, 0.3, 9.0]),
        seeds,
    ),
    "mean_pool": shaped(random_pool, sizes, sizes, sizes, seeds),
    "prefix_mask": (st.integers(1, 8) | st.integers(1, 50)).flatmap(
        lambda T: st.tuples(st.just(T), st.integers(0, T)),
    ),
}
