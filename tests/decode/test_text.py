import itertools
from dataclasses import dataclass

import pytest
import torch
from stand_ins import Chunks

from decodeloop.decode import Beam, Sampling, TextGeneration, prefill, search, stream
from decodeloop.errors import UserError


class Scripted:
    """A sampling that chooses what a script says, so that the text is known."""

    def __init__(self, tokens) -> None:
        self.tokens = iter(tokens)

    def choose(self, logits, token_ids, generator=None, prompt=0):
        return torch.tensor([next(self.tokens)])


def scripted(model, chunks: list[bytes], max_new_tokens: int | None = None, **options):
    script = range(len(chunks))
    limit = len(chunks) if max_new_tokens is None else max_new_tokens
    return TextGeneration(
        model, Chunks(chunks), [5, 6, 7], limit, sampling=Scripted(script), **options
    )


def test_a_generation_knows_its_tokens_its_text_and_its_times(tiny_decoder):
    generation = scripted(tiny_decoder, [b"a", b"\xc3", b"\xa9", b"b"])
    assert generation.finish_reason is None
    assert generation.ttft_s is None
    assert generation.tokens_per_s is None
    pieces = list(generation)
    assert pieces == ["a", "é", "b"]  # a token without text of its own makes no piece
    assert generation.text == "aéb"
    assert generation.tokens == [0, 1, 2, 3]
    assert generation.finish_reason == "length"
    assert generation.prompt_tokens == 3
    assert generation.ttft_s > 0
    assert len(generation.itl_s) == 3
    assert min(generation.itl_s) > 0
    assert generation.tokens_per_s == pytest.approx(3 / sum(generation.itl_s))


def test_text_and_tokens_grow_with_the_pieces(tiny_decoder):
    generation = scripted(tiny_decoder, [b"a", b"b"])
    assert next(generation) == "a"
    assert (generation.text, generation.tokens, generation.finish_reason) == ("a", [0], None)
    assert next(generation) == "b"
    assert (generation.text, generation.tokens, generation.finish_reason) == (
        "ab",
        [0, 1],
        "length",
    )


def test_it_can_be_read_whole_shown_in_a_cell_and_closed(tiny_decoder, capsys):
    chunks = [b"a", b"\xc3", b"\xa9", b"b"]
    assert scripted(tiny_decoder, chunks).read() == "aéb"
    scripted(tiny_decoder, chunks)._ipython_display_()
    assert capsys.readouterr().out == "aéb\n"
    left = scripted(tiny_decoder, chunks)
    next(left)
    left.close()
    assert (left.text, left.tokens, left.finish_reason) == ("a", [0], None)
    assert list(left) == []


