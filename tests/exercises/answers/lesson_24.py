"""Lesson 24: right answers, named mistakes in other words, and wrong answers nobody named."""

import math
import statistics  # noqa: F401, the edits use it
from asyncio import CancelledError  # noqa: F401, the edits use it
from itertools import chain  # noqa: F401, the edits use it

from decodeloop.exercises.edits import edited

HALF = "\ufffd"

# --- sse_events -----------------------------------------------------------------------------------


def by_blocks(chunks):
    """Whole lines are put in one order, and cut where one is empty."""
    pending, event = bytearray(), None
    for chunk in chunks:
        pending.extend(chunk)
        while (end := pending.find(b"\n")) >= 0:
            line = bytes(pending[:end]).rstrip(b"\r").decode("utf-8")
            del pending[: end + 1]
            name, colon, value = line.partition(":")
            if name == "data" and colon:
                value = value[1:] if value[:1] == " " else value
                event = value if event is None else f"{event}\n{value}"
            if line == "" and event is not None:
                yield event
                event = None


def by_a_class(chunks):
    """Lines by a helper of its own."""

    def lines():
        rest = b""
        for chunk in chunks:
            whole, end, rest = (rest + chunk).rpartition(b"\n")
            if end:
                yield from (line.removesuffix(b"\r") for line in whole.split(b"\n"))

    data = []
    for line in lines():
        if line[:5] == b"data:":
            data += [line[6:] if line[5:6] == b" " else line[5:]]
        if line == b"" and data:
            yield b"\n".join(data).decode()
            data.clear()


def chunk_by_chunk(chunks):
    for chunk in chunks:
        lines = str(chunk, "utf-8", errors="replace").splitlines()
        yield from (line[len("data: ") :] for line in lines if line[:6] == "data: ")


READ = {"chunk by chunk": chunk_by_chunk} | edited(
    by_blocks,
    r"""
## each chunk by itself
- pending.extend(chunk)
+ pending[:] = chunk
## a chunk decoded by itself
- pending.extend(chunk)
+ pending.extend(str(chunk, "utf-8", "replace").encode())
## a half that is left out
- pending.extend(chunk)
+ pending += str(chunk, "utf-8", "ignore").encode()
## the lines of an event by chunk
- pending.extend(chunk)
+ pending.extend(chunk)
+ event = None
## line ends made alike in each chunk
- pending.extend(chunk)
+ pending.extend(b"\n".join(chunk.split(b"\r\n")))
- bytes(pending[:end]).rstrip(b"\r").decode("utf-8") → bytes(pending[:end]).decode("utf-8")
## the other line end
- bytes(pending[:end]).rstrip(b"\r").decode("utf-8") → bytes(pending[:end]).decode("utf-8")
## every line an event
- event = value if event is None else f"{event}\n{value}"
+ yield value
## lines put together without a break
- f"{event}\n{value}" → event + value
## all blanks taken off
- value = value[1:] if value[:1] == " " else value
+ value = value.strip()
## all blanks at the beginning
- value = value[1:] if value[:1] == " " else value
+ value = value.lstrip(" ")
## only with a blank
- if name == "data" and colon: → if name == "data" and value[:1] == " ":
## the blank kept
- value = value[1:] if value[:1] == " " else value → pass
## one character taken off
- value = value[1:] if value[:1] == " " else value
+ value = value[1:]
## the last one without its end
- pending, event = bytearray(), None
+ pending, event, chunks = bytearray(), None, chain(chunks, [b"\n", b"\n"])
## a line without its end
- pending, event = bytearray(), None
+ pending, event, chunks = bytearray(), None, chain(chunks, [b"\n"])
## never emptied
- yield event
- event = None
+ yield event
## empty events
- if line == "" and event is not None:
-     yield event
+ if line == "":
+     yield event or ""
## an event without text is none
- yield event
+ if len(event.strip("\n")):
+     yield event
## the end not passed on
- yield event
+ if event == "[DONE]":
+     break
+ yield event
## any field
- if name == "data" and colon: → if colon:
## any field that begins so
- name == "data" and colon → name[:4] == "data" and colon
## only up to the next colon
- name, colon, value = line.partition(":")
+ name, colon, value, *_ = [*line.replace(":", ":\0:", 1).split(":"), "", ""]
+ colon = "\0" in colon
## split at every kind of line end
- line = bytes(pending[:end]).rstrip(b"\r").decode("utf-8")
- del pending[: end + 1]
+ line = bytes(pending[:end]).rstrip(b"\r").decode("utf-8")
+ del pending[: end + 1]
+ line, *more = line.splitlines() or [""]
+ pending[:0] = "".join(f"{one}\n" for one in more).encode()
## only when all is there
- for chunk in chunks:
+ for chunk in (b"".join(list(chunks)),):
## an event too late
- pending.extend(chunk)
- while (end := pending.find(b"\n")) >= 0:
+ late = len(pending)
+ pending.extend(chunk)
+ while 0 <= (end := pending.find(b"\n")) < late:
+     late -= end + 1
## searched anywhere in the line
- name, colon, value = line.partition(":")
+ name, colon, value = line.rpartition("data:")
+ name = "data" if colon else ""
""",
)

