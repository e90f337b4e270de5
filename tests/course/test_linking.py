"""Every right answer of every part speaks, however it is written: on the CPU, and on a GPU, which
may be the pretended one (`test_pretend_gpu.py`)."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache, partial

import pytest
import torch
from answer_tables import answers
from stand_ins import Letters, served

from decodeloop.course.guarding import Part, guarded
from decodeloop.course.linking import assemble, link, part_names
from decodeloop.decode import Sampling, search, stream
from decodeloop.errors import UserError
from decodeloop.exercises.finding import find
from decodeloop.loading import LanguageModel
from decodeloop.serve import Engine

RIGHT = {
    f"{name}-{answer.__name__}": (name, answer)
    for name in part_names()
    for answer in answers(find(name).lesson).RIGHT[name]
}
EVERYTHING = Sampling(0.9, top_k=30, top_p=0.95, min_p=0.01, repetition_penalty=1.2)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=needs_gpu)])
def llm(request, decoders):
    decoder = copy.deepcopy(decoders[2]).to(request.param)
    return LanguageModel("tiny", decoder.config, Letters(), decoder, (5, 17))


@pytest.fixture(scope="module")
def plain(decoders):
    """The library's model, on the CPU."""
    return LanguageModel("tiny", decoders[2].config, Letters(), decoders[2], (5, 17))


@pytest.fixture(scope="module")
def expected(plain):
    return spoken(plain, WAYS)


@pytest.fixture(scope="module")
def ways_through(plain):
    """Of a part, the ways of speaking in which it is called, be it the library's or another's."""

    @cache
    def found(name):
        part, called = Part(name, "yours"), []
        own = link(plain, {name: guarded(find(name).library, part)}, {}, (part,))
        for way in WAYS:
            before = part.calls
            spoken(own, [way])
            called += [way] if part.calls > before else []
        return called

    return found


WAYS = ("greedily", "drawn", "without a cache", "by beams", "served")


def spoken(llm, ways):
    """What a model says in these ways."""
    say = getattr(llm, "stream", partial(stream, llm))
    look = getattr(llm, "search", partial(search, llm))
    generator = torch.Generator().manual_seed(3)
    all_ways = {
        "greedily": lambda: list(say("hi!", 4)),
        "drawn": lambda: list(say("hi!", 4, sampling=EVERYTHING, generator=generator)),
        "without a cache": lambda: list(say("hi!", 4, use_cache=False)),
        "by beams": lambda: look("hi!", 3, beams=2).tokens,
        "served": lambda: served(getattr(llm, "engine", partial(Engine, llm.model))),
    }
    return {way: all_ways[way]() for way in ways}


@pytest.mark.parametrize("form", RIGHT)
def test_a_right_answer_speaks_in_whatever_form_it_is_written(llm, expected, ways_through, form):
    """On a GPU in the ways alone in which it is called: the pretended one is slow."""
    name, answer = RIGHT[form]
    part = Part(name, "yours")
    own = link(llm, {name: guarded(answer, part)}, {}, (part,))
    said = spoken(own, WAYS if llm.device.type == "cpu" else ways_through(name))
    if name == "sample" and len(said["drawn"]) > 1:  # the same random numbers, perhaps other tokens
        said["drawn"] = expected["drawn"]
    assert said == {way: expected[way] for way in said}
    assert part.calls > 0, "it was there, and never called"


def test_all_solutions_together_speak(llm, expected, solutions):
    own = assemble(llm, {name: (solutions[name][0], f"mine/{name}.py") for name in solutions})
    assert {part.name: part.failed for part in own.parts if part.whose != "yours"} == {}
    assert spoken(own, WAYS) == expected


def test_a_relative_of_llama_is_refused_by_name(decoders):
    """What learners write knows no window, and would leave it out without a word."""
    config = replace(decoders[2].config, window=4)
    relative = LanguageModel("tiny", config, Letters(), decoders[2], (5,))
    with pytest.raises(UserError, match=r"what you wrote can't compute this model.* window=4"):
        link(relative, {}, {}, ())
