"""Verdicts on claims, the learner's and the course's."""

from __future__ import annotations

import pytest

from decodeloop.course.verdicts import Verdicts
from decodeloop.errors import UserError


@pytest.fixture
def book():
    return Verdicts([1, "2a", 3])


def test_a_verdict_is_said_back(book, capsys):
    book.yours(1, " Holds ")
    book.yours("2a", "condition", "at night")
    assert capsys.readouterr().out.splitlines() == [
        "● claim 1: you say: holds",
        "● claim 2a: you say: holds with a condition (at night)",
    ]


@pytest.mark.parametrize(
    ("outcome", "says"), [(..., "no verdict yet"), ("maybe", "'maybe' is none of the three")]
)
def test_what_is_no_verdict_is_named_and_takes_the_old_one_back(book, capsys, outcome, says):
    book.yours(1, "wrong")
    book.yours(1, outcome)
    assert says in capsys.readouterr().out
    book.ours(1, "holds", "as it says")
    assert capsys.readouterr().out == "\nclaim 1: HOLDS: as it says\n"


def test_a_claim_that_there_is_not_is_named(book, capsys):
    book.yours(7, "holds")
    assert capsys.readouterr().out == "○ there is no claim 7 here, only 1, 2a, 3\n"


def test_the_table_has_ours_and_below_it_yours_where_it_differs(book, capsys):
    book.yours(1, "holds")
    book.yours(3, "condition", "why not")
    book.ours(1, "holds", "one")
    book.ours(3, "wrong", "three")
    capsys.readouterr()
    book.table()
    assert capsys.readouterr().out.splitlines() == [
        "  1  holds                   one",
        "  3  wrong                   three",
        "     you said: holds with a condition (why not)",
        "",
        "1 × holds, 0 × holds with a condition, 1 × wrong",
    ]
    assert book.judged == [1, 3]


@pytest.mark.parametrize(("claim", "outcome"), [(7, "holds"), (1, "perhaps")])
def test_a_verdict_of_the_course_must_be_one(book, claim, outcome):
    with pytest.raises(UserError, match=r"expected one of holds, .* claims 1, 2a, 3"):
        book.ours(claim, outcome, "")