UNNAMED_READ = edited(
    by_blocks,
    """
## nothing but the last
- yield event
- event = None
+ last = event
## without its first character
- yield event → yield event[1:]
## in capitals
- yield event → yield event.upper()
""",
)

# --- hold_back ------------------------------------------------------------------------------------


def grown(text, stop, ended=False):
    """Character by character, as if it came so."""
    for end in range(1, len(text) + 1):
        beginnings = [end - len(s) for s in stop if text[:end].endswith(s)]
        if beginnings:
            return min(beginnings), True
    count = len(text)
    if ended:
        return count, False
    while count and text[count - 1] == HALF:
        count -= 1
    for start in range(count):
        if any(s.startswith(text[start:count]) for s in stop):
            return start, False
    return count, False


def with_lists(text, stop, ended=False):
    found = sorted((text.index(s) + len(s), text.index(s), s) for s in stop if text.count(s))
    if found:
        return found[0][1], True
    whole = text if ended else text.rstrip(HALF)
    ends = [n for s in stop for n in range(1, len(s)) if whole.endswith(s[:n]) and not ended]
    return len(whole) - max([0, *ends]), False


HELD = edited(
    with_lists,
    """
## as much as the longest
- max([0, *ends]) → (0 if ended else min(len(whole), max([1, *map(len, stop)]) - 1))
## the stop string sent
- found[0][1], True → found[0][0], True
## the first of the list
- return found[0][1], True → return next(text.index(s) for s in stop if s in text), True
## the one that begins first
- return found[0][1], True → return sorted(at for _, at, _ in found)[0], True
## the shorter of two
- return found[0][1], True → return max(at for end, at, _ in found if end == found[0][0]), True
## only at the end
- found = sorted((text.index(s) + len(s), text.index(s), s) for s in stop if text.count(s))
+ found = sorted((0, len(text) - len(s), s) for s in stop if text[-len(s) :] == s)
## the last occurrence
- (text.index(s) + len(s), text.index(s), s) → (text.rindex(s) + len(s), text.rindex(s), s)
## only whole stop strings
- max([0, *ends]) → 0
## the last character alone
- for n in range(1, len(s)) → for n in range(1, len(s))[:1]
## one character too few
- for n in range(1, len(s)) → for n in range(1, len(s))[:-1]
## the shortest beginning
- max([0, *ends]) → (min(ends) if ends else 0)
## the last beginning that fits
- max([0, *ends]) → (ends[-1] if ends else 0)
## half characters sent
- text if ended else text.rstrip(HALF) → text
## one half only
- text.rstrip(HALF) → (text[:-1] if text[-1:] == HALF else text)
## halves everywhere
- text if ended else text.rstrip(HALF) → text if ended else "".join(text.split(HALF))
## from the first half on
- text.rstrip(HALF) → text.partition(HALF)[0]
## the larger of the two
- whole = text if ended else text.rstrip(HALF)
+ whole = text
- max([0, *ends]) → max([0 if ended else len(text) - len(text.rstrip(HALF)), *ends])
## halves held for ever
- text if ended else text.rstrip(HALF) → text.rstrip(HALF)
## still waiting at the end
- if whole.endswith(s[:n]) and not ended] → if whole.endswith(s[:n])]
## the end ignored
- whole = text if ended else text.rstrip(HALF)
+ ended, whole = False, text.rstrip(HALF)
## no stop at the end
- if found: → if found and ended is False:
## one stop string
- found = sorted(
+ stop = [*stop][:1]
+ found = sorted(
## the first stop string alone
- for s in stop for n in → for s in list(stop)[:1] for n in
## stopped too soon
- return len(whole) - max([0, *ends]), False → return len(whole) - max([0, *ends]), bool(ends)
## all or nothing
- return len(whole) - max([0, *ends]), False → return (0 if ends else len(whole)), False
## how many are held
- return len(whole) - max([0, *ends]), False
+ return (len(text) if ended else max([0, *ends])), False
## the text itself
- return len(whole) - max([0, *ends]), False
+ return (len(text) if ended else whole[: len(whole) - max([0, *ends])]), False
""",
)

