import math
import statistics
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decodeloop.cost import (
    Latencies,
    Request,
    goodput,
    latencies,
    latency_percentile,
    little,
    machines_needed,
    max_rate,
    mbu,
    mean_wait,
    mfu,
    percentile,
    percentile_band,
    poisson_arrivals,
    simulate_queue,
    simulate_split,
)
from decodeloop.errors import UserError

seconds = st.floats(0.0, 1e3, allow_nan=False)
samples = st.lists(seconds, min_size=1, max_size=60)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@st.composite
def traces(draw, most=30):
    services = draw(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=most))
    gaps = draw(st.lists(st.floats(0.0, 5.0), min_size=len(services), max_size=len(services)))
    return list(np.cumsum(gaps)), services


def exponential(count, mean, seed):
    uniform = torch.rand(count, dtype=torch.float64, generator=seeded(seed))
    return (-mean * torch.log1p(-uniform)).tolist()


# one request


def test_latencies_count_from_the_arrival_and_itl_leaves_the_first_token_out():
    ttft, itl, end_to_end = latencies(2.0, [3.5, 3.75, 4.5])
    assert (ttft, itl, end_to_end) == (1.5, [0.25, 0.75], 2.5)
    assert latencies(1.0, [1.5]) == (0.5, [], 0.5)


@given(st.floats(0, 100), st.lists(st.floats(0, 10), min_size=1, max_size=20))
def test_ttft_and_itls_add_up_to_the_end_to_end_latency(arrival, gaps):
    times = list(arrival + np.cumsum(gaps))
    ttft, itl, end_to_end = latencies(arrival, times)
    assert len(itl) == len(times) - 1
    assert ttft + sum(itl) == pytest.approx(end_to_end, abs=1e-9)


def test_a_request_waits_is_served_and_its_end_is_that_of_the_text():
    request = Request(1.0, 3.0, (3.5, 4.0), 4.25)
    assert (request.waited, request.service) == (2.0, 1.25)
    assert request.latencies == Latencies(2.5, [0.5], 3.25)


@pytest.mark.parametrize(("arrival", "times"), [(1.0, []), (1.0, [0.5]), (1.0, [3.0, 2.0])])
def test_token_times_that_make_no_sense_are_refused(arrival, times):
    with pytest.raises(UserError, match="expected"):
        latencies(arrival, times)


# samples


@given(samples, st.sampled_from([12.5, 25, 50, 75]))  # where NumPy's p / 100 * n is exact
def test_percentile_is_numpys_nearest_rank(values, p):
    assert percentile(values, p) == np.percentile(values, p, method="inverted_cdf")


@given(samples, st.integers(1, 100))
def test_percentile_is_the_least_sample_that_p_percent_do_not_exceed(values, p):
    def share(limit):  # in whole numbers, so that nothing is rounded
        return 100 * sum(v <= limit for v in values) >= p * len(values)

    assert percentile(values, p) == min(v for v in values if share(v))


@pytest.mark.parametrize(("n", "p", "rank"), [(100, 55, 55), (1000, 99.9, 999), (7, 100, 7)])
def test_rounding_does_not_move_the_rank(n, p, rank):
    assert percentile(range(1, n + 1), p) == rank


@given(st.lists(seconds, min_size=1, max_size=41).filter(lambda v: len(v) % 2 == 1))
def test_p50_of_an_odd_number_of_samples_is_the_median(values):
    assert percentile(values, 50) == statistics.median(values)


def test_percentile_takes_tensors_and_answers_that_never_came():
    assert percentile(torch.tensor([3.0, 1.0, 2.0]), 50) == 2.0
    assert percentile([1.0, math.inf], 90) == math.inf


@pytest.mark.parametrize(("values", "p"), [([], 50), ([1.0], 0), ([1.0], 101), ([math.nan], 50)])
def test_percentile_refuses_what_has_none(values, p):
    with pytest.raises(UserError, match=r"expected|NaN"):
        percentile(values, p)


def test_band_of_the_median_is_that_of_the_tables():
    # Conover, Practical Nonparametric Statistics: n = 20, ranks 6 and 15; n = 100, ranks 40 and 61
    assert percentile_band(range(1, 21), 50) == (6, 15)
    assert percentile_band(range(1, 101), 50) == (40, 61)


@given(st.integers(1, 60), st.integers(1, 99), st.sampled_from([0.5, 0.8, 0.95, 0.99]))
def test_band_covers_with_at_least_its_confidence_and_no_narrower_one_does(n, p, confidence):
    low, high = percentile_band(range(1, n + 1), p, confidence)
    below = [math.comb(n, k) * (p / 100) ** k * (1 - p / 100) ** (n - k) for k in range(n + 1)]
    tail = (1 - confidence) / 2
    r = 0 if low == -math.inf else int(low)
    s = n + 1 if high == math.inf else int(high)
    assert sum(below[:r]) <= tail + 1e-12 and sum(below[s:]) <= tail + 1e-12
    assert r == n or sum(below[: r + 1]) > tail - 1e-12
    assert sum(below[s - 1 :]) > tail - 1e-12


