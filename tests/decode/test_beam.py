import math
from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from decodeloop.decode import Beam, beam_candidates, beam_search, decode_step, generate, prefill
from decodeloop.errors import ShapeError, UserError
from decodeloop.model import TINY, Decoder

V = TINY.vocabulary
PROMPT = [1, 2, 3]
PENALTIES = [0.0, 0.6, 1.0, 2.0, -0.5]
EARLY = [False, True, "never"]
prompts = st.lists(st.integers(0, V - 1), min_size=1, max_size=12)


@pytest.fixture(scope="session")
def decoder(decoders) -> Decoder:
    """Untied, so that its text does not merely repeat its last token."""
    return decoders[3]


@pytest.fixture(scope="session")
def llama(decoder, llama_like):
    return llama_like(decoder)


@pytest.fixture(scope="session")
def five_tokens(decoders) -> Decoder:
    """A decoder that knows five tokens only."""
    small = Decoder(replace(decoders[3].config, vocabulary=5)).requires_grad_(False)
    weights = decoders[3].state_dict()
    for name in ("embedding.weight", "output.weight"):
        weights[name] = 4 * weights[name][:5]
    small.load_state_dict(weights)
    return small


@pytest.fixture(scope="session")
def llama_of_five(five_tokens, llama_like):
    return llama_like(five_tokens)


def searched(decoder, prompt, n, beams, *args, **options) -> Beam:
    return beam_search(decoder, torch.tensor([prompt]), n, beams, *args, **options)


def theirs(llama, prompt, n, beams, penalty, eos_ids, early) -> tuple[list[int], float | None]:
    """The tokens of transformers, an end-of-sequence token among them, and their score."""
    result = llama.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt)),
        max_new_tokens=n,
        num_beams=beams,
        length_penalty=penalty,
        early_stopping=early,
        eos_token_id=list(eos_ids) or None,
        pad_token_id=0,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
    )
    score = None if beams == 1 else float(result.sequences_scores[0])  # one beam: it does not say
    return result.sequences[0, len(prompt) :].tolist(), score


def check_equal(ours: Beam, tokens: list[int], score: float | None, eos_ids) -> None:
    assert ours.finish_reason == ("eos" if tokens[-1] in eos_ids else "length")
    assert ours.tokens == tokens[: len(tokens) - (ours.finish_reason == "eos")]
    if score is not None:
        assert ours.score == pytest.approx(score, rel=1e-4)


# against transformers


@settings(max_examples=150)
@given(
    prompts,
    st.integers(1, 6),
    st.sampled_from(PENALTIES),
    st.sampled_from(EARLY),
    st.sampled_from([1, 2, 3, 8, 20]),
    st.lists(st.integers(0, 19), max_size=4, unique=True),
    st.booleans(),
)
def test_it_gives_the_text_and_the_score_of_transformers(
    decoder, llama, prompt, beams, penalty, early, n, places, likely
):
    if likely:  # tokens that would come, and so end it
        text = searched(decoder, prompt, 20, beams, penalty).tokens
        eos_ids = {text[place] for place in places}
    else:
        eos_ids = {place * 5 for place in places}
    ours = searched(decoder, prompt, n, beams, penalty, eos_ids, early)
    check_equal(ours, *theirs(llama, prompt, n, beams, penalty, eos_ids, early), eos_ids)


@settings(max_examples=100)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=8),
    st.integers(1, 5),
    st.sampled_from(PENALTIES),
    st.sampled_from(EARLY),
    st.integers(1, 12),
    st.sets(st.integers(0, 4), max_size=4),
)
def test_it_does_with_a_vocabulary_hardly_larger_than_the_number_of_beams(
    five_tokens, llama_of_five, prompt, beams, penalty, early, n, eos_ids
):
    ours = searched(five_tokens, prompt, n, beams, penalty, eos_ids, early)
    check_equal(ours, *theirs(llama_of_five, prompt, n, beams, penalty, eos_ids, early), eos_ids)


def test_every_kind_of_early_stopping_makes_a_difference_somewhere(decoder):
    """Otherwise the tests above would say little of it."""
    found = {early: set() for early in EARLY}
    for seed, beams in product(range(12), (2, 4)):
        eos_ids = [(7 * seed + 11 * i) % V for i in range(4)]
        for early in EARLY:
            beam = searched(decoder, [seed, 2 * seed, 7], 20, beams, 1.0, eos_ids, early)
            found[early].add((seed, beams, *beam.tokens))
    assert found[False] != found[True]
    assert found["never"] != found[True]
    assert found["never"] != found[False]


# by itself


def test_one_beam_is_greedy_decoding(decoder):
    text = list(generate(decoder, torch.tensor([PROMPT]), 20))
    for early, eos_ids in product(EARLY, [(), (text[6],)]):
        run = generate(decoder, torch.tensor([PROMPT]), 20, eos_ids=eos_ids)
        beam = searched(decoder, PROMPT, 20, 1, 1.0, eos_ids, early)
        assert (beam.tokens, beam.finish_reason) == (list(run), run.finish_reason)


