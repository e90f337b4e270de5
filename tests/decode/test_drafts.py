import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from decodeloop.decode import ModelDraft, PromptLookup, Sampling, ScriptedDraft, Sequence, lookup
from decodeloop.errors import UserError
from decodeloop.model import TINY

texts = st.lists(st.integers(0, 3), min_size=1, max_size=24)


def text_of(tokens, budget=40, **options) -> Sequence:
    return Sequence(torch.tensor([tokens]), budget, **options)


# prompt lookup


@pytest.mark.parametrize(
    ("tokens", "k", "longest", "expected"),
    [
        ([1, 2, 3, 9, 1, 2], 3, 3, [3, 9, 1]),
        ([1, 2, 3, 9, 1, 2], 1, 3, [3]),
        ([1, 2, 3, 9, 1, 2], 0, 3, []),
        ([8, 2, 5, 1, 2, 6, 8, 2], 1, 2, [5]),  # two tokens, and not the later place of the last
        ([8, 2, 5, 1, 2, 6, 8, 2], 1, 1, [6]),
        ([4, 1, 4, 2, 4, 3, 4], 2, 3, [3, 4]),  # the latest of three places
        ([4, 4], 3, 3, [4, 4, 4]),  # what was copied is copied again
        ([6, 7, 6, 7], 5, 3, [6, 7, 6, 7, 6]),
        ([1, 2, 3], 3, 3, []),
        ([1], 3, 3, []),
        ([], 3, 3, []),
    ],
)
def test_lookup_gives_what_followed_then(tokens, k, longest, expected):
    assert lookup(tokens, k, longest) == expected


@given(texts, st.integers(1, 6), st.integers(1, 4), st.integers(1, 24))
def test_what_is_remembered_finds_what_a_search_finds(tokens, k, longest, prompt):
    draft = PromptLookup(longest)
    text = text_of(tokens[:prompt])
    draft.begin(text)
    for token in [*tokens[prompt:], None]:
        found = draft.propose(text, k)
        so_far = text.token_ids[0].tolist()
        assert found.tokens == lookup(so_far, k, longest)
        assert found.probabilities is None
        if found.tokens:
            assert so_far[-found.kind :] in [
                so_far[i : i + found.kind] for i in range(len(so_far) - found.kind)
            ]
        if token is not None:
            text.take(token)


def test_a_lookup_begins_anew_with_a_text():
    draft = PromptLookup()
    assert draft.propose(text_of([1, 2, 1]), 2).tokens == [2, 1]
    other = text_of([3, 1])
    draft.begin(other)
    assert draft.propose(other, 2).tokens == []


# a model


class Counting:
    """A decoder that counts what it reads."""

    def __init__(self, decoder):
        self.decoder, self.config, self.read = decoder, decoder.config, []
        self.head, self.new_cache = decoder.head, decoder.new_cache

    def hidden(self, ids, cache=None, positions=None, mask=None):
        self.read.append(ids.shape[1])
        return self.decoder.hidden(ids, cache, positions, mask)


def test_a_model_drafts_what_it_would_say_and_reads_each_token_once(decoder):
    from decodeloop.decode import generate

    prompt = [5, 7, 9, 11]
    expected = list(generate(decoder, torch.tensor([prompt]), 8))
    model = Counting(decoder)
    draft, text = ModelDraft(model), text_of(prompt)
    draft.begin(text)
    assert draft.propose(text, 3).tokens == expected[:3]
    assert model.read == [4, 1, 1]
    for token in expected[:4]:  # all three stayed, and one came after them
        text.take(token)
    draft.keep(7)
    model.read.clear()
    assert draft.propose(text, 2).tokens == expected[4:6]
    assert model.read == [2, 1]  # the third was drafted and not read


def test_a_model_forgets_what_did_not_stay(decoder):
    from decodeloop.decode import generate

    prompt = [5, 7, 9, 11]
    draft, text = ModelDraft(decoder), text_of(prompt)
    draft.begin(text)
    first = draft.propose(text, 4).tokens
    other = (first[1] + 1) % TINY.vocabulary
    text.take(first[0])
    text.take(other)
    draft.keep(5)
    expected = generate(decoder, torch.tensor([[*prompt, first[0], other]]), 3)
    assert draft.propose(text, 3).tokens == list(expected)


def test_each_drafted_token_has_the_probabilities_that_it_was_drawn_from(decoder):
    """With all options, applied to the text that was drafted up to there."""
    sampling = Sampling(1.3, top_k=20, top_p=0.95, repetition_penalty=1.4)
    generator = torch.Generator().manual_seed(3)
    text = text_of([5, 7, 9], sampling=sampling, generator=generator)
    draft = ModelDraft(decoder)
    draft.begin(text)
    proposal = draft.propose(text, 4)
    ids = torch.tensor([[5, 7, 9, *proposal.tokens]])
    logits = decoder(ids)[0]
    for i, token in enumerate(proposal.tokens):
        expected = sampling.process(logits[None, 2 + i], ids[:, : 3 + i]).softmax(-1)[0]
        torch.testing.assert_close(proposal.probabilities[i], expected, rtol=1e-4, atol=1e-6)
        assert expected[token] > 0
    greedy = text_of([5, 7, 9])
    draft.begin(greedy)
    assert draft.propose(greedy, 2).probabilities is None


def test_a_model_drafts_no_further_than_its_context(short_decoder):
    draft, text = ModelDraft(short_decoder), text_of([1] * 8)
    draft.begin(text)
    assert len(draft.propose(text, 9).tokens) == 3  # positions 8 and 9 are read, of 10
    longer = text_of([1] * 11)
    draft.begin(longer)
    assert draft.propose(longer, 9).tokens == []


# a script


def test_a_script_is_told_the_text_and_says_at_most_what_was_asked_for():
    asked = []
    draft = ScriptedDraft(lambda tokens, most: asked.append((tokens, most)) or [1, 2, 3, 4])
    text = text_of([5, 6])
    text.take(7)
    assert draft.propose(text, 2).tokens == [1, 2]
    assert asked == [([5, 6, 7], 2)]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: lookup([1], -1), "k = -1"),
        (lambda: lookup([1], 1, 0), "longest = 0"),
        (lambda: PromptLookup(0), "longest is 0"),
        (lambda: ModelDraft(None, cost=-0.1), "cost is -0.1"),
    ],
)
def test_bad_numbers_are_named(call, said):
    with pytest.raises(UserError, match=said):
        call()
