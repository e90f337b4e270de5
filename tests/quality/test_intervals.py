"""The bootstrap, held against closed forms and brute force."""

from __future__ import annotations

import itertools
import math
import random
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodeloop.errors import UserError
from decodeloop.quality.intervals import (
    Interval,
    bootstrap,
    counts_of_draws,
    exponential,
    ratio_of_sums,
    three_digits,
)


def test_the_figure_is_that_of_all_texts_whatever_the_draws():
    found = ratio_of_sums([1.0, 5.0, 6.0], [2, 1, 5])
    assert found.value == 12 / 8
    assert 0.5 <= found.low < found.value < found.high <= 5.0


def test_the_interval_of_a_mean_is_as_wide_as_theory_says():
    draw = random.Random(1)
    values = [draw.gauss(3.0, 2.0) for _ in range(400)]
    found = ratio_of_sums(values, [1.0] * 400)
    error = statistics.pstdev(values) / math.sqrt(400)
    assert found.value == pytest.approx(statistics.fmean(values))
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.06)


def test_three_texts_give_the_percentiles_of_all_27_draws():
    above, below = np.array([1.0, 4.0, 9.0]), np.array([1.0, 2.0, 3.0])
    every = [
        sum(above[i] for i in draw) / sum(below[i] for i in draw)
        for draw in itertools.product(range(3), repeat=3)
    ]
    found = ratio_of_sums(above, below)
    assert (found.low, found.high) == (min(every), max(every))  # 1/27 > 2.5 %


def test_draws_are_the_same_at_every_run_and_take_as_many_texts_as_there_are():
    counts = counts_of_draws(7, seed=0)
    assert counts.shape == (2000, 7)
    assert (counts.sum(1) == 7).all()
    assert counts[0].tolist() == [0, 1, 2, 1, 0, 3, 0]
    assert not np.array_equal(counts, counts_of_draws(7, seed=1))


def test_an_interval_of_a_difference_is_far_narrower_than_that_of_either():
    draw = random.Random(2)
    hard = [draw.uniform(1.0, 6.0) for _ in range(24)]  # some texts are harder than others
    worse = [loss + draw.gauss(0.05, 0.02) for loss in hard]
    one = [1.0] * 24
    apart = ratio_of_sums(hard, one)
    paired = ratio_of_sums([b - a for a, b in zip(hard, worse, strict=True)], one)
    assert paired.low > 0
    assert paired.high - paired.low < 0.05 * (apart.high - apart.low)


def test_one_text_has_no_interval():
    with pytest.raises(UserError, match=r"at least two texts .* there is 1"):
        bootstrap(lambda weights: weights.sum(-1), 1)


def test_a_loss_becomes_a_perplexity_with_its_ends():
    found = exponential(Interval(math.log(50), 0.0, math.log(60)))
    assert (found.value, found.low, found.high) == pytest.approx((50, 1, 60))


@given(st.floats(1e-6, 1e9))
def test_three_digits_are_the_nearest_number_of_three_digits(x):
    shown = three_digits(x)
    assert float(shown.replace(",", "")) == pytest.approx(float(f"{x:.2e}"), rel=1e-12)
    assert "e" not in shown
    assert three_digits(-x) == f"-{shown}"


def test_digits_are_kept_where_they_count():
    shown = [three_digits(x) for x in (0.0999999, 9.996, 99.96, 999.6, 1.0, 0.00502, math.inf)]
    assert shown == ["0.100", "10.0", "100", "1,000", "1.00", "0.00502", "inf"]


def test_a_percentage_is_a_share_times_a_hundred():
    assert Interval(0.949, 0.9391, 0.958).shown(100) == "94.9 (93.9 to 95.8)"
    assert Interval(1.02, 0.99, 1.1).more().shown(100) == "2.00 (-1.00 to 10.0)"
