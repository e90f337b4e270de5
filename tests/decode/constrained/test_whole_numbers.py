from hypothesis import given
from hypothesis import strategies as st

from decodeloop.decode.constrained import DEAD, automaton_of, step_automaton
from decodeloop.decode.constrained.whole_numbers import whole_number

bound = st.one_of(st.none(), st.integers(-1200, 1200))


def numbers(low, high, tried):
    automaton = automaton_of(whole_number(low, high))
    for word in tried:
        state = step_automaton(automaton.table, 0, word.encode())
        if state != DEAD and automaton.accepting[state]:
            yield word


@given(bound, bound)
def test_exactly_the_numbers_of_a_range_are_read(low, high):
    if low is not None and high is not None and low > high:
        low, high = high, low
    tried = [str(n) for n in range(-1300, 1300)] + ["99999", "-99999", "10000", "-10000"]
    wanted = [
        w for w in tried if (low is None or int(w) >= low) and (high is None or int(w) <= high)
    ]
    assert list(numbers(low, high, tried)) == wanted


def test_no_number_has_two_spellings():
    assert not list(numbers(None, None, ["-0", "007", "", "-", "+1", "1 "]))
