"""Random inputs for the exercises of lesson 13."""

from __future__ import annotations

import random

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven
from decodeloop.serve import StepCost, StepTime

parts = st.sampled_from([0.125, 0.25, 0.5, 1.0, 3.0])

costs = st.builds(
    StepCost,
    step=st.sampled_from([1.0, 8.0, 40.0]),
    token=parts,
    text=parts,
    position=st.sampled_from([0.0078125, 0.015625, 0.25]),
)

lengths = st.lists(st.integers(1, 60), min_size=1, max_size=8)


def measured_steps(cost, seed):
    """Exact ones, of which four are far apart."""
    draw = random.Random(seed)
    kinds = [(1, 1, 50), (1, 1, 400), (9, 9, 900), (120, 1, 120)]
    for _ in range(draw.randrange(6)):
        texts = draw.randint(1, 6)
        kinds.append((texts * draw.randint(1, 20), texts, texts * draw.randint(20, 300)))
    return ([StepTime(*kind, cost(*kind)) for kind in kinds],)


def described(candidate, *inputs):
    found = candidate(*inputs)
    return [found.step, found.token, found.text, found.position]


RANDOM = {
    "fit_step_cost": Driven(st.builds(measured_steps, costs, st.integers(0, 999)), described),
    "break_even_batch": st.tuples(costs, st.integers(1, 5000)),
    "pad_waste": st.tuples(lengths),
    "static_batch_time": st.lists(
        st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=8
    ).flatmap(
        lambda texts: st.tuples(
            st.just([p for p, _ in texts]), st.just([n for _, n in texts]), costs
        )
    ),
}