def test_what_the_reader_does_between_pieces_is_not_counted(tiny_decoder, monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr("decodeloop.decode.text.time.perf_counter", lambda: next(clock))
    generation = scripted(tiny_decoder, [b"a", b"b", b"c"])
    for _ in generation:
        for _ in range(100):
            next(clock)
    assert generation.ttft_s == 1
    assert generation.itl_s == [1, 1]


def test_a_stop_string_ends_the_generation(tiny_decoder):
    generation = scripted(tiny_decoder, [b"on", b"e\n", b"\ntwo", b"three"], stop=["\n\n"])
    assert "".join(generation) == generation.text == "one"
    assert generation.finish_reason == "stop"
    assert generation.tokens == [0, 1, 2]


def test_the_end_of_sequence_token_ends_it_and_releases_what_was_held(tiny_decoder):
    generation = scripted(tiny_decoder, [b"one\n", b"never"], stop=["\n\n"], eos_ids=[1])
    assert list(generation) == ["one", "\n"]
    assert generation.finish_reason == "eos"
    assert generation.tokens == [0]


def test_the_length_ends_it_and_releases_what_was_held(tiny_decoder):
    generation = scripted(tiny_decoder, [b"one\n", b"\xe2", b"never"], 2, stop=["\n\n"])
    assert "".join(generation) == generation.text == "one\n\ufffd"
    assert generation.finish_reason == "length"


def test_a_stop_string_before_half_a_character_is_a_stop_too(tiny_decoder):
    generation = scripted(tiny_decoder, [b"one\n\n\xe2"], stop=["\n\n"])
    assert "".join(generation) == generation.text == "one"
    assert generation.finish_reason == "stop"


@pytest.mark.parametrize("use_cache", [True, False])
def test_sampling_generator_and_cache_reach_the_loop(decoders, use_cache):
    def tokens(seed):
        generation = TextGeneration(
            decoders[3],
            Chunks([b"x"] * decoders[3].config.vocabulary),
            [1, 2],
            12,
            sampling=Sampling(temperature=1.0),
            generator=torch.Generator().manual_seed(seed),
            use_cache=use_cache,
        )
        list(generation)
        return generation.tokens

    assert tokens(0) == tokens(0) != tokens(1)


@pytest.mark.parametrize(
    ("prompt", "limit", "stop", "message"),
    [
        ([], 4, (), r"token_ids \(1, 0\)"),
        ([1], 0, (), "max_new_tokens is 0"),
        ([1], 4, [""], "a stop string is empty"),
        ([1, 97], 4, (), "token id 97 is outside the vocabulary"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(tiny_decoder, prompt, limit, stop, message):
    with pytest.raises(UserError, match=message):
        TextGeneration(tiny_decoder, Chunks([]), prompt, limit, stop=stop)


def test_the_real_model_speaks_whole_characters_and_ends_its_turn(smollm2):
    prompt = smollm2.prompt_ids("Answer with one word: what is the capital of France?")
    generation = TextGeneration(
        smollm2.model, smollm2.tokenizer, prompt, 12, eos_ids=smollm2.eos_ids
    )
    pieces = list(generation)
    assert "Paris" in generation.text
    assert "".join(pieces) == generation.text
    assert generation.text == smollm2.tokenizer.decode(generation.tokens, skip_special=True)


# with a cache that has read something, and a whole model


@dataclass
class Spoken:
    """A loaded model whose tokens are letters, and whose prompts are their own bytes."""

    model: object
    tokenizer: object
    eos_ids: tuple[int, ...] = ()

    def prompt_ids(self, prompt, raw=False):
        return [1, *prompt.encode(), 2]


@pytest.fixture(scope="module")
def llm(decoder):
    return Spoken(decoder, Chunks([bytes([33 + token]) for token in range(97)]))


@pytest.mark.parametrize("read", [0, 1, 3, 5])
def test_a_cache_that_has_read_a_beginning_changes_no_text(llm, read):
    cache = llm.model.new_cache(1, 20)
    prompt = llm.prompt_ids("AB!")
    if read:
        prefill(llm.model, torch.tensor([prompt[:read]]), cache)
    ours, theirs = stream(llm, "AB!", 9, cache=cache), stream(llm, "AB!", 9)
    assert list(ours) == list(theirs)
    assert ours.tokens == theirs.tokens
    assert cache.length == len(prompt) + 8


def test_a_cache_of_too_little_room_is_refused_before_anything_runs(llm):
    with pytest.raises(UserError, match=r"room for 12 positions.*need 13; make it with new_cache"):
        stream(llm, "AB!", 9, cache=llm.model.new_cache(1, 12))


def test_a_found_text_is_cut_before_a_stop_string_and_its_tokens_are_not(llm):
    whole = search(llm, "AB!", 6, beams=2)
    assert (whole.prompt_tokens, len(whole.tokens), whole.finish_reason) == (5, 6, "length")
    assert len(set(whole.text)) > 2
    cut = search(llm, "AB!", 6, beams=2, stop=[whole.text[2:4]])
    assert cut.text == whole.text[: whole.text.index(whole.text[2:4])]
    assert (cut.tokens, cut.score, cut.finish_reason) == (whole.tokens, whole.score, "stop")


@pytest.mark.parametrize(
    ("found", "text", "reason"),
    [
        ([40, 41, 42], "IJK", "length"),
        ([40, 41], "IJ", "eos"),
        ([], "", "eos"),
        (Beam([40, 41], "eos", -1.0), "IJ", "eos"),
        (Beam([40, 41], "length", -1.0), "IJ", "length"),  # where the context ended
    ],
)
def test_a_search_of_ones_own_may_give_the_tokens_alone(llm, found, text, reason):
    answer = search(llm, "AB!", 3, beams=2, beam_search=lambda *asked: found)
    assert (answer.text, answer.finish_reason) == (text, reason)
    assert answer.score == (-1.0 if isinstance(found, Beam) else None)