UNNAMED_HELD = edited(
    grown,
    """
## one less
- return start, False → return start - 1, False
## never stopped
- return min(beginnings), True → return min(beginnings), False
## the end of the text
- return min(beginnings), True → return end, True
""",
)

# --- admission ------------------------------------------------------------------------------------


def by_a_table(prompt, new, here, *, longest, most, draining=False):
    never = min(prompt, new) < 1 or not prompt + new <= longest + 1
    reasons = [(never, 400), (draining, 503), (here >= most, 429), (True, 200)]
    return next(status for holds, status in reasons if holds)


def by_branches(prompt, new, here, *, longest, most, draining=False):
    if prompt > 0 and new > 0 and prompt + new - 1 <= longest:
        if draining:
            return 503
        return 200 if most > here else 429
    return 400


LET_IN = edited(
    by_a_table,
    """
## the last token read
- not prompt + new <= longest + 1 → prompt + new > longest
## the prompt alone
- not prompt + new <= longest + 1 → prompt > longest
## an empty prompt let in
- min(prompt, new) < 1 → new < 1
## an empty answer let in
- min(prompt, new) < 1 → prompt < 1
## nothing asked for let in
- min(prompt, new) < 1 or not → not
## none is few enough
- min(prompt, new) < 1 → min(prompt, new + 1) < 1
## one too many
- here >= most → here > most
## a place left free
- here >= most → here >= most - 1
## full before bad
- reasons = [(never, 400), → reasons = [(here >= most and not draining, 429), (never, 400),
## full before all
- reasons = [(never, 400), → reasons = [(here >= most, 429), (never, 400),
## shutting down before bad
- [(never, 400), (draining, 503), → [(draining, 503), (never, 400),
## full before shutting down
- (draining, 503), (here >= most, 429), → (here >= most, 429), (draining, 503),
## shutting down for too many
- (draining, 503) → (draining, 429)
## unavailable for too many
- (here >= most, 429) → (here >= most, 503)
## drains not at all
- (draining, 503), (here → (here
## too large for bad
- never = min(prompt, new) < 1 or not prompt + new <= longest + 1
+ never = min(prompt, new) < 1
+ if not never and prompt + new > longest + 1:
+     return 413
## waits for ever
- (here >= most, 429), (True → (True
""",
)

UNNAMED_LET_IN = edited(
    by_branches,
    """
## a teapot
- return 400 → return 418
## created
- return 200 if → return 201 if
## twice the places
- most > here → 2 * most > here
""",
)

# --- on_disconnect --------------------------------------------------------------------------------


async def with_flags(events, numbers, abort):
    over = dict.fromkeys(numbers, False)
    try:
        async for came in events:
            over[came.number] |= came.ended
            yield came
    finally:
        for number, ended in over.items():
            if not ended:
                abort(number)


async def by_hand(events, numbers, abort):
    waiting = [*numbers]
    try:
        while True:
            try:
                came = await anext(events)
            except StopAsyncIteration:
                break
            if came.finish_reason is not None or came.error is not None:
                waiting = [n for n in waiting if n != came.number]
            yield came
    except BaseException:
        while waiting:
            abort(waiting.pop())
        raise
    while waiting:
        abort(waiting.pop())


async def by_except(events, numbers, abort):
    try:
        async for came in events:
            yield came
    except Exception as error:
        [abort(number) for number in numbers]
        raise error


