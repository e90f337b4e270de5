"""Exercises of lesson 08: the full decoding loop, streamed text, padded batches and beams."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from decodeloop.decode import (
    TextStream,
    decode_step,
    decoding_loop,
    generate_batch,
    pad_left,
    prefill,
)
from decodeloop.decode.beam import beam_search as library_beam_search
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Candidate, Case, ChangedInput, Exercise, Mistake
from decodeloop.model import TINY, Decoder

LESSON = "08_decoding_loop"
Choose = Callable[[Tensor, Tensor], Tensor]

# --- a model in closed form -----------------------------------------------------------------------
# Its forecast depends on every token before it and on their order, and it knows them through the
# cache alone: a cache that was filled twice, not at all or by another row gives another text.


class RowsCache:
    """A cache that keeps the token ids themselves: (rows, length)."""

    def __init__(self, batch: int, max_length: int) -> None:
        self.rows = torch.zeros(batch, 0, dtype=torch.long)
        self.max_length = max_length

    @property
    def length(self) -> int:
        return self.rows.shape[1]

    @property
    def batch(self) -> int:
        return self.rows.shape[0]

    def append(self, token_ids: Tensor) -> Tensor:
        T = token_ids.shape[1]
        if self.length + T > self.max_length:
            raise ValueError(
                f"the cache has room for {self.max_length} positions: {self.length} are used and "
                f"{T} more were given"
            )
        if token_ids.shape[0] != self.batch:
            raise ValueError(f"the cache has {self.batch} rows, the tokens {token_ids.shape[0]}")
        self.rows = torch.cat((self.rows, token_ids), dim=1)
        return self.rows

    def advance(self, T: int) -> None:
        """The model does it in `append`."""

    def truncate(self, n: int) -> None:
        self.rows = self.rows[:, :n]

    def select(self, rows: Tensor | Sequence[int]) -> None:
        self.rows = self.rows[torch.as_tensor(rows)]


def state_of(tokens: Sequence[int]) -> int:
    """A number below 101 in which the whole sequence has a say."""
    state = 1
    for token in tokens:
        state = (5 * state + 3 * token + 7) % 101
    return state


def forecast(tokens: Sequence[int], V: int) -> list[float]:
    """The logits after a sequence, in closed form."""
    return [3.0 * math.sin(0.7 * (state_of(tokens) + 1) * (v + 1)) for v in range(V)]


class HashModel:
    """A model of `V` tokens with that forecast; it counts the positions that it has computed."""

    def __init__(self, V: int) -> None:
        self.config = replace(TINY, vocabulary=V)
        self.computed = 0

    def new_cache(self, batch: int, max_length: int) -> RowsCache:
        return RowsCache(batch, max_length)

    def hidden(
        self,
        token_ids: Tensor,
        cache: RowsCache | None = None,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """(B, T) → (B, T, 1): the state after each token."""
        T = token_ids.shape[1]
        self.computed += T
        rows = token_ids if cache is None else cache.append(token_ids)
        S = rows.shape[1]
        states = [
            [[state_of(row[:end])] for end in range(S - T + 1, S + 1)] for row in rows.tolist()
        ]
        return torch.tensor(states, dtype=torch.float64)

    def head(self, hidden: Tensor) -> Tensor:
        """(..., 1) → (..., V)."""
        multiples = torch.arange(1, self.config.vocabulary + 1, dtype=torch.float64)
        return (3.0 * torch.sin(0.7 * (hidden + 1.0) * multiples)).float()

    def __call__(self, token_ids: Tensor, cache: RowsCache | None = None) -> Tensor:
        return self.head(self.hidden(token_ids, cache))


@cache
def small_decoder() -> Decoder:
    """A random decoder of the real architecture."""
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False):  # whoever asks first
        torch.manual_seed(3)
        decoder = Decoder(TINY)
        for name, weight in decoder.named_parameters():
            if "norm" not in name:
                torch.nn.init.normal_(weight, std=0.4)
    return decoder.requires_grad_(False).eval()


class Watched:
    """A model that writes down the largest number of rows in a forward, and of places in a cache.

    Its caches have more places than were asked for: who reads a token too many is told so by what
    comes of it, not by an error.
    """

    SPARE = 200

    def __init__(self, model: Any) -> None:
        self.model, self.rows, self.places = model, 0, 0

    def new_cache(self, batch: int, max_length: int) -> Any:
        self.places = max(self.places, max_length)
        return self.model.new_cache(batch, max_length + self.SPARE)

    def hidden(self, token_ids: Tensor, *options: Any, **named: Any) -> Tensor:
        self.rows = max(self.rows, len(token_ids))
        hidden: Tensor = self.model.hidden(token_ids, *options, **named)
        return hidden

    def __call__(self, token_ids: Tensor, *options: Any, **named: Any) -> Any:
        return self.model.head(self.hidden(token_ids, *options, **named))

    def __getattr__(self, name: str) -> Any:
        if name == "model":  # a copy in the making has none yet
            raise AttributeError(name)
        return getattr(self.model, name)


# --- decoding_loop --------------------------------------------------------------------------------

V_LOOP = 11


def best(logits: Tensor, token_ids: Tensor) -> Tensor:
    """Greedy."""
    return logits.argmax(-1)


def best_but_rare(logits: Tensor, token_ids: Tensor) -> Tensor:
    """Greedy, but each time that a token has occurred costs it 1.5: the whole sequence matters."""
    counts = torch.stack([(token_ids == v).sum(-1) for v in range(logits.shape[-1])], dim=-1)
    return (logits.cpu() - 1.5 * counts).argmax(-1)


def plain_loop(
    table: Callable[[list[int]], list[float]],
    prompt: list[int],
    most: int,
    rare: bool = False,
    eos_ids: Collection[int] = (),
    stops: Collection[int] = (),
) -> tuple[list[int], str]:
    """The oracle: lists, no cache; the whole sequence is read for every token."""
    made: list[int] = []
    while True:
        sequence = prompt + made
        logits = [x - 1.5 * sequence.count(v) * rare for v, x in enumerate(table(sequence))]
        token = logits.index(max(logits))
        if token in eos_ids:
            return made, "eos"
        made.append(token)
        if token in stops:
            return made, "stop"
        if len(made) == most:
            return made, "length"


def driven_loop(
    candidate: Candidate,
    model: Any,
    prompt: list[int],
    most: int,
    choose: Choose,
    eos_ids: Collection[int] = (),
    stops: Collection[int] | None = None,
) -> dict[str, Any]:
    """All that a loop gives, and what `stop` was asked; a loop that never ends is left."""
    asked: list[int] = []

    def stop(token: int) -> bool:
        asked.append(int(token))
        return int(token) in (stops or ())

    given = torch.tensor([prompt])
    extra = {} if stops is None else {"stop": stop}
    loop = iter(candidate(model, given, most, choose, eos_ids=eos_ids, **extra))
    tokens: list[Any] = []
    reason = None
    while len(tokens) < most + 3:
        try:
            tokens.append(next(loop))
        except StopIteration as end:
            reason = end.value
            break
    if given.tolist() != [prompt]:
        raise ChangedInput("it changed token_ids in place: work on a new tensor")
    return {"tokens": tokens, "finish reason": reason, "stop was asked about": asked}


def loop_case(
    label: str,
    prompt: list[int],
    most: int,
    rare: bool = False,
    eos_ids: tuple[int, ...] = (),
    stops: tuple[int, ...] | None = None,
) -> Case:
    """The loop on the model in closed form; the positions that the model computed are counted."""

    def run(candidate: Candidate) -> Any:
        model = Watched(HashModel(V_LOOP))
        choose = best_but_rare if rare else best
        result = driven_loop(candidate, model, prompt, most, choose, eos_ids, stops)
        room = not model.places or model.places >= len(prompt) + most - 1
        return {**result, "positions computed": model.computed, "the cache has room": room}

    def expected() -> Any:
        table = partial(forecast, V=V_LOOP)
        tokens, reason = plain_loop(table, prompt, most, rare, eos_ids, stops or ())
        read = len(prompt) + len(tokens) - (reason != "eos")  # the last token is not read
        asked = [] if stops is None else tokens
        return {
            "tokens": tokens,
            "finish reason": reason,
            "stop was asked about": asked,
            "positions computed": read,
            "the cache has room": True,
        }

    return Case(label, run, expected)


def one_by_one(candidate: Candidate) -> Any:
    """What has been computed, and asked, when the first and the second token are there."""
    model, asked = Watched(HashModel(V_LOOP)), []

    def stop(token: int) -> bool:
        asked.append(int(token))
        return False

    loop = iter(candidate(model, torch.tensor([[4, 8, 1]]), 50, best, stop=stop))
    return [(next(loop), model.computed, len(asked)) for _ in range(2)]


def one_by_one_expected() -> Any:
    tokens, _ = plain_loop(partial(forecast, V=V_LOOP), [4, 8, 1], 2)
    return [(tokens[0], 3, 1), (tokens[1], 4, 2)]


def on_a_decoder(candidate: Candidate) -> Any:
    model = Watched(small_decoder())
    return driven_loop(candidate, model, [5, 80, 12, 33], 9, best_but_rare, (), ())


def on_a_decoder_expected() -> Any:
    def table(sequence: list[int]) -> list[float]:
        with torch.inference_mode():
            logits: list[float] = small_decoder()(torch.tensor([sequence]))[0, -1].tolist()
        return logits

    tokens, reason = plain_loop(table, [5, 80, 12, 33], 9, rare=True)
    return {"tokens": tokens, "finish reason": reason, "stop was asked about": tokens}


def plain_decoding_loop(
    model: Any,
    token_ids: Tensor,
    max_new_tokens: int,
    choose: Choose,
    eos_ids: Collection[int] = (),
    stop: Callable[[int], bool] | None = None,
) -> Generator[int, None, str]:
    """A right one."""
    kv_cache = model.new_cache(1, token_ids.shape[1] + max_new_tokens + 1)
    sequence = token_ids
    logits = prefill(model, token_ids, kv_cache)
    for made in range(1, max_new_tokens + 1):
        next_ids = choose(logits, sequence)
        token = int(next_ids)
        if token in eos_ids:
            return "eos"
        if stop is not None and stop(token):
            yield token
            return "stop"
        yield token
        if made < max_new_tokens:
            sequence = torch.cat((sequence, next_ids[:, None]), dim=1)
            logits = decode_step(model, next_ids[:, None], kv_cache)
    return "length"


def all_at_once(*inputs: Any, **options: Any) -> list[int]:
    return list(plain_decoding_loop(*inputs, **options))


LOOP = Exercise(
    name="decoding_loop",
    lesson=LESSON,
    library=decoding_loop,
    minutes=10,
    difficulty=2,
    part=True,
    cases=(
        loop_case("six tokens", [3, 1, 4], 6),
        loop_case("one token: the model need not run again", [2, 7], 1),
        loop_case("a prompt of one token", [9], 5),
        loop_case("choose looks at the whole sequence", [1, 1, 0, 5], 12, rare=True),
        loop_case("an end of sequence", [6, 2, 2], 20, rare=True, eos_ids=(10,)),
        loop_case("two kinds of end of sequence", [4, 8], 20, rare=True, eos_ids=(7, 5)),
        loop_case("the first token is an end of sequence", [3, 1, 4], 6, eos_ids=tuple(range(11))),
        loop_case("stopped by the caller", [6, 2, 2], 20, rare=True, stops=(10,)),
        loop_case("stopped at the last token allowed", [3, 1, 4], 1, stops=tuple(range(11))),
        loop_case("never stopped by the caller", [0, 8], 4, rare=True, stops=()),
        loop_case("stop is not asked about the end", [5, 2, 2], 20, True, (6, 4), ()),
        Case("taken one by one", one_by_one, one_by_one_expected),
        Case("a small decoder", on_a_decoder, on_a_decoder_expected),
    ),
    mistakes=(
        *edits(
            plain_decoding_loop,
            """
