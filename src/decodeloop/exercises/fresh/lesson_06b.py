"""Random inputs for the exercises of lesson 06b."""

from __future__ import annotations

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven, seeds, shaped
from decodeloop.exercises.fresh.lesson_06 import a_text, configs
from decodeloop.exercises.lesson_06 import (
    DEEPER,
    SMALL,
)
from decodeloop.exercises.lesson_06b import (
    LLAMA_2_7B,
    chunked,
)
from decodeloop.model import SMOLLM2_135M, TINY

rows, tokens = st.integers(1, 3), st.integers(1, 7)

RANDOM = {
    "kv_cache_bytes": st.tuples(
        st.sampled_from([SMALL, DEEPER, TINY, SMOLLM2_135M, LLAMA_2_7B]),
        st.integers(1, 64),
        st.integers(1, 8_192),
        st.sampled_from([1, 2, 4, 8]),
    ),
    "chunked_prefill": Driven(
        shaped(a_text, configs, seeds, rows, tokens, st.integers(1, 8)), chunked
    ),
}
