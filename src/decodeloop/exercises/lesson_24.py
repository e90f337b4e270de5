"""Exercises of lesson 24: events out of bytes, text that may be sent, who is let in, who left."""

from __future__ import annotations

import math
import statistics  # noqa: F401, the edits use it
from asyncio import CancelledError
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import chain  # noqa: F401, the edits use it
from typing import Any

from decodeloop import serve
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Candidate, Case, Exercise, Mistake, beside, call, trial
from decodeloop.exercises.lending import lend
from decodeloop.serve.answer import Piece

LESSON = "24_serving"
HALF = "\ufffd"
WHEN = "how many chunks had come when each was given"

# --- sse_events -----------------------------------------------------------------------------------


def line_by_line(chunks: Iterable[bytes]) -> Iterator[str]:
    """A right one."""
    rest, data = b"", list[str]()
    for chunk in chunks:
        rest += chunk
        *lines, rest = rest.split(b"\n")
        for raw in lines:
            line = raw.removesuffix(b"\r").decode()
            if line.startswith("data:"):
                data.append(line[5:].removeprefix(" "))
            elif not line and data:
                yield "\n".join(data)
                data = []


def read_all(candidate: Candidate, chunks: list[bytes], events: list[str]) -> Any:
    """What it gives, and how many chunks it had taken when it gave each."""
    taken = 0

    def coming() -> Iterator[bytes]:
        nonlocal taken
        for chunk in chunks:
            taken += 1
            yield chunk

    came = [(event, taken) for event in candidate(coming())]
    return {"the events": [event for event, _ in came], WHEN: [number for _, number in came]}


def as_soon_as_whole(chunks: list[bytes], events: list[str]) -> Any:
    """The events as they were written into the stream, each with the first chunk by which as many
    events are complete."""
    found: list[int] = []
    for number in range(1, len(chunks) + 1):
        stream = b"".join(chunks[:number]).replace(b"\r\n", b"\n")
        blocks = stream.split(b"\n\n")[:-1]
        whole = sum(b"data:" in b"\n" + block and b"\ndata:" in b"\n" + block for block in blocks)
        found += [number for _ in events[len(found) : whole]]
    return {"the events": events, WHEN: found}


def cut_at(stream: str, *places: int) -> list[bytes]:
    data = stream.encode()
    ends = [*places, len(data)]
    return [data[a:b] for a, b in zip([0, *places], ends, strict=True)]


def by_chunk(chunks: Iterable[bytes]) -> Iterator[str]:
    """The wrong one of the lesson: nothing is kept."""
    for chunk in chunks:
        for line in chunk.decode("utf-8", "replace").splitlines():
            if line.startswith("data: "):
                yield line[6:]


