import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodeloop.cost import Latencies, goodput
from decodeloop.errors import UserError
from decodeloop.serve import kept, slo_capacity

waits = st.floats(0, 2)
served = st.none() | st.builds(lambda a, g: Latencies(a, g, a + sum(g)), waits, st.lists(waits))
GOOD, LATE, SLOW = (0.1, [0.1], 0.2), (5.0, [0.1], 5.1), (0.1, [0.9, 0.1], 1.1)


@given(served, waits, waits)
def test_a_promise_is_kept_where_goodput_counts_the_request(one, ttft, itl):
    answered = [] if one is None else [one]
    targets = {"ttft": ttft + 0.01, "itl": itl + 0.01}
    assert kept(one, **targets) == (goodput(answered, 1.0, **targets) == 1)


@given(st.dictionaries(st.sampled_from([0.5, 1.0, 2.0, 4.0]), st.lists(served, min_size=1)))
def test_it_is_the_largest_rate_below_which_nothing_fails(measured):
    targets = {"ttft": 1.0, "itl": 1.0, "share": 0.5}

    def holds(rate):
        return sum(kept(s, 1.0, 1.0) for s in measured[rate]) / len(measured[rate]) >= 0.5

    candidates = [r for r in measured if all(holds(lower) for lower in measured if lower <= r)]
    assert slo_capacity(measured, **targets) == max(candidates, default=0.0)


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ({1.0: [GOOD]}, 1.0),
        ({1.0: [LATE]}, 0.0),
        ({1.0: [SLOW]}, 0.0),
        ({1.0: [None]}, 0.0),
        ({}, 0.0),
        ({4.0: [GOOD], 2.0: [LATE], 1.0: [GOOD]}, 1.0),
        ({1.0: [GOOD] * 9 + [None]}, 1.0),
        ({1.0: [GOOD] * 8 + [None, LATE]}, 0.0),
    ],
)
def test_some_that_are_counted_by_hand(measured, expected):
    assert slo_capacity(measured, ttft=1.0, itl=0.4) == expected


def test_nothing_promised_is_kept_for_all_who_were_answered():
    assert slo_capacity({1.0: [LATE, SLOW]}) == 1.0
    assert slo_capacity({1.0: [LATE, None]}) == 0.0


@pytest.mark.parametrize(
    ("measured", "options", "message"),
    [
        ({1.0: []}, {}, r"nobody asked at rate 1\.0"),
        ({1.0: [GOOD]}, {"share": 1.5}, r"share is 1\.5: expected at most 1"),
        ({1.0: [GOOD]}, {"share": 0.0}, "share is 0"),
        ({1.0: [GOOD]}, {"ttft": -1.0}, "ttft is -1"),
        ({1.0: [GOOD]}, {"itl": math.nan}, "itl is nan"),
    ],
)
def test_what_can_not_be_counted_is_refused(measured, options, message):
    with pytest.raises(UserError, match=message):
        slo_capacity(measured, **options)
