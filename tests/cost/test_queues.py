import math
import statistics
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from traces import exponential, seeded, traces

from decodeloop.cost import little, mean_wait, poisson_arrivals, simulate_queue, simulate_split
from decodeloop.errors import UserError


def test_poisson_arrivals_have_exponential_gaps():
    times = np.array(poisson_arrivals(4.0, 50_000, seeded()))
    gaps = np.diff(times, prepend=0.0)
    assert (gaps > 0).all()
    assert gaps.mean() == pytest.approx(0.25, rel=0.02)
    assert gaps.std() == pytest.approx(0.25, rel=0.02)
    # chi-square over ten classes of equal probability: 27.9 is exceeded once in a thousand
    counts = np.histogram(np.exp(-4.0 * gaps), bins=10, range=(0, 1))[0]
    assert ((counts - 5_000) ** 2 / 5_000).sum() < 27.9
    # counts in seconds are Poisson: variance and mean alike
    per_second = np.bincount(times.astype(int))[:-1]
    assert per_second.var() / per_second.mean() == pytest.approx(1.0, abs=0.05)


def test_poisson_arrivals_are_the_same_for_the_same_seed():
    assert poisson_arrivals(2.0, 5, seeded(3)) == poisson_arrivals(2.0, 5, seeded(3))
    assert poisson_arrivals(2.0, 5, seeded(3)) != poisson_arrivals(2.0, 5, seeded(4))


@pytest.mark.parametrize(("rate", "count"), [(0.0, 5), (-1.0, 5), (1.0, -1), (1.0, 2.5)])
def test_poisson_arrivals_refuses_bad_values(rate, count):
    with pytest.raises(UserError, match="expected"):
        poisson_arrivals(rate, count)


def by_events(arrivals, services, servers):
    """Another simulation: time jumps from event to event, and every server is looked at."""
    busy_until, waits, queue, now, next_in = [0.0] * servers, {}, [], 0.0, 0
    while len(waits) < len(arrivals):
        while next_in < len(arrivals) and arrivals[next_in] <= now:
            queue.append(next_in)
            next_in += 1
        for server in range(servers):
            if queue and busy_until[server] <= now:
                request = queue.pop(0)
                waits[request] = now - arrivals[request]
                busy_until[server] = now + services[request]
        coming = [t for t in busy_until if t > now] if queue else []
        if next_in < len(arrivals):
            coming.append(arrivals[next_in])
        if coming and not any(queue and t <= now for t in busy_until):
            now = min(coming)
    return [waits[i] for i in range(len(arrivals))]


@given(traces(most=12), st.integers(1, 4))
def test_the_queue_equals_a_simulation_event_by_event(trace, servers):
    assert simulate_queue(*trace, servers) == pytest.approx(by_events(*trace, servers), abs=1e-9)


@given(traces())
def test_one_server_is_the_running_maximum_of_a_random_walk(trace):
    arrivals, services = map(np.array, trace)
    walk = np.concatenate(([0.0], np.cumsum(services)[:-1])) - arrivals
    closed = walk - np.minimum.accumulate(walk)
    assert simulate_queue(*trace) == pytest.approx(closed, abs=1e-9)


@given(traces(), st.integers(1, 4))
def test_nobody_waits_longer_with_a_server_more(trace, servers):
    fewer, more = simulate_queue(*trace, servers), simulate_queue(*trace, servers + 1)
    assert all(m <= f + 1e-9 for f, m in zip(fewer, more, strict=True))


@given(traces())
def test_with_a_server_for_each_nobody_waits(trace):
    assert simulate_queue(*trace, len(trace[0])) == [0.0] * len(trace[0])


def test_splitting_over_one_server_is_the_queue():
    trace = ([0.0, 1.0, 1.5], [2.0, 2.0, 2.0])
    assert simulate_split(*trace, 1) == simulate_queue(*trace)


def test_each_split_stream_is_a_queue_of_its_own():
    arrivals = poisson_arrivals(3.0, 200, seeded())
    services = exponential(200, 0.5, 1)
    chosen = torch.randint(3, (200,), generator=seeded(2)).tolist()
    waits = simulate_split(arrivals, services, 3, seeded(2))
    for server in range(3):
        mine = [i for i, s in enumerate(chosen) if s == server]
        alone = simulate_queue([arrivals[i] for i in mine], [services[i] for i in mine])
        assert [waits[i] for i in mine] == alone


