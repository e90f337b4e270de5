import math
import mmap
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodeloop.measure import timing
from decodeloop.measure.timing import fitted_exponent, fresh_mib, median_seconds


@given(st.floats(-3, 3), st.floats(0.01, 100), st.lists(st.integers(1, 10**6), min_size=2))
def test_the_exponent_of_an_exact_law_is_found(p, c, sizes):
    sizes = sorted({*sizes, 1, 2})
    assert fitted_exponent(sizes, [c * s**p for s in sizes]) == pytest.approx(p, abs=1e-6)


def test_the_exponent_does_not_depend_on_units():
    sizes, values = [1, 2, 3, 5], [2.0, 3.0, 7.0, 30.0]
    p = fitted_exponent(sizes, values)
    assert fitted_exponent([7 * s for s in sizes], [1e-3 * v for v in values]) == pytest.approx(p)


def test_noise_on_both_sides_leaves_the_slope():
    sizes = [1, 2, 2, 4]
    values = [1.0, 4 * math.e, 4 / math.e, 16.0]
    assert fitted_exponent(sizes, values) == pytest.approx(2.0)


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes only when told to."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now.seconds)
    return now


def test_the_median_of_each_function_without_the_first_round(clock):
    slow, quick = iter([100, 3, 1, 2, 9, 2]), iter([50, 1, 1, 7, 1, 1])

    def takes(times):
        def function():
            clock.seconds += next(times)

        return function

    assert median_seconds([takes(slow), takes(quick)], repeats=5) == [2, 1]


def test_functions_run_in_turn_one_round_more_than_is_counted(clock):
    order = []
    median_seconds([lambda: order.append("a"), lambda: order.append("b")], repeats=3)
    assert order == ["a", "b"] * 4


def test_the_device_has_finished_before_the_clock_is_read(clock, monkeypatch):
    waiting = []

    def synchronize(device):
        clock.seconds += sum(waiting)
        waiting.clear()

    monkeypatch.setattr(timing, "synchronize", synchronize)
    assert median_seconds([lambda: waiting.append(4.0)], repeats=3) == [4.0]


def test_fresh_memory_is_counted_by_its_pages():
    pytest.importorskip("resource")
    size = 100 * 2**20
    taken = fresh_mib(lambda: mmap.mmap(-1, size).write(b"1" * size))
    assert 90 < taken < 300
    assert fresh_mib(lambda: None) < 1
