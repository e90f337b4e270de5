"""Random inputs for the exercises of lesson 04."""

from __future__ import annotations

from dataclasses import replace

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import drawn, random_ids, seeds, shaped, sizes
from decodeloop.exercises.lesson_04 import random_decoder
from decodeloop.model import TINY, ModelConfig


def random_text(B, T, layers, kv_heads, tied, seed):
    config = replace(TINY, layers=layers, kv_heads=kv_heads, tied=tied)
    return random_decoder(config, seed), random_ids(seed, config.vocabulary, B, T)


def random_config(V, C, L, G, group, half, F_, tied):
    sizes = {"heads": G * group, "kv_heads": G, "head_dim": 2 * half, "feed_forward": F_}
    return (ModelConfig(vocabulary=V, width=C, layers=L, context=16, tied=tied, **sizes),)


def random_rows(H, half, C, seed):
    return drawn(seed, 2 * half * H, C), H


def random_states(shape, tied, seed):
    model = random_decoder(replace(TINY, layers=1, tied=tied), seed)
    return model, drawn(seed, *shape, TINY.width, scale=3.0), seed % TINY.vocabulary


RANDOM = {
    "hidden_states": shaped(
        random_text,
        sizes,
        sizes,
        st.integers(1, 3),
        st.sampled_from([1, 2, 6]),
        st.booleans(),
        seeds,
    ),
    "parameter_count": shaped(
        random_config, st.integers(1, 90), st.integers(1, 20), *[sizes] * 5, st.booleans()
    ),
    "unpermute": shaped(random_rows, sizes, st.integers(1, 6), sizes, seeds),
    "logit_lens": shaped(
        random_states, st.lists(sizes, min_size=1, max_size=3), st.booleans(), seeds
    ),
}
