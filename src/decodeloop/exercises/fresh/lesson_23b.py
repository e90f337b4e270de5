"""Random inputs for the exercises of lesson 23b."""

from __future__ import annotations

import numpy as np
import torch

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven
from decodeloop.exercises.fresh.lesson_23 import floats, generator, matrix
from decodeloop.exercises.lesson_23 import (
    written,
)
from decodeloop.exercises.lesson_23b import (
    with_type,
)


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


sizes, seeds, kinds = st.integers(1, 7), st.integers(0, 2**16), st.sampled_from(["fp32", "int8"])

RANDOM = {
    "quantize": Driven(
        st.builds(exact_weights, sizes, sizes, st.integers(-8, 3), seeds),
        lambda candidate, weight: with_type(candidate(weight)),
    ),
    "dequantize": st.builds(stored_inputs, sizes, sizes, seeds),
    "attend": Driven(
        st.builds(cache_inputs, st.integers(1, 3), st.integers(1, 3), sizes, sizes, sizes, seeds),
        lambda candidate, *inputs: written(candidate, inputs, inputs[0].shape),
    ),
}
