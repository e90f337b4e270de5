"""The decoding loop: prefill once, then one token at a time.

Built in lessons 05, 06 and 08. The two phases are two functions, as they cost so differently:
prefill is limited by arithmetic, decode by memory traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from decodeloop.decode.sampling import Sampling
from decodeloop.errors import UserError
from decodeloop.model import KVCache, ModelConfig
from decodeloop.model.decoder import check_token_ids

FinishReason = Literal["eos", "stop", "length"]


class Model(Protocol):
    """What the loop asks of a model: the shape of `decodeloop.model.Decoder`."""

    @property
    def config(self) -> ModelConfig: ...

    def hidden(
        self,
        token_ids: Tensor,
        cache: KVCache | None = None,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...

    def head(self, hidden: Tensor) -> Tensor: ...

    def new_cache(self, batch: int, max_length: int) -> KVCache: ...


@torch.inference_mode()
def prefill(
    model: Model,
    token_ids: Tensor,
    cache: KVCache | None,
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
    cache: KVCache,
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
    cache = model.new_cache(1, token_ids.shape[1] + max_new_tokens - 1)

    def read(sequence: Tensor) -> Tensor:
        if cache.length == 0:
            return prefill(model, sequence, cache)
        return decode_step(model, sequence[:, -1:], cache)

    return (yield from _loop(read, token_ids, max_new_tokens, choose, eos_ids, stop))


def loop_without_cache(
    model: Model,
    token_ids: Tensor,
    max_new_tokens: int,
    choose: Choose,
    eos_ids: Collection[int] = (),
    stop: Callable[[int], bool] | None = None,
) -> Generator[int, None, FinishReason]:
    """`decoding_loop` as lesson 05 has it: every step reads the whole sequence again."""

    def read(sequence: Tensor) -> Tensor:
        return prefill(model, sequence, None)

    return (yield from _loop(read, token_ids, max_new_tokens, choose, eos_ids, stop))


def _loop(
    read: Callable[[Tensor], Tensor],  # the sequence so far → logits (1, V) of its last position
    token_ids: Tensor,
    max_new_tokens: int,
    choose: Choose,
    eos_ids: Collection[int],
    stop: Callable[[int], bool] | None,
) -> Generator[int, None, FinishReason]:
    sequence = token_ids.cpu()
    for _ in range(max_new_tokens):
        next_ids = choose(read(sequence), sequence)  # (1,)
        token = int(next_ids)
        if token in eos_ids:
            return "eos"
        stops = stop is not None and stop(token)
        yield token
        if stops:
            return "stop"
        sequence = torch.cat((sequence, next_ids[:, None]), dim=1)
    return "length"


class Generation(Iterator[int]):
    """The token ids of one generation, as they come.

    `finish_reason` is None while it runs, then ``eos`` (the model ended its text), ``stop`` (the
    caller did) or ``length``. The last two are known before the last token is handed out. The
    end-of-sequence token is not among the ids.
    """

    def __init__(self, run: Callable[[Generation], Generator[int, None, FinishReason]]) -> None:
        self.finish_reason: FinishReason | None = None
        self._tokens = self._follow(run)

    def __next__(self) -> int:
        return next(self._tokens)

    def _follow(
        self, run: Callable[[Generation], Generator[int, None, FinishReason]]
    ) -> Iterator[int]:
        self.finish_reason = yield from run(self)


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
    loop: Loop | None = None,
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
        loop: a loop of your own in the place of `decoding_loop`, called as that is.

    Raises:
        UserError: the prompt is empty, longer than the context, not one row, or holds an id
            outside the vocabulary; `max_new_tokens` is less than 1.
    """
    check_token_ids(token_ids, model.config.vocabulary)
    if token_ids.shape[0] != 1:
        raise UserError(
            f"generate continues one prompt (1, T), it was given {tuple(token_ids.shape)}: "
            f"use generate_batch for several."
        )
    budget = token_budget(model.config, token_ids.shape[1], max_new_tokens)
    chosen_by = sampling or Sampling()
    loop = loop or (decoding_loop if use_cache else loop_without_cache)

    def run(generation: Generation) -> Generator[int, None, FinishReason]:
        made = 0

        def choose(logits: Tensor, sequence: Tensor) -> Tensor:
            return chosen_by.choose(logits, sequence, generator)

        def stops(token: int) -> bool:
            nonlocal made
            made += 1
            if stop is not None and stop(token):
                generation.finish_reason = "stop"
            elif made == budget:
                generation.finish_reason = "length"
            return generation.finish_reason == "stop"

        return (yield from loop(model, token_ids, budget, choose, eos_ids, stops))

    return Generation(run)