SSE_EVENTS = Exercise(
    name="sse_events",
    lesson=LESSON,
    library=serve.sse_events,
    minutes=10,
    difficulty=2,
    cases=tuple(
        replace(trial(label, read_all, as_soon_as_whole, chunks, events), inputs=(chunks,))
        for label, chunks, events in (
            ("two events in two chunks", [b"data: one\n\n", b"data: two\n\n"], ["one", "two"]),
            ("two events in one chunk", [b"data: one\n\ndata: two\n\n"], ["one", "two"]),
            ("cut within a line", cut_at("data: one\n\ndata: two\n\n", 3, 8, 15), ["one", "two"]),
            ("cut between the line ends", cut_at("data: one\n\ndata: two\n\n", 10), ["one", "two"]),
            ("a byte at a time", cut_at("data: é 1\n\n", *range(1, 12)), ["é 1"]),
            ("cut within a character", cut_at("data: año\n\n", 8), ["año"]),
            (
                "lines that end with \\r\\n",
                cut_at("data: a\r\n\r\ndata: b\r\n\r\n", 9, 15),
                ["a", "b"],
            ),
            (
                "cut between \\r and \\n",
                cut_at("data: one\r\n\r\ndata: two\r\n\r\n", 10, 23),
                ["one", "two"],
            ),
            (
                "\\r\\n, a byte at a time but for the empty line",
                cut_at("data: a\r\n\r\ndata: b\r\n\r\n", *range(1, 10), *range(11, 21)),
                ["a", "b"],
            ),
            ("an event of two lines", [b"data: one\ndata: two\n\ndata: 3\n\n"], ["one\ntwo", "3"]),
            (
                "a comment that keeps it alive",
                [b": alive\n\n", b"data: a\n\n", b": alive\n\n"],
                ["a"],
            ),
            ("other fields", [b"event: token\nid: 7\ndata: a\nretry: 9\n\n"], ["a"]),
            ("no blank after the colon", [b"data:a\n\ndata:  b \n\n"], ["a", " b "]),
            ("colons in the data", [b'data: {"text": "12:30"}\n\n'], ['{"text": "12:30"}']),
            ("the end that OpenAI says", [b"data: a\n\n", b"data: [DONE]\n\n"], ["a", "[DONE]"]),
            ("an event without text", [b"data:\n\ndata: a\n\n"], ["", "a"]),
            ("its lines in two chunks", [b"data: a\n", b"data: b\n\n"], ["a\nb"]),
            ("broken off", [b"data: one\n\n", b"data: tw"], ["one"]),
            ("broken off behind its line", [b"data: one\n\ndata: two\n"], ["one"]),
            ("a field of another name", [b"database: x\n\ndata: a\n\n"], ["a"]),
            ("a line separator of Unicode", ["data: a\u2028b\n\n".encode()], ["a\u2028b"]),
            ("data as text in the data", [b"data: the data: field\n\n"], ["the data: field"]),
            ("nothing", [], []),
        )
    ),
    mistakes=(
        Mistake(
            "chunk by chunk",
            "You read each chunk by itself. A network cuts anywhere, also within a line or a "
            "character: keep what is no whole line, and the lines of an event that is not over.",
            by_chunk,
        ),
        *edits(
            line_by_line,
            r"""
## each chunk by itself
- rest += chunk
+ rest = chunk
You forget what the last chunk left over. A network cuts anywhere, also within a line: keep the part
behind the last line end, and put the next chunk behind it.
## a chunk decoded by itself
- rest += chunk
+ rest += chunk.decode("utf-8", "replace").encode()
You decode each chunk. A character of several bytes may be cut in two: decode whole lines.
## a half that is left out
- rest += chunk
+ rest += chunk.decode("utf-8", "ignore").encode()
You decode each chunk, and a character that is cut in two is left out: decode whole lines.
## the lines of an event by chunk
- rest += chunk
+ rest += chunk
+ data = []
You begin a new list of `data` lines with each chunk. The lines of one event may come in two.
## line ends made alike in each chunk
- rest += chunk
+ rest += chunk.replace(b"\r\n", b"\n")
- raw.removesuffix(b"\r").decode() → raw.decode()
You look for `\r\n` in each chunk. It may be cut in two as well: `\r` ends one chunk, and the next
begins with `\n`. Look at whole lines, or at the chunk together with what is left of the last.
## the other line end
- raw.removesuffix(b"\r").decode() → raw.decode()
Lines may end with `\r\n`: your line keeps the `\r`, and the empty line is not empty.
## every line an event
- elif not line and data:
-     yield "\n".join(data)
-     data = []
+     yield data.pop()
You give an event for each `data` line. The event is over at the empty line, and may have several.
## lines put together without a break
- "\n".join → "".join
The lines of one event belong together with a line break between them.
## all blanks taken off
- line[5:].removeprefix(" ") → line[5:].strip()
One blank after the colon is not data. All others are: a token may begin with a blank, or be one.
## all blanks at the beginning
- line[5:].removeprefix(" ") → line[5:].lstrip()
One blank after the colon is not data. All others are: a token may begin with a blank.
## only with a blank
- line.startswith("data:") → line.startswith("data: ")
- line[5:].removeprefix(" ") → line[6:]
The blank after the colon may be missing: `data:a` has the data `a`.
## the blank kept
- line[5:].removeprefix(" ") → line[5:]
One blank after the colon belongs to the frame, not to the data.
## one character taken off
- line[5:].removeprefix(" ") → line[6:]
You take off a character behind the colon, also where it is none of the frame: only a blank is.
## the last one without its end
- for chunk in chunks: → for chunk in chain(chunks, [b"\n\n"]):
What the stream breaks off is no event: half of an answer would be taken for a whole one.
## a line without its end
- for chunk in chunks: → for chunk in chain(chunks, [b"\n"]):
At the end you give the lines that are left. Without its empty line an event is not complete: the
stream was broken off.
## never emptied
- data = [] → pass
Each event still has the lines of those before it: begin a new list when an event is over.
## empty events
- elif not line and data: → elif not line:
A comment, or a second empty line, is no event: give one only if there was a `data` line.
## an event without text is none
- yield "\n".join(data)
+ if any(data):
+     yield "\n".join(data)
A `data` line without text is an event too, of no characters.
## the end not passed on
- yield "\n".join(data)
+ if data == ["[DONE]"]:
+     return
+ yield "\n".join(data)
`[DONE]` is data like any other. What it means is the affair of whoever reads the events.
## any field
- if line.startswith("data:"): → if ":" in line:
- line[5:] → line.partition(":")[2]
Only the field `data` counts. You take all fields, and comments.
## any field that begins so
- line.startswith("data:") → line.startswith("data")
- line[5:] → line.partition(":")[2]
The name of the field is everything before the colon: `database` is another one.
## only up to the next colon
- line[5:] → line.split(":")[1]
You split at every colon. The first one ends the name; the others are data.
## split at every kind of line end
- *lines, rest = rest.split(b"\n")
- for raw in lines:
+ whole, end, rest = rest.rpartition(b"\n")
+ for raw in [x.encode() for x in (whole + end).decode().splitlines()]:
`str.splitlines` also splits at characters such as U+2028, which may stand in the data. Split bytes at
`\n`.
## only when all is there
- for chunk in chunks: → for chunk in [b"".join(chunks)]:
You wait for the whole stream. Give each event as soon as it is complete: a reader watches.
## an event too late
- rest += chunk
- *lines, rest = rest.split(b"\n")
+ *lines, rest = rest.split(b"\n")
+ rest += chunk
You look at a chunk only when the next one comes. An event that is complete must be given at once.
## searched anywhere in the line
- if line.startswith("data:"): → if "data:" in line:
- line[5:] → line.split("data:")[-1]
`data:` counts at the beginning of a line. Elsewhere it is text like any other.
""",
        ),
    ),
    hints=(
        "Two things are kept from chunk to chunk: bytes that are no whole line yet, and the `data` "
        "lines of an event that is not over. What ends a line? What ends an event?",
        "`*lines, rest = rest.split(b'\\n')` gives the whole lines, and what is left behind the last "
        "line end. Decode a line, never a chunk.",
        "For each line: `data:` at its beginning → append the rest, less one blank. Empty, and there "
        "is data → yield the lines joined by a line break, and begin a new list. All else: nothing.",
    ),
)

# --- hold_back ------------------------------------------------------------------------------------


