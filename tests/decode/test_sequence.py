import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stand_ins import Chunks

from decodeloop.decode import Sampling, Sequence, TextStream
from decodeloop.decode.sequence import token_budget
from decodeloop.errors import ShapeError, UserError
from decodeloop.model import TINY

PROMPT = torch.tensor([[5, 7]])
EOS = 2
tokens = st.lists(st.integers(3, 9), min_size=1, max_size=8)


def taken(sequence: Sequence, tokens) -> list[str | None]:
    return [sequence.take(token) for token in tokens]


def spoken(chunks: list[bytes], stop=(), budget: int = 9, **options) -> Sequence:
    """A sequence whose token i has the text chunks[i]."""
    return Sequence(PROMPT, budget, text_stream=TextStream(Chunks(chunks), stop), **options)


# what ends a text


@given(tokens)
def test_the_budget_ends_it_with_its_last_token(made):
    sequence = Sequence(PROMPT, len(made))
    assert taken(sequence, made) == [None] * (len(made) - 1) + ["length"]
    assert sequence.tokens == made
    assert sequence.finish_reason == "length"


@given(tokens)
def test_the_end_of_sequence_ends_it_and_is_not_among_its_tokens(made):
    sequence = Sequence(PROMPT, len(made) + 1, eos_ids=(EOS,))
    assert taken(sequence, [*made, EOS]) == [None] * len(made) + ["eos"]
    assert sequence.tokens == made
    assert sequence.token_ids.tolist() == [[5, 7, *made]]


@given(tokens)
def test_the_caller_ends_it_and_is_asked_once_for_each_token(made):
    asked = []
    sequence = Sequence(PROMPT, 20, stop=lambda token: asked.append(token) or asked == made)
    assert taken(sequence, made) == [None] * (len(made) - 1) + ["stop"]
    assert asked == sequence.tokens == made


def test_the_caller_is_not_asked_about_an_end_of_sequence():
    sequence = Sequence(PROMPT, 3, eos_ids=[EOS], stop=lambda token: pytest.fail("asked"))
    assert sequence.take(EOS) == "eos"


def test_a_stop_at_the_last_token_of_the_budget_is_a_stop():
    assert Sequence(PROMPT, 1, stop=lambda token: True).take(4) == "stop"


def test_a_stop_string_ends_it_with_the_token_that_completes_it():
    sequence = spoken([b"one\n", b"\ntwo"], ["\n\n"])
    assert taken(sequence, [0, 1]) == [None, "stop"]
    assert (sequence.text, sequence.tokens) == ("one", [0, 1])


@pytest.mark.parametrize(("token", "reason"), [(1, "length"), (EOS, "eos")])
def test_what_was_held_back_is_text_when_it_ends(token, reason):
    sequence = spoken([b"one\n", b"\xe2"], ["\n\n"], budget=2, eos_ids=[EOS])
    assert (sequence.take(0), sequence.text) == (None, "one")
    assert sequence.take(token) == sequence.finish_reason == reason
    assert sequence.text == ("one\n\ufffd" if token == 1 else "one\n")


@pytest.mark.parametrize("token", [1, EOS])
def test_a_stop_string_that_waited_for_half_a_character_is_the_reason(token):
    sequence = spoken([b"one\n\n\xe2", b"\xe2"], ["\n\n"], budget=2, eos_ids=[EOS])
    assert sequence.take(0) is None
    assert sequence.take(token) == "stop"
    assert sequence.text == "one"
    assert sequence.tokens == ([0, 1] if token == 1 else [0])


def test_a_driver_may_end_it_but_only_once():
    sequence = spoken([b"one\n"], ["\n\n"])
    sequence.take(0)
    assert [sequence.end("eos"), sequence.end("length")] == ["eos", "eos"]
    assert sequence.text == "one\n"


def test_after_its_end_it_takes_nothing():
    sequence = Sequence(PROMPT, 1)
    sequence.take(4)
    with pytest.raises(UserError, match=r"has ended \(length\) and takes no further token: 6"):
        sequence.take(6)
    assert sequence.tokens == [4]


# what is read, and what is chosen


@given(tokens, st.data())
def test_what_is_unread_follows_what_was_read(made, data):
    sequence = Sequence(PROMPT, 20)
    taken(sequence, made)
    whole = [5, 7, *made]
    read = data.draw(st.integers(0, len(whole) - 1))
    assert sequence.unread(read).tolist() == [whole[read:]]


def test_after_the_prompt_one_token_at_a_time_is_unread():
    sequence, read, fed = Sequence(PROMPT, 4), 0, []
    for token in (8, 9, 3):
        fed.append(sequence.unread(read).tolist())
        read += len(fed[-1][0])
        sequence.take(token)
    assert fed == [[[5, 7]], [[8]], [[9]]]


def test_a_sequence_that_lost_its_cache_reads_the_prompt_and_what_was_made_again():
    sequence = Sequence(PROMPT, 4)
    taken(sequence, [8, 9])
    assert sequence.unread(0).tolist() == [[5, 7, 8, 9]]
    assert sequence.prompt.tolist() == [[5, 7]]


def test_it_chooses_greedily_if_not_told_otherwise():
    logits = torch.tensor([[0.0, 3.0, 1.0]])
    sequence = Sequence(PROMPT, 4)
    assert sequence.choose(logits) == 1
    assert sequence.tokens == []  # to choose is not to take


def test_it_chooses_by_its_sampling_its_generator_and_all_its_tokens():
    seen = []

    class Spy(Sampling):
        def choose(self, logits, token_ids, generator=None, prompt=0):
            seen.append((token_ids.tolist(), generator, prompt))
            return super().choose(logits, token_ids, generator, prompt)

    generator = torch.Generator()
    sequence = Sequence(PROMPT, 4, sampling=Spy(temperature=1.0), generator=generator)
    sequence.take(8)
    assert 0 <= sequence.choose(torch.zeros(1, 30)) < 30
    assert seen == [([[5, 7, 8]], generator, 2)]


# how much may be made


@given(st.integers(1, TINY.context), st.integers(1, 2 * TINY.context))
def test_the_budget_fills_the_context_at_most(T, asked):
    """The last token is never read, so it needs no place in the context."""
    budget = token_budget(TINY, torch.ones(1, T, dtype=torch.long), asked)
    assert budget == min(asked, TINY.context + 1 - T)


@pytest.mark.parametrize(
    ("ids", "asked", "error", "message"),
    [
        ([[]], 1, ShapeError, r"token_ids \(1, 0\)"),
        ([[TINY.vocabulary]], 1, UserError, "outside the vocabulary"),
        ([[1] * (TINY.context + 1)], 1, UserError, "shorten the prompt"),
        ([[1]], 0, UserError, "max_new_tokens is 0: expected at least 1"),
    ],
)
def test_what_can_not_be_continued_is_refused(ids, asked, error, message):
    with pytest.raises(error, match=message):
        token_budget(TINY, torch.tensor(ids, dtype=torch.long), asked)


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(UserError, match="the budget is 0 tokens: expected at least 1"):
        Sequence(PROMPT, 0)
