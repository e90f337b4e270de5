"""Random inputs for the exercises of lesson 11b."""

from __future__ import annotations

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven
from decodeloop.exercises.fresh.lesson_11 import gaps, traces


@st.composite
def served(draw):
    one = st.tuples(gaps, st.lists(st.integers(1, 8).map(lambda k: k / 8), max_size=4), gaps)
    requests = draw(st.lists(one, min_size=1, max_size=8))
    return requests, draw(st.floats(0.5, 20.0)), *(draw(st.floats(0.1, 5.0)) for _ in range(3))


def with_targets(candidate, requests, seconds, ttft, itl, end_to_end):
    return candidate(requests, seconds, ttft=ttft, itl=itl, end_to_end=end_to_end)


RANDOM = {
    "mean_wait": st.tuples(st.floats(0.1, 3.0), st.floats(0.05, 1.5), st.floats(0.0, 2.0)).filter(
        lambda x: abs(x[0] * x[1] - 1) > 1e-6  # at full load itself, rounding decides
    ),
    "machines_needed": traces().flatmap(
        lambda trace: st.tuples(
            st.just(trace[0]), st.just(trace[1]), st.floats(0.1, 12.0), st.integers(1, 100)
        )
    ),
    "goodput": Driven(served(), with_targets),
}
