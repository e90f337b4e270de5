import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import Chunks
from torch.testing import assert_close

from decodeloop.decode import (
    Sampling,
    TextGeneration,
    decode_step,
    decoding_loop,
    generate,
    loop_without_cache,
    prefill,
)
from decodeloop.errors import ShapeError, UserError
from decodeloop.model import TINY, Decoder

V = TINY.vocabulary
prompts = st.lists(st.integers(0, V - 1), min_size=1, max_size=12)
PROMPT = [1, 2, 3]


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


# generate, with a cache that has read something


def begun(decoder, read, room: int = 40, batch: int = 1):
    """A cache that has read these tokens."""
    cache = decoder.new_cache(batch, room)
    if read:
        prefill(decoder, torch.tensor([read] * batch), cache)
    return cache


@settings(max_examples=25)
@given(prompts, st.data())
def test_a_cache_that_has_read_a_beginning_changes_no_token(decoder, prompt, data):
    read = prompt[: data.draw(st.integers(0, len(prompt)))]
    cache = begun(decoder, read)
    assert continued(decoder, prompt, 9, cache=cache) == continued(decoder, prompt, 9)
    assert cache.length == len(prompt) + 8


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_nor_does_it_under_any_sampling(decoder, sampling):
    caches = (begun(decoder, PROMPT[:2]), None)
    ours, theirs = (
        continued(
            decoder, PROMPT, 20, sampling=sampling, generator=seeded_generator(5), cache=cache
        )
        for cache in caches
    )
    assert ours == theirs


@pytest.mark.parametrize(("read", "passes"), [(0, [4, 1, 1]), (1, [3, 1, 1]), (3, [1, 1, 1])])
def test_only_what_is_new_is_read(decoder, monkeypatch, read, passes):
    prompt, seen, hidden = [1, 2, 3, 4], [], decoder.hidden
    cache = begun(decoder, prompt[:read])
    monkeypatch.setattr(
        decoder, "hidden", lambda ids, *rest: seen.append(ids.shape[1]) or hidden(ids, *rest)
    )
    continued(decoder, prompt, 3, cache=cache)
    assert seen == passes


def test_of_a_prompt_that_was_read_the_last_token_is_read_again(decoder, monkeypatch):
    seen, hidden = [], decoder.hidden
    cache = begun(decoder, PROMPT)
    monkeypatch.setattr(
        decoder, "hidden", lambda ids, *rest: seen.append(ids.tolist()) or hidden(ids, *rest)
    )
    generation = generate(decoder, torch.tensor([PROMPT]), 2, cache=cache)
    assert (seen, cache.length) == ([], 3)  # nothing is forgotten before anything is asked for
    list(generation)
    assert seen[0] == [[3]]


@pytest.mark.parametrize("ends", ["length", "stop", "eos"])
def test_afterwards_the_cache_goes_on_where_the_text_ended(decoder, ends):
    text = continued(decoder, PROMPT, 8)
    assert text.index(text[3]) == 3
    options = {
        "length": {"max_new_tokens": 3},
        "stop": {"max_new_tokens": 8, "stop": lambda token: token == text[2]},
        "eos": {"max_new_tokens": 8, "eos_ids": [text[3]]},
    }[ends]
    cache = begun(decoder, [])
    generation = generate(decoder, torch.tensor([PROMPT]), cache=cache, **options)
    assert list(generation) == text[:3]
    assert generation.finish_reason == ends
    assert cache.length == len(PROMPT) + (3 if ends == "eos" else 2)

    turn = [*PROMPT, *text[:3], 11, 12]  # the next prompt begins with all that
    assert continued(decoder, turn, 6, cache=cache) == continued(decoder, turn, 6)


def test_a_cache_that_tells_only_its_length_will_do(decoder):
    """As lesson 06 builds it: no positions, no batch, no max_length."""

    class Plain:
        def __init__(self, inner):
            self.inner = inner
            self.attend, self.advance = inner.attend, inner.advance
            self.truncate, self.select = inner.truncate, inner.select

        @property
        def length(self):
            return self.inner.length

    for read in ([], PROMPT[:1], PROMPT):
        cache = Plain(begun(decoder, read))
        assert continued(decoder, PROMPT, 6, cache=cache) == continued(decoder, PROMPT, 6)


