import math
import statistics

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from traces import seeded

from decodeloop.cost import Latencies, Request, latencies, percentile, percentile_band
from decodeloop.errors import UserError

seconds = st.floats(0.0, 1e3, allow_nan=False)
samples = st.lists(seconds, min_size=1, max_size=60)


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