def test_p99_has_no_upper_end_before_368_samples():
    assert percentile_band(range(367), 99)[1] == math.inf
    assert percentile_band(range(368), 99)[1] == 367


def test_band_covers_in_simulation():
    draws = torch.rand(2000, 50, dtype=torch.float64, generator=seeded())
    bands = [percentile_band(row, 90) for row in draws.tolist()]
    covered = sum(low <= 0.9 <= high for low, high in bands) / len(bands)
    assert covered >= 0.94


def test_band_of_many_samples_does_not_overflow():
    low, high = percentile_band(range(20_000), 99)
    assert low < 19_800 < high


@pytest.mark.parametrize(
    ("values", "p", "confidence"), [([], 50, 0.9), ([1], 100, 0.9), ([1], 0, 0.9), ([1], 50, 1.0)]
)
def test_bands_that_make_no_sense_are_refused(values, p, confidence):
    with pytest.raises(UserError, match="expected"):
        percentile_band(values, p, confidence)


# queues


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


# capacity


def test_goodput_counts_who_kept_every_target():
    requests = [
        Latencies(0.2, [0.1, 0.3], 0.6),
        Latencies(0.9, [0.1], 1.0),
        Latencies(0.1, [], 0.1),
        Latencies(0.1, [0.5], 0.6),
    ]
    assert goodput(requests, 2.0) == 2.0
    assert goodput(requests, 2.0, ttft=0.5) == 1.5
    assert goodput(requests, 2.0, ttft=0.5, itl=0.2) == 1.0  # 0.1 and 0.3: 0.2 on average
    assert goodput(requests, 2.0, end_to_end=0.1) == 0.5
    assert goodput([], 1.0) == 0.0
    with pytest.raises(UserError, match="seconds"):
        goodput(requests, 0.0)


@settings(max_examples=50)
@given(traces(most=15), st.floats(0.1, 10), st.integers(1, 100))
def test_machines_needed_is_the_fewest(trace, target, p):
    needed = machines_needed(*trace, target, p)
    tried = [latency_percentile(*trace, p, k) <= target for k in range(1, 16)]
    assert needed == (tried.index(True) + 1 if any(tried) else None)


def test_machines_needed_for_a_rate_is_more_than_the_load():
    arrivals = poisson_arrivals(9.0, 5_000, seeded())
    assert machines_needed(arrivals, [1.0] * 5_000, 10.0, 90) >= 9
    assert machines_needed(arrivals, [1.0] * 5_000, 1.1, 90) > 10
    assert machines_needed(arrivals, [1.0] * 5_000, 0.9, 90) is None


def test_max_rate_holds_and_a_little_more_does_not():
    arrivals, services = poisson_arrivals(1.0, 5_000, seeded()), [1.0] * 5_000
    own_rate = len(arrivals) / arrivals[-1]
    for servers in (1, 3):
        rate = max_rate(arrivals, services, 3.0, 90, servers)
        assert 0.3 * servers < rate < servers
        for factor, holds in ((1.0, True), (1.003, False)):
            faster = [t * own_rate / (rate * factor) for t in arrivals]
            assert (latency_percentile(faster, services, 90, servers) <= 3.0) == holds
    assert max_rate(arrivals, services, 0.9) == 0.0
    assert max_rate(arrivals, services, 1e9) == 1.0
    with pytest.raises(UserError, match="gaps"):
        max_rate([0.0, 0.0], [1.0, 1.0], 3.0)


def test_shared_queues_carry_more_than_their_machines_alone():
    arrivals, services = poisson_arrivals(1.0, 5_000, seeded()), [1.0] * 5_000
    assert max_rate(arrivals, services, 2.0, 90, 8) > 8 * 1.2 * max_rate(arrivals, services, 2.0)


# utilisation


def test_utilisations():
    assert mfu(5e11, 1.0, 1e12) == 0.5
    assert mbu(5e8, 0.1, 1e10) == 0.5
    for bad in (lambda: mfu(0, 1, 1), lambda: mfu(1, 0, 1), lambda: mbu(1, 1, -1)):
        with pytest.raises(UserError, match="expected more than 0"):
            bad()


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean_wait(0.0, 1.0, 0.0),
        lambda: mean_wait(1.0, -1.0, 0.0),
        lambda: mean_wait(1.0, 1.0, -0.1),
        lambda: mean_wait(1.0, 1.0, math.nan),
        lambda: little(0.0, 1.0),
        lambda: little(1.0, -1.0),
        lambda: machines_needed([0.0], [1.0], 0.0),
        lambda: machines_needed([], [], 1.0),
        lambda: max_rate([0.0, 1.0], [1.0, 1.0], -1.0),
    ],
)
def test_bad_values_are_refused_with_what_was_expected(call):
    with pytest.raises(UserError, match="expected"):
        call()
