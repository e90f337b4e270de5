import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traces import seeded, traces

from decodeloop.cost import (
    Latencies,
    goodput,
    latency_percentile,
    machines_needed,
    max_rate,
    poisson_arrivals,
)
from decodeloop.errors import UserError


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


@pytest.mark.parametrize(
    "call",
    [
        lambda: machines_needed([0.0], [1.0], 0.0),
        lambda: machines_needed([], [], 1.0),
        lambda: max_rate([0.0, 1.0], [1.0, 1.0], -1.0),
    ],
)
def test_bad_values_are_refused_with_what_was_expected(call):
    with pytest.raises(UserError, match="expected"):
        call()
