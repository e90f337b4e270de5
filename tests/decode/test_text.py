import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decodeloop.decode import Sampling, TextGeneration, TextStream
from decodeloop.errors import UserError

SPECIAL = 999


class Chunks:
    """A tokenizer whose tokens are any runs of bytes: characters may be split anywhere."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks

    def decode(self, token_ids, skip_special=False):
        assert skip_special
        kept = (self.chunks[token] for token in token_ids if token != SPECIAL)
        return b"".join(kept).decode("utf-8", "replace")


class LeadingSpace:
    """A tokenizer that drops the space before the first token, as SentencePiece's do."""

    words = (" one", " two", " three")

    def decode(self, token_ids, skip_special=False):
        return "".join(self.words[token] for token in token_ids).removeprefix(" ")


def stream(chunks: list[bytes], stop=()) -> tuple[list[str], TextStream]:
    """The pieces of each token, then of the end."""
    text = TextStream(Chunks(chunks), stop)
    return [*(text.push(token) for token in range(len(chunks))), text.finish()], text


def cut(text: str, stops) -> str:
    """`text` up to the stop string that is complete first; of two, the one that begins first."""
    for end in range(len(text) + 1):
        begun = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if begun:
            return text[: min(begun)]
    return text


@st.composite
def split_texts(draw, alphabet):
    """A text, and its bytes cut into random tokens, some of them empty."""
    text = draw(st.text(alphabet, max_size=20))
    data = text.encode()
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return text, [data[a:b] for a, b in itertools.pairwise([0, *cuts, len(data)])]


@given(split_texts(st.characters(codec="utf-8")))
def test_the_pieces_of_any_text_split_anywhere_make_the_text(case):
    text, chunks = case
    pieces, _ = stream(chunks)
    assert "".join(pieces) == text


@settings(max_examples=300)
@given(split_texts("ab€"), st.lists(st.text("ab€", min_size=1, max_size=4), max_size=3))
def test_the_text_ends_at_the_first_stop_string_wherever_it_is_split(case, stops):
    text, chunks = case
    pieces, state = stream(chunks, stops)
    assert "".join(pieces) == cut(text, stops)
    assert state.stopped == any(stop in text for stop in stops)


@given(st.binary(max_size=12), st.data())
def test_bytes_that_are_no_text_come_out_as_when_decoded_at_once(data, cases):
    cuts = sorted(cases.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    chunks = [data[a:b] for a, b in itertools.pairwise([0, *cuts, len(data)])]
    pieces, _ = stream(chunks)
    assert "".join(pieces) == data.decode("utf-8", "replace")


def test_a_character_over_several_tokens_comes_whole():
    pieces, _ = stream([b"a", b"\xf0\x9f", b"\x98", b"\x80", b"b"])
    assert pieces == ["a", "", "", "😀", "b", ""]


def test_half_a_character_at_the_end_is_given_out_by_finish():
    pieces, _ = stream([b"a", b"\xe2\x82"])
    assert pieces == ["a", "", "\ufffd"]


def test_a_stop_string_over_several_tokens_is_never_given_out():
    pieces, state = stream([b"Hi", b"\nUs", b"er", b":", b" more"], ["\nUser:"])
    assert pieces == ["Hi", "", "", "", "", ""]
    assert state.stopped


def test_what_only_began_like_a_stop_string_is_held_back_and_then_released():
    pieces, state = stream([b"Hi\n", b"Us", b"able"], ["\nUser:"])
    assert pieces == ["Hi", "", "\nUsable", ""]
    assert not state.stopped


def test_what_is_held_back_at_the_end_is_released():
    pieces, state = stream([b"Hi\nUse"], ["\nUser:"])
    assert pieces == ["Hi", "\nUse"]
    assert not state.stopped


def test_a_stop_string_inside_one_token_cuts_it():
    pieces, state = stream([b"one. two"], [". "])
    assert pieces == ["one", ""]
    assert state.stopped


def test_a_stop_string_that_begins_again_is_found():
    pieces, _ = stream([b"a", b"a", b"a", b"b"], ["aab"])
    assert pieces == ["", "", "a", "", ""]


@pytest.mark.parametrize("chunks", [[b"xabc"], [b"x", b"a", b"b", b"c"], [b"xab", b"c"]])
def test_of_several_stop_strings_the_one_complete_first_ends_the_text(chunks):
    pieces, _ = stream(chunks, ["abc", "b"])
    assert "".join(pieces) == "xa"


def test_one_stop_string_need_not_be_in_a_list():
    pieces, _ = stream([b"one, two"], ", ")
    assert "".join(pieces) == "one"


def test_special_tokens_have_no_text_and_split_no_character():
    text = TextStream(Chunks([b"a\xc3", b"\xa9"]))
    assert [text.push(token) for token in (SPECIAL, 0, SPECIAL, 1)] == ["", "", "", "aé"]


def test_a_space_that_depends_on_the_token_before_is_kept():
    text = TextStream(LeadingSpace())
    assert [text.push(token) for token in (0, 1, 2)] == ["one", " two", " three"]


def test_finishing_twice_gives_nothing_more():
    text = TextStream(Chunks([b"a\n"]), ["\n\n"])
    assert [text.push(0), text.finish(), text.finish()] == ["a", "\n", ""]


@pytest.mark.parametrize("stop", ["", [""], ["ok", ""]])
def test_an_empty_stop_string_is_refused(stop):
    with pytest.raises(UserError, match="a stop string is empty: expected at least one character"):
        TextStream(Chunks([]), stop)


# TextGeneration


class Scripted:
    """A sampling that chooses what a script says, so that the text is known."""

    def __init__(self, tokens) -> None:
        self.tokens = iter(tokens)

    def choose(self, logits, token_ids, generator=None):
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
