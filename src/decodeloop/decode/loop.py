"""The decoding loop: prefill once, then one token at a time.

Built in lessons 05, 06 and 08. The two phases are two functions, as they cost so differently:
prefill is limited by arithmetic, decode by memory traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator
from typing import Protocol

import torch
from torch import Tensor

from decodeloop.decode.beginnings import check_beginning, ready_cache
from decodeloop.decode.constrained import Constraint
from decodeloop.decode.sampling import Sampling
from decodeloop.decode.sequence import FinishReason, Sequence, token_budget
from decodeloop.errors import UserError
from decodeloop.model import Attends, KVCache, ModelConfig


class Model(Protocol):
    """What the loop asks of a model: the shape of `decodeloop.model.Decoder`."""

    @property
    def config(self) -> ModelConfig: ...

    def hidden(
        self,
        token_ids: Tensor,
        cache: Attends | None = None,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...

    def head(self, hidden: Tensor) -> Tensor: ...

    def new_cache(self, batch: int, max_length: int) -> KVCache: ...


@torch.inference_mode()
def prefill(
    model: Model,
    token_ids: Tensor,
    cache: Attends | None,
    positions: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Read the whole prompt at once, fill the cache, and give the logits of the last position.

    The head is not run on positions that nobody reads.

    Shapes: token_ids (B, T); positions and mask as in `Decoder.hidden` → (B, V).
    """
    return model.head(model.hidden(token_ids, cache, positions, mask)[:, -1])


