"""One text while it is made: what was asked, what has come, and what ends it.

Whatever makes text drives such an object, one at a time (`generate`, `stream`) or several
(`generate_batch`). How the logits come about is the driver's affair; where the text ends is decided
here, in `take`, and nowhere else. Built in lesson 08.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from decodeloop.decode.constrained import Constraint
from decodeloop.decode.constrained.constraint import permitted
from decodeloop.decode.penalties import TokenForecast, token_forecast
from decodeloop.decode.sampling import Sampling
from decodeloop.errors import UserError
from decodeloop.model import ModelConfig
from decodeloop.model.decoder import check_token_ids

FinishReason = Literal["eos", "stop", "length"]


@dataclass(frozen=True)
class Completion:
    """What became of a prompt: the tokens that were made, and why they ended."""

    tokens: list[int]
    finish_reason: FinishReason


class Pieces(Protocol):
    """What a sequence asks of its text stream; `TextStream` is one, and so is a learner's own."""

    @property
    def stopped(self) -> bool: ...

    def push(self, token: int, /) -> str: ...

    def finish(self) -> str: ...


class NoPieces:
    """What stands for no text stream: tokens have no text, and no stop string ends them."""

    stopped = False

    def push(self, token: int, /) -> str:
        return ""

    def finish(self) -> str:
        return ""


