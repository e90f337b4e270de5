"""Random inputs for the exercises of lesson 12."""

from __future__ import annotations

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven
from decodeloop.exercises.lesson_12 import LLAMA_8B, described
from decodeloop.model import SMOLLM2_135M, TINY, ModelConfig

# Whole numbers that are not too large, so that a tie is a tie in floating point too.
works = st.integers(1, 2**40)

rates = st.integers(0, 12).map(lambda power: 2.0**power)


@st.composite
def configs(draw):
    G = draw(st.integers(1, 3))
    return ModelConfig(
        vocabulary=draw(st.integers(1, 50)),
        width=draw(st.integers(1, 30)),
        layers=draw(st.integers(1, 4)),
        heads=G * draw(st.integers(1, 4)),
        kv_heads=G,
        head_dim=2 * draw(st.integers(1, 6)),
        feed_forward=draw(st.integers(1, 60)),
        context=64,
        tied=draw(st.booleans()),
    )


models = st.one_of(configs(), st.sampled_from([TINY, SMOLLM2_135M, LLAMA_8B]))

number_sizes = st.sampled_from([1, 2, 4])


def forwards(config, batch, T, before, size):
    return config, batch, T, T + before, size


RANDOM = {
    "phase": Driven(
        st.tuples(works, works, rates, rates),
        lambda candidate, *inputs: described(candidate(*inputs)),
    ),
    "attainable": st.tuples(st.floats(0.01, 1e4), rates, rates),
    "arithmetic_intensity": st.builds(
        forwards,
        models,
        st.integers(1, 9),
        st.integers(1, 50),
        st.integers(0, 3_000),
        number_sizes,
    ),
}