def most_that_is_safe(text: str, stop: Sequence[str], ended: bool = False) -> tuple[int, bool]:
    """Brute force: the text grows a character at a time; of what is there at last, the longest
    beginning from which no stop string could still come."""
    for end in range(len(text) + 1):
        begins = [i for i in range(end) if text[i:end] in stop]
        if begins:
            return min(begins), True
    whole = text if ended else text.rstrip(HALF)

    def safe(count: int) -> bool:
        return ended or not any(s.startswith(whole[i:]) for i in range(count) for s in stop)

    return max(count for count in range(len(whole) + 1) if safe(count)), False


def the_end_looked_at(text: str, stop: Sequence[str], ended: bool = False) -> tuple[int, bool]:
    """A right one."""
    found = [(text.find(s) + len(s), text.find(s)) for s in stop if s in text]
    if found:
        return min(found)[1], True
    if ended:
        return len(text), False
    text = text.rstrip(HALF)
    held = 0
    for s in stop:
        for n in range(1, len(s)):
            if text.endswith(s[:n]):
                held = max(held, n)
    return len(text) - held, False


def by_name(answer: Any) -> Any:
    """A pair with names, for the message; anything else as it is."""
    pair = isinstance(answer, list | tuple) and len(answer) == 2
    return dict(zip(("count", "stopped"), answer, strict=True)) if pair else answer


def asked(label: str, *inputs: Any) -> Case:
    return Case(
        label,
        lambda candidate: by_name(lend(candidate, *inputs)),
        lambda: by_name(most_that_is_safe(*inputs)),
        inputs,
    )


HOLD_BACK = Exercise(
    name="hold_back",
    lesson=LESSON,
    library=serve.hold_back,
    minutes=10,
    difficulty=2,
    cases=tuple(
        asked(label, *inputs)
        for label, inputs in (
            ("nothing in the way", ("So it is", ["END"])),
            ("the beginning of a stop string", ("So it is. E", ["END"])),
            ("more of it", ("So it is. EN", ["END"])),
            ("a stop string", ("So it is. END", ["END"])),
            ("a stop string, and more behind it", ("So it is. END. Not this", ["END"])),
            ("a beginning that came to nothing", ("EN route", ["END"])),
            ("no stop strings", ("So it is", [])),
            ("the longer of two beginnings", ("wait...", ["....!", "..?"])),
            ("a beginning within a beginning", ("abab", ["ababc"])),
            ("the second one begins", ("So it is\n", ["END", "\n\n"])),
            ("the second one is there", ("a\n\nb", ["END", "\n\n"])),
            ("one was complete before the other", ("xabcdy", ["abcd", "bc"])),
            ("the later one in the text stands first in the list", ("a. b, c", [",", "."])),
            ("two at once", ("xab", ["b", "ab"])),
            ("twice", ("one END two END", ["END"])),
            ("half a character", ("caf" + HALF, ["END"])),
            ("several halves", ("ok " + HALF * 3, [])),
            ("half a character behind a beginning", ("is. EN" + HALF, ["END"])),
            ("half a character at the end of all", ("caf" + HALF, ["END"], True)),
            ("a beginning at the end of all", ("So it is. EN", ["END"], True)),
            ("a stop string at the end of all", ("So it is. END", ["END"], True)),
            ("a stop string of one character", ("one. two", ["."])),
            ("a half in the middle", ("a" + HALF + "b", ["END"])),
            ("all of it may be a beginning", ("EN", ["END"])),
            ("nothing yet", ("", ["END"])),
            ("a long beginning", ("note: </answ", ["</answer>", "</a>"])),
        )
    ),
    mistakes=edits(
        the_end_looked_at,
        """
## as much as the longest
- held = 0
+ held = min(len(text), max((len(s) - 1 for s in stop), default=0))
You hold back as many characters as a stop string could need, always. Hold back only what really is
the beginning of one: a reader waits for every character.
## the stop string sent
- return min(found)[1], True → return min(found)[0], True
The stop string itself is not sent: the text ends where it begins.
## the first of the list
- return min(found)[1], True → return found[0][1], True
Of several that are there you take the first of the list. The one that was complete first counts: it
would have ended the text before the other came.
## the one that begins first
- return min(found)[1], True → return min(begin for _, begin in found), True
Of several that are there the one that was *complete* first counts, not the one that begins first.
## the shorter of two
- min(found)[1], True → -min((end, -begin) for end, begin in found)[1], True
Of two that end at the same place the longer one counts: it begins first, and none of it is sent.
## only at the end
- found = [(text.find(s) + len(s), text.find(s)) for s in stop if s in text]
+ found = [(len(text), len(text) - len(s)) for s in stop if text.endswith(s)]
You look for a stop string at the end of the text alone. A token may bring more behind it.
## the last occurrence
- (text.find(s) + len(s), text.find(s)) → (text.rfind(s) + len(s), text.rfind(s))
A stop string may stand there twice: its first occurrence ends the text.
## only whole stop strings
- held = max(held, n) → pass
You hold nothing back. The next token may complete a stop string whose beginning you have sent.
## the last character alone
- range(1, len(s)) → range(1, min(2, len(s)))
You look at the last character alone. Several may be the beginning of a stop string.
## one character too few
- range(1, len(s)) → range(1, len(s) - 1)
All but the last character of a stop string may be there: `n` goes up to `len(s) - 1`, and
`range(1, len(s))` ends there.
## the shortest beginning
- held = max(held, n) → held = held or n
Hold back the *longest* end of the text that is a beginning of a stop string.
## the last beginning that fits
- held = max(held, n) → held = n
A later stop string that needs less takes the place of one that needs more: keep the longest.
## half characters sent
- text = text.rstrip(HALF)
+ pass
A character may be spread over several tokens; what is there of it decodes to U+FFFD. Hold those at
the end back, until it is whole.
## one half only
- text.rstrip(HALF) → text.removesuffix(HALF)
You take off one U+FFFD. Where bytes are broken there are several in a row: hold all of those at the
end back.
## halves everywhere
- text.rstrip(HALF) → text.replace(HALF, "")
Only those at the *end* may still become a character. Others stay as they are.
## from the first half on
- text.rstrip(HALF) → text.split(HALF)[0]
You hold back everything from the first U+FFFD on. Only those at the *end* may still become a
character.
## the larger of the two
- text = text.rstrip(HALF)
- held = 0
+ held = len(text) - len(text.rstrip(HALF))
You hold back the halves or the beginning of a stop string. Both may stand there, `EN` and then half
a character: take off the halves, *then* look how the rest ends.
## halves held for ever
- if ended:
-     return len(text), False
- text = text.rstrip(HALF)
+ text = text.rstrip(HALF)
+ if ended:
+     return len(text), False
With `ended` nothing more comes: half a character is sent as it is.
## still waiting at the end
- if ended:
-     return len(text), False
- text = text.rstrip(HALF)
+ text = text if ended else text.rstrip(HALF)
With `ended` nothing more comes, so nothing can become a stop string: all of the text is sent.
## the end ignored
- if ended:
-     return len(text), False
With `ended` nothing more comes: half a character, or the beginning of a stop string, is sent as it
is.
## no stop at the end
- if found: → if found and not ended:
A stop string ends the text also where nothing more comes.
## one stop string
- found = [
+ stop = list(stop)[:1]
+ found = [
You look at the first stop string alone, for its beginning and for all of it.
## the first stop string alone
- for s in stop: → for s in stop[:1]:
You look for the beginning of the first stop string only.
## stopped too soon
- return len(text) - held, False → return len(text) - held, held > 0
A beginning is held back, it does not stop: the text may go on in another way.
## all or nothing
- return len(text) - held, False → return 0 if held else len(text), False
What stands before the beginning of a stop string may be sent.
## how many are held
- return len(text) - held, False → return held, False
Asked for is how many characters may be *sent*.
## the text itself
- return len(text) - held, False → return text[: len(text) - held], False
Asked for is a number of characters, not the text.
""",
    ),
    hints=(
        "Three questions, in this order. Is a stop string there? Has the text ended? If neither: which "
        "characters at its end may still become something else?",
        "Of the stop strings that are there, the smallest `(where it ends, where it begins)` was "
        "complete first. U+FFFD at the end: `text.rstrip('\\ufffd')`.",
        "For each stop string and each n from 1 to its length less 1: if the text ends with its first "
        "n characters, n of them are held back. The largest n counts.",
    ),
)

