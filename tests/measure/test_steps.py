from __future__ import annotations

import pytest

from decodeloop.errors import UserError
from decodeloop.measure import step_times
from decodeloop.serve import fit_step_cost


def test_steps_are_what_was_asked_for_and_can_be_fitted(tiny_decoder):
    times = step_times(tiny_decoder, (1, 4), (8, 100), (20, 60), repeats=3)
    expected = [(1, 1, 8), (1, 1, 100), (4, 4, 32), (4, 4, 400), (20, 1, 20), (60, 1, 60)]
    assert [tuple(step[:3]) for step in times] == expected
    assert all(step.seconds > 0 for step in times)
    cost = fit_step_cost(times)
    assert cost(1, 1, 8) > 0


def test_what_is_longer_than_the_context_is_refused(tiny_decoder):
    with pytest.raises(UserError, match=r"a length of 129: expected at most 128"):
        step_times(tiny_decoder, (1,), (129,), (2,))
