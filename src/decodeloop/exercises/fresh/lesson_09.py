"""Random inputs for the exercises of lesson 09."""

from __future__ import annotations

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import shaped, sizes
from decodeloop.exercises.lesson_09 import GPT2, LLAMA_3_8B, QWEN_2_5, QWEN_3
from decodeloop.model import SMOLLM2_135M, ModelConfig


def small(V, C, L, G, group, half, F, tied):
    heads = {"heads": G * group, "kv_heads": G, "head_dim": 2 * half}
    return ModelConfig(
        vocabulary=V, width=C, layers=L, feed_forward=F, context=16, tied=tied, **heads
    )


smalls = st.builds(small, st.integers(1, 90), st.integers(1, 20), *[sizes] * 5, st.booleans())

any_config = st.one_of(smalls, st.sampled_from([SMOLLM2_135M, LLAMA_3_8B, GPT2, QWEN_2_5, QWEN_3]))

bytes_per_number = st.sampled_from([1, 2, 4, 8])

reserve = st.integers(0, 2_000)

RANDOM = {
    "weight_bytes": st.tuples(any_config, bytes_per_number),
    "activation_bytes": shaped(
        lambda config, batch, T, old, size: (config, batch, T, T + old, size),
        any_config,
        sizes,
        st.integers(1, 300),
        st.integers(0, 300),
        bytes_per_number,
    ),
    "max_batch": st.tuples(
        any_config,
        st.integers(0, 10**6) | st.integers(10**9, 10**11),
        st.integers(1, 5_000),
        bytes_per_number,
        bytes_per_number,
        reserve,
    ),
    "max_length": st.tuples(
        any_config,
        st.integers(0, 10**6) | st.integers(10**9, 10**11),
        st.integers(1, 64),
        bytes_per_number,
        bytes_per_number,
        reserve,
    ),
}
