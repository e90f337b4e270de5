"""Random inputs for the exercises of lesson 05."""

from __future__ import annotations

import itertools

import torch

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven, shaped
from decodeloop.exercises.lesson_05 import DECODER, Sums


def random_prompt(V, ids, n):
    return V, [i % V for i in ids], n


def new_ids(candidate, V, prompt, n):
    """By a model of sums, and by a random decoder where it has no larger vocabulary."""
    models = [Sums(V), DECODER]
    runs = [candidate(model, torch.tensor([prompt]), n) for model in models]
    return [list(itertools.islice(run, n + 1)) for run in runs]


lengths = st.tuples(st.integers(1, 60), st.integers(1, 60))

RANDOM = {
    "generate_without_cache": Driven(
        shaped(
            random_prompt,
            st.integers(2, 50),
            st.lists(st.integers(0, 1000), min_size=1, max_size=8),
            st.integers(1, 8),
        ),
        new_ids,
    ),
    "positions_computed": lengths,
    "repeated_share": lengths,
}
