"""The wrong caches of lesson 06: which test finds which of them."""

import pytest
import torch

from decodeloop.course import wrong_caches
from decodeloop.exercises.lesson_06 import SMALL, random_decoder
from decodeloop.model import ContiguousKVCache

MISTAKES = {
    "never advanced",
    "advanced by prefill alone",
    "advanced twice",
    "positions from 0",
    "mask not shifted",
    "one place for all layers",
    "kept for the next text",
}


@pytest.fixture(scope="module")
def model():
    return random_decoder(SMALL)


@pytest.fixture(scope="module")
def texts():
    return torch.arange(9)[None], torch.arange(20, 29)[None]


@pytest.fixture(scope="module")
def alone(model, texts):
    return [model(ids) for ids in texts]


def found(model, texts, alone):
    variants = wrong_caches.variants(ContiguousKVCache, model)
    largest = {n: max(wrong_caches.errors(v, texts, alone)) for n, v in variants.items()}
    assert largest.pop("right") < 1e-3
    return {name for name, error in largest.items() if error > 1e-2}


def test_one_forward_finds_none(model, texts, alone):
    assert found(model, [[texts[0]]], alone) == set()


def test_a_second_piece_finds_what_needs_no_step_and_no_second_text(model, texts, alone):
    cut = texts[0].tensor_split([4], dim=1)
    needs_more = {"advanced by prefill alone", "kept for the next text"}
    assert found(model, [cut], alone) == MISTAKES - needs_more


def test_two_single_tokens_and_a_second_text_find_all(model, texts, alone):
    cuts = [texts[0].tensor_split([4], dim=1), texts[1].tensor_split([-2, -1], dim=1)]
    assert found(model, cuts, alone) == MISTAKES


def test_the_right_one_answers_as_a_model_without_a_cache(model, texts):
    ids = texts[0]
    right = wrong_caches.variants(ContiguousKVCache, model)["right"]
    answer = wrong_caches.answer(right, ids.tensor_split([4], dim=1), tokens=4)
    for token in answer:
        assert token == int(model(ids)[0, -1].argmax())
        ids = torch.cat((ids, torch.tensor([[token]])), dim=1)