@pytest.mark.parametrize("servers", [1, 4])
def test_a_hundred_thousand_arrivals_take_less_than_a_second(servers):
    arrivals = poisson_arrivals(0.8 * servers, 100_000, seeded())
    services = [1.0] * 100_000
    clock = time.process_time()
    simulate_queue(arrivals, services, servers)
    assert time.process_time() - clock < 1.0


@pytest.mark.parametrize(
    ("arrivals", "services", "servers"),
    [
        ([0.0, 1.0], [1.0], 1),
        ([1.0, 0.0], [1.0, 1.0], 1),
        ([0.0], [-1.0], 1),
        ([0.0], [math.nan], 1),
        ([math.inf], [1.0], 1),
        ([0.0], [1.0], 0),
        ([0.0], [1.0], 1.5),
    ],
)
def test_traces_that_make_no_sense_are_refused(arrivals, services, servers):
    for simulate in (simulate_queue, simulate_split):
        with pytest.raises(UserError, match="expected"):
            simulate(arrivals, services, servers)


@pytest.mark.parametrize("load", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("kind", ["M/D/1", "M/M/1"])
def test_simulation_and_closed_form_agree(load, kind):
    n, runs = 100_000, 5
    variance = 0.0 if kind == "M/D/1" else 1.0
    means = []
    for seed in range(runs):
        arrivals = poisson_arrivals(load, n, seeded(seed))
        services = [1.0] * n if kind == "M/D/1" else exponential(n, 1.0, 100 + seed)
        means.append(statistics.fmean(simulate_queue(arrivals, services)))
    assert statistics.fmean(means) == pytest.approx(mean_wait(load, 1.0, variance), rel=0.02)


def test_mean_wait_by_hand():
    assert mean_wait(0.5, 1.0, 0.0) == 0.5  # M/D/1: ρ / (2 (1 - ρ)) services
    assert mean_wait(0.8, 1.0, 1.0) == pytest.approx(4.0)  # M/M/1: ρ / (1 - ρ) services
    assert mean_wait(8.0, 0.1, 0.01) == pytest.approx(0.4)  # the same, ten times as fast
    assert mean_wait(2.0, 0.5, 0.0) == mean_wait(3.0, 0.5, 0.0) == math.inf


@given(st.floats(0.01, 0.99), st.floats(0.01, 10), st.floats(0, 10))
def test_the_mean_wait_of_mm1_and_the_role_of_the_variance(load, mean, variance):
    rate = load / mean
    mm1 = mean_wait(rate, mean, mean**2)
    assert mm1 == pytest.approx(load / (1 - load) * mean)
    assert mean_wait(rate, mean, 0.0) == pytest.approx(mm1 / 2)
    assert mean_wait(rate, mean, variance) >= mean_wait(rate, mean, 0.0)


@given(traces(), st.integers(1, 3))
def test_littles_law_holds_exactly_on_every_trace(trace, servers):
    """The area under the number of those inside is the sum of their times, whatever happens."""
    arrivals, services = trace
    waits = simulate_queue(arrivals, services, servers)
    leave = [a + w + s for a, w, s in zip(arrivals, waits, services, strict=True)]
    span = max(leave)
    if span <= 0.1:
        return
    events = sorted([(t, 1) for t in arrivals] + [(t, -1) for t in leave])
    area, inside, before = 0.0, 0, 0.0
    for t, change in events:
        area, inside, before = area + inside * (t - before), inside + change, t
    mean_time = sum(w + s for w, s in zip(waits, services, strict=True)) / len(arrivals)
    assert little(len(arrivals) / span, mean_time) == pytest.approx(area / span, abs=1e-6)


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean_wait(0.0, 1.0, 0.0),
        lambda: mean_wait(1.0, -1.0, 0.0),
        lambda: mean_wait(1.0, 1.0, -0.1),
        lambda: mean_wait(1.0, 1.0, math.nan),
        lambda: little(0.0, 1.0),
        lambda: little(1.0, -1.0),
    ],
)
def test_bad_values_are_refused_with_what_was_expected(call):
    with pytest.raises(UserError, match="expected"):
        call()
