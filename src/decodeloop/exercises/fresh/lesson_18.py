"""Random inputs for the exercises of lesson 18."""

from __future__ import annotations

import torch

from decodeloop.exercises import lesson_18
from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven, drawn, seeds, shaped, sizes

RANDOM = {
    "window_mask": shaped(
        lambda T, more, window, sinks: (T, T + more, window, sinks),
        *(sizes, st.integers(0, 6), sizes, st.integers(0, 4)),
    ),
    "RingKVCache": Driven(
        st.tuples(
            st.sampled_from([lesson_18.SMALL, lesson_18.ONE_HEAD]),
            sizes,
            st.integers(0, 3),
            st.lists(st.integers(1, 9), min_size=1, max_size=6),
        ),
        lesson_18.drive,
    ),
    "yarn_frequencies": st.tuples(
        st.sampled_from([8, 32, 64]),
        st.sampled_from([1e3, 1e4, 1e6]),
        st.floats(1, 16),
        st.integers(64, 9000),
    ),
    "absorb": shaped(
        lambda G, share, T, D, r, seed: (drawn(seed, 2, G * share, T, D), drawn(seed, G * D, r), G),
        *(sizes, sizes, sizes, sizes, sizes, seeds),
    ),
    "latent_factors": Driven(
        shaped(
            lambda N, C, rank, seed: (
                torch.logspace(0, -1, N)[:, None] * torch.linalg.qr(drawn(seed, 8, 8))[0][:N, :C],
                min(rank, N),
            ),
            *(st.integers(2, 4), st.integers(5, 8), sizes, seeds),
        ),
        lesson_18.product_of,
    ),
    "mean_pool_heads": shaped(
        lambda G, share, D, C, seed: (drawn(seed, G * share * D, C), G * share, G),
        *(sizes, sizes, sizes, sizes, seeds),
    ),
}
