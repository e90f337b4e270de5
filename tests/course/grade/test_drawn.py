"""Cases are drawn until mistakes that are known by name are wrong on one of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from decodeloop.course.grade.drawn import telling, telling_cases
from decodeloop.exercises.finding import find
from decodeloop.exercises.fresh import fresh_cases

SEED = 271828182


def labels(cases):
    return [case.label for case in cases]


@pytest.mark.parametrize("name", ["lookup", "release", "padding_mask"])
def test_no_named_mistake_is_right_on_all(name):
    exercise = find(name)
    cases = telling_cases(exercise, SEED)
    for mistake in exercise.mistakes:
        assert telling(replace(exercise, mistakes=(mistake,)), [], cases), mistake.name


def test_further_cases_are_kept_only_where_they_show_what_others_did_not():
    exercise = find("admission")
    few, cases = fresh_cases(exercise, SEED), telling_cases(exercise, SEED)
    assert labels(cases)[: len(few)] == labels(few)
    assert len(few) < len(cases)
    caught = telling(exercise, few, cases[len(few) :])
    assert caught == list(range(len(cases) - len(few)))


def test_they_are_the_same_for_the_same_seed_and_others_for_another():
    exercise = find("percentile")

    def told(seed):
        return [case.expected() for case in telling_cases(exercise, seed)]

    assert told(SEED) == told(SEED) != told(SEED + 1)


def test_a_mistake_that_writes_into_what_it_is_given_leaves_this_process_as_it_was():
    exercise = find("drop_layers")
    first = [repr(case.expected()) for case in telling_cases(exercise, 111111113)]
    assert first == [repr(case.expected()) for case in telling_cases(exercise, 111111113)]
