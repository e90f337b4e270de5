"""Random inputs for the exercises of lesson 11."""

from __future__ import annotations

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven

gaps = st.floats(0.0, 4.0).map(lambda x: round(x, 3))

whole_percents = st.integers(1, 99)


def times(start, steps):
    made, t = [], start
    for step in steps:
        t = round(t + step, 3)
        made.append(t)
    return made


@st.composite
def token_times(draw):
    arrival = round(draw(st.floats(0.0, 50.0)), 3)
    return arrival, times(arrival, draw(st.lists(gaps, min_size=1, max_size=8)))


@st.composite
def traces(draw, most=12):
    services = draw(st.lists(gaps, min_size=1, max_size=most))
    steps = draw(st.lists(gaps, min_size=len(services), max_size=len(services)))
    return times(0.0, steps), services


@st.composite
def served(draw):
    one = st.tuples(gaps, st.lists(st.integers(1, 8).map(lambda k: k / 8), max_size=4), gaps)
    requests = draw(st.lists(one, min_size=1, max_size=8))
    return requests, draw(st.floats(0.5, 20.0)), *(draw(st.floats(0.1, 5.0)) for _ in range(3))


def with_targets(candidate, requests, seconds, ttft, itl, end_to_end):
    return candidate(requests, seconds, ttft=ttft, itl=itl, end_to_end=end_to_end)


RANDOM = {
    "latencies": token_times(),
    "percentile": st.tuples(st.lists(gaps, min_size=1, max_size=40), st.integers(1, 100)),
    "simulate_queue": traces(),
    "mean_wait": st.tuples(st.floats(0.1, 3.0), st.floats(0.05, 1.5), st.floats(0.0, 2.0)).filter(
        lambda x: abs(x[0] * x[1] - 1) > 1e-6  # at full load itself, rounding decides
    ),
    "percentile_band": st.tuples(
        st.lists(gaps, min_size=1, max_size=40),
        whole_percents,
        st.sampled_from([0.8, 0.9, 0.95, 0.99]),
    ),
    "machines_needed": traces().flatmap(
        lambda trace: st.tuples(
            st.just(trace[0]), st.just(trace[1]), st.floats(0.1, 12.0), st.integers(1, 100)
        )
    ),
    "goodput": Driven(served(), with_targets),
}
