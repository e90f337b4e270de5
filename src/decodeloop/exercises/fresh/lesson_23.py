"""Random inputs for the exercises of lesson 23."""

from __future__ import annotations

import numpy as np

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven
from decodeloop.exercises.lesson_23 import written


def generator(seed):
    return np.random.default_rng(seed)


def floats(random, *shape):
    return random.standard_normal(shape).astype(np.float32)


def matrix(random, kind, R, C):
    if kind == "fp32":
        return floats(random, R, C)
    return random.integers(-127, 128, (R, C)).astype(np.int8)


def vector_inputs(kind, R, C, seed):
    random = generator(seed)
    scale = random.uniform(0.001, 0.02, R).astype(np.float32)
    return matrix(random, kind, R, C), scale, floats(random, C)


def norm_inputs(C, eps, seed):
    random = generator(seed)
    return floats(random, C), floats(random, C), eps


def gate_inputs(kind, F, C, seed):
    gate, up = vector_inputs(kind, F, C, seed), vector_inputs(kind, F, C, seed + 1)
    return *gate[:2], *up[:2], gate[2]


sizes, seeds, kinds = st.integers(1, 7), st.integers(0, 2**16), st.sampled_from(["fp32", "int8"])

RANDOM = {
    "matrix_vector": Driven(
        st.builds(vector_inputs, kinds, sizes, sizes, seeds),
        lambda candidate, *inputs: written(candidate, inputs, (len(inputs[0]),)),
    ),
    "rms_norm_into": Driven(
        st.builds(norm_inputs, sizes, st.sampled_from([1e-6, 1e-5, 0.1]), seeds),
        lambda candidate, *inputs: written(candidate, inputs, inputs[0].shape),
    ),
    "gated": Driven(
        st.builds(gate_inputs, kinds, sizes, sizes, seeds),
        lambda candidate, *inputs: written(candidate, inputs, (len(inputs[0]),)),
    ),
}
