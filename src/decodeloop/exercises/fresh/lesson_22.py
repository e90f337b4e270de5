"""Random inputs for the exercises of lesson 22."""

from __future__ import annotations

import random

import torch

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven
from decodeloop.exercises.lesson_22 import (
    Counted,
    by_outcomes,
    distribution,
    draft_of,
    guessed,
    listed,
)

seeds, alphas, small = st.integers(0, 999), st.floats(0, 1), st.integers(0, 3)

KINDS = ["always right", "never right", "mostly right", "silent at times", "copying"]


def pair(seed, rows, V):
    return distribution(seed, rows, V), distribution(seed + 1000, rows, V)


def guesses(seed, k):
    """A draft that is right three times out of four."""
    draw = random.Random(seed)
    best = [draw.randrange(4) for _ in range(k + 1)]
    return [token if draw.random() < 0.75 else draw.randrange(4) for token in best[:k]], best


def one_text(candidate, kind, V, prompt, n, k):
    model, prompt = Counted(V), [token % V for token in prompt]
    made = candidate(model, torch.tensor([prompt]), n, draft_of(kind, V, prompt, n), k)
    return listed(made)


def rising(steps):
    costs = [1.0]
    for step in steps:
        costs.append(costs[-1] + step)
    return costs


def has_a_clear_best(inputs):
    """Whether no two k are equally fast but for rounding, of which each answer has another."""
    alpha, step_costs, draft_cost = inputs
    speeds = [by_outcomes(alpha, k) / (cost + draft_cost * k) for k, cost in enumerate(step_costs)]
    *_, second, first = [0.0, *sorted(speeds)]
    return first - second > 1e-9


RANDOM = {
    "lookup": Driven(
        st.tuples(st.lists(small, max_size=20), st.integers(0, 6), st.integers(1, 4)), guessed
    ),
    "count_accepted": st.builds(guesses, seeds, st.integers(0, 6)),
    "speculate": Driven(
        st.tuples(
            st.sampled_from(KINDS),
            st.integers(3, 23),
            st.lists(st.integers(0, 22), min_size=1, max_size=6),
            st.integers(1, 16),
            st.integers(1, 6),
        ),
        one_text,
    ),
    "expected_tokens": st.tuples(alphas, st.integers(0, 8)),
    "best_k": st.tuples(
        alphas,
        st.builds(rising, st.lists(st.floats(0.037, 0.9), max_size=7)),
        st.floats(0, 0.7),
    ).filter(has_a_clear_best),
    "acceptance_probability": st.builds(pair, seeds, st.integers(1, 3), st.integers(1, 8)),
    "residual": st.builds(pair, seeds, st.integers(1, 3), st.integers(2, 8)),
}
