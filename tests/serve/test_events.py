"""Events in a stream of bytes, text that may be sent, and a reader who leaves."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stand_ins import Chunks

from decodeloop.decode import TextStream
from decodeloop.serve import event, hold_back, on_disconnect, sse_events

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=12)


def cut(data, places):
    places = sorted({p % (len(data) + 1) for p in places})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


# events


@given(st.lists(texts, max_size=5), st.lists(st.integers(0, 999), max_size=8))
def test_what_is_framed_is_read_again_wherever_it_is_cut(said, places):
    stream = b"".join(map(event, said))
    assert list(sse_events(cut(stream, places))) == said


@given(
    st.lists(texts.filter(lambda t: "\n" not in t), max_size=4),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(0, 999), max_size=8),
)
def test_any_line_end_will_do(said, end, places):
    stream = "".join(f"data:{' ' * (i % 2)}{text}{end}{end}" for i, text in enumerate(said))
    expected = [t if i % 2 or not t.startswith(" ") else t[1:] for i, t in enumerate(said)]
    assert list(sse_events(cut(stream.encode(), places))) == expected


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b": alive\n\ndata: a\n\n", ["a"]),
        (b"event: x\nid: 7\nretry: 3\ndata: a\n\n", ["a"]),
        (b"data: a\ndata: b\n\n", ["a\nb"]),
        (b"data\n\n", [""]),
        (b"data:  two blanks\n\n", [" two blanks"]),
        (b"data: a: b\n\n", ["a: b"]),
        (b"\n\n\ndata: a\n\n\n", ["a"]),
        (b"database: a\n\n", []),
        (b"data: lost", []),
        (b"data: lost\n", []),
        (b"data: \xff\n\n", ["\ufffd"]),
    ],
)
def test_what_is_no_data_is_passed_over(stream, expected):
    assert list(sse_events([stream])) == expected
    assert list(sse_events(bytes([b]) for b in stream)) == expected


def test_an_event_is_there_as_soon_as_its_last_byte_is():
    chunks = iter([b"data: a\n", b"\n", b"data: b\n\n"])
    events = sse_events(chunks)
    assert next(events) == "a"
    assert next(chunks) == b"data: b\n\n"


# text that may be sent

stops = st.lists(st.text("ab.", min_size=1, max_size=3), max_size=3)


@given(st.text("ab.é", max_size=12), stops, st.lists(st.integers(0, 99), max_size=6))
def test_it_gives_what_the_text_stream_gives(text, stop, places):
    """However the tokens cut characters, the two agree after each of them, and at the end."""
    chunks = [chunk for chunk in cut(text.encode(), places) if chunk]
    stream, shown, so_far = TextStream(Chunks(chunks), stop), "", b""
    for token, chunk in enumerate(chunks):
        so_far += chunk
        shown += stream.push(token)
        known = so_far.decode("utf-8", "replace")
        count, stopped = hold_back(known, stop)
        assert (known[:count], stopped) == (shown, stream.stopped)
        if stopped:
            return
    assert hold_back(text, stop, ended=True) == (len(shown + stream.finish()), False)


# a reader who leaves


@dataclass(frozen=True)
class Came:
    number: int
    ended: bool = False


def run(coroutine):
    """What a coroutine gives that waits for nobody."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


async def source(items):
    for item in items:
        yield item


EVENTS = [Came(0), Came(1, True), Came(0), Came(0, True)]


@pytest.mark.parametrize(
    ("read", "aborted"), [(0, []), (1, [0, 1]), (2, [0]), (3, [0]), (4, []), (5, [])]
)
def test_who_leaves_aborts_what_has_not_ended(read, aborted):
    gone = []
    passed = on_disconnect(source(EVENTS), [0, 1], gone.append)
    got = [run(anext(passed)) for _ in range(min(read, 4))]
    if read == 5:
        with pytest.raises(StopAsyncIteration):
            run(anext(passed))
    run(passed.aclose())
    assert got == EVENTS[:read]
    assert gone == aborted


def test_an_error_while_sending_aborts_too_and_is_not_swallowed():
    gone = []
    passed = on_disconnect(source(EVENTS), [0, 1], gone.append)
    run(anext(passed))
    with pytest.raises(ConnectionError):
        run(passed.athrow(ConnectionError()))
    assert gone == [0, 1]


def test_what_fails_at_its_source_is_aborted():
    gone = []

    async def failing():
        yield Came(0)
        raise ZeroDivisionError

    passed = on_disconnect(failing(), [0, 3], gone.append)
    run(anext(passed))
    with pytest.raises(ZeroDivisionError):
        run(anext(passed))
    assert gone == [0, 3]