# --- admission ------------------------------------------------------------------------------------


def by_what_is_left(
    prompt: int, new: int, here: int, *, longest: int, most: int, draining: bool = False
) -> int:
    """Closed form: positions, places and an open door are counted down."""
    read = prompt + max(new - 1, 0)
    reasons = {
        400: min(prompt, new, longest - read + 1),
        503: 1 - draining,
        429: most - here,
    }
    return next((status for status, left in reasons.items() if left < 1), 200)


def one_after_another(
    prompt: int, new: int, here: int, *, longest: int, most: int, draining: bool = False
) -> int:
    """A right one."""
    if prompt < 1 or new < 1:
        return 400
    if prompt + new - 1 > longest:
        return 400
    if draining:
        return 503
    if here >= most:
        return 429
    return 200


ADMISSION = Exercise(
    name="admission",
    lesson=LESSON,
    library=serve.admission,
    minutes=4,
    difficulty=1,
    cases=tuple(
        call(
            label,
            prompt,
            new,
            here,
            oracle=by_what_is_left,
            longest=longest,
            most=most,
            draining=draining,
        )
        for label, (prompt, new, here, longest, most, draining) in (
            ("room for all", (100, 20, 3, 512, 8, False)),
            ("the last position is filled", (100, 29, 3, 128, 8, False)),
            ("one position too many", (100, 30, 3, 128, 8, False)),
            ("a prompt as long as all positions", (128, 1, 0, 128, 8, False)),
            ("a prompt that is too long", (129, 1, 0, 128, 8, False)),
            ("an answer that is too long", (1, 200, 0, 128, 8, False)),
            ("no prompt", (0, 5, 0, 128, 8, False)),
            ("no answer", (5, 0, 0, 128, 8, False)),
            ("less than none", (5, -3, 0, 128, 8, False)),
            ("the last place", (5, 5, 7, 128, 8, False)),
            ("no place", (5, 5, 8, 128, 8, False)),
            ("more inside than places", (5, 5, 9, 128, 8, False)),
            ("shutting down", (5, 5, 0, 128, 8, True)),
            ("shutting down, and full", (5, 5, 8, 128, 8, True)),
            ("too long, and full", (500, 5, 8, 128, 8, False)),
            ("too long, and shutting down", (500, 5, 0, 128, 8, True)),
            ("no answer, full and shutting down", (5, 0, 9, 128, 8, True)),
            ("a small server", (1, 1, 0, 1, 1, False)),
        )
    ),
    mistakes=edits(
        one_after_another,
        """
## the last token read
- prompt + new - 1 > longest → prompt + new > longest
The last token is never read, so it needs no position: `prompt + new - 1` are needed.
## the prompt alone
- prompt + new - 1 > longest → prompt > longest
The answer needs positions, too: a text that starts must be able to end.
## an empty prompt let in
- prompt < 1 or new < 1 → new < 1
A prompt without tokens has nothing that an answer could follow: 400.
## an empty answer let in
- prompt < 1 or new < 1 → prompt < 1
No token to make is a bad request: 400.
## nothing asked for let in
- if prompt < 1 or new < 1:
-     return 400
A prompt without tokens, or no token to make, is a bad request: 400.
## none is few enough
- new < 1 → new < 0
No token to make is a bad request: 400. At least 1 must be asked for.
## one too many
- here >= most → here > most
With `most` texts inside there is no place: you let in one more.
## a place left free
- here >= most → here + 1 >= most
The last place may be taken.
## full before bad
- if prompt < 1 or new < 1:
+ if here >= most and not draining:
+     return 429
+ if prompt < 1 or new < 1:
A request that can never be answered is told so at once: "try again" would bring it back for ever.
## full before all
- if prompt < 1 or new < 1:
+ if here >= most:
+     return 429
+ if prompt < 1 or new < 1:
That the server is full is the reason that passes first: look at the other two before it.
## shutting down before bad
- if prompt < 1 or new < 1:
+ if draining:
+     return 503
+ if prompt < 1 or new < 1:
A request that can never be answered is told so, also by a server that shuts down: it will be no
better when the server is back.
## full before shutting down
- if draining:
-     return 503
- if here >= most:
-     return 429
+ if here >= most:
+     return 429
+ if draining:
+     return 503
A server that shuts down says so, full or not: to come again in a moment is no use here.
## shutting down for too many
- return 503 → return 429
"Too many requests" invites to try again here. A server that shuts down is unavailable: 503.
## unavailable for too many
- return 429 → return 503
A full server works well: the client is to slow down, and try again here. That is 429.
## drains not at all
- if draining: → if False:
While it drains a server lets nobody in, or it would never come to an end.
## too large for bad
- if prompt + new - 1 > longest:
-     return 400
+ if prompt + new - 1 > longest:
+     return 413
413 is about the size of a body. A request that does not fit the model is a bad one: 400.
## waits for ever
- return 429 → return 200
You let everybody in. A queue without a limit is one in which the last has gone before it is served.
""",
    ),
    hints=(
        "How long does each of the three reasons last: for ever, until the server is started again, "
        "or for a moment? The longest comes first.",
        "Positions: `prompt + new - 1`, since the last token is never read. As many as `longest` fit. "
        "With `here == most` there is no place.",
        "400, then 503, then 429, else 200.",
    ),
)