LEFT = {"`except Exception`": by_except} | edited(
    with_flags,
    """
## nobody is aborted
- if not ended: → if ended is None:
## only those who close
- finally:
-     for number, ended in over.items():
-         if not ended:
-             abort(number)
+ except GeneratorExit:
+     [abort(number) for number, ended in over.items() if not ended]
+     raise
## only errors
- finally:
-     for number, ended in over.items():
-         if not ended:
-             abort(number)
+ except Exception:
+     [abort(number) for number, ended in over.items() if not ended]
+     raise
## cancelled is neither
- finally:
-     for number, ended in over.items():
-         if not ended:
-             abort(number)
+ except GeneratorExit:
+     [abort(number) for number, ended in over.items() if not ended]
+     raise
+ except Exception:
+     [abort(number) for number, ended in over.items() if not ended]
+     raise
+ else:
+     [abort(number) for number, ended in over.items() if not ended]
## not at the end
- finally:
-     for number, ended in over.items():
-         if not ended:
-             abort(number)
+ except (BaseException, CancelledError) as error:
+     [abort(number) for number, ended in over.items() if not ended]
+     raise error
## only at the `yield`
- try:
-     async for came in events:
-         over[came.number] |= came.ended
-         yield came
- finally:
-     for number, ended in over.items():
-         if not ended:
-             abort(number)
+ async for came in events:
+     over[came.number] |= came.ended
+     read_on = False
+     try:
+         yield came
+         read_on = True
+     finally:
+         [abort(n) for n, ended in over.items() if not ended and not read_on]
+ [abort(n) for n, ended in over.items() if not ended]
## the error swallowed
- finally:
+ except (Exception, GeneratorExit, CancelledError):
+     came = None
+ finally:
## errors swallowed
- finally:
+ except Exception:
+     came = None
+ finally:
## after the loop
- try:
-     async for came in events:
-         over[came.number] |= came.ended
-         yield came
- finally:
-     for number, ended in over.items():
-         if not ended:
-             abort(number)
+ async for came in events:
+     over[came.number] |= came.ended
+     yield came
+ [abort(number) for number, ended in over.items() if not ended]
## all of them
- if not ended: → if ended in (True, False):
## an end that was seen too late
- over[came.number] |= came.ended
- yield came
+ yield came
+ over[came.number] |= came.ended
## only those who have spoken
- over = dict.fromkeys(numbers, False) → over = {}
- over[came.number] |= came.ended → over[came.number] = came.ended or over.get(came.number, False)
## the first alone
- abort(number)
+ abort(number)
+ break
## only the last that spoke
- if not ended: → if not ended and number == came.number:
## an error is no end
- over[came.number] |= came.ended → over[came.number] |= came.finish_reason is not None
## one end for all
- over[came.number] |= came.ended → over = dict.fromkeys(over, came.ended or all(over.values()))
## the last piece not passed on
- yield came
+ if not came.ended:
+     yield came
## the last event of all not passed on
- yield came
+ if all(over.values()):
+     return
+ yield came
## all read first
- async for came in events:
+ everything = [came async for came in events]
+ for came in everything:
## all at once
- for number, ended in over.items():
-     if not ended:
-         abort(number)
+ abort({number for number, ended in over.items() if not ended})
""",
)

UNNAMED_LEFT = edited(
    with_flags,
    """
## the next number
- abort(number) → abort(number + 1)
## every event twice
- yield came
+ yield came
+ yield came
## aborted twice
- abort(number)
+ abort(number)
+ abort(number)
""",
)

# --- slo_capacity ---------------------------------------------------------------------------------


def by_prefixes(measured, *, ttft=math.inf, itl=math.inf, share=0.9):
    def content(waits):
        if waits is None or waits[0] > ttft:
            return False
        return not waits[1] or sum(waits[1]) / len(waits[1]) <= itl

    held = 0.0
    for rate, everybody in sorted(measured.items(), key=lambda item: item[0]):
        if sum(map(content, everybody)) / len(everybody) < share:
            return held
        held = rate
    return held


def by_the_first_failure(measured, *, ttft=math.inf, itl=math.inf, share=0.9):
    def good(rate):
        answered = [w for w in measured[rate] if w is not None]
        return sum(w[0] <= ttft and sum(w[1]) <= itl * len(w[1]) for w in answered)

    failing = [r for r in measured if good(r) < share * len(measured[r])]
    return max((r for r in measured if r < min(failing, default=math.inf)), default=0.0)