def test_with_as_many_beams_as_tokens_two_steps_are_an_exhaustive_search(decoder):
    first = decoder(torch.tensor([PROMPT]))[0, -1].log_softmax(-1)  # (V,)
    pairs = torch.tensor([[*PROMPT, token] for token in range(V)])
    both = first[:, None] + decoder(pairs)[:, -1].log_softmax(-1)  # (V, V)
    beam = searched(decoder, PROMPT, 2, V, 0.0)
    assert beam.tokens == list(divmod(int(both.argmax()), V))
    assert beam.score == pytest.approx(float(both.max()), rel=1e-4)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_score_is_the_sum_of_log_probabilities_over_a_power_of_the_length(decoder, penalty):
    reasons = set()
    for first in range(8):
        prompt = [first, *PROMPT]
        (eos,) = searched(decoder, prompt, 8, 3, penalty).tokens[4:5]
        beam = searched(decoder, prompt, 8, 3, penalty, [eos])
        reasons.add(beam.finish_reason)
        made = [*beam.tokens, eos] if beam.finish_reason == "eos" else beam.tokens
        logits = decoder(torch.tensor([prompt + made]))[0, len(prompt) - 1 : -1]
        total = logits.log_softmax(-1).gather(-1, torch.tensor(made)[:, None]).sum()
        assert beam.score == pytest.approx(float(total) / len(made) ** penalty, rel=1e-4)
    assert penalty > 1 or "eos" in reasons
    assert penalty < 1 or "length" in reasons


def test_more_beams_find_a_text_that_is_more_probable_than_the_greedy_one(decoder):
    scores = [searched(decoder, PROMPT, 10, beams, 0.0).score for beams in (1, 6)]
    assert scores[1] > scores[0] + 0.1


def test_the_prompt_is_read_once_and_each_step_reads_one_token_a_beam(decoder, monkeypatch):
    shapes, hidden = [], decoder.hidden
    monkeypatch.setattr(
        decoder, "hidden", lambda ids, *rest: shapes.append(tuple(ids.shape)) or hidden(ids, *rest)
    )
    searched(decoder, PROMPT, 4, 5)
    assert shapes == [(1, 3), (5, 1), (5, 1), (5, 1)]


def test_it_is_driven_by_the_phases_that_it_is_given(decoder):
    called = []

    def my_prefill(model, token_ids, cache):
        called.append("prefill")
        return prefill(model, token_ids, cache)

    def my_decode_step(model, token_ids, cache):
        called.append("decode_step")
        return decode_step(model, token_ids, cache)

    beam = searched(decoder, PROMPT, 3, 2, prefill=my_prefill, decode_step=my_decode_step)
    assert called == ["prefill", "decode_step", "decode_step"]
    assert beam == searched(decoder, PROMPT, 3, 2)


def test_the_end_of_the_context_ends_it(decoder):
    short = Decoder(replace(decoder.config, context=10)).requires_grad_(False)
    short.load_state_dict(decoder.state_dict())
    beam = searched(short, PROMPT, 50, 3)
    assert beam == searched(decoder, PROMPT, 8, 3)
    assert (len(beam.tokens), beam.finish_reason) == (8, "length")


def test_an_end_of_sequence_as_the_very_first_token_gives_no_ids(decoder):
    first = int(decoder(torch.tensor([PROMPT]))[0, -1].argmax())
    for beams, eos_ids in [(1, [first]), (2, range(V))]:
        beam = searched(decoder, PROMPT, 5, beams, 1.0, eos_ids)
        assert (beam.tokens, beam.finish_reason) == ([], "eos")


# the candidates


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 30), st.integers(0, 2**16))
def test_the_candidates_are_the_best_of_the_whole_table(K, V, count, seed):
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(K, V, generator=generator).log_softmax(-1)
    scores = torch.randn(K, generator=generator)
    expected = sorted(
        ((float(scores[k] + table[k, v]), k, v) for k in range(K) for v in range(V)), reverse=True
    )[:count]
    best, rows, tokens = beam_candidates(table, scores, count)
    assert_close(best, torch.tensor([total for total, _, _ in expected]))
    assert list(zip(rows.tolist(), tokens.tolist(), strict=True)) == [x[1:] for x in expected]


# refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beams": 0}, rf"beams is 0: expected a whole number from 1 \(greedy\) to {V}"),
        ({"beams": V + 1}, rf"beams is {V + 1}: expected a whole number from 1"),
        ({"beams": 1.5}, r"beams is 1.5: expected a whole number"),
        ({"beams": math.nan}, r"beams is nan: expected a whole number"),
        ({"length_penalty": math.nan}, r"length penalty is nan: expected a number from -50 to 50"),
        ({"length_penalty": -math.inf}, r"length penalty is -inf: expected a number"),
        ({"length_penalty": 51.0}, r"length penalty is 51.0: expected a number"),
        ({"early_stopping": "always"}, r"early_stopping is 'always': expected True, False or 'nev"),
        ({"early_stopping": None}, r"early_stopping is None: expected True, False or 'never'"),
        ({"max_new_tokens": 0}, r"max_new_tokens is 0: expected at least 1"),
        ({"token_ids": torch.ones(2, 3).long()}, r"one prompt \(1, T\), it was given \(2, 3\)"),
        ({"token_ids": torch.tensor([[V]])}, rf"token id {V} is outside the vocabulary"),
        ({"token_ids": torch.ones(1, TINY.context + 1).long()}, r"the model's context"),
    ],
)
def test_bad_input_is_refused(decoder, options, message):
    right = {"token_ids": torch.tensor([PROMPT]), "max_new_tokens": 3, "beams": 2}
    with pytest.raises(UserError, match=message):
        beam_search(decoder, **right | options)


def test_token_ids_of_a_wrong_shape_are_refused(decoder):
    with pytest.raises(ShapeError, match=r"expected two axes \(B, T\)"):
        beam_search(decoder, torch.tensor(PROMPT), 3, 2)


def test_the_largest_length_penalties_overflow_nowhere(decoder):
    for penalty in (-50.0, 50.0):
        assert math.isfinite(searched(decoder, PROMPT, 100, 2, penalty).score)
