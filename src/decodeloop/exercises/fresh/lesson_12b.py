"""Random inputs for the exercises of lesson 12b."""

from __future__ import annotations

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven
from decodeloop.exercises.fresh.lesson_12 import models, number_sizes, rates
from decodeloop.exercises.lesson_12 import (
    described,
)
from decodeloop.exercises.lesson_12b import (
    Card,
)

# Whole numbers that are not too large, so that a tie is a tie in floating point too.


def with_options(candidate, config, peak, bandwidth, batch, prompt, context, dtype):
    card = Card("a card", {"bf16": peak, "fp32": peak / 4, "int8": 2 * peak}, bandwidth)
    options = {} if context is None else {"context": context}
    return described(candidate(config, card, batch=batch, prompt=prompt, dtype=dtype, **options))


RANDOM = {
    "compute_bound_batch": st.tuples(
        models, st.integers(1, 3_000), st.integers(1, 400).map(float), st.just(1.0), number_sizes
    ),
    "predict_phases": Driven(
        st.tuples(
            models,
            rates,
            rates,
            st.integers(1, 20),
            st.integers(1, 500),
            st.one_of(st.none(), st.integers(1, 2_000)),
            st.sampled_from(["bf16", "fp32", "int8"]),
        ),
        with_options,
    ),
}