# --- on_disconnect --------------------------------------------------------------------------------

Came = AsyncIterator[Piece]


def finish(coroutine: Any) -> Any:
    """What a coroutine gives that waits for nobody, without an event loop."""
    for _ in range(1000):
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value
    raise RuntimeError("it waits for something that never comes")


class Forever(Awaitable[None]):
    """What is awaited as the next event of a slow engine: it does not come."""

    def __await__(self) -> Generator[None, None, None]:
        while True:
            yield


def cancel(waiting: Any) -> None:
    """What a server does whose client has left: an error comes up where the task waits."""
    with suppress(StopIteration):
        waiting.send(None)  # now it waits
        waiting.throw(CancelledError())


@beside
def leaving(
    candidate: Candidate, pieces: list[Piece], numbers: list[int], read: int, how: str
) -> Any:
    """What comes of it when a reader takes so many pieces, and then leaves: the task is
    ``cancelled`` as it waits for the next one, the generator ``closed``, an ``error`` thrown into
    it, or it is read to the ``end``; or when the ``source`` fails there."""
    aborted: list[Any] = []
    pulled = 0

    async def source() -> Came:
        nonlocal pulled
        for piece in pieces:
            if how == "source" and pulled == read:
                raise ZeroDivisionError
            if how == "cancelled" and pulled == read:
                await Forever()
            pulled += 1
            yield piece

    def abort(number: Any) -> None:
        aborted.append(number if isinstance(number, int) else [*number])

    passed = candidate(source(), numbers, abort)
    if not hasattr(passed, "__anext__"):  # a function without `yield`
        passed = finish(passed)
    if not hasattr(passed, "__anext__"):
        kind = type(passed).__name__
        raise TypeError(f"it gave {kind}: expected a generator, an `async def` with a `yield`")
    got: list[str] = []
    after = "goes on"
    try:
        while how in ("end", "source") or len(got) < read:
            got.append(finish(passed.__anext__()).text)
        if how == "cancelled":
            cancel(passed.__anext__())
        else:
            finish(passed.aclose() if how == "closed" else passed.athrow(ConnectionError()))
            after = "closed"
    except StopAsyncIteration:
        after = "ended"
    except (ConnectionError, ZeroDivisionError, CancelledError) as error:
        after = type(error).__name__
    return told(got, sorted(aborted, key=str), after, pulled)


def told(passed: list[str], aborted: list[Any], after: str, taken: int) -> dict[str, Any]:
    """What came of it, in the words of the message."""
    return {
        "the texts that were passed on": passed,
        "the numbers that were aborted": aborted,
        "how it ended": after,
        "how many events were taken": taken,
    }


def as_it_should_be(pieces: list[Piece], numbers: list[int], read: int, how: str) -> Any:
    """Closed form: whoever has not ended among the pieces that were read is aborted."""
    taken = len(pieces) if how == "end" else read
    over = {piece.number for piece in pieces[:taken] if piece.ended}
    after = {
        "cancelled": "CancelledError",
        "closed": "closed",
        "error": "ConnectionError",
        "end": "ended",
        "source": "ZeroDivisionError",
    }
    texts = [piece.text for piece in pieces[:taken]]
    return told(texts, sorted(set(numbers) - over), after[how], taken)


async def with_what_is_left(
    events: Came, numbers: Iterable[int], abort: Callable[[int], object]
) -> Came:
    """A right one."""
    left = set(numbers)
    try:
        async for event in events:
            if event.ended:
                left.discard(event.number)
            yield event
    finally:
        for number in left:
            abort(number)


