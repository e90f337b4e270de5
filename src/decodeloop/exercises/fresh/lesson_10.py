"""Random inputs for the exercises of lesson 10."""

from __future__ import annotations

from decodeloop.exercises.fresh import drawing as st
from decodeloop.model import ModelConfig


@st.composite
def configs(draw):
    G = draw(st.integers(1, 4))
    return ModelConfig(
        vocabulary=draw(st.integers(2, 300)),
        width=draw(st.integers(2, 100)),
        layers=draw(st.integers(1, 5)),
        heads=G * draw(st.integers(1, 4)),
        kv_heads=G,
        head_dim=2 * draw(st.integers(1, 16)),
        feed_forward=draw(st.integers(1, 200)),
        context=64,
        tied=draw(st.booleans()),
    )


@st.composite
def forwards(draw):
    batch, T = draw(st.integers(1, 5)), draw(st.integers(1, 40))
    S = T + draw(st.integers(0, 40))
    return draw(configs()), batch, T, S, draw(st.integers(0, T))


RANDOM = {
    "matmul_flops": st.tuples(*[st.integers(1, 60)] * 3),
    "forward_flops": forwards(),
    "attention_overtakes": st.tuples(configs()),
}