## yields the end of sequence
- return "eos"
+ yield token
+ return "eos"
You give out the end-of-sequence token. It is a signal and no text: look whether the token is in
eos_ids before you yield it, and return without it.
## one token too many
- range(1, max_new_tokens + 1) → range(1, max_new_tokens + 2)
- if made < max_new_tokens: → if made < max_new_tokens + 1:
You give out one token more than max_new_tokens. Count what you have yielded: after max_new_tokens
of them the loop returns.
## one token too few
- range(1, max_new_tokens + 1) → range(1, max_new_tokens)
- if made < max_new_tokens: → if made < max_new_tokens - 1:
You give out one token less than max_new_tokens. The prefill's logits already give the first token,
and each decode step one more: T + max_new_tokens - 1 tokens are read.
## the model runs once more
- if made < max_new_tokens: → if made <= max_new_tokens:
The tokens are right, but the model reads the last one too, and nobody looks at what it forecasts.
Look whether it was the last before you take the next step.
## the stopping token is swallowed
- yield token
- return "stop"
+ return "stop"
When `stop` is true you return without the token that it was asked about. That token is text: yield
it, then return "stop". (Only an end-of-sequence token is kept back.)
## the end is seen in the first step only
- if token in eos_ids: → if made == 1 and token in eos_ids:
You compare only the first token with eos_ids. The model may end its text at any step: the
comparison belongs into the loop.
## the end is not seen in the first step
- if token in eos_ids: → if made > 1 and token in eos_ids:
You compare the tokens of the decode steps with eos_ids, but not the one that comes out of the
prefill. The first token may be the end too.
## the end is ignored
- if token in eos_ids:
-     return "eos"
You never stop at an end-of-sequence token: compare each token with eos_ids, and return "eos"
before it is given out.
## the cache is filled again and again
- decode_step(model, next_ids[:, None], kv_cache) → prefill(model, sequence, kv_cache)
You read the whole sequence at each step, into a cache that holds it already: the model sees
everything twice, then three times. After the prefill each step reads the new token alone, as (1,
1).
## a prefill at each step
- decode_step(model, next_ids[:, None], kv_cache)
+ prefill(model, sequence, model.new_cache(1, sequence.shape[1]))
The tokens are right, but you read the whole sequence anew for each of them: look at the positions
computed. That is lesson 05's loop. Keep one cache, prefill once, then decode_step with the new
token alone.
## choose sees the new token alone
- sequence = torch.cat((sequence, next_ids[:, None]), dim=1) → sequence = next_ids[:, None]
`choose` gets only the newest token. It needs the whole sequence so far, prompt included, (1, T): a
repetition penalty looks at all of it. Grow it with torch.cat.
## choose sees the new tokens without the prompt
- sequence = torch.cat((sequence, next_ids[:, None]), dim=1)
+ so_far = sequence if made > 1 else token_ids[:, :0]
+ sequence = torch.cat((so_far, next_ids[:, None]), dim=1)
After the first round `choose` gets the new tokens alone. It needs the whole sequence so far, prompt
included, (1, T): begin with `token_ids`, and append to it.
## choose is not asked
- choose(logits, sequence) → logits.argmax(-1)
You take the best token yourself. How the next one is chosen is the caller's business: call
`choose(logits, sequence)`.
## the logits are not renewed
- logits = decode_step(model, → decode_step(model,
The new token is read, but what decode_step gives is thrown away: the next token is chosen from the
old logits. Store the new ones.
## only one kind of end
- token in eos_ids → token in tuple(eos_ids)[:1]
You compare with the first of `eos_ids` alone. There may be several kinds of end: token in eos_ids.
## the prompt is given out
- logits = prefill
+ yield from token_ids[0].tolist()
+ logits = prefill
You give out the prompt's tokens too. Only the new ones are asked for.
## tensors instead of numbers
- yield token
- return "stop"
+ yield next_ids
+ return "stop"
- yield token
- if made
+ yield next_ids
+ if made
You yield tensors. A token is a whole number: int(next_ids).
## choose sees the prompt alone
- choose(logits, sequence) → choose(logits, token_ids)
`choose` gets the prompt at every step. It needs the sequence so far: append each new token to it
with torch.cat((sequence, next_ids[:, None]), dim=1).
## no finish reason
- return "eos" → return
- return "stop" → return
- return "length" → return
The tokens are right, but the loop does not say why it ended. In a generator `return "eos"` ends it
with a value: return "eos", "stop" or "length".
## the reason is yielded
- return "eos" → return (yield "eos")
- return "stop" → return (yield "stop")
- return "length" → return (yield "length")
You yield the finish reason: it comes as if it were one more token. `return "eos"` ends the
generator and hands the reason to whoever wrote `yield from`.
## no reason at the limit
- return "length" → return
Where `max_new_tokens` are made your loop runs out and gives no reason: return "length" there.
## the end is called a stop
- return "eos" → return "stop"
You call an end of sequence "stop". It is the model that ended its text, not the caller: "eos".
## always the same reason
- return "eos" → return "length"
- return "stop" → return "length"
You return "length" whatever ended the loop. Who reads the answer wants to know whether it is
whole: return "eos" at an end of sequence, "stop" when `stop` was true.
## the length before the stop
- return "stop" → return "length" if made == max_new_tokens else "stop"
Where `stop` is true at the last token allowed, you return "length". The caller had seen enough, so
the answer is whole: ask `stop` first, and return "stop".
## stop is asked too late
- if stop is not None and stop(token):
-     yield token
-     return "stop"
- yield token
- if made < max_new_tokens:
+ yield token
+ if made < max_new_tokens:
+     if stop is not None and stop(token):
+         return "stop"
You ask `stop` only when the next token is wanted. Whoever prints the text must know when the token
arrives whether it was the last: call stop(token) first, then yield.
## stop is asked after the yield
- if stop is not None and stop(token):
-     yield token
-     return "stop"
- yield token
- if made < max_new_tokens:
+ yield token
+ if stop is not None and stop(token):
+     return "stop"
+ if made < max_new_tokens:
You ask `stop` after the yield, so whoever gets the token doesn't know yet whether it was the last:
call stop(token) first, then yield.
## stop is asked twice
- if stop is not None and stop(token):
-     yield token
-     return "stop"
- yield token
- if made < max_new_tokens:
+ if stop is not None:
+     stop(token)
+ yield token
+ if stop is not None and stop(token):
+     return "stop"
+ if made < max_new_tokens:
You call stop(token) twice for each token. It may count, or push the token into a stream: call it
once, before the yield, and remember the answer.
## stop is never asked
- if stop is not None and stop(token):
-     yield token
-     return "stop"
You never ask `stop`. Where one is given, call stop(token) once for each token, before you yield it.
## the cache is one place short
- token_ids.shape[1] + max_new_tokens + 1 → token_ids.shape[1] + max_new_tokens - 2
The cache you ask for has too few places: T + max_new_tokens - 1 tokens are read.
## stop is asked about the end of sequence
- if token in eos_ids:
-     return "eos"
- if stop is not None and stop(token):
+ enough = stop is not None and stop(token)
+ if token in eos_ids:
+     return "eos"
+ if enough:
You call `stop` with the end-of-sequence token. It is no text, so nobody should be asked about it:
look at eos_ids first.
""",
        ),
        Mistake(
            "all at once",
            "You return a list when all is over. Nothing could be shown before that, and a list has "
            "no finish reason: make it a generator, which yields each token as soon as it is known.",
            all_at_once,
        ),
    ),
    hints=(
        "It is lesson 06's loop with three ways out. Write that loop first: prefill once; choose; "
        "yield; decode_step with the new token as (1, 1).",
        'In each round, in this order: choose; if the token is in eos_ids, return "eos"; ask '
        'stop, if there is one; yield; return "stop" or "length" if it was the last; grow the '
        "sequence; decode_step.",
        "next_ids = choose(logits, sequence) is (1,). int(next_ids) is the number to yield; "
        "next_ids[:, None] is (1, 1), which decode_step takes and torch.cat appends to the sequence.",
        'Count with `for made in range(1, max_new_tokens + 1)`, and return "length" when made == '
        "max_new_tokens, before the decode step. The cache needs T + max_new_tokens - 1 places.",
    ),
)

# --- TextStream -----------------------------------------------------------------------------------


class Bytes:
    """A tokenizer whose tokens are any runs of bytes: token i is the i-th of them."""

    def __init__(self, chunks: Sequence[bytes]) -> None:
        self.chunks = chunks

    def decode(self, token_ids: Sequence[int], skip_special: bool = False) -> str:
        return b"".join(self.chunks[int(i)] for i in token_ids).decode("utf-8", "replace")


class LeadingSpace:
    """A tokenizer that drops the space before the first token, as SentencePiece's do."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words

    def decode(self, token_ids: Sequence[int], skip_special: bool = False) -> str:
        return "".join(self.words[int(i)] for i in token_ids).removeprefix(" ")


def driven_stream(candidate: Candidate, tokenizer: Any, count: int, stop: Any) -> dict[str, Any]:
    """Push tokens 0, 1, 2 …; what each gives, what the end gives, and whether it had stopped."""
    stream = candidate(tokenizer, stop) if stop else candidate(tokenizer)
    pieces = [stream.push(token) for token in range(count)]
    return {"pushed": pieces, "finish": stream.finish(), "stopped": bool(stream.stopped)}


def stream_case(
    label: str, chunks: Sequence[bytes], pieces: list[str], last: str = "", stop: Any = ()
) -> Case:
    """Written out by hand: what each push gives, and what finish gives."""
    expected = {
        "pushed": pieces,
        "finish": last,
        "stopped": any(s.encode() in b"".join(chunks) for s in stop),
    }
    tokenizer = Bytes(chunks)
    return Case(label, lambda c: driven_stream(c, tokenizer, len(chunks), stop), lambda: expected)


HALF = "\ufffd"  # what half a character is decoded to


class PlainStream:
    """A right one."""

    def __init__(self, tokenizer: Any, stop: Sequence[str] = ()) -> None:
        self.tokenizer, self.stop = tokenizer, tuple(stop)
        self.token_ids: list[int] = []
        self.given = 0
        self.stopped = False

    def push(self, token: int) -> str:
        if self.stopped:
            return ""
        self.token_ids.append(token)
        text = self.text()
        if text.endswith(HALF):
            return ""
        places = [text.find(s) for s in self.stop if s in text]
        if places:
            self.stopped = True
            return self.give(text, min(places))
        return self.give(text, len(text) - self.uncertain(text))

    def finish(self) -> str:
        text = self.text()
        return "" if self.stopped else self.give(text, len(text))

    def text(self) -> str:
        return str(self.tokenizer.decode(self.token_ids))

    def uncertain(self, text: str) -> int:
        starts = [s[:n] for s in self.stop for n in range(1, len(s))]
        return max((len(x) for x in starts if text.endswith(x)), default=0)

    def give(self, text: str, end: int) -> str:
        piece, self.given = text[self.given : end], max(end, self.given)
        return piece


EMOJI, KANJI = "🎉".encode(), "日".encode()

STREAM = Exercise(
    name="TextStream",
    lesson=LESSON,
    library=TextStream,
    minutes=12,
    difficulty=3,
    part=True,
    cases=(
        stream_case("plain words", [b"The", b" cat", b" sat", b"."], ["The", " cat", " sat", "."]),
        stream_case(
            "an emoji over three tokens",
            [b"Hi", EMOJI[:1], EMOJI[1:3], EMOJI[3:], b"!"],
            ["Hi", "", "", "🎉", "!"],
        ),
        stream_case(
            "two characters, half and half",
            [KANJI[:1], KANJI[1:] + "本".encode(), b".", EMOJI[:2], EMOJI[2:]],
            ["", "日本", ".", "", "🎉"],
        ),
        stream_case("half a character at the end", [b"ok", EMOJI[:2]], ["ok", ""], "\ufffd"),
        stream_case(
            "a stop string over two tokens",
            [b"One", b".", b"\n", b"\n", b"Two"],
            ["One", ".", "", "", ""],
            stop=["\n\n"],
        ),
        stream_case(
            "a stop string over three tokens, begun in the middle of one",
            [b"Paris. U", b"se", b"r:", b" and"],
            ["Paris. ", "", "", ""],
            stop=["User:"],
        ),
        stream_case(
            "what looks like a beginning, and is none",
            [b"A U", b"SA", b" fla", b"g."],
            ["A ", "USA", " fla", "g."],
            stop=["User:"],
        ),
        stream_case(
            "held back to the end",
            [b"Line", b"\n"],
            ["Line", ""],
            "\n",
            stop=["\n\n"],
        ),
        stream_case(
            "a stop string inside one token",
            [b"one", b", two; th", b"ree"],
            ["one", ", two", ""],
            stop=["; "],
        ),
        stream_case(
            "a beginning that begins again",
            [b"a", b"a", b"a", b"b", b"c"],
            ["", "", "a", "", ""],
            stop=["aab"],
        ),
        stream_case(
            "two stop strings, the second comes",
            [b"x", b"<", b"/a", b">", b"y"],
            ["x", "", "", "", ""],
            stop=["END", "</a>"],
        ),
        stream_case(
            "an emoji, then a stop string",
            [b"Yes ", EMOJI[:1], EMOJI[1:], b"\n", b"\nQ", b":"],
            ["Yes ", "", "🎉", "", "", ""],
            stop=["\n\n"],
        ),
        stream_case(
            "two stop strings in one token",
            [b"the", b" primary", b" one"],
            ["the", " ", ""],
            stop=["mary", "pri"],
        ),
        stream_case(
            "a stop string at the very beginning",
            [b"\n", b"\nNo"],
            ["", ""],
            stop=["\n\n"],
        ),
        stream_case(
            "a stop string twice in one token",
            [b"one", b", two; three; four", b"."],
            ["one", ", two", ""],
            stop=["; "],
        ),
        stream_case(
            "half a character behind what is held back",
            [b"Say ", b"<", EMOJI[:3]],
            ["Say ", "", ""],
            "<\ufffd",
            stop=["</a>"],
        ),
        stream_case(
            "two stop strings in one token, the first of the list first",
            [b"the", b" primary", b" one"],
            ["the", " ", ""],
            stop=["pri", "mary"],
        ),
        stream_case(
            "three stop strings in one token",
            [b"it", b" was a great day"],
            ["it", " "],
            stop=["great", "was", "day"],
        ),
        stream_case(
            "three stop strings in one token, in another order",
            [b"it", b" was a great day"],
            ["it", " "],
            stop=["day", "was", "great"],
        ),
        stream_case(
            "a byte that is no character",
            [b"a", b"\xff", b"b", b"c"],
            ["a", "", "\ufffdb", "c"],
        ),
        Case(
            "a tokenizer that drops the first space",
            lambda c: driven_stream(c, LeadingSpace([" one", " two", " three"]), 3, ()),
            lambda: {"pushed": ["one", " two", " three"], "finish": "", "stopped": False},
        ),
    ),
    mistakes=edits(
        PlainStream,
        """
## a stop string over two tokens is missed
- [text.find(s) for s in self.stop if s in text]
+ [text.find(s, self.given) for s in self.stop if s in text[self.given :]]
- len(text) - self.uncertain(text) → len(text)
You look for the stop string in each new piece alone, so one that is split over two tokens is never
found. Look in the whole text so far, and give nothing out that may be the beginning of one.
## a stop string is looked for in the new token alone
- [text.find(s) for s in self.stop if s in text]
+ [text.find(s) for s in self.stop if s in self.tokenizer.decode([token])]
You look for the stop string in the new token alone, so one that is split over two tokens is never found.
Look in the whole text so far.
## half a character is printed
- if text.endswith(HALF):
-     return ""
Text that ends with U+FFFD ends with half a character: the rest comes with the next tokens. Give
nothing out until it is whole.
## tokens are decoded one by one
- self.tokenizer.decode(self.token_ids)
+ "".join(self.tokenizer.decode([i]) for i in self.token_ids)
- if text.endswith(HALF):
-     return ""
You decode each token by itself. A character that is spread over several tokens then comes out as
several U+FFFD, and some tokenizers add or drop a space. Keep all token ids, decode them together,
and give out what is new.
## half a character is looked for in the new token
- if text.endswith(HALF): → if self.tokenizer.decode([token]).endswith(HALF):
You look for half a character in the new token alone. The token that completes a character is no whole
one by itself either: look at the end of the text of all tokens.
## half characters are thrown away
- self.token_ids.append(token)
+ if self.tokenizer.decode([token]).endswith(HALF):
+     return ""
+ self.token_ids.append(token)
- self.tokenizer.decode(self.token_ids)
+ "".join(self.tokenizer.decode([i]) for i in self.token_ids)
You leave out tokens that are half a character, so the whole one is never seen. Keep their ids and
decode them together with what follows.
## everything is held back until the end
- len(text) - self.uncertain(text) → self.given if self.stop else len(text)
With a stop string you give nothing out before finish(). Only as much is uncertain as the end of
the text has in common with the beginning of a stop string; all before it can be shown at once.
## always as much is held back as a stop string is long
- self.uncertain(text) → max((len(s) - 1 for s in self.stop), default=0)
You hold back len(stop) - 1 characters, whatever they are. The text is right in the end, but comes
late. Hold back only the end that really is a beginning of a stop string.
## the stop string is printed
- text.find(s) for s → text.find(s) + len(s) for s
You give out the stop string itself: the text ends before it, at text.find(stop).
## a stop string at the beginning is not seen
- [text.find(s) for s in self.stop if s in text] → [p for p in map(text.find, self.stop) if p > 0]
A stop string at the very beginning of the text is not seen: there find gives 0, and only -1 means
that there is none.
## cut at the last string of the list
- min(places) → places[-1]
Two stop strings are in the text, and you cut at the one that comes last in self.stop. Cut at the one that
comes first in the text: the smallest text.find(s).
## cut at the last of several
- min(places) → max(places)
Two stop strings are in the text, and you cut at the one that comes last. The first of them ends it:
the smallest text.find(s).
## cut at the last
- text.find(s) for s → text.rfind(s) for s
The stop string stands in the text twice, and you cut at the last. It ends the text where it comes
first: find, not rfind.
## what stands before the stop string is lost
- return self.give(text, min(places)) → return ""
Where the stop string comes you give out nothing. What stands before it in the text is still to be
given: all from self.given to where it begins.
## a stop string is looked for at the end alone
- [text.find(s) for s in self.stop if s in text]
+ [len(text) - len(s) for s in self.stop if text.endswith(s)]
You look for the stop string at the end of the text alone. A token may go on behind it: look for it
anywhere in the text.
## beginnings of stop strings are printed
- len(text) - self.uncertain(text) → len(text)
You give out everything, also what may be the beginning of a stop string. All but the last
self.uncertain(text) characters are certain.
## what stands behind the stop string is printed
- self.give(text, min(places)) → self.give(text, len(text))
A token may go on behind the stop string. Neither it nor what follows is given out: cut the text
where the stop string begins.
## it goes on after the stop string
- if places:
-     self.stopped = True
-     return self.give(text, min(places))
+ for s in self.stop:
+     self.stopped |= s in text
+     text = text.replace(s, "")
- if self.stopped:
-     return ""
You take the stop string out of the text and go on. It ends the text: once `stopped` is true,
push() gives nothing more.
## finish forgets what was held back
- return "" if self.stopped else self.give(text, len(text)) → return ""
What was held back is lost at the end. When no more tokens come, it was no stop string after all:
finish() gives out the rest.
## finish drops half a character
- text = self.text()
- return "" if self.stopped
+ text = self.text().rstrip(HALF)
+ return "" if self.stopped
finish() drops half a character at the end. No more will come, so it is given out as it is, as U+FFFD.
## finish gives nothing where half a character stands
- text = self.text()
- return "" if self.stopped
+ text = self.text()
+ return "" if self.stopped or text.endswith(HALF)
finish() gives nothing where the text ends with half a character. No more will come, so all that was
held back is given out, the half as U+FFFD.
## finish keeps back the uncertain end
- self.give(text, len(text)) → self.give(text, len(text) - self.uncertain(text))
finish() keeps back what may be the beginning of a stop string. No more tokens come, so it was none: give
out all.
## finish gives the whole text
- self.give(text, len(text)) → text
finish() gives out the whole text again. Only what is not yet given is asked for: from self.given on.
## finish gives what the stop string cut off
- return "" if self.stopped else self.give(text, len(text)) → return self.give(text, len(text))
After a stop string finish() gives out the rest all the same. Once `stopped` is true there is
nothing more to give.
## stopped is never set
- self.stopped = False → self.done = self.stopped = False
- if self.stopped: → if self.done:
- self.stopped = True → self.done = True
- "" if self.stopped → "" if self.done
The text is right, but `stopped` stays False, so the loop would go on making tokens that nobody
sees. Set self.stopped = True when a stop string is complete.
## only the first stop string counts
- tuple(stop) → tuple(stop)[:1]
You look for the first stop string alone: go through all of self.stop.
## cut at the first string of the list
- min(places) → places[0]
Two stop strings are in the text, and you cut at the one that comes first in self.stop. Cut at the
one that comes first in the text: the smallest text.find(s).
## it waits for ever after a broken byte
- text.endswith(HALF) → HALF in text
You look for "\\ufffd" anywhere in the text. Only at the end does it mean that more is to come: a
byte that belongs to no character stays U+FFFD, and the text goes on. Use text.endswith.
## cut at minus nought
- return self.give(text, len(text) - self.uncertain(text))
+ piece = text[self.given : -self.uncertain(text)]
+ self.given = len(text) - self.uncertain(text)
+ return piece
You cut with text[self.given:-n]. Where n is 0 that is text[self.given:0], which is empty: -0 is 0.
Write len(text) - n.
## cut at minus nought, counted by pieces
- return self.give(text, len(text) - self.uncertain(text))
+ piece = text[self.given : -self.uncertain(text)]
+ self.given += len(piece)
+ return piece
You cut with text[self.given:-n]. Where n is 0 that is text[self.given:0], which is empty: -0 is 0.
Write len(text) - n.
## the text of the new token alone
- self.token_ids.append(token)
- text = self.text()
+ self.token_ids.append(token)
+ text = self.tokenizer.decode([token])
- max(end, self.given) → end
You decode the new token alone, and cut its text at self.given, which counts in the text of all
tokens: decode self.token_ids.
## given never moves
- return piece → return text[:end]
Each push gives the whole text again: self.given stays 0. Set it to where the piece ended.
## what was held back counts as given
- max(end, self.given) → len(text)
What you hold back never comes: self.given = len(text) counts it as given. Set self.given to where
the piece ended.
## it waits for whole words
- self.uncertain(text) → max(self.uncertain(text), len(text) - text.rfind(" ") - 1)
You give out whole words only. What is certain is to be shown at once: only half a character and
the beginning of a stop string are held back.
""",
    ),
    hints=(
        "push: append the id, decode all ids together, and give out what is new since last time: "
        "text[self.given:]. Then think about what must not be given out yet.",
        'Three things may come of a push. The text ends with "\\ufffd": give "". A stop string '
        "is in it: set stopped, give up to where it begins. Else: give all but the last "
        "self.uncertain(text) characters, that is, up to end = len(text) - self.uncertain(text). "
        "(Not text[self.given:-n]: with n = 0 that is empty.)",
        "Each time, remember how far you have given: piece = text[self.given:end]; self.given = end. "
        "finish() does the same with end = len(text), unless it had stopped.",
        "If several stop strings are in the text, cut at the first: min(text.find(s) for s in "
        'self.stop if s in text). A push after the stop gives "" at once.',
    ),
)

# --- pad_left -------------------------------------------------------------------------------------


def padded_by_hand(prompts: Sequence[Sequence[int]], pad_id: int = 0) -> tuple[Tensor, Tensor]:
    """Closed form: column c of a row of n tokens is its token c - (T - n), if there is one."""
    T = max(len(p) for p in prompts)
    token_ids = torch.full((len(prompts), T), pad_id)
    real = torch.zeros(len(prompts), T, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        for place, token in enumerate(prompt):
            token_ids[row, T - len(prompt) + place] = token
            real[row, T - len(prompt) + place] = True
    return token_ids, real


def both(result: Any) -> Any:
    """The two tensors by name, and whether ids are whole numbers; anything else as it came."""
    if not (isinstance(result, tuple | list) and len(result) == 2):
        return result
    token_ids, real = result
    whole = isinstance(token_ids, Tensor) and not token_ids.is_floating_point()
    return {"token_ids": token_ids, "real": real, "ids are whole numbers": whole}


def padding_case(label: str, prompts: list[list[int]], *pad_id: int) -> Case:
    def run(candidate: Candidate) -> Any:
        lent = [list(p) for p in prompts]
        result = candidate(lent, *pad_id)
        if lent != prompts:
            raise ChangedInput(
                "it changed the prompts in place: the caller still needs them; make new lists"
            )
        return both(result)

    expected = both(padded_by_hand(prompts, *pad_id))
    return Case(label, run, lambda: expected, (prompts, *pad_id))


def padded(prompts: Sequence[Sequence[int]], pad_id: int = 0) -> tuple[Tensor, Tensor]:
    """A right one."""
    T = max(len(p) for p in prompts)
    rows, real = [], []
    for prompt in prompts:
        gap = T - len(prompt)
        rows.append([pad_id] * gap + list(prompt))
        real.append([False] * gap + [True] * len(prompt))
    return torch.tensor(rows), torch.tensor(real)


PAD = Exercise(
    name="pad_left",
    lesson=LESSON,
    library=pad_left,
    minutes=6,
    difficulty=1,
    cases=(
        padding_case("three lengths", [[5, 6, 7, 8], [9], [3, 4]]),
        padding_case("one prompt", [[2, 7, 1]]),
        padding_case("all of one length", [[1, 2], [3, 4], [5, 6]]),
        padding_case("pad_id 99", [[1], [2, 3, 4]], 99),
        padding_case("the pad id occurs in a prompt", [[0, 5, 0], [0], [7, 0]]),
        padding_case("the pad id occurs in a prompt, 7", [[7, 1], [7, 7, 2, 7, 7]], 7),
        padding_case("the first is the shortest", [[4], [1, 2, 3, 4, 5]]),
    ),
    mistakes=edits(
        padded,
        """
## padded on the right
- [pad_id] * gap + list(prompt) → list(prompt) + [pad_id] * gap
- [False] * gap + [True] * len(prompt) → [True] * len(prompt) + [False] * gap
You fill up on the right. Then the last column holds no real token for the short prompts, and that
is where the next token is read off: put the padding in front.
## real is the wrong way round
- torch.tensor(real) → ~torch.tensor(real)
The tokens are right, but `real` is True where the padding is. It says which entries are real: True
for tokens, False for padding.
## real is read off the ids
- torch.tensor(real) → torch.tensor(rows) != pad_id
Right, unless the pad id occurs in a prompt: there you take a real token for padding. Make `real`
from the lengths, not from token_ids != pad_id.
## real is True for the padding, read off the ids
- torch.tensor(real) → torch.tensor(rows) == pad_id
Two things. `real` is True where the padding is: turn it around. And make it from the lengths, not
from the ids: the pad id may occur in a prompt.
## real on the other side
- [False] * gap + [True] * len(prompt) → [True] * len(prompt) + [False] * gap
The tokens are padded on the left, but `real` is False on the right: both need the padding in
front.
## real is not boolean
- torch.tensor(real) → torch.tensor(real).long()
`real` holds whole numbers. It becomes a mask, and masks are boolean here: True and False, or
.bool().
## real is everything but 0
- torch.tensor(real) → torch.tensor(rows) != 0
You take every id but 0 for a real token. 0 may occur in a prompt, and the padding may be another id:
make `real` from the lengths.
## all is real
- [False] * gap + [True] * len(prompt) → [True] * T
`real` is True everywhere. It is False where the padding stands.
## real is missing
- return torch.tensor(rows), torch.tensor(real) → return torch.tensor(rows)
You return the token ids alone. Two tensors are asked for: the ids, and `real`.
## real first
- return torch.tensor(rows), torch.tensor(real) → return torch.tensor(real), torch.tensor(rows)
The two tensors are in the wrong order: the ids first, then `real`.
## lists instead of tensors
- return torch.tensor(rows), torch.tensor(real) → return rows, real
You return lists. Two tensors are asked for: torch.tensor makes one of a list of rows.
## ids that are no whole numbers
- return torch.tensor(rows), → return torch.tensor(rows).float(),
Your token ids are floating-point numbers, which no embedding takes: ids are whole. torch.zeros and
torch.ones make floats; torch.full((B, T), pad_id) doesn't.
## real for the first prompt
- gap = T - len(prompt)
+ gap, first = T - len(prompt), T - len(prompts[0])
- [False] * gap + [True] * len(prompt) → [False] * first + [True] * len(prompts[0])
`real` is the same in every row, that of the first prompt. Each row has padding of its own.
## sorted by length
- in prompts: → in sorted(prompts, key=len, reverse=True):
Your rows are sorted by their length. They stay in the order of the prompts: who calls needs to know which
is which.
## one pad too many
- gap = T - len(prompt) → gap = T - len(prompt) + 1
Each row has one entry too many on the left: T is the length of the longest prompt, which needs no
padding.
## pad_id is ignored
- [pad_id] → [0]
You always fill up with 0: use pad_id.
## cut to the shortest
- T = max( → T = min(
- in prompts: → in [p[:T] for p in prompts]:
You cut the long prompts. Nothing may be lost: T is the length of the longest, max(len(p) for p in
prompts).
## the tokens are turned around
- list(prompt) → list(prompt)[::-1]
The padding is on the left, but the tokens of the short prompts are in reverse order: whoever turns
the rows around to pad them must turn each prompt around before.
""",
    ),
    hints=(
        "T is the length of the longest prompt. How many pads does a prompt of n tokens need?",
        "Lists can be added and multiplied: [pad_id] * 3 + [5, 6] is [pad_id, pad_id, pad_id, 5, 6].",
        "`real` is made in the same way: [False] * (T - n) + [True] * n. torch.tensor makes a tensor "
        "of a list of rows, boolean if all entries are True or False.",
    ),
)


# --- beam_search ----------------------------------------------------------------------------------


def beam_search(
    model: Any,
    token_ids: Tensor,
    max_new_tokens: int,
    beams: int,
    length_penalty: float = 1.0,
    eos_ids: Collection[int] = (),
) -> list[int]:
    """The library's, as the exercise has it: the tokens alone."""
    found = library_beam_search(model, token_ids, max_new_tokens, beams, length_penalty, eos_ids)
    return list(found.tokens)


def log_shares(logits: Sequence[float]) -> list[float]:
    total = math.log(math.fsum(math.exp(x) for x in logits))
    return [x - total for x in logits]


def beams_on_lists(
    table: Callable[[list[int]], list[float]],
    prompt: list[int],
    most: int,
    beams: int,
    length_penalty: float = 1.0,
    eos_ids: Collection[int] = (),
) -> list[int]:
    """The oracle: texts in lists, no tensors and no cache; every text is read anew at each step."""
    running: list[tuple[float, list[int]]] = [(0.0, [])]
    ended: list[tuple[float, list[int]]] = []
    for made in range(1, most + 1):
        grown = [
            (total + share, [*text, token])
            for total, text in running
            for token, share in enumerate(log_shares(table(prompt + text)))
        ]
        grown.sort(key=lambda x: -x[0])
        ends = [text[-1] in eos_ids or made == most for _, text in grown]
        for (total, text), over in list(zip(grown, ends, strict=True))[:beams]:
            if over:
                ended.append((total / made**length_penalty, text))
        ended = sorted(ended, key=lambda x: -x[0])[:beams]
        running = [x for x, over in zip(grown, ends, strict=True) if not over][:beams]
        full = len(ended) == beams
        if not running or (full and running[0][0] / made**length_penalty <= ended[-1][0]):
            break
    best_text = ended[0][1]
    return best_text[:-1] if best_text[-1] in eos_ids else best_text


def best_of_all(
    table: Callable[[list[int]], list[float]], prompt: list[int], most: int, V: int
) -> list[int]:
    """Closed form where nothing ends early: every text of `most` tokens is tried."""

    def total(text: list[int]) -> float:
        steps = range(len(text))
        return math.fsum(log_shares(table(prompt + text[:i]))[text[i]] for i in steps)

    every = [list(text) for text in itertools.product(range(V), repeat=most)]
    return max(every, key=total)


def beam_case(
    label: str,
    V: int,
    prompt: list[int],
    most: int,
    beams: int,
    length_penalty: float = 1.0,
    eos_ids: tuple[int, ...] = (),
    every: bool = False,
) -> Case:
    def run(candidate: Candidate) -> Any:
        given = torch.tensor([prompt])
        text = candidate(HashModel(V), given, most, beams, length_penalty, eos_ids)
        if given.tolist() != [prompt]:
            raise ChangedInput("it changed token_ids in place: work on a new tensor")
        return text

    def expected() -> Any:
        table = partial(forecast, V=V)
        if every:
            return best_of_all(table, prompt, most, V)
        return beams_on_lists(table, prompt, most, beams, length_penalty, eos_ids)

    return Case(label, run, expected)


def decoder_beams(candidate: Candidate) -> Any:
    return candidate(small_decoder(), torch.tensor([[8, 1, 60]]), 6, 3)


def decoder_beams_expected() -> Any:
    def table(sequence: list[int]) -> list[float]:
        with torch.inference_mode():
            logits: list[float] = small_decoder()(torch.tensor([sequence]))[0, -1].tolist()
        return logits

    return beams_on_lists(table, [8, 1, 60], 6, 3)


def plain_beam_search(
    model: Any,
    token_ids: Tensor,
    max_new_tokens: int,
    beams: int,
    length_penalty: float = 1.0,
    eos_ids: Collection[int] = (),
) -> list[int]:
    """A right one."""
    kv_cache = model.new_cache(1, token_ids.shape[1] + max_new_tokens - 1)
    logits = prefill(model, token_ids, kv_cache)
    texts: list[list[int]] = [[]]
    sums = torch.zeros(1)
    ended: list[tuple[float, list[int]]] = []
    count = beams * (1 + max(1, len(set(eos_ids))))
    for made in range(1, max_new_tokens + 1):
        table = sums[:, None] + logits.log_softmax(-1)
        K, V = table.shape
        best, places = table.flatten().topk(min(count, K * V))
        rows, tokens = places // V, places % V
        going: list[tuple[float, int, int]] = []
        candidates = zip(best.tolist(), rows.tolist(), tokens.tolist(), strict=True)
        for rank, (total, row, token) in enumerate(candidates):
            ends = token in eos_ids
            if not ends and made < max_new_tokens:
                going.append((total, row, token))
            elif rank < beams:
                text = texts[row] if ends else [*texts[row], token]
                ended.append((total / made**length_penalty, text))
        ended = sorted(ended, key=lambda x: -x[0])[:beams]
        going = going[:beams]
        if not going:
            break
        if len(ended) == beams and going[0][0] / made**length_penalty <= ended[-1][0]:
            break
        texts = [[*texts[row], token] for _, row, token in going]
        sums = torch.tensor([total for total, row, _ in going])
        kv_cache.select([row for _, row, _ in going])
        logits = decode_step(model, torch.tensor([[token] for *_, token in going]), kv_cache)
    return ended[0][1]


BEAM = Exercise(
    name="beam_search",
    lesson=LESSON,
    library=beam_search,
    minutes=15,
    difficulty=3,
    part=True,
    cases=(
        beam_case("two beams, three tokens", 7, [1, 2], 3, 2),
        beam_case("one beam is greedy", 7, [1, 2], 6, 1),
        beam_case("three beams, eight tokens", 11, [4, 0, 9], 8, 3),
        beam_case("five beams, ten tokens", 13, [2], 10, 5),
        beam_case("as many beams as tokens: nothing is lost", 8, [5, 5], 2, 8, every=True),
        beam_case("nothing is lost, another prompt", 6, [1, 3, 3], 2, 6, every=True),
        beam_case("texts that end", 7, [6, 1], 9, 3, eos_ids=(2,)),
        beam_case("texts that end, summed: penalty 0", 7, [6, 1], 9, 3, 0.0, (2,)),
        beam_case("long ones favoured: penalty 2", 7, [6, 1], 9, 3, 2.0, (2,)),
        beam_case("short ones favoured: penalty -1", 9, [0, 4], 9, 4, -1.0, (3,)),
        beam_case("two kinds of end", 9, [3, 8], 8, 3, 1.0, (0, 5)),
        beam_case("another text that ends", 5, [1, 0, 4], 10, 2, 1.0, (3,)),
        beam_case("a better one after the first", 6, [1, 3], 7, 4, 0.5, (1,)),
        beam_case("one that ends late", 10, [7], 12, 3, 0.5, (6,)),
        beam_case("beams that end are replaced", 6, [0], 8, 3, 1.5, (4,)),
        Case("a small decoder", decoder_beams, decoder_beams_expected),
    ),
    mistakes=edits(
        plain_beam_search,
        """
## the cache is not reordered
- kv_cache.select([row for _, row, _ in going])
+ if kv_cache.batch != len(going):
+     kv_cache.select([row for _, row, _ in going])
The beams change places, their caches don't: a beam goes on with the keys and values of another
text. Before decode_step: cache.select(rows), with the row that each beam continues.
## the texts are not reordered
- texts = [[*texts[row], token] for _, row, token in going]
+ own = [texts[min(i, len(texts) - 1)] for i in range(len(going))]
+ texts = [[*text, token] for text, (_, _, token) in zip(own, going)]
You append each new token to the text in its own place. But beam i continues the beam rows[i]:
texts[row] + [token].
## two beams share one list
- texts = [[*texts[row], token] for _, row, token in going]
+ for _, row, token in going:
+     texts[row].append(token)
+ texts = [texts[row] for _, row, _ in going]
texts[row].append(token) changes the list that all beams from this row have in common, and those
that have ended too. Make a new list: texts[row] + [token].
## each beam for itself
- rows, tokens = places // V, places % V
+ rows, tokens = places // V, places % V
+ if made > 1:
+     own_best, own_token = table.max(-1)
+     best, rows = own_best.sort(descending=True)
+     tokens = own_token[rows]
Each beam goes on with its own best token: that is greedy decoding from several starts. The
candidates of all beams must compete: one topk over all K·V sums.
## logits are added
- logits.log_softmax(-1) → logits
You add logits. They are known up to a constant that differs from step to step and from beam to
beam, so their sums can't be compared: take log_softmax first.
## the sums are not added up
- sums[:, None] + logits.log_softmax(-1) → logits.log_softmax(-1)
You compare the last token's log-probability alone. A text's is the sum over all its tokens. Either
Part 1 does not add torch.tensor(sums)[:, None], or Part 2 does not set `sums`, and they stay 0.
## the old sum is added twice
- [total for total, row, _ in going] → [total + float(sums[row]) for total, row, _ in going]
You add the old sum in Part 2 once more. The `total` in `going` holds it already: sums = [total for
total, row, token in going].
## one softmax over all candidates
- table = sums[:, None] + logits.log_softmax(-1)
+ table = (sums[:, None] + logits).flatten().log_softmax(-1).view_as(logits)
You add the sums to the logits, and take one softmax over all beams. Each beam's forecast sums to 1 by
itself: log_softmax(-1) of each row first, then add the sums.
## the cache of the first beam for all
- kv_cache.select([row for _, row, _ in going]) → kv_cache.select([0] * len(going))
All beams go on with the cache of the first. Each continues a row of its own: cache.select(rows).
## the text of the first beam for all
- [[*texts[row], token] for _, row, token in going] → [[*texts[0], token] for _, row, token in going]
All beams go on with the text of the first. Each continues a row of its own: texts[row] + [token].
## the best of each row, row after row
- best, places = table.flatten().topk(min(count, K * V))
- rows, tokens = places // V, places % V
+ best, tokens = (x.flatten() for x in table.topk(min(count, V), dim=-1))
+ rows = torch.arange(K).repeat_interleave(min(count, V))
You take the best of each row, one row behind the other. The candidates of all beams must compete: one topk
over all K·V sums, best first.
## softmax over the beams
- logits.log_softmax(-1) → logits.log_softmax(0)
Your softmax runs over the beams. Each row is a forecast, and sums to 1 along the tokens:
log_softmax(-1).
## too few candidates
- count = beams * (1 + max(1, len(set(eos_ids)))) → count = beams
You take the best `beams` candidates. Some of them may end, and others must take their places: `count`
are enough for that.
## sums of the first candidates
- [total for total, row, _ in going] → best.tolist()[: len(going)]
Your sums are those of the first candidates. Some of these may have ended: take the totals in `going`.
## the cache follows the first candidates
- kv_cache.select([row for _, row, _ in going]) → kv_cache.select(rows.tolist()[: len(going)])
You rearrange the cache by the rows of the first candidates. Some of these may have ended: take the
rows in `going`.
## Part 2 from the first candidates
- texts = [[*texts[row], token] for _, row, token in going]
+ going = list(zip(best.tolist(), rows.tolist(), tokens.tolist()))[: len(going)]
+ texts = [[*texts[row], token] for _, row, token in going]
You go on with the first candidates. Some of these may have ended: those that go on are in `going`.
## softmax without the logarithm
- logits.log_softmax(-1) → logits.softmax(-1)
You add up probabilities. A text's probability is their product, so the logarithms add up:
log_softmax in place of softmax.
## row and token mixed up
- rows, tokens = places // V, places % V → rows, tokens = places % K, places // K
In the flattened table beam r has the places r·V to r·V + V - 1. So the row is place // V and the
token place % V: divide by V, not by the number of beams.
## no length penalty
- (total / made**length_penalty, text) → (total, text)
- going[0][0] / made**length_penalty → going[0][0]
You compare the bare sums. A long text has more terms, all negative, so short ones win: the score
is sum / n**length_penalty, n counting the end of sequence.
## multiplied by the length
- total / made**length_penalty → total * made**length_penalty
- going[0][0] / made**length_penalty → going[0][0] * made**length_penalty
You multiply by n**length_penalty: the sums are negative, so that makes long texts still worse.
Divide.
## the prompt, several times
- logits = prefill(model, token_ids, kv_cache)
+ logits = prefill(model, token_ids, kv_cache).expand(beams, -1)
+ kv_cache.select([0] * beams)
- texts: list[list[int]] = [[]] → texts = [[] for _ in range(beams)]
- sums = torch.zeros(1) → sums = torch.zeros(beams)
That is what greedy decoding gives. Do all your beams start as the same text? Then each candidate
stands there several times, and the beams stay alike for ever. Start with one row, or give all rows
but the first a sum of -inf.
## the first that ends wins
- ended.append((total / made**length_penalty, text)) → return text
You return the first text that ends. Another that is still running, or ends later, may score
better: keep those that ended, and compare.
## the end of sequence is in the text
- texts[row] if ends else [*texts[row], token] → [*texts[row], token]
The end-of-sequence token counts in the score, but it does not belong to the text: leave it out.
""",
    ),
    hints=(
        "Log-probabilities add up along a text. (K, 1) + (K, V) gives, for every beam and every "
        "token, the sum of the text that the two would make.",
        "table = torch.tensor(sums)[:, None] + logits.log_softmax(-1) is (K, V). best, places = "
        "table.flatten().topk(min(count, table.numel())) are the best of all beams together.",
        "Row r of the flattened table begins at r * V. So rows = places // V and tokens = places % V, "
        'with V = logits.shape[-1]. "list index out of range" at texts[row] says that the two are '
        "swapped. The three lists: best.tolist(), and so on.",
        "Part 2: texts = [texts[row] + [token] for _, row, token in going]; sums, a list of the "
        "totals; cache.select([row for _, row, _ in going]); only then decode_step with the new "
        "tokens as (K, 1), since the cache must have as many rows as there are tokens.",
    ),
)

# --- greedy_batch ---------------------------------------------------------------------------------


def greedy_batch(
    model: Any,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    eos_ids: Collection[int] = (),
) -> list[list[int]]:
    """The library's, as the exercise has it: the tokens alone."""
    return [row.tokens for row in generate_batch(model, prompts, max_new_tokens, eos_ids=eos_ids)]


def one_after_another(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    eos_ids: Collection[int] = (),
) -> list[list[int]]:
    """The oracle: each prompt alone, no padding, no cache."""

    def table(sequence: list[int]) -> list[float]:
        with torch.inference_mode():
            logits: list[float] = model(torch.tensor([sequence]))[0, -1].tolist()
        return logits

    return [plain_loop(table, list(p), max_new_tokens, eos_ids=eos_ids)[0] for p in prompts]


def batch_case(
    label: str, prompts: list[list[int]], most: int, eos_ids: tuple[int, ...] = ()
) -> Case:
    def run(candidate: Candidate) -> Any:
        model, lent = Watched(small_decoder()), [list(p) for p in prompts]
        texts = candidate(model, lent, most, eos_ids)
        if lent != prompts:
            raise ChangedInput(
                "it changed the prompts in place: the caller still needs them; make new lists"
            )
        return {"tokens": texts, "rows in a forward": model.rows}

    def expected() -> Any:
        texts = one_after_another(small_decoder(), prompts, most, eos_ids)
        return {"tokens": texts, "rows in a forward": len(prompts)}

    return Case(label, run, expected, (prompts, most, eos_ids))


def plain_greedy_batch(
    model: Any,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    eos_ids: Collection[int] = (),
) -> list[list[int]]:
    """A right one."""
    token_ids, real = padded(prompts)
    B, T = token_ids.shape
    columns = torch.arange(T)
    causal = columns <= columns[:, None]
    kv_cache = model.new_cache(B, T + max_new_tokens + 1)
    logits = prefill(model, token_ids, kv_cache, mask=real[:, None, None, :] & causal)
    made: list[list[int]] = [[] for _ in prompts]
    over = [False] * B
    for _ in range(max_new_tokens):
        next_ids = logits.argmax(-1)
        for row, token in enumerate(next_ids.tolist()):
            over[row] |= token in eos_ids
            if not over[row]:
                made[row].append(token)
        if all(over):
            break
        real = torch.cat((real, torch.ones(B, 1, dtype=torch.bool)), dim=1)
        mask = real[:, None, None, :]
        logits = decode_step(model, next_ids[:, None], kv_cache, mask=mask)
    return made


BATCH = Exercise(
    name="greedy_batch",
    lesson=LESSON,
    library=greedy_batch,
    minutes=15,
    difficulty=3,
    kind="stretch",
    cases=(
        batch_case("two lengths", [[5, 6, 7, 8, 30], [9, 2]], 5),
        batch_case("three lengths", [[3], [40, 41, 42], [7, 7, 7, 7, 7, 7]], 6),
        batch_case("one prompt", [[11, 12, 13]], 4),
        batch_case("zeros in a prompt", [[5, 0, 0, 0], [3]], 3),
        batch_case("one token each", [[1, 2, 3, 4, 5, 6, 7], [8]], 1),
        batch_case("a row that ends", [[5, 6, 7, 8, 30], [9, 2], [60]], 12, tuple(range(0, 97, 7))),
        batch_case("all end", [[3], [40, 41, 42]], 30, tuple(range(1, 97, 7))),
    ),
    mistakes=edits(
        plain_greedy_batch,
        """
## no mask at all
- mask=real[:, None, None, :] & causal → mask=causal
- mask = real[:, None, None, :] → mask = None
The short rows attend to their padding, in the prefill and in every step: give both a mask in which
no padding may be looked at.
## no mask in the decode steps
- mask = real[:, None, None, :] → mask = None
The prefill hides the padding, but the decode steps don't, and the padding is still in the cache:
each step needs a mask (B, 1, 1, S) too, one column longer each time.
## no mask in the prefill
- mask=real[:, None, None, :] & causal → mask=causal
The decode steps hide the padding, but the prefill doesn't: there the mask is real[:, None, None,
:] & causal_mask(T).
## the prefill is not causal
- real[:, None, None, :] & causal → real[:, None, None, :]
Your prefill's mask hides the padding, but not the future: each token of a prompt sees those after it.
It is real[:, None, None, :] & causal_mask(T).
## real is read off the ids
- causal = columns
+ real = token_ids != 0
+ causal = columns
You take every 0 for padding. A prompt may hold that token: pad_left gives `real`, made from the
lengths.
## the new column in front
- torch.cat((real, torch.ones(B, 1, dtype=torch.bool)), dim=1)
+ torch.cat((torch.ones(B, 1, dtype=torch.bool), real), dim=1)
`real` grows on the wrong side: the new token stands behind all others, so its column of True comes last.
## the new column is padding
- torch.ones(B, 1 → torch.zeros(B, 1
The column by which `real` grows is False, so no new token sees itself, nor those after the prompt: the
new tokens are real.
## one row after the other
- token_ids, real = padded(prompts)
+ if len(prompts) > 1:
+     return [plain_greedy_batch(model, [p], max_new_tokens, eos_ids)[0] for p in prompts]
+ token_ids, real = padded(prompts)
The tokens are right, but you make each row by itself. All prompts belong in one batch: one prefill and
one decode step for all of them.
## the end is ignored
- over[row] |= token in eos_ids
You never look for an end of sequence: compare each token with eos_ids, and append nothing more to a
row that has met one.
## the prompt is in the text
- [[] for _ in prompts] → [list(p) for p in prompts]
The prompts stand in the result. Only the new tokens are asked for.
## the first token is missing
- next_ids = logits.argmax(-1)
- for row, token in enumerate(next_ids.tolist()):
+ next_ids = logits.argmax(-1)
+ for row, token in enumerate(next_ids.tolist() if kv_cache.length > T else []):
The first token of each row is missing: the one that the prefill gives belongs to the text.
## the first token is missing, and one more at the end
- range(max_new_tokens) → range(max_new_tokens + 1)
- next_ids = logits.argmax(-1)
- for row, token in enumerate(next_ids.tolist()):
+ next_ids = logits.argmax(-1)
+ for row, token in enumerate(next_ids.tolist() if kv_cache.length > T else []):
The first token of each row is missing: the one that the prefill gives belongs to the text. Append it before
the first decode step.
## one token too few
- range(max_new_tokens) → range(max_new_tokens - 1)
One token less than max_new_tokens: the prefill gives one, and each of max_new_tokens - 1 decode steps
one more.
## padded on the right
- token_ids, real = padded(prompts)
+ token_ids, real = (x.flip(1) for x in padded([p[::-1] for p in prompts]))
You pad on the right, and read the first token off the last column, which is padding for the short
rows. Pad on the left: pad_left.
## goes on after the end
- over[row] |= token in eos_ids
- if not over[row]:
+ if token not in eos_ids:
A row that has met its end of sequence goes on collecting tokens as long as others run: note which
rows are over, and append nothing more to them.
## the end of sequence is in the text
- over[row] |= token in eos_ids
- if not over[row]:
-     made[row].append(token)
+ if not over[row]:
+     made[row].append(token)
+ over[row] |= token in eos_ids
The end-of-sequence token is no text: don't append it.
## all stop with the first
- if all(over): → if any(over):
The whole batch ends as soon as one row does. The others are not done: go on until all rows are
over.
## one token too many
- range(max_new_tokens) → range(max_new_tokens + 1)
One token more than max_new_tokens: the prefill already gives the first.
""",
    ),
    hints=(
        "pad_left gives token_ids and real. The prefill's mask is real[:, None, None, :] & "
        "causal_mask(T): (B, 1, T, T).",
        "Before each decode step `real` grows by a column of True, since the new tokens are real: "
        "torch.cat((real, torch.ones(B, 1, dtype=torch.bool)), dim=1). Its mask is real[:, None, "
        "None, :].",
        "A row that is over goes on with any token; only don't append it. End when all are over, or "
        "after max_new_tokens.",
    ),
)

EXERCISES = (LOOP, STREAM, PAD, BEAM, BATCH)
