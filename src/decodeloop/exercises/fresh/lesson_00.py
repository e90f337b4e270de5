"""Random inputs for the exercises of lesson 00."""

from __future__ import annotations

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import drawn, random_ids, seeds, shaped, sizes


def random_logits(shape, seed):
    return (drawn(seed, *shape),)


def random_texts(B, T, V, seed, scale):
    return drawn(seed, B, T, V, scale=scale), random_ids(seed, V, B, T)


RANDOM = {
    "greedy": shaped(random_logits, st.lists(sizes, min_size=1, max_size=4), seeds),
    "next_token_loss": shaped(
        random_texts, sizes, st.integers(2, 6), st.integers(1, 9), seeds, st.sampled_from([1, 500])
    ),
}
