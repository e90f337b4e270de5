"""Random inputs for the exercises of lesson 23."""

from __future__ import annotations

import numpy as np
import torch

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven
from decodeloop.exercises.lesson_23 import with_type, written


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


def exact_weights(R, C, power, seed):
    """Whole multiples of a power of two, each row's largest 127: nothing lies near a half."""
    random = generator(seed)
    numbers = random.integers(-126, 127, (R, C))
    numbers[:, 0] = 127 * random.choice([-1, 0, 1], R)
    numbers[numbers[:, 0] == 0] = 0
    return (torch.from_numpy(numbers).float() * 2.0**power,)


def stored_inputs(R, C, seed):
    random = generator(seed)
    return (
        torch.from_numpy(matrix(random, "int8", R, C)),
        torch.from_numpy(random.uniform(0.001, 2.0, R).astype(np.float32)),
    )


def cache_inputs(G, share, D, length, spare, seed):
    random = generator(seed)
    q, (keys, values) = floats(random, G * share, D), floats(random, 2, G, length + spare, D)
    return q, keys, values, length


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
    "quantize": Driven(
        st.builds(exact_weights, sizes, sizes, st.integers(-8, 3), seeds),
        lambda candidate, weight: with_type(candidate(weight)),
    ),
    "dequantize": st.builds(stored_inputs, sizes, sizes, seeds),
    "attend": Driven(
        st.builds(cache_inputs, st.integers(1, 3), st.integers(1, 3), sizes, sizes, sizes, seeds),
        lambda candidate, *inputs: written(candidate, inputs, inputs[0].shape),
    ),
    "gated": Driven(
        st.builds(gate_inputs, kinds, sizes, sizes, seeds),
        lambda candidate, *inputs: written(candidate, inputs, (len(inputs[0]),)),
    ),
}
