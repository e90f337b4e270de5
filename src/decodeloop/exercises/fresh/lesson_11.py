"""Random inputs for the exercises of lesson 11."""

from __future__ import annotations

from decodeloop.exercises.fresh import drawing as st

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


RANDOM = {
    "latencies": token_times(),
    "percentile": st.tuples(st.lists(gaps, min_size=1, max_size=40), st.integers(1, 100)),
    "simulate_queue": traces(),
    "percentile_band": st.tuples(
        st.lists(gaps, min_size=1, max_size=40),
        whole_percents,
        st.sampled_from([0.8, 0.9, 0.95, 0.99]),
    ),
}