async def careless(events: Came, numbers: Iterable[int], abort: Callable[[int], object]) -> Came:
    """The wrong one of the lesson."""
    try:
        async for event in events:
            yield event
    except Exception:
        for number in numbers:
            abort(number)
        raise


ONE = [Piece(0, "So"), Piece(0, " it"), Piece(0, " is"), Piece(0, ".", finish_reason="eos")]
TWO = [
    Piece(0, "a"),
    Piece(1, "b", finish_reason="stop"),
    Piece(0, "c"),
    Piece(0, "d", finish_reason="length"),
]
BOTH = [Piece(0, "a"), Piece(1, "b"), Piece(0, "c")]
FAILS = [Piece(1, "a"), Piece(0, "b", error=ValueError()), Piece(1, "c"), Piece(1, "d")]

ON_DISCONNECT = Exercise(
    name="on_disconnect",
    lesson=LESSON,
    library=serve.on_disconnect,
    minutes=9,
    difficulty=2,
    cases=tuple(
        trial(label, leaving, as_it_should_be, pieces, numbers, read, how)
        for label, pieces, numbers, read, how in (
            ("read to its end", ONE, [0], 4, "end"),
            ("left after two pieces", ONE, [0], 2, "closed"),
            ("left after the last piece", ONE, [0], 4, "closed"),
            ("cancelled as it waits for the next event", ONE, [0], 2, "cancelled"),
            ("two texts, cancelled when one has ended", TWO, [0, 1], 2, "cancelled"),
            ("cancelled as it waits for the first event", TWO, [0, 1], 0, "cancelled"),
            ("an error is thrown into it", ONE, [0], 1, "error"),
            ("two texts, left after the first piece", TWO, [0, 1], 1, "closed"),
            ("two texts, left when one has ended", TWO, [0, 1], 2, "closed"),
            ("two texts, an error is thrown in a piece later", TWO, [0, 1], 3, "error"),
            ("two texts, read to their end", TWO, [0, 1], 4, "end"),
            ("two texts, both of which have spoken", BOTH, [0, 1], 2, "closed"),
            ("two texts, the first of which still waits", FAILS, [0, 1], 1, "closed"),
            ("three texts, one of which still waits", TWO, [0, 1, 2], 3, "closed"),
            ("one that failed has ended too", FAILS, [0, 1], 3, "closed"),
            ("the source fails", TWO, [0, 1], 1, "source"),
            ("the source ends too soon", FAILS, [0, 1], 4, "end"),
        )
    ),
    mistakes=(
        Mistake(
            "`except Exception`",
            "You abort in `except Exception`. A task that is cancelled (`CancelledError`) and a "
            "generator that is closed (`GeneratorExit`) raise none: `finally` meets them all.",
            careless,
        ),
        *edits(
            with_what_is_left,
            """
## nobody is aborted
- abort(number) → pass
The texts of a reader who has gone are made to their end, for nobody, and everybody else waits for
them.
## only those who close
- finally:
-     for number in left:
-         abort(number)
+ except GeneratorExit:
+     for number in left:
+         abort(number)
+     raise
You abort where the generator is closed. While it waits for the next event its task is *cancelled*,
which is `CancelledError`: `finally` meets them all.
## only errors
- finally:
-     for number in left:
-         abort(number)
+ except Exception:
+     for number in left:
+         abort(number)
+     raise
A reader who leaves is `CancelledError` or `GeneratorExit`, and neither is an `Exception`: `finally`
meets them all.
## cancelled is neither
- finally:
-     for number in left:
-         abort(number)
+ except (GeneratorExit, Exception):
+     for number in left:
+         abort(number)
+     raise
+ for number in left:
+     abort(number)
A server cancels the task that waits for the next event: `asyncio.CancelledError` is neither
`GeneratorExit` nor an `Exception`. `finally` meets them all.
## not at the end
- finally:
-     for number in left:
-         abort(number)
+ except BaseException:
+     for number in left:
+         abort(number)
+     raise
You abort where something is raised. The source may also end before all texts have: `finally` runs
then, too.
## only at the `yield`
- try:
-     async for event in events:
-         if event.ended:
-             left.discard(event.number)
-         yield event
- finally:
-     for number in left:
-         abort(number)
+ async for event in events:
+     if event.ended:
+         left.discard(event.number)
+     try:
+         yield event
+     except BaseException:
+         for number in left:
+             abort(number)
+         raise
+ for number in left:
+     abort(number)
Your `try` is around the `yield` alone. Nearly always the generator is inside `async for`, waiting for
the next event: put the whole loop into the `try`.
## the error swallowed
- finally:
+ except BaseException:
+     pass
+ finally:
You catch what happened and don't pass it on: whoever sends, or asks, must learn that it failed. With
`finally` it goes on by itself; a `return` in `finally` ends it, too.
## errors swallowed
- finally:
+ except Exception:
+     pass
+ finally:
You catch an error and don't pass it on: whoever asks must learn that it failed. `finally` alone lets
it go on.
## after the loop
- try:
-     async for event in events:
-         if event.ended:
-             left.discard(event.number)
-         yield event
- finally:
-     for number in left:
-         abort(number)
+ async for event in events:
+     if event.ended:
+         left.discard(event.number)
+     yield event
+ for number in left:
+     abort(number)
Behind the loop nothing runs when a reader leaves: the generator ends where it stands, at its `yield`
or as it waits for the next event. `try` and `finally` around the loop.
## all of them
- for number in left: → for number in numbers:
You abort texts that have ended by themselves: the engine knows them no more.
## an end that was seen too late
- if event.ended:
-     left.discard(event.number)
- yield event
+ yield event
+ if event.ended:
+     left.discard(event.number)
A reader may leave with the last piece in its hand: then your line behind the `yield` never runs. Note
the end *before* you pass it on.
## only those who have spoken
- left = set(numbers) → left = set()
- if event.ended:
-     left.discard(event.number)
+ left.add(event.number)
+ if event.ended:
+     left.discard(event.number)
A text that still waits has brought nothing yet, and must be aborted, too: begin with all `numbers`.
## the first alone
- for number in left: → for number in sorted(left)[:1]:
One request may ask for several texts (`n`): abort all that have not ended.
## only the last that spoke
- for number in left: → for number in left & {event.number}:
You abort the text of the last event. All that have not ended must go.
## an error is no end
- if event.ended: → if event.finish_reason:
A text that failed has ended, too, without a finish reason: ask for `event.ended`.
## one end for all
- left.discard(event.number) → left.clear()
One text has ended, and you take all for ended: the others go on for nobody.
## the last piece not passed on
- if event.ended:
-     left.discard(event.number)
- yield event
+ if event.ended:
+     left.discard(event.number)
+     continue
+ yield event
The event that ends a text has its last characters, and says why it ended: pass it on.
## the last event of all not passed on
- left.discard(event.number)
+ left.discard(event.number)
+ if not left:
+     break
You leave the loop before the last event is passed on: it has the last characters, and says why the
text ended.
## all read first
- async for event in events: → for event in [event async for event in events]:
You read everything before you pass anything on: that is no stream.
## all at once
- for number in left:
-     abort(number)
+ abort(left)
`abort` takes one number: call it for each.
""",
        ),
    ),
    hints=(
        "Pass on what comes, and keep a set of those that have not ended. When must the rest be "
        "aborted: only at the end of the loop?",
        "A generator that is closed ends *at its `yield`*; one whose task is cancelled, inside "
        "`async for`, as it waits. What runs in both cases stands in a `finally` around the loop.",
        "`left = set(numbers)`; in `try`: `async for event in events:` discard the number if it has "
        "ended, then `yield event`; in `finally`: `abort(number)` for each that is left.",
    ),
)

