import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import SPECIAL, SPECIAL_NAME, Chunks
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models

from decodeloop.checkpoints import Tokenizer
from decodeloop.decode import TextStream
from decodeloop.errors import UserError


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


def test_a_stop_string_in_a_token_that_ends_in_half_a_character_is_not_given_out():
    pieces, state = stream([b"Hi", b" " + "日".encode()[:2]], [" "])
    assert pieces == ["Hi", "", ""]
    assert state.stopped


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


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        ([SPECIAL_NAME], "ab"),
        (["b" + SPECIAL_NAME], "a"),
        ([SPECIAL_NAME + "c"], "ab"),
        ([SPECIAL_NAME + "d"], "abcd"),
        (["d", SPECIAL_NAME + "x"], "abc"),
    ],
)
def test_a_stop_string_finds_special_tokens_where_they_stand(stop, text):
    state = TextStream(Chunks([b"a", b"b", b"c", b"d"]), stop)
    pieces = [state.push(token) for token in (0, 1, SPECIAL, 2, 3)] + [state.finish()]
    assert "".join(pieces) == text
    assert state.stopped == (text != "abcd")


def test_a_stop_string_that_is_a_special_token_ends_real_text():
    """vLLM had it too: special tokens are left out of the text that is searched."""
    backend = Backend(models.WordLevel({"one": 0, "two": 1, "<|im_start|>": 2}, unk_token="one"))
    backend.add_special_tokens(["<|im_start|>"])
    state = TextStream(Tokenizer(backend), ["<|im_start|>"])
    assert [state.push(0), state.push(2), state.push(1), state.finish()] == ["one", "", "", ""]
    assert state.stopped


def test_a_special_token_between_words_takes_no_space_away():
    backend = Backend(models.WordLevel({"▁one": 0, "▁two": 1, "<pad>": 2}, unk_token="<pad>"))
    backend.add_special_tokens(["<pad>"])
    backend.decoder = decoders.Metaspace()
    tokenizer = Tokenizer(backend)
    state = TextStream(tokenizer)
    ids = [0, 2, 1, 2, 2, 1]
    pieces = [state.push(token) for token in ids]
    assert pieces == ["one", "", " two", "", "", " two"]
    assert "".join(pieces) == tokenizer.decode(ids, skip_special=True)


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
