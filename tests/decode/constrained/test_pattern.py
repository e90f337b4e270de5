import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodeloop.decode.constrained import DEAD, automaton_of, parse_pattern, step_automaton
from decodeloop.errors import UserError

PATTERNS = [
    "",
    "a||b",
    "a*b|c{2,3}",
    "(ab|a)*c?",
    "(?:a|b){3}",
    "(a*)*b",
    "(a|b?)+c",
    "(a{2}|b){0,2}",
    "[^a-c]\\d+",
    "[ä-ü]+ß?",
    "[-a]+[b\\]]",
    "[\\d\\-x]*",
    "\\x61\\u00e4+",
    ".*x",
    "a.c",
    "\\w+\\s\\W",
    "\\D\\S",
    "a+?b??",
    "(?P<first>a)(?<second>b)?",
    "a{2,}",
    "\\.\\*\\\\\\/",
]
texts = st.text("abcx1@. -]\n\täüß/\\*\U0001f600", max_size=6)


def matches(node, text: str) -> bool:
    automaton = automaton_of(node)
    state = step_automaton(automaton.table, 0, text.encode())
    return state != DEAD and bool(automaton.accepting[state])


def by_python(pattern: str, text: str, how):
    return how(pattern.replace("(?<s", "(?P<s"), text, re.ASCII) is not None


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_same_texts_match_from_end_to_end_as_python_says(pattern):
    node = parse_pattern(pattern)

    @given(texts)
    def holds(text):
        assert matches(node, text) == by_python(pattern, text, re.fullmatch)

    holds()


@pytest.mark.parametrize("pattern", [*PATTERNS, "^a", "b$", "^a|b$", "^$|^ab?$", "^(a|b)+$"])
def test_a_match_somewhere_is_found_as_python_says(pattern):
    node = parse_pattern(pattern, whole=False)

    @given(texts.filter(lambda text: not text.endswith("\n")))  # where Python's $ matches before it
    def holds(text):
        assert matches(node, text) == by_python(pattern, text, re.search)

    holds()


def test_anchors_say_nothing_more_where_all_must_match():
    assert parse_pattern("^ab$") == parse_pattern("ab")


def test_the_point_is_no_line_break_of_javascript():
    for text in "\n\r\u2028\u2029":
        assert not matches(parse_pattern("."), text)
    assert matches(parse_pattern("."), "\x85")


REFUSED = {
    "(a": (1, "never closed"),
    "b)": (2, "never opened"),
    "a[b": (2, "never closed"),
    "[z-a]": (2, "backwards"),
    "[\\d-x]": (2, "single character"),
    "[]": (1, "empty class"),
    "a**": (3, "repetition of a repetition"),
    "a{2}{3}": (5, "repetition of a repetition"),
    "*a": (1, "nothing to repeat"),
    "a|+": (3, "nothing to repeat"),
    "a{3,2}": (2, "smaller number first"),
    "(a)\\1": (4, "back-reference"),
    "a(?=b)": (2, "look-around"),
    "(?i)a": (1, "flags"),
    "\\bword": (1, "word boundaries"),
    "a^b": (2, "anchors"),
    "(a$)": (3, "anchors"),
    "\\q": (1, "not known"),
    "\\p{L}": (1, "not known"),
    "\\u12": (1, "hexadecimal"),
    "\\ud83d": (1, "half of a character"),
    "a\\": (2, "not known"),
}


@pytest.mark.parametrize("pattern", REFUSED)
def test_what_is_wrong_is_named_with_its_place(pattern):
    place, why = REFUSED[pattern]
    with pytest.raises(UserError, match=rf"refused (at character {place}, |at its end).*{why}"):
        parse_pattern(pattern)


def test_groups_in_one_another_have_an_end():
    parse_pattern("(" * 90 + "a" + ")" * 90)
    with pytest.raises(UserError, match="100 groups"):
        parse_pattern("(" * 5000)