class Sequence:
    """The state of one text: a driver reads what is `unread`, then has it `choose` and `take`.

    `text` is what may be shown so far, and `finish_reason` None until the text has ended: with
    ``eos`` (the model ended it), ``stop`` (a stop string or the caller did) or ``length``.

    Args:
        prompt: the token ids that the text begins with, (1, T).
        budget: how many tokens may be made, as `token_budget` counts them.
        sampling: how each token is chosen; greedily if not given.
        generator: a CPU generator, for the same draws again.
        eos_ids: ends before any of these.
        stop: called with each token; the text ends after the first for which it is true.
        text_stream: turns the tokens into text, and ends it before a stop string.
        constraint: what the tokens that are made must spell. The text ends with ``stop`` where
            nothing may follow; with ``length`` it may be a beginning of what was asked for, which
            `complete` says.
        best: if given, `forecasts` has for each token what the model thought of it, and of so many
            best tokens.

    Raises:
        UserError: the budget is less than 1.

    >>> answer = Sequence(torch.tensor([[5, 7]]), budget=3, eos_ids=[2])
    >>> answer.take(9), answer.take(2)
    (None, 'eos')
    >>> answer.tokens, answer.unread(0).tolist()
    ([9], [[5, 7, 9]])
    """

    def __init__(
        self,
        prompt: Tensor,
        budget: int,
        *,
        sampling: Sampling | None = None,
        generator: torch.Generator | None = None,
        eos_ids: Collection[int] = (),
        stop: Callable[[int], bool] | None = None,
        text_stream: Pieces | None = None,
        constraint: Constraint | None = None,
        best: int | None = None,
    ) -> None:
        if budget < 1:
            raise UserError(f"the budget is {budget} tokens: expected at least 1.")
        self.prompt = prompt.cpu()  # where tokens are drawn
        self.budget = budget
        self.sampling, self.generator = sampling or Sampling(), generator
        self.eos_ids = eos_ids
        self.tokens: list[int] = []  # those that were made
        self.token_ids = self.prompt  # (1, n): the prompt and those tokens
        self.text = ""
        self.finish_reason: FinishReason | None = None
        self.constraint = constraint
        self._state = constraint.start if constraint else None  # what may follow, as it keeps that
        self.forecasts: list[TokenForecast] = []
        self._best = best
        self._forecast: TokenForecast | None = None  # of the token that was chosen last
        self._stop = stop or (lambda token: False)
        self._text_stream = NoPieces() if text_stream is None else text_stream

    @property
    def positions_needed(self) -> int:
        """The longest that its cache can become: the last token is never read."""
        return self.prompt.shape[1] + self.budget - 1

    @property
    def complete(self) -> bool:
        """Whether the text is one that the constraint asks for, as it stands; true without one."""
        if self.constraint is None or self._state is None:
            return True
        return self.constraint.complete(self._state)

    def unread(self, read: int) -> Tensor:
        """What a model that has read so many tokens has still to read, (1, n).

        After the prompt and each token it is what comes next; from 0, it is all that a cache which
        was given up must be filled with again.
        """
        return self.token_ids[:, read:]

    def permitted(self, logits: Tensor) -> Tensor:
        """The logits (1, V) of the last position, with -inf at all that the constraint forbids."""
        if self.constraint is None or self._state is None:
            return logits
        allowed = self.constraint.allowed(self._state)
        return permitted(logits, allowed, self.complete, self.eos_ids)

    def probabilities(self, logits: Tensor) -> Tensor:
        """What the next token is drawn from, (V,), given the logits (1, V) of the last position."""
        options, prompt = self.permitted(logits), self.prompt.shape[1]
        return self.sampling.process(options, self.token_ids, prompt).softmax(-1)[0]

    def choose(self, logits: Tensor) -> int:
        """The next token, from the logits (1, V) of the last position; it is not yet taken."""
        options, prompt = self.permitted(logits), self.prompt.shape[1]
        token = int(self.sampling.choose(options, self.token_ids, self.generator, prompt))
        if self._best is not None:
            self._forecast = token_forecast(logits, token, self._best)
        return token

    def take(self, token: int) -> FinishReason | None:
        """Append the next token; say why the text ends with it, or None if it goes on.

        An end-of-sequence token ends the text and is not appended.

        Raises:
            UserError: the text has ended already.
        """
        if self.finish_reason:
            raise UserError(
                f"this text has ended ({self.finish_reason}) and takes no further token: {token} "
                f"was given after it."
            )
        if token in self.eos_ids:
            return self.end("eos")
        if self.constraint is not None and self._state is not None:
            self._state = self.constraint.advance(self._state, token)
        self.tokens.append(token)
        if self._forecast is not None:
            self.forecasts.append(self._forecast)
        self.token_ids = torch.cat((self.token_ids, torch.tensor([[token]])), dim=1)
        self.text += self._text_stream.push(token)
        if self._stop(token) or self._text_stream.stopped or self._must_end:
            return self.end("stop")
        if len(self.tokens) >= self.budget:
            return self.end("length")
        return None

    @property
    def _must_end(self) -> bool:
        if self.constraint is None or self._state is None:
            return False
        return self.constraint.finished(self._state)

    def end(self, reason: FinishReason) -> FinishReason:
        """End the text here, with what was held back of it; say why it has ended.

        The first reason counts. A stop string may have waited for the rest of a character.
        """
        if self.finish_reason is None:
            self.text += self._text_stream.finish()
            self.finish_reason = "stop" if self._text_stream.stopped else reason
        return self.finish_reason


def token_budget(config: ModelConfig, token_ids: Tensor, max_new_tokens: int) -> int:
    """How many tokens can be made: as many as were asked for, or as the context has room for.

    Raises:
        UserError: `max_new_tokens` is less than 1; the prompt is empty, longer than the context,
            or holds an id outside the vocabulary.
    """
    check_token_ids(token_ids, config.vocabulary)
    T, context = token_ids.shape[1], config.context
    if not isinstance(max_new_tokens, int):
        raise UserError(f"max_new_tokens is {max_new_tokens!r}: expected a whole number.")
    if max_new_tokens < 1:
        raise UserError(f"max_new_tokens is {max_new_tokens}: expected at least 1.")
    if context < T:
        raise UserError(
            f"the prompt has {T} tokens, the model's context {context}: shorten the prompt."
        )
    return min(max_new_tokens, context - T + 1)