# --- slo_capacity ---------------------------------------------------------------------------------

Waits = tuple[float, Sequence[float], float] | None


def rates_that_hold(
    measured: dict[float, list[Waits]],
    *,
    ttft: float = math.inf,
    itl: float = math.inf,
    share: float = 0.9,
) -> float:
    """Brute force: of all rates below which none fails, the highest."""

    def failed(rate: float) -> bool:
        bad = 0
        for waits in measured[rate]:
            in_time = waits is not None and waits[0] <= ttft
            slow = waits is not None and sum(waits[1]) > itl * len(waits[1]) and len(waits[1]) > 0
            bad += not in_time or slow
        return 1 - Fraction(bad, len(measured[rate])) < Fraction(str(share))

    fine = [r for r in measured if not any(failed(lower) for lower in measured if lower <= r)]
    return max(fine, default=0.0)


def upwards(
    measured: dict[float, list[Waits]],
    *,
    ttft: float = math.inf,
    itl: float = math.inf,
    share: float = 0.9,
) -> float:
    """A right one."""
    capacity = 0.0
    for rate in sorted(measured):
        good = 0
        for waits in measured[rate]:
            if waits is not None:
                first, gaps, _ = waits
                mean = sum(gaps) / max(len(gaps), 1)
                good += first <= ttft and mean <= itl
        if good / len(measured[rate]) < share:
            break
        capacity = rate
    return capacity


GOOD, LATE, SLOW = (0.2, [0.1, 0.1], 0.4), (3.0, [0.1, 0.1], 3.2), (0.2, [0.5, 0.5], 1.2)
ONE_GAP: Waits = (0.2, [0.1, 0.1, 4.0], 4.4)
JERKY: Waits = (0.2, [0.0, 0.0, 0.6], 0.8)
SHORT: Waits = (0.2, [], 0.2)
TARGETS = {"ttft": 1.0, "itl": 0.25}

