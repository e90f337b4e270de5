"""How long one waits for each item."""

import time

from decodeloop.course.waiting import waits


def test_each_item_has_its_own_wait():
    def slow_then_quick():
        time.sleep(0.05)
        yield "a"
        yield "b"

    items, seconds = waits(slow_then_quick())
    assert items == ["a", "b"]
    assert seconds[0] >= 0.05 > seconds[1]


def test_nothing_comes_of_nothing():
    items, seconds = waits([])
    assert items == seconds == []
