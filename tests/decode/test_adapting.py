from itertools import pairwise

import pytest

from decodeloop.decode import AdaptiveLength
from decodeloop.decode.adapting import FIRST_WAIT, LONGEST_WAIT
from decodeloop.errors import UserError

COSTS = (1.0, 1.25, 1.5, 1.75, 2.0)


def test_what_stays_is_drafted_further_and_what_does_not_is_left_out():
    length = AdaptiveLength(4, COSTS)
    assert 0 < length.of(None) < 4
    for _ in range(12):
        length.tell("good", [1, 2, 3], [1, 2, 3, 4])
        length.tell("bad", [1, 2, 3], [5])
    assert length.of("good") == 4
    assert length.of("bad") == 0
    assert 0 < length.of("unknown") < 4


def test_only_what_is_known_counts():
    """Behind the first wrong one nothing is known: half of these tokens stayed, not a sixth."""
    length = AdaptiveLength(4, COSTS)
    for _ in range(40):
        length.tell(1, [1, 2, 3, 4, 5, 6], [1, 9])
    assert length.records[1].alpha == pytest.approx(0.5, abs=0.05)


def test_it_follows_a_text_that_changes():
    length = AdaptiveLength(4, COSTS)
    for _ in range(50):
        length.tell(1, [1], [2])
    assert length.of(1) == 0
    seen = 0
    while not length.of(1):
        length.tell(1, [1], [1])
        seen += 1
    assert seen < 10
    length.begin()
    assert length.of(1) == length.of("unknown") > 0


def test_a_draft_that_costs_nothing_is_always_asked_for_all():
    length = AdaptiveLength(4, COSTS)
    for _ in range(50):
        length.tell(1, [1], [2])
    assert length.before_drafting() == 4


def test_a_draft_that_costs_is_left_alone_and_tried_again_after_longer_and_longer_waits():
    length = AdaptiveLength(4, COSTS)
    length.begin(draft_cost=0.3)
    tried = []
    for number in range(300):
        if length.before_drafting():
            tried.append(number)
            length.tell(None, [1], [2])
    waits = [b - a for a, b in pairwise(tried)]
    assert waits[0] == 1
    assert sorted(set(waits)) == [1, FIRST_WAIT, 16, 32, LONGEST_WAIT]
    assert waits == sorted(waits)


@pytest.mark.parametrize(("cost", "expected"), [(0.1, 4), (0.9, 0)])
def test_a_draft_that_is_right_is_asked_for_as_many_as_pay(cost, expected):
    length = AdaptiveLength(4, COSTS)
    length.begin(cost)
    for _ in range(30):
        length.tell(None, [1, 2], [1, 2, 3])
    assert length.before_drafting() == expected


def test_no_more_tokens_than_there_are_costs_for():
    assert AdaptiveLength(9, COSTS).most == 4
    assert AdaptiveLength(2, COSTS).most == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [((0,), "most is 0"), ((3, ()), "step costs"), ((3, (1.0, -1.0)), "step costs")],
)
def test_bad_numbers_are_named(options, said):
    with pytest.raises(UserError, match=said):
        AdaptiveLength(*options)
