"""The questions of the package, and how a model chooses."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from decodeloop.errors import UserError
from decodeloop.model import TINY
from decodeloop.quality.questions import Answers, Question, answer, questions


def test_there_are_over_two_hundred_each_with_four_choices_of_which_one_is_right():
    asked = questions()
    assert len(asked) >= 200
    assert len({(q.beginning, q.choices[0]) for q in asked}) == len(asked)
    for question in asked:
        assert len(set(question.choices)) == 4, question
        assert all(choice.startswith(" ") and choice.strip() for choice in question.choices)
        assert question.beginning == question.beginning.strip()
        assert "{" not in question.beginning


def test_to_answer_always_the_same_wins_nothing():
    most = Counter(choice for q in questions() for choice in q.choices).most_common(5)
    for choice, times in most:
        right = sum(q.choices[0] == choice for q in questions())
        assert right <= 0.45 * times, choice


class Letters:
    def encode(self, text):
        return [ord(c) % TINY.vocabulary for c in text]


ASKED = (
    Question("one letter each, ", ("a", "b", "c", "d")),
    Question("of different lengths ", ("right", "r", "wrong", "ri")),
    Question("one letter each, ", ("d", "c", "a", "b")),
    Question("words", (" and", " or", " not", " if")),
)


def best_by_hand(decoder, question):
    """Each choice after the beginning, token by token."""
    scores = []
    for choice in question.choices:
        begun, tokens = Letters().encode(question.beginning), Letters().encode(choice)
        score = 0.0
        for token in tokens:
            score += float(decoder(torch.tensor([begun]))[0, -1].log_softmax(-1)[token])
            begun = [*begun, token]
        scores.append(score)
    return scores.index(max(scores))


def test_a_model_chooses_what_it_finds_most_probable(decoders):
    for decoder in decoders.values():
        expected = tuple(best_by_hand(decoder, question) for question in ASKED)
        assert answer(decoder, Letters(), ASKED).chosen == expected


def test_choices_of_one_token_are_read_off_one_row(decoders, monkeypatch):
    seen = []
    original = decoders[2].hidden
    monkeypatch.setattr(
        decoders[2], "hidden", lambda ids, *a, **k: seen.append(len(ids)) or original(ids, *a, **k)
    )
    answer(decoders[2], Letters(), ASKED[:1] + ASKED[2:3])
    assert seen == [1]


def test_accuracy_and_its_change_in_pairs():
    before, after = Answers((0, 0, 1, 0) * 50), Answers((0, 0, 2, 3) * 50)
    assert before.accuracy.value == 0.75
    assert 0.68 < before.accuracy.low < 0.75 < before.accuracy.high < 0.82
    change = after.accuracy_less(before)
    assert change.value == -0.25
    assert change.low < -0.25 < change.high < 0


def test_answers_to_other_questions_are_not_compared():
    with pytest.raises(UserError, match="3 answers and 2: expected both to the same questions"):
        Answers((0, 1, 2)).accuracy_less(Answers((0, 1)))


def test_no_questions_are_refused(decoders):
    with pytest.raises(UserError, match="no text"):
        answer(decoders[2], Letters(), ())