def test_exactly_enough_room_is_enough(decoder):
    cache = begun(decoder, PROMPT[:2], room=7)
    assert continued(decoder, PROMPT, 5, cache=cache) == continued(decoder, PROMPT, 5)


@pytest.mark.parametrize(
    ("read", "shape", "options", "message"),
    [
        (PROMPT[:2], {"room": 6}, {}, r"room for 6 positions: 3 .* and 5 .* need 7; make it with"),
        ([*PROMPT, 4], {}, {}, r"holds 4 tokens, the prompt has 3.*cache.truncate\(n\)"),
        (PROMPT[:1], {"batch": 2}, {}, r"has 2 rows for one prompt.*cache.select\(\[row\]\)"),
        ([], {}, {"use_cache": False}, r"cache= .* with use_cache=False.*leave one out"),
        ([], {}, {"loop": decoding_loop}, r"cache= .* with a loop of your own.*leave one out"),
    ],
)
def test_a_cache_that_does_not_fit_is_refused_when_asked_and_left_as_it_is(
    decoder, read, shape, options, message
):
    cache = begun(decoder, read, **shape)
    before = cache.keys.clone()
    with pytest.raises(UserError, match=message):
        generate(decoder, torch.tensor([PROMPT]), 5, cache=cache, **options)
    assert cache.length == len(read)
    assert torch.equal(cache.keys, before)


def test_of_a_context_that_ends_only_what_can_be_made_needs_room(short_decoder):
    cache = begun(short_decoder, PROMPT, room=10)
    assert len(continued(short_decoder, PROMPT, 50, cache=cache)) == 8


# generate, by a loop of one's own


@pytest.mark.parametrize("loop", [decoding_loop, loop_without_cache])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_loop_of_ones_own_makes_the_same_text(decoder, loop, sampling):
    ours, theirs = (
        continued(decoder, PROMPT, 15, sampling=sampling, generator=seeded_generator(2), loop=own)
        for own in (loop, None)
    )
    assert ours == theirs


@pytest.mark.parametrize("loop", [decoding_loop, loop_without_cache])
@pytest.mark.parametrize("ends", ["length", "stop", "eos"])
def test_a_loop_of_ones_own_ends_where_the_library_ends(decoder, loop, ends):
    text = continued(decoder, PROMPT, 8)
    options = {
        "length": {"max_new_tokens": 3},
        "stop": {"max_new_tokens": 8, "stop": lambda token: token == text[2]},
        "eos": {"max_new_tokens": 8, "eos_ids": [text[3]]},
    }[ends]
    generation = generate(decoder, torch.tensor([PROMPT]), loop=loop, **options)
    reasons = [generation.finish_reason for _ in generation]
    assert reasons == [None, None, None if ends == "eos" else ends]
    assert generation.finish_reason == ends


@pytest.mark.parametrize("asks", ["before it yields", "afterwards", "never"])
def test_whenever_a_loop_asks_each_token_counts_once(decoder, asks):
    def loop(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
        for token in generate(model, token_ids, max_new_tokens):
            if asks == "before it yields":
                stop(token)
            yield token
            if asks == "afterwards":
                stop(token)
        return "length" if asks != "never" else None

    llm = TextGeneration(decoder, Chunks([b"a"] * decoder.config.vocabulary), [5, 6], 4, loop=loop)
    assert list(llm) == ["a"] * 4
    assert llm.tokens == list(generate(decoder, torch.tensor([[5, 6]]), 4))
    assert llm.finish_reason == "length"


def test_a_loop_may_choose_by_itself_as_that_of_lesson_05_does(decoder):
    def greedy_loop(model, token_ids, n, choose, eos_ids, stop):
        for _ in range(n):
            token = int(model.head(model.hidden(token_ids)[:, -1]).argmax())
            if token in eos_ids:
                return "eos"
            stops = stop(token)
            yield token
            if stops:
                return "stop"
            token_ids = torch.cat((token_ids, torch.tensor([[token]])), dim=1)
        return "length"

    text = continued(decoder, PROMPT, 8)
    for options in ({}, {"eos_ids": [text[3]]}, {"stop": lambda token: token == text[2]}):
        ours = generate(decoder, torch.tensor([PROMPT]), 8, loop=greedy_loop, **options)
        theirs = generate(decoder, torch.tensor([PROMPT]), 8, **options)
        assert list(ours) == list(theirs)
        assert ours.finish_reason == theirs.finish_reason
