from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from decodeloop.decode import (
    Completion,
    Sampling,
    decode_step,
    generate,
    generate_batch,
    pad_left,
    prefill,
)
from decodeloop.errors import ShapeError, UserError
from decodeloop.model import TINY, Decoder

V = TINY.vocabulary
prompts = st.lists(st.integers(0, V - 1), min_size=1, max_size=12)
PROMPT = [1, 2, 3]


@pytest.fixture(scope="session")
def decoder(decoders) -> Decoder:
    """Untied, so that greedy text does not merely repeat its last token."""
    return decoders[3]


@pytest.fixture(scope="session")
def short_decoder(decoder) -> Decoder:
    """The same, with a context of 10."""
    short = Decoder(replace(decoder.config, context=10)).requires_grad_(False)
    short.load_state_dict(decoder.state_dict())
    return short


@pytest.fixture(scope="session")
def llama(decoder, llama_like):
    return llama_like(decoder)


def continued(decoder, prompt, n, **options) -> list[int]:
    return list(generate(decoder, torch.tensor([prompt]), n, **options))


def seeded_generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# the two phases


@given(prompts, st.integers(1, 4))
def test_prefill_and_decode_steps_give_the_logits_of_the_last_position(decoder, llama, ids, steps):
    ids = torch.tensor([ids + ids[:1] * steps, ids[::-1] + ids[:1] * steps])
    T = ids.shape[1] - steps
    cache = decoder.new_cache(2, ids.shape[1])
    expected = llama(ids).logits
    assert_close(prefill(decoder, ids[:, :T], cache), expected[:, T - 1], rtol=1e-4, atol=1e-4)
    for at in range(T, ids.shape[1]):
        logits = decode_step(decoder, ids[:, at : at + 1], cache)
        assert_close(logits, expected[:, at], rtol=1e-4, atol=1e-4)
    assert cache.length == ids.shape[1]


def test_the_head_does_not_run_on_positions_that_nobody_reads(decoder, monkeypatch):
    rows, head = [], decoder.head
    monkeypatch.setattr(decoder, "head", lambda hidden: rows.append(hidden.shape) or head(hidden))
    prefill(decoder, torch.tensor([[1, 2, 3, 4]] * 2), None)
    assert rows == [(2, TINY.width)]


def test_generating_keeps_no_graph():
    decoder = Decoder(TINY)  # with gradients, as a learner's own may be
    cache = decoder.new_cache(1, 4)
    assert not prefill(decoder, torch.tensor([PROMPT]), cache).requires_grad
    assert not decode_step(decoder, torch.tensor([[1]]), cache).requires_grad
    assert not cache.keys.requires_grad


@pytest.mark.parametrize("shape", [(1, 2), (3,), (1, 0)])
def test_a_decode_step_takes_one_token_a_row(decoder, shape):
    with pytest.raises(UserError) as error:
        decode_step(decoder, torch.zeros(shape, dtype=torch.long), decoder.new_cache(1, 4))
    assert f"token_ids {shape}: expected (B, 1)" in str(error.value)
    assert "prefill" in str(error.value)


# generate


@settings(max_examples=15)
@given(prompts, st.booleans())
def test_greedy_text_equals_that_of_transformers(decoder, llama, prompt, use_cache):
    expected = llama.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt)),
        max_new_tokens=16,
        do_sample=False,
        pad_token_id=0,
    )
    ours = continued(decoder, prompt, 16, use_cache=use_cache)
    assert ours == expected[0, len(prompt) :].tolist()


SAMPLINGS = [
    Sampling(),
    Sampling(repetition_penalty=1.5),
    Sampling(temperature=1.0),
    Sampling(temperature=0.8, top_k=20, top_p=0.9, min_p=0.01, repetition_penalty=1.2),
]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_cache_changes_no_token(decoder, sampling):
    with_cache, without = (
        continued(
            decoder, PROMPT, 30, sampling=sampling, generator=seeded_generator(1), use_cache=use
        )
        for use in (True, False)
    )
    assert with_cache == without
    assert len(set(with_cache)) > 5  # it is no text that would be the same anyway


