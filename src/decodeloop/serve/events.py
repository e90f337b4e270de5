"""What a stream to a reader is made of: events in a stream of bytes, text that may be sent already,
and a reader who leaves.

Server-sent events are those of the HTML Living Standard, as far as data goes. Built in lesson 24.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from decodeloop.decode.text_stream import UNFINISHED, overlap

END = "[DONE]"  # the data of the last event, by OpenAI's convention


def event(data: str) -> bytes:
    r"""One server-sent event. Data of several lines is several `data` fields.

    >>> event("one\ntwo")
    b'data: one\ndata: two\n\n'
    """
    fields = "".join(f"data: {line}\n" for line in data.split("\n"))
    return f"{fields}\n".encode()


def sse_events(chunks: Iterable[bytes]) -> Iterator[str]:
    r"""The data of each server-sent event, however the stream of bytes is cut.

    An empty line ends an event. Lines end with ``\n``, ``\r\n`` or ``\r``; of the fields only
    ``data`` counts here, comments (``: …``) keep a connection alive, and an event that the stream
    breaks off is dropped.

    >>> list(sse_events([b"data: o", b"ne\n\nda", b"ta: two\n\n: alive\n\ndata: lost"]))
    ['one', 'two']
    """
    data: list[str] = []
    for line in lines_of(chunks):
        name, _, value = line.partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []


def lines_of(chunks: Iterable[bytes]) -> Iterator[str]:
    """The whole lines of a stream of bytes, without their ends. A character may be cut anywhere, a
    line end of two bytes too; what does not end is no line."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        whole = rest.removesuffix(b"\r")  # it may be half of a line end
        held = rest[len(whole) :]
        *lines, last = whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace")
        rest = last + held
    if rest.endswith(b"\r"):
        yield rest[:-1].decode("utf-8", "replace")


def hold_back(text: str, stop: Sequence[str], ended: bool = False) -> tuple[int, bool]:
    """How many characters of a text may be sent, while it grows; and whether a stop string ends it.

    Neither a stop string, nor what may become one, nor half a character (U+FFFD at the end) is
    sent. Of several stop strings that are there, the one that was complete first counts. With
    `ended`, no more will come.

    >>> hold_back("so it is. E", ["END"]), hold_back("so it is. END", ["END"])
    ((10, False), (10, True))
    """
    found = [(at + len(s), at) for s in stop if (at := text.find(s)) >= 0]
    if found:
        return min(found)[1], True
    if ended:
        return len(text), False
    whole = len(text.rstrip(UNFINISHED))
    return whole - max((overlap(text[:whole], s) for s in stop), default=0), False


class Ending(Protocol):
    """What comes of a text: something of one number, the last of it or not."""

    @property
    def number(self) -> Any: ...
    @property
    def ended(self) -> bool: ...


Came = TypeVar("Came", bound=Ending)


async def on_disconnect(
    events: AsyncIterator[Came], numbers: Iterable[int], abort: Callable[[int], object]
) -> AsyncIterator[Came]:
    """Pass on what comes of some texts, and abort those that have not ended when it is over.

    A server closes what it reads from when a client is gone, or when sending fails; the reason is
    the same to the engine, which must not go on for nobody.
    """
    left = set(numbers)
    try:
        async for came in events:
            if came.ended:
                left.discard(came.number)
            yield came
    finally:
        for number in sorted(left):
            abort(number)