KEPT = edited(
    by_prefixes,
    """
## the highest that holds
- if sum(map(content, everybody)) / len(everybody) < share:
-     return held
+ if sum(map(content, everybody)) / len(everybody) < share:
+     continue
## in the order given
- sorted(measured.items(), key=lambda item: item[0]) → measured.items()
## refused ones not counted
- sum(map(content, everybody)) / len(everybody) < share
+ sum(map(content, everybody)) < share * sum(waits is not None for waits in everybody)
## more than the share
- / len(everybody) < share → / len(everybody) <= share
## rounded down
- sum(map(content, everybody)) / len(everybody) < share
+ sum(map(content, everybody)) < math.floor(share * len(everybody))
## each target by itself
- held = 0.0
+ held = 0.0
+ def early(waits):
+     return waits is not None and waits[0] <= ttft
+ def even(waits):
+     return waits is not None and sum(waits[1]) <= itl * len(waits[1])
- sum(map(content, everybody)) → min(sum(map(early, everybody)), sum(map(even, everybody)))
## the worst gap
- sum(waits[1]) / len(waits[1]) <= itl → max(waits[1]) <= itl
## the median
- sum(waits[1]) / len(waits[1]) <= itl → statistics.median(waits[1]) <= itl
## by the whole answer
- not waits[1] or sum(waits[1]) / len(waits[1]) <= itl → waits[2] / (1 + len(waits[1])) <= itl
## a mean over tokens
- sum(waits[1]) / len(waits[1]) <= itl → sum(waits[1]) / (len(waits[1]) + 1) <= itl
## only the first token
- not waits[1] or sum(waits[1]) / len(waits[1]) <= itl → True
## only the others
- waits is None or waits[0] > ttft → waits is None
## just in time is too late
- waits[0] > ttft → waits[0] >= ttft
- / len(waits[1]) <= itl → / len(waits[1]) < itl
## an answer of one token is bad
- not waits[1] or sum(waits[1]) / len(waits[1]) <= itl
+ bool(waits[1]) and sum(waits[1]) / len(waits[1]) <= itl
## the rate that fails
- if sum(map(content, everybody)) / len(everybody) < share:
-     return held
+ if sum(map(content, everybody)) / len(everybody) < share:
+     return rate
## one is enough
- sum(map(content, everybody)) / len(everybody) < share → not any(map(content, everybody))
## nine tenths always
- / len(everybody) < share → / len(everybody) < 0.9
## the mean of all
- if sum(map(content, everybody))
+ gaps = [gap for waits in everybody if waits is not None for gap in waits[1]]
+ fine = not gaps or sum(gaps) / len(gaps) <= itl
+ if fine * sum(w is not None and w[0] <= ttft for w in everybody)
## end to end
- waits[0] > ttft → waits[2] > ttft
## requests that were kept
- held = rate → held = rate * sum(map(content, everybody)) / len(everybody)
## the lowest if none
- held = 0.0 → held = min(measured, default=0.0)
## nothing if none
- held = 0.0 → held = {}.get(0.0)
""",
)

UNNAMED_KEPT = edited(
    by_the_first_failure,
    """
## how many rates
- return max((r for r in measured if r < → return sum((1 for r in measured if r <
- default=math.inf)), default=0.0) → default=math.inf)))
## the lowest
- return max((r → return min((r
## twice as long
- w[0] <= ttft → w[0] <= 2 * ttft
## none failing is none
- default=math.inf)), default → default=0.0)), default
""",
)

# --- the tables -----------------------------------------------------------------------------------

RIGHT = {
    "sse_events": [by_blocks, by_a_class],
    "hold_back": [grown, with_lists],
    "admission": [by_a_table, by_branches],
    "on_disconnect": [with_flags, by_hand],
    "slo_capacity": [by_prefixes, by_the_first_failure],
}

SECOND_FORMS = {
    "sse_events": READ,
    "hold_back": HELD,
    "admission": LET_IN,
    "on_disconnect": LEFT,
    "slo_capacity": KEPT,
}

UNNAMED = {
    "sse_events": list(UNNAMED_READ.values()),
    "hold_back": list(UNNAMED_HELD.values()),
    "admission": list(UNNAMED_LET_IN.values()),
    "on_disconnect": list(UNNAMED_LEFT.values()),
    "slo_capacity": list(UNNAMED_KEPT.values()),
}
