"""Random inputs for the exercises of lesson 19."""

from __future__ import annotations

import random

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven
from decodeloop.exercises.lesson_19 import (
    drawn,
    going_together,
    near_steps,
    nibbles,
    powers_of_two,
    told,
    told_cache,
    tops,
)

seeds, few = st.integers(0, 999), st.integers(1, 4)

bits = st.integers(2, 8)


def symmetric_inputs(seed, b, rows, groups, group):
    n = 2 ** (b - 1) - 1
    size = 2.0 ** (seed % 9 - 6)
    numbers = near_steps(seed, -n, n, rows, groups, group) * powers_of_two(seed, rows, groups)
    return size * numbers.flatten(1), b, group


def asymmetric_inputs(seed, b, rows, groups, group):
    n = 2**b - 1
    zero = random.Random(seed).randint(0, n)
    size = 2.0 ** (seed % 9 - 6)
    numbers = near_steps(seed, 0, n, rows, groups, group, ends=2) - zero
    return size * (numbers * powers_of_two(seed, rows, groups)).flatten(1), b, group


def cache_inputs(seed, b, dim):
    whole = near_steps(seed, 0, 2**b - 1, 2, 3, 4, 5, ends=2)
    numbers = (whole - seed % 7) * powers_of_two(seed, 2, 3, 4)
    return (numbers / 16).transpose(dim, -1), b, dim


def smooth_inputs(seed, C, matrices, K):
    source = drawn(seed, C, K) if K else drawn(seed, C)
    weights = [drawn(seed + 1 + i, 3, C) for i in range(matrices)]
    return source, weights, tops(seed + 9, C), (seed % 5) / 4


RANDOM = {
    "quantize_groups": Driven(
        st.builds(symmetric_inputs, seeds, bits, few, few, st.integers(1, 6)),
        lambda candidate, *inputs: told(*candidate(*inputs)),
    ),
    "quantize_asymmetric": Driven(
        st.builds(asymmetric_inputs, seeds, bits, few, few, st.integers(2, 6)),
        lambda candidate, *inputs: told(*candidate(*inputs)),
    ),
    "pack_int4": st.builds(lambda s, R, half: (nibbles(s, R, 2 * half),), seeds, few, few),
    "smooth": st.builds(smooth_inputs, seeds, st.integers(1, 6), few, st.integers(0, 3)),
    "quantize_cache": Driven(
        st.builds(cache_inputs, seeds, bits, st.sampled_from([-1, -2, -3])),
        lambda candidate, *inputs: told_cache(*candidate(*inputs)),
    ),
    "gptq": Driven(
        st.builds(
            lambda s, b, R, groups, group: (
                drawn(s, R, groups * group),
                going_together(s, 3 * groups * group + 3, groups * group),
                b,
                group,
            ),
            seeds,
            st.integers(2, 5),
            few,
            few,
            st.integers(1, 4),
        ),
        lambda candidate, *inputs: told(*candidate(*inputs)),
    ),
}