@torch.inference_mode()
def decode_step(
    model: Model,
    token_ids: Tensor,
    cache: Attends,
    positions: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Read one more token for each row, and give the logits of the next.

    Shapes: token_ids (B, 1); positions and mask as in `Decoder.hidden` → (B, V).
    """
    if token_ids.ndim != 2 or token_ids.shape[1] != 1:
        raise UserError(
            f"decode_step was given token_ids {tuple(token_ids.shape)}: expected (B, 1), one new "
            f"token for each row; several at once are a prefill."
        )
    return model.head(model.hidden(token_ids, cache, positions, mask)[:, -1])


class Speculates(Protocol):
    """What makes a text in another way; `decode.Speculation` is one."""

    def tokens(self, model: Model, sequence: Sequence, cache: KVCache | None) -> Iterator[int]:
        """The tokens of the text, as they come; the cache as in `generate`."""


Choose = Callable[[Tensor, Tensor], Tensor]  # logits (1, V), sequence (1, T) → token ids (1,)
Loop = Callable[..., Generator[int, None, FinishReason]]


def decoding_loop(
    model: Model,
    token_ids: Tensor,
    max_new_tokens: int,
    choose: Choose,
    eos_ids: Collection[int] = (),
    stop: Callable[[int], bool] | None = None,
    *,
    prefill: Callable[..., Tensor] = prefill,
    decode_step: Callable[..., Tensor] = decode_step,
) -> Generator[int, None, FinishReason]:
    """Prefill, choose, then one decode step for each further token; `generate` with less comfort.

    Yields each new token and returns why it ended: ``eos`` before an end-of-sequence token, which
    is not yielded, ``stop`` after the first token for which `stop` is true, or ``length``. The
    model is not run on the last token, whose successor nobody reads.

    Shapes: token_ids (1, T); `choose` gets the logits (1, V) and the sequence so far, and gives
    the next token (1,).
    """
    sequence = Sequence(token_ids, max_new_tokens, eos_ids=eos_ids, stop=stop)
    cache = model.new_cache(1, sequence.positions_needed)
    read = reading(model, sequence, cache, prefill, decode_step)
    return (yield from drive(sequence, read, choosing(sequence, choose)))


def loop_without_cache(
    model: Model,
    token_ids: Tensor,
    max_new_tokens: int,
    choose: Choose,
    eos_ids: Collection[int] = (),
    stop: Callable[[int], bool] | None = None,
) -> Generator[int, None, FinishReason]:
    """`decoding_loop` as lesson 05 has it: every step reads the whole sequence again."""
    sequence = Sequence(token_ids, max_new_tokens, eos_ids=eos_ids, stop=stop)
    read = reading_all(model, sequence)
    return (yield from drive(sequence, read, choosing(sequence, choose)))


def drive(
    sequence: Sequence, read: Callable[[], Tensor], choose: Callable[[Tensor], int]
) -> Generator[int, None, FinishReason]:
    """Read, choose and take until the text ends; yield each token that belongs to it.

    Shapes: `read` gives the logits (1, V) of the last position.
    """
    reason = None
    while reason is None:
        token = choose(read())
        reason = sequence.take(token)
        if token not in sequence.eos_ids:
            yield token
    return reason


def reading(
    model: Model,
    sequence: Sequence,
    cache: KVCache,
    prefill: Callable[..., Tensor] = prefill,
    decode_step: Callable[..., Tensor] = decode_step,
) -> Callable[[], Tensor]:
    """A function that reads what the cache lacks: what is new of the prompt, then each token."""

    def read() -> Tensor:
        phase = decode_step if sequence.tokens else prefill
        return phase(model, sequence.unread(cache.length), cache)

    return read


def reading_all(model: Model, sequence: Sequence) -> Callable[[], Tensor]:
    """A function that reads everything, each time."""
    return lambda: prefill(model, sequence.unread(0), None)


def choosing(sequence: Sequence, choose: Choose) -> Callable[[Tensor], int]:
    """`sequence.choose`, but by a function of one's own."""
    return lambda logits: int(choose(logits, sequence.token_ids))


class Generation(Iterator[int]):
    """The token ids of one generation, as they come.

    `finish_reason` is None while it runs, then ``eos`` (the model ended its text), ``stop`` (the
    caller did) or ``length``. The last two are known before the last token is handed out. The
    end-of-sequence token is not among the ids.
    """

    def __init__(self, sequence: Sequence, tokens: Iterator[int]) -> None:
        self._sequence, self._tokens = sequence, tokens

    def __next__(self) -> int:
        return next(self._tokens)

    @property
    def finish_reason(self) -> FinishReason | None:
        return self._sequence.finish_reason

    @property
    def complete(self) -> bool:
        """Whether what was made by now is all that the constraint asks for; true without one."""
        return self._sequence.complete


def generate(
    model: Model,
    token_ids: Tensor,
    max_new_tokens: int,
    *,
    sampling: Sampling | None = None,
    generator: torch.Generator | None = None,
    eos_ids: Collection[int] = (),
    stop: Callable[[int], bool] | None = None,
    use_cache: bool = True,
    cache: KVCache | None = None,
    loop: Loop | None = None,
    speculation: Speculates | None = None,
    constraint: Constraint | None = None,
) -> Generation:
    """Continue `token_ids`, one token at a time, until something ends it.

    Args:
        token_ids: the prompt, (1, T).
        max_new_tokens: at most so many; fewer where the model's context ends.
        sampling: how each token is chosen; greedily if not given.
        generator: a CPU generator, for the same draws again.
        eos_ids: ends before any of these, with finish reason ``eos``.
        stop: called with each token; ends after the first for which it is true.
        use_cache: without it every step reads the whole sequence again (lesson 05: same tokens).
        cache: one that has read a beginning of the prompt, or nothing; only what is new is read.
            That it holds *these* tokens is the caller's word. Afterwards it holds all that was
            read: the prompt and what was made, but for a last token that ended it by ``stop`` or
            ``length``. Where it held the whole prompt, the last token is read again.
        loop: a loop of your own in the place of `decoding_loop`, called as that is.
        speculation: a draft that guesses tokens, several of which one step checks
            (`decode.Speculation`): the same text, in fewer steps.
        constraint: what is made must match it (lesson 25); as in `Sequence`.

    Raises:
        UserError: the prompt is empty, longer than the context, not one row, or holds an id
            outside the vocabulary; `max_new_tokens` is less than 1; `cache` holds more than the
            prompt or several rows, has too little room, or is given together with a loop or with
            `use_cache=False`; so is `speculation`, and so is `constraint` together with a loop.
    """
    budget = token_budget(model.config, token_ids, max_new_tokens)
    if token_ids.shape[0] != 1:
        raise UserError(
            f"generate continues one prompt (1, T), it was given {tuple(token_ids.shape)}: "
            f"use generate_batch for several."
        )
    sequence = Sequence(
        token_ids,
        budget,
        sampling=sampling,
        generator=generator,
        eos_ids=eos_ids,
        stop=stop,
        constraint=constraint,
    )
    tokens = tokens_of(
        model, sequence, use_cache=use_cache, cache=cache, loop=loop, speculation=speculation
    )
    return Generation(sequence, tokens)


def tokens_of(
    model: Model,
    sequence: Sequence,
    *,
    use_cache: bool = True,
    cache: KVCache | None = None,
    loop: Loop | None = None,
    speculation: Speculates | None = None,
) -> Iterator[int]:
    """The tokens that a model makes of a sequence, as they come; the arguments as in `generate`."""
    if loop is not None or not use_cache:
        other = "a loop of your own" if loop is not None else "use_cache=False"
        for name, given in (("cache", cache), ("speculation", speculation)):
            if given is not None:
                raise UserError(
                    f"{name}= was given together with {other}, which would not use it: leave one "
                    f"out."
                )
    if cache is not None:
        check_beginning(cache, sequence)
    if speculation is not None:
        return speculation.tokens(model, sequence, cache)
    if loop is not None:
        if sequence.constraint is not None:
            raise UserError(
                "constraint= was given together with a loop of your own, which would not obey it: "
                "leave one out."
            )
        return through(loop, model, sequence)
    if use_cache:
        return with_cache(model, sequence, cache)
    return drive(sequence, reading_all(model, sequence), sequence.choose)


def with_cache(model: Model, sequence: Sequence, cache: KVCache | None) -> Iterator[int]:
    """Drive a sequence with a cache that has read a beginning of it, or with a new one."""
    cache = ready_cache(model, sequence, cache)
    yield from drive(sequence, reading(model, sequence, cache), sequence.choose)


def through(loop: Loop, model: Model, sequence: Sequence) -> Iterator[int]:
    """Drive a sequence by a loop of one's own, which asks it how to choose and when to stop."""

    def choose(logits: Tensor, token_ids: Tensor) -> Tensor:
        prompt = sequence.prompt.shape[1]
        return sequence.sampling.choose(logits, token_ids, sequence.generator, prompt)

    asked = yielded = 0  # a loop may ask before it yields, afterwards, or never: each counts once

    def stop(token: int) -> bool:
        nonlocal asked
        asked += 1
        if asked > len(sequence.tokens):
            sequence.take(token)
        return sequence.finish_reason == "stop"

    tokens = loop(model, sequence.prompt, sequence.budget, choose, sequence.eos_ids, stop)
    while True:
        try:
            token = next(tokens)
        except StopIteration as end:  # of an end-of-sequence token, which a loop finds by itself
            sequence.end(end.value or "eos")
            return
        yielded += 1
        if yielded > len(sequence.tokens):
            sequence.take(token)
        yield token
