import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodeloop.decode.constrained import DEAD, automaton_of, parse_pattern, step_automaton
from decodeloop.decode.constrained.automaton import intersection
from decodeloop.decode.constrained.syntax import NOTHING, Both, Repeat, text
from decodeloop.errors import UserError


def accepts(automaton, data: bytes) -> bool:
    state = step_automaton(automaton.table, 0, data)
    return state != DEAD and bool(automaton.accepting[state])


def test_a_state_that_was_left_is_never_come_back_to():
    automaton = automaton_of(parse_pattern("ab*"))
    assert step_automaton(automaton.table, 0, b"") == 0
    assert step_automaton(automaton.table, DEAD, b"ab") == DEAD
    assert step_automaton(automaton.table, 0, b"bab") == DEAD


def test_every_state_can_be_completed():
    automaton = automaton_of(parse_pattern("ab(c|d)|a(e|[xf])"))
    reached = {int(to) for row in automaton.table for to in row} - {DEAD}
    before = set(np.flatnonzero(automaton.accepting).tolist())
    for _ in automaton.accepting:
        before |= {s for s, row in enumerate(automaton.table) if before & set(row.tolist())}
    assert reached | {0} == before


def test_what_nothing_follows_has_a_start_and_no_way():
    automaton = automaton_of(Both(parse_pattern("a+"), parse_pattern("b+")))
    assert len(automaton.table) == 1 and (automaton.table == DEAD).all()
    assert not automaton.accepting.any()
    assert not automaton_of(NOTHING).accepting.any()


@given(st.text("abä", max_size=7))
def test_an_intersection_is_what_both_read(word):
    one, other = (automaton_of(parse_pattern(p)) for p in ("(a|ä|b)*b", "(..)*|ä.*"))
    both = intersection(one, other)
    data = word.encode()
    assert accepts(both, data) == (accepts(one, data) and accepts(other, data))


def test_states_that_only_lead_on_are_none():
    assert len(automaton_of(parse_pattern("a|a|a")).table) == 2
    assert len(automaton_of(parse_pattern("(a|b|c)*")).table) <= 2


@pytest.mark.parametrize("pattern", ["(.{200}){9000}", "(a|b)*a(a|b){30}", "a{9999999}"])
def test_what_is_too_large_is_refused_before_it_fills_the_memory(pattern):
    with pytest.raises(UserError, match=r"more than [0-9,]+ states"):
        automaton_of(parse_pattern(pattern))


def test_runs_are_the_edges_by_ranges():
    automaton = automaton_of(parse_pattern("[a-cx]"))
    assert automaton.runs(0) == [(97, 99, 1), (120, 120, 1)]


@given(st.integers(0, 5), st.integers(0, 3), st.integers(0, 12))
def test_a_repetition_is_counted(least, more, times):
    automaton = automaton_of(Repeat(text("ab"), least, least + more))
    assert accepts(automaton, b"ab" * times) == (least <= times <= least + more)
