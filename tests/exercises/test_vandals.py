"""Answers that write into whatever they reach: the next answer is judged as if nothing had been."""

import copy
from types import GeneratorType

import numpy as np
import pytest
import torch

from decodeloop.course.judge import judge
from decodeloop.exercises.exercise import ChangedInput
from decodeloop.exercises.finding import all_exercises, find
from decodeloop.exercises.lending import copied

LAZY = {"sse_events", "on_disconnect"}  # who gives all at once is wrong there, and so is a vandal
FUNCTIONS = [
    e for e in all_exercises().values() if not isinstance(e.library, type) and e.name not in LAZY
]
# what became of the caller's list, prompt or student is one of their outputs
TOLD_OTHERWISE = {"percentile", "generate_without_cache", "release", "train_student", "recover"}


def scribble(x, seen):
    """Write into everything that can be written into, and count it."""
    if isinstance(x, torch.nn.Module):
        x = [parameter.detach() for parameter in x.parameters()]
    if isinstance(x, list | tuple):
        for item in x:
            scribble(item, seen)
    if isinstance(x, torch.Tensor) and x.numel():
        x.data.copy_(~x if x.dtype == torch.bool else x + 1)
    elif isinstance(x, np.ndarray):
        x += 1
    elif isinstance(x, list | dict | set):
        x.clear()
    else:
        return
    seen.append(x)


def vandal(exercise, seen):
    """Gives what the library gives, then scribbles."""
    writes_itself = exercise.name.endswith("into") or find(exercise.name).lesson[:2] == "23"

    def answer(*args, **kwargs):
        lent = args if writes_itself else [own(x) for x in args]
        result = exercise.library(*lent, **kwargs)
        result = list(result) if isinstance(result, GeneratorType) else copy.deepcopy(result)
        for x in args[:-1] if writes_itself else [*args, *kwargs.values()]:
            scribble(getattr(x, "array", x), seen)
        return result

    return answer


def own(x):
    """What the answer computes with: caches and generators are there to be written into."""
    plain = isinstance(x, torch.Tensor | torch.nn.Module | np.ndarray | list | tuple | dict)
    return copied(x) if plain else x


@pytest.mark.parametrize("exercise", FUNCTIONS, ids=lambda e: e.name)
def test_a_vandal_is_told_and_leaves_no_trace(exercise):
    seen = []
    verdict = judge(vandal(exercise, seen), exercise)
    assert judge(exercise.library, exercise).state == "right"
    for mistake in exercise.mistakes[:2]:
        assert judge(mistake.wrong, exercise).mistake is mistake
    if not seen:
        assert verdict.state == "right"
    else:
        assert verdict.state == "wrong"
        assert exercise.name in TOLD_OTHERWISE or "it changed" in verdict.what


def test_an_answer_that_takes_its_list_apart_and_gives_nothing_is_wrong():
    def clears(requests, *rest, **targets):
        requests.clear()
        return 0.0

    goodput = find("goodput")
    for _ in range(2):
        verdict = judge(clears, goodput)
        assert verdict.state == "wrong"
        assert isinstance(goodput.cases[0].inputs[0], list) and goodput.cases[0].inputs[0]
        assert judge(goodput.library, goodput).state == "right"


def test_an_error_says_more_than_what_was_changed_before_it():
    def raises(arrival, token_times):
        token_times.pop(0)
        raise ValueError("first")

    assert "ValueError: first" in judge(raises, find("latencies")).what
    assert judge(find("latencies").library, find("latencies")).state == "right"
    with pytest.raises(ChangedInput):
        find("latencies").cases[0].run(lambda arrival, token_times: token_times.clear())


def test_an_answer_that_takes_apart_what_it_goes_on_with_is_told():
    async def forgets(events, numbers, abort):
        try:
            async for event in events:
                if event.ended and event.number in numbers:
                    numbers.remove(event.number)
                yield event
        finally:
            for number in numbers:
                abort(number)

    verdict = judge(forgets, find("on_disconnect"))
    assert verdict.state == "wrong"
    assert "it changed `numbers` in place" in verdict.what
    assert judge(find("on_disconnect").library, find("on_disconnect")).state == "right"