@dataclass(frozen=True)
class Completion:
    """One finished row of `generate_batch`."""

    tokens: list[int]
    finish_reason: FinishReason


def generate_batch(
    model: Model,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    sampling: Sampling | None = None,
    generators: Sequence[torch.Generator] | None = None,
    eos_ids: Collection[int] = (),
) -> list[Completion]:
    """Continue several prompts of different lengths at once; each row as `generate` would.

    Short prompts are padded on the left, so that every row's newest token stands in the last
    column. Padding takes no position and nobody may attend to it.

    Args:
        generators: one for each prompt, so that a row's draws do not depend on its neighbours.

    Raises:
        UserError: as `generate`; the message names the prompt.
    """
    if not prompts:
        raise UserError("generate_batch was given no prompts: expected a list of token id lists.")
    if generators is not None and len(generators) != len(prompts):
        raise UserError(
            f"generate_batch was given {len(generators)} generators for {len(prompts)} prompts: "
            f"expected one each, or none."
        )
    V = model.config.vocabulary
    budgets = []
    for number, prompt in enumerate(prompts):
        try:
            check_token_ids(torch.tensor([list(prompt)], dtype=torch.long), V)
            budgets.append(token_budget(model.config, len(prompt), max_new_tokens))
        except UserError as error:
            raise UserError(f"prompt {number} of the batch: {error}") from None
    chosen_by = sampling or Sampling()
    B, T = len(prompts), max(map(len, prompts))

    token_ids, real = pad_left(prompts)  # (B, T) both
    positions = (real.cumsum(-1) - 1).clamp(min=0)
    columns = torch.arange(T)
    mask = real[:, None, None, :] & (columns <= columns[:, None])  # (B, 1, T, T)

    cache = model.new_cache(B, T + max(budgets) - 1)
    logits = prefill(model, token_ids, cache, positions, mask)
    made: list[list[int]] = [[] for _ in prompts]
    reasons: list[FinishReason | None] = [None] * B
    while True:
        next_ids = torch.zeros(B, 1, dtype=torch.long)  # finished rows go on with a dummy
        for row, prompt in enumerate(prompts):
            if reasons[row]:
                continue
            so_far = torch.tensor([*prompt, *made[row]])
            generator = generators[row] if generators else None
            token = int(chosen_by.choose(logits[row], so_far, generator))
            if token in eos_ids:
                reasons[row] = "eos"
                continue
            made[row].append(token)
            next_ids[row] = token
            if len(made[row]) == budgets[row]:
                reasons[row] = "length"
        if all(reasons):
            return [Completion(m, r) for m, r in zip(made, reasons, strict=True) if r]
        positions = positions[:, -1:] + 1
        real = torch.cat((real, torch.ones(B, 1, dtype=torch.bool)), dim=1)
        logits = decode_step(model, next_ids, cache, positions, real[:, None, None, :])


def pad_left(prompts: Sequence[Sequence[int]], pad_id: int = 0) -> tuple[Tensor, Tensor]:
    """Prompts of different lengths as one tensor, and which of its entries are real.

    Shapes: → token_ids (B, T), real (B, T), ``True`` where no padding is.
    """
    T = max(map(len, prompts))
    rows = [[pad_id] * (T - len(p)) + list(p) for p in prompts]
    real = [[False] * (T - len(p)) + [True] * len(p) for p in prompts]
    return torch.tensor(rows), torch.tensor(real)


def token_budget(config: ModelConfig, prompt_length: int, max_new_tokens: int) -> int:
    """How many tokens can be made: as many as were asked for, or as the context has room for."""
    if max_new_tokens < 1:
        raise UserError(f"max_new_tokens is {max_new_tokens}: expected at least 1.")
    if prompt_length > config.context:
        raise UserError(
            f"the prompt has {prompt_length} tokens, the model's context {config.context}: "
            f"shorten the prompt."
        )
    return min(max_new_tokens, config.context - prompt_length + 1)
