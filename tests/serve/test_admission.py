import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodeloop.serve import admission

small = st.integers(0, 6)


@given(small, small, small, st.integers(1, 8), st.integers(1, 6), st.booleans())
def test_it_is_the_first_reason_of_three(prompt, new, here, longest, most, draining):
    positions = [*range(prompt), *range(prompt, prompt + new - 1)]  # the last token is not read
    never = prompt == 0 or new == 0 or len(positions) > longest
    expected = 400 if never else 503 if draining else 429 if here + 1 > most else 200
    assert admission(prompt, new, here, longest=longest, most=most, draining=draining) == expected


@pytest.mark.parametrize("status", [200, 400, 429, 503])
def test_each_answer_is_given(status):
    asked = {
        200: (5, 4, 0, False),
        400: (5, 5, 9, True),
        429: (5, 4, 2, False),
        503: (5, 4, 2, True),
    }[status]
    *numbers, draining = asked
    assert admission(*numbers, longest=8, most=2, draining=draining) == status