SLO_CAPACITY = Exercise(
    name="slo_capacity",
    lesson=LESSON,
    library=serve.slo_capacity,
    minutes=9,
    difficulty=2,
    kind="stretch",
    cases=tuple(
        call(label, measured, oracle=rates_that_hold, **options)
        for label, measured, options in (
            ("three rates", {1.0: [GOOD] * 4, 2.0: [GOOD] * 4, 4.0: [GOOD, LATE] * 2}, TARGETS),
            ("in any order", {4.0: [LATE] * 3, 1.0: [GOOD] * 3, 2.0: [GOOD] * 3}, TARGETS),
            ("none holds", {1.0: [LATE] * 4, 2.0: [LATE] * 4}, TARGETS),
            ("all hold", {1.0: [GOOD] * 4, 8.0: [GOOD] * 4}, TARGETS),
            ("luck beyond a failure", {1.0: [GOOD], 2.0: [LATE], 4.0: [GOOD]}, TARGETS),
            ("just the share", {1.0: [GOOD] * 9 + [LATE]}, TARGETS),
            ("just below the share", {1.0: [GOOD] * 8 + [LATE] * 2}, TARGETS),
            (
                "some late, others slow",
                {1.0: [GOOD] * 18 + [LATE, SLOW], 2.0: [GOOD] * 17 + [LATE, SLOW, SLOW]},
                TARGETS,
            ),
            ("refused ones", {1.0: [GOOD] * 9 + [None], 2.0: [GOOD] * 7 + [None] * 3}, TARGETS),
            ("all refused", {1.0: [None] * 3}, TARGETS),
            ("a little late", {1.0: [(1.5, [0.1], 1.6)] * 4}, TARGETS),
            ("slow ones", {1.0: [GOOD] * 4, 2.0: [SLOW] * 4}, TARGETS),
            ("one long gap, a good mean", {1.0: [JERKY] * 4}, TARGETS),
            ("one long gap, a bad mean", {1.0: [GOOD] * 8 + [ONE_GAP] * 2}, TARGETS),
            ("answers of one token", {1.0: [SHORT] * 4}, TARGETS),
            (
                "short answers that are slow",
                {1.0: [(0.1, [0.4], 0.5)] * 2 + [(0.1, [0.0] * 30, 0.1)] * 8},
                TARGETS,
            ),
            ("exactly in time", {1.0: [(1.0, [0.25], 1.25)] * 3}, TARGETS),
            ("three of four are too few", {1.0: [GOOD] * 3 + [LATE]}, TARGETS),
            (
                "half will do",
                {1.0: [GOOD, LATE], 2.0: [LATE, LATE, GOOD]},
                {**TARGETS, "share": 0.5},
            ),
            ("all must", {1.0: [GOOD] * 99 + [LATE]}, {**TARGETS, "share": 1.0}),
            ("only the first token matters", {1.0: [SLOW] * 4, 2.0: [LATE]}, {"ttft": 1.0}),
            ("nothing was measured", {}, TARGETS),
        )
    ),
    mistakes=edits(
        upwards,
        """
## the highest that holds
- break → continue
A rate that holds beyond one that does not was luck, or a short run. Stop at the first that fails.
## in the order given
- for rate in sorted(measured): → for rate in measured:
The rates may come in any order: go through them from the lowest up.
## refused ones not counted
- good / len(measured[rate]) < share
+ good < share * sum(waits is not None for waits in measured[rate])
Who was refused got nothing of what was promised, and asked all the same: they count among all.
## more than the share
- good / len(measured[rate]) < share → good / len(measured[rate]) <= share
Exactly the share is enough.
## rounded down
- good / len(measured[rate]) < share → good < int(share * len(measured[rate]))
`int` rounds down: of 4 users 3.6 are asked for, and 3 are not enough. Compare `good / all` with
`share`.
## each target by itself
- good += first <= ttft and mean <= itl → good += 1
- if good / len(measured[rate]) < share:
+ early = sum(w is not None and w[0] <= ttft for w in measured[rate])
+ even = sum(w is not None and sum(w[1]) <= itl * len(w[1]) for w in measured[rate])
+ if min(good, early, even) / len(measured[rate]) < share:
You hold each target by itself: some users are late, others slow, and fewer got *both*. The promise is
both, to each user.
## the worst gap
- sum(gaps) / max(len(gaps), 1) → max(gaps, default=0)
You hold the target against the worst gap of a request. It is for the mean of its gaps.
## the median
- sum(gaps) / max(len(gaps), 1) → statistics.median(gaps or [0.0])
You hold the target against the median of a request's gaps, which sees no long one. It is for the
*mean*.
## a mean over tokens
- sum(gaps) / max(len(gaps), 1) → sum(gaps) / (len(gaps) + 1)
A request has one gap fewer than tokens: divide by the number of gaps.
## only the first token
- first <= ttft and mean <= itl → first <= ttft
You look at the first token alone. The others were promised, too.
## only the others
- first <= ttft and mean <= itl → mean <= itl
You look at the gaps alone. The first token was promised, too.
## just in time is too late
- first <= ttft and mean <= itl → first < ttft and mean < itl
A target that is just met is met.
## an answer of one token is bad
- mean <= itl → mean <= itl and len(gaps) > 0
One token alone has no gap that could be too long: it keeps the target.
## the rate that fails
- break
+ return rate
You return the first rate that does not hold. The last one that did is asked for.
## one is enough
- good / len(measured[rate]) < share → good < 1
You ask for one good answer. At least `share` of them must be good.
## nine tenths always
- good / len(measured[rate]) < share → good / len(measured[rate]) < 0.9
You ask for nine tenths, whatever `share` says.
## the mean of all
- mean = sum(gaps) / max(len(gaps), 1)
+ pool = [gap for w in measured[rate] if w is not None for gap in w[1]]
+ mean = sum(pool) / max(len(pool), 1)
You take the mean of everybody's gaps: those with long answers outvote a user who waits. Each request
has its own.
## by the whole answer
- sum(gaps) / max(len(gaps), 1) → waits[2] / (len(gaps) + 1)
You divide the whole time by the number of tokens, and so count the wait for the first one as a gap.
## end to end
- first <= ttft and mean <= itl → waits[2] <= ttft and mean <= itl
You hold the target for the *first* token against the whole answer.
## requests that were kept
- capacity = rate → capacity = rate * good / len(measured[rate])
Asked for is a rate, the highest that holds; not how many got what was promised (that is goodput).
## the lowest if none
- capacity = 0.0 → capacity = min(measured, default=0.0)
Where not even the lowest rate holds the capacity is 0.
## nothing if none
- capacity = 0.0 → capacity = None
Where not even the lowest rate holds the capacity is 0.0, a number: begin with that.
""",
    ),
    hints=(
        "For one rate: how many users got *both*, of all who asked? Then go through the rates from the "
        "lowest up. What ends the loop?",
        "A user is content if there is an answer, its first token came within `ttft`, and the mean of "
        "its gaps is at most `itl`. An answer of one token has no gaps.",
        "`for rate in sorted(measured)`: count the content ones; if their part of all is less than "
        "`share`, `break`; else the capacity is this rate. Begin with 0.0.",
    ),
)

EXERCISES = (SSE_EVENTS, HOLD_BACK, ADMISSION, ON_DISCONNECT, SLO_CAPACITY)
