"""What is lent to an answer: copies, of every kind of argument; and told where one was changed."""

import math

import numpy as np
import pytest
import torch

from decodeloop.exercises.exercise import ChangedInput, call, trial
from decodeloop.exercises.lending import copied, lend, unchanged


def first(x):
    return 1


LENT = {
    "a tensor": (lambda: torch.ones(2, 3), lambda x: x.zero_()),
    "a tensor that is resized": (lambda: torch.ones(2, 3), lambda x: x.resize_(1)),
    "a NaN that is filled": (lambda: torch.tensor([math.nan]), lambda x: x.nan_to_num_()),
    "a list": (lambda: [1, 2], lambda x: x.pop(0)),
    "a list in a list": (lambda: [[1], [2]], lambda x: x[1].append(3)),
    "a list that is sorted": (lambda: [2.0, 1.0], lambda x: x.sort()),
    "the type of an item": (lambda: [1, 2], lambda x: x.__setitem__(0, 1.0)),
    "a tensor in a tuple": (lambda: (1, torch.zeros(2)), lambda x: x[1].add_(1)),
    "a dict": (lambda: {"a": 1}, lambda x: x.update(b=2)),
    "a list in a dict": (lambda: {"a": [1]}, lambda x: x["a"].clear()),
    "a set": (lambda: {1, 2}, lambda x: x.discard(1)),
    "an array": (lambda: np.ones(3), lambda x: x.fill(0)),
    "a model's weights": (
        lambda: torch.nn.Linear(2, 2),
        lambda x: torch.nn.init.zeros_(x.weight),
    ),
    "a model's weights, replaced": (
        lambda: torch.nn.Linear(2, 2),
        lambda x: setattr(x, "weight", torch.nn.Parameter(torch.zeros(1))),
    ),
    "a tensor that holds nothing any more": (
        lambda: torch.ones(2),
        lambda x: x.untyped_storage().resize_(0),
    ),
}
each_lent = pytest.mark.parametrize(("made", "change"), LENT.values(), ids=LENT)


@each_lent
def test_what_is_changed_is_told_and_the_original_is_as_it_was(made, change):
    original = made_again(made)
    with pytest.raises(ChangedInput, match=r"it changed .*its argument number 2"):
        lend(lambda first, x: change(x), 0, original)
    with pytest.raises(ChangedInput, match=r"it changed .*its argument `x`"):
        lend(lambda x: change(x), x=original)
    assert unchanged(made_again(made), original)
    assert lend(first, original) == 1


def made_again(made):
    torch.manual_seed(0)
    return made()


@each_lent
def test_a_call_and_a_trial_lend_anew_each_time_to_the_answer_and_to_the_oracle(made, change):
    def spoils(x):
        change(x)
        return 1

    for case in (
        call("call", made(), oracle=spoils),
        trial("trial", lambda answer, x: answer(x), spoils, made()),
    ):
        for _ in range(2):
            with pytest.raises(ChangedInput):
                case.run(spoils)
            assert case.run(first) == case.expected() == 1


def test_a_trial_calls_what_it_lends_by_the_names_of_its_own():
    case = trial("t", lambda answer, config, times: answer(times), lambda *_: 1, 3, [1.0])
    with pytest.raises(ChangedInput, match="it changed `times` in place"):
        case.run(lambda times: times.clear())


def test_keywords_are_lent_to_the_oracle_too():
    case = call("c", oracle=lambda x: x.pop(), x=[1, 2])
    assert (case.expected(), case.expected()) == (2, 2)


def test_a_generator_is_looked_at_after_each_item_and_gives_what_it_gave():
    def count(x, spoilt_at):
        for number in range(3):
            if number == spoilt_at:
                x.zero_()
            yield number
        return "done"

    x = torch.ones(2)
    lent = lend(count, x, 7)
    assert [next(lent), next(lent), next(lent)] == [0, 1, 2]
    with pytest.raises(StopIteration) as end:
        next(lent)
    assert end.value.value == "done"
    lent = lend(count, x, 1)
    assert next(lent) == 0
    with pytest.raises(ChangedInput):
        next(lent)
    assert x.all()


def test_what_counts_for_itself_is_its_own_business():
    class Model:
        calls = 0

    def asks(model):
        model.calls += 1
        return model.calls

    model = Model()
    assert lend(asks, model) == 1
    assert model.calls == 0


def test_functions_and_what_can_not_be_copied_stand_for_themselves():
    lock = torch._C.Generator  # a class
    opened = (i for i in range(3))
    for thing in (first, lock, opened):
        assert copied(thing) is thing
    assert unchanged(first, first)
    generator = torch.Generator().manual_seed(3)
    again = copied(generator)
    assert torch.equal(torch.rand(2, generator=generator), torch.rand(2, generator=again))
