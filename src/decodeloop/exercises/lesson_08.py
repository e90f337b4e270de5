"""Exercises of lesson 08: the full decoding loop, streamed text, padded batches and beams."""

from __future__ import annotations

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
    prefill,
)
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
    """Greedy, but each time that a token has occurred costs it 1.5, and the last one costs 1 more:
    the whole sequence matters, and its order."""
    ids = torch.arange(logits.shape[-1])
    counts = (token_ids[..., None] == ids).sum(-2)
    return (logits.cpu() - 1.5 * counts - 1.0 * (token_ids[:, -1:] == ids)).argmax(-1)


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
        logits = table(sequence)
        if rare:
            last = sequence[-1]
            logits = [x - 1.5 * sequence.count(v) - 1.0 * (v == last) for v, x in enumerate(logits)]
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


def collected_first(*inputs: Any, **options: Any) -> Generator[int, None, str]:
    loop, tokens = plain_decoding_loop(*inputs, **options), []
    while True:
        try:
            tokens.append(next(loop))
        except StopIteration as end:
            yield from tokens
            return str(end.value)


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
## yields the end of sequence, like any token
- if token in eos_ids:
-     return "eos"
- if stop is not None and stop(token):
-     yield token
-     return "stop"
- yield token
+ enough = stop is not None and stop(token)
+ yield token
+ if token in eos_ids:
+     return "eos"
+ if enough:
+     return "stop"
You give out the end-of-sequence token, and ask `stop` about it. It is a signal and no text: look
first whether the token is in eos_ids, and return without it.
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
## one token too few, but for a single one
- if made < max_new_tokens:
+ if made == max_new_tokens - 1:
+     return "length"
+ if True:
- return "length" → return
Your loop ends one token too early: count what you have yielded, and return "length" after max_new_tokens of
them.
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
## new tokens in front
- torch.cat((sequence, next_ids[:, None]), dim=1) → torch.cat((next_ids[:, None], sequence), dim=1)
You put each new token in front of the sequence. It comes after all others: torch.cat((sequence,
next_ids[:, None]), dim=1).
## steps without the cache
- decode_step(model, next_ids[:, None], kv_cache) → decode_step(model, next_ids[:, None], None)
Your steps read the new token without the cache, so the model sees nothing of what came before: pass the
cache on.
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
## stop is not asked about the last token
- if stop is not None and stop(token): → if stop is not None and made < max_new_tokens and stop(token):
You don't ask `stop` about the last token allowed. It is asked about every token, once: it may count them, or
push them into a stream, and what it says comes before the length.
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
        Mistake(
            "collected, then yielded",
            "You collect the tokens and yield them when all is over. Nothing can be shown before "
            "that: yield each token in the round that made it.",
            collected_first,
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
        places = [text.find(s) for s in self.stop if s in text]
        if places:
            self.stopped = True
            return self.give(text, min(places))
        if text.endswith(HALF):
            return ""
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
    minutes=20,
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
## only the first stop string is looked for
- for s in self.stop if s in text] → for s in self.stop[:1] if s in text]
You look for the first stop string alone: go through all of self.stop.
## all is held back where something is uncertain
- len(text) - self.uncertain(text) → self.given if self.uncertain(text) else len(text)
Where the text ends like the beginning of a stop string you give nothing out. Only that end is uncertain: all
before it can be shown.
## half characters are not kept
- self.token_ids.append(token)
- text = self.text()
+ text = str(self.tokenizer.decode([*self.token_ids, token]))
- if text.endswith(HALF):
-     return ""
+ if text.endswith(HALF):
+     return ""
+ self.token_ids.append(token)
You keep a token only where the text doesn't end with half a character, so the half is lost and the whole
never seen. Append every token first.
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
        "Three things may come of a push. A stop string is in the text: set stopped, give up to where "
        'it begins. The text ends with "\\ufffd": give "". Else: give all but the last '
        "self.uncertain(text) characters, that is, up to end = len(text) - self.uncertain(text). "
        "(Not text[self.given:-n]: with n = 0 that is empty.)",
        "Each time, remember how far you have given: piece = text[self.given:end]; self.given = end. "
        "finish() does the same with end = len(text), unless it had stopped.",
        "If several stop strings are in the text, cut at the first: min(text.find(s) for s in "
        'self.stop if s in text). A push after the stop gives "" at once.',
    ),
)

EXERCISES = (LOOP, STREAM)