def test_a_repetition_penalty_looks_at_the_prompt_and_at_what_was_made(decoder, llama):
    options = {"max_new_tokens": 30, "do_sample": False, "pad_token_id": 0}
    ids = torch.tensor([PROMPT])
    expected = llama.generate(
        ids, attention_mask=torch.ones(1, 3), repetition_penalty=1.7, **options
    )
    ours = continued(decoder, PROMPT, 30, sampling=Sampling(repetition_penalty=1.7))
    assert ours == expected[0, 3:].tolist()
    assert ours != continued(decoder, PROMPT, 30)


def test_the_same_seed_gives_the_same_text_and_another_seed_another(decoder):
    first, again, other = (
        continued(decoder, PROMPT, 20, sampling=Sampling(1.0), generator=seeded_generator(s))
        for s in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.parametrize("use_cache", [True, False])
def test_without_an_end_the_length_ends_it(decoder, use_cache):
    generation = generate(decoder, torch.tensor([PROMPT]), 4, use_cache=use_cache)
    reasons = [generation.finish_reason for _ in generation]
    assert reasons == [None, None, None, "length"]  # known with the last token


@pytest.mark.parametrize("use_cache", [True, False])
def test_the_end_of_sequence_token_ends_it_and_is_not_among_the_ids(decoder, use_cache):
    text = continued(decoder, PROMPT, 8)
    assert text.index(text[3]) == 3
    eos_ids = (text[3], V - 1)
    generation = generate(decoder, torch.tensor([PROMPT]), 8, eos_ids=eos_ids, use_cache=use_cache)
    assert list(generation) == text[:3]
    assert generation.finish_reason == "eos"


def test_an_end_of_sequence_as_the_very_first_token_gives_no_ids(decoder):
    (first,) = continued(decoder, PROMPT, 1)
    generation = generate(decoder, torch.tensor([PROMPT]), 1, eos_ids=[first])
    assert list(generation) == []
    assert generation.finish_reason == "eos"


def test_the_caller_ends_it_after_the_token_that_made_it(decoder):
    text, asked = continued(decoder, PROMPT, 8), []
    generation = generate(
        decoder,
        torch.tensor([PROMPT]),
        8,
        stop=lambda token: asked.append(token) or len(asked) == 3,
    )
    assert list(generation) == asked == text[:3]
    assert generation.finish_reason == "stop"


def test_a_stop_at_the_last_token_is_a_stop(decoder):
    answers = iter([False, True])
    generation = generate(decoder, torch.tensor([PROMPT]), 2, stop=lambda token: next(answers))
    assert len(list(generation)) == 2
    assert generation.finish_reason == "stop"


def test_a_generation_that_has_ended_stays_ended(decoder):
    generation = generate(decoder, torch.tensor([PROMPT]), 1)
    next(generation)
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(generation)


def test_nothing_is_computed_before_the_first_token_is_asked_for(decoder, monkeypatch):
    passes, hidden = [], decoder.hidden
    monkeypatch.setattr(
        decoder, "hidden", lambda ids, *rest: passes.append(ids.shape[1]) or hidden(ids, *rest)
    )
    generation = generate(decoder, torch.tensor([PROMPT]), 3)
    assert passes == []
    list(generation)
    assert passes == [3, 1, 1]  # and none after the last token
    passes.clear()
    continued(decoder, PROMPT, 3, use_cache=False)
    assert passes == [3, 4, 5]


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize(("length", "made"), [(1, 10), (7, 4), (9, 2), (10, 1)])
def test_the_end_of_the_context_ends_it(short_decoder, decoder, length, made, use_cache):
    prompt = list(range(length))
    generation = generate(short_decoder, torch.tensor([prompt]), 50, use_cache=use_cache)
    assert list(generation) == continued(decoder, prompt, made)
    assert generation.finish_reason == "length"


@pytest.mark.parametrize(
    ("ids", "n", "message"),
    [
        ([[]], 4, r"token_ids \(1, 0\).*none of them empty"),
        ([1, 2], 4, r"token_ids \(2,\): expected two axes \(B, T\).*torch.tensor\(\[ids\]\)"),
        ([[1, 2], [3, 4]], 4, r"one prompt \(1, T\), it was given \(2, 2\): use generate_batch"),
        ([[1, V]], 4, rf"token id {V} is outside the vocabulary: expected 0 to {V - 1}"),
        ([[1, -5]], 4, r"token id -5 is outside the vocabulary"),
        ([[1] * 11], 4, r"prompt has 11 tokens, the model's context 10: shorten the prompt"),
        ([[1]], 0, r"max_new_tokens is 0: expected at least 1"),
        ([[1]], -3, r"max_new_tokens is -3: expected at least 1"),
    ],
)
def test_bad_input_is_refused_when_asked_not_when_read(short_decoder, ids, n, message):
    with pytest.raises(UserError, match=message):
        generate(short_decoder, torch.tensor(ids, dtype=torch.long), n)


def test_ids_that_are_no_whole_numbers_are_refused(decoder):
    with pytest.raises(ShapeError, match=r"token_ids have type torch.float32"):
        generate(decoder, torch.tensor([[1.0]]), 4)


# generate_batch

BATCH = [[1, 2, 3], [7], [11, 12, 13, 14, 15, 16, 17], [5, 5]]


def completed(decoder, prompt, n, **options) -> Completion:
    generation = generate(decoder, torch.tensor([prompt]), n, **options)
    return Completion(list(generation), generation.finish_reason)


@settings(max_examples=15)
@given(st.lists(prompts, min_size=1, max_size=5), st.integers(1, 12))
def test_a_greedy_batch_equals_each_row_by_itself(decoder, batch, n):
    expected = [completed(decoder, prompt, n) for prompt in batch]
    assert generate_batch(decoder, batch, n) == expected


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_sampled_batch_equals_each_row_with_its_own_generator(decoder, sampling):
    expected = [
        completed(decoder, prompt, 20, sampling=sampling, generator=seeded_generator(row))
        for row, prompt in enumerate(BATCH)
    ]
    generators = [seeded_generator(row) for row in range(len(BATCH))]
    assert generate_batch(decoder, BATCH, 20, sampling=sampling, generators=generators) == expected


def test_rows_that_end_at_different_times_do_not_disturb_each_other(decoder):
    texts = [continued(decoder, prompt, 20) for prompt in BATCH]
    eos_ids = {texts[0][2], texts[1][6], texts[3][0]}
    expected = [completed(decoder, prompt, 20, eos_ids=eos_ids) for prompt in BATCH]
    lengths = {len(completion.tokens) for completion in expected}
    assert 0 in lengths  # a row that ends at once
    assert len(lengths) >= 3
    assert generate_batch(decoder, BATCH, 20, eos_ids=eos_ids) == expected


def test_each_row_ends_at_the_end_of_the_context_by_itself(short_decoder):
    expected = [completed(short_decoder, prompt, 50) for prompt in BATCH]
    assert [len(completion.tokens) for completion in expected] == [8, 10, 4, 9]
    assert generate_batch(short_decoder, BATCH, 50) == expected


def test_one_generator_for_all_is_not_needed(decoder):
    completions = generate_batch(decoder, BATCH, 3, sampling=Sampling(1.0))
    assert [len(completion.tokens) for completion in completions] == [3, 3, 3, 3]


@pytest.mark.parametrize(
    ("batch", "n", "message"),
    [
        ([], 4, r"given no prompts: expected a list of token id lists"),
        ([[1], []], 4, r"prompt 1 of the batch: token_ids \(1, 0\)"),
        ([[1], [2], [V]], 4, rf"prompt 2 of the batch: token id {V} is outside the vocabulary"),
        ([[1] * 11, [1]], 4, r"prompt 0 of the batch: the prompt has 11 tokens.*context 10"),
        ([[1]], 0, r"max_new_tokens is 0: expected at least 1"),
    ],
)
def test_bad_input_names_the_prompt(short_decoder, batch, n, message):
    with pytest.raises(UserError, match=message):
        generate_batch(short_decoder, batch, n)


def test_there_must_be_a_generator_for_each_prompt(decoder):
    with pytest.raises(UserError, match=r"1 generators for 2 prompts: expected one each, or none"):
        generate_batch(decoder, [[1], [2]], 4, generators=[torch.Generator()])


def test_padding_stands_on_the_left_and_is_marked():
    ids, real = pad_left([[1, 2, 3], [4]], pad_id=9)
    assert ids.tolist() == [[1, 2, 3], [9, 9, 4]]
    assert real.tolist() == [[True, True, True], [False, False, True]]
