"""What a computed step brings its texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from decodeloop.decode import FinishReason
from decodeloop.decode import Sequence as Text


@dataclass(frozen=True)
class Event:
    """What a step brought one text: a token, an end, or both. An end-of-sequence token is none.

    `error` is why a text failed; it has then ended without a finish reason, and the others go on.
    """

    number: int
    token: int | None = None
    finish_reason: FinishReason | None = None
    error: Exception | None = None

    @property
    def ended(self) -> bool:
        return self.finish_reason is not None or self.error is not None


def take_all(text: Text, logits: Tensor, drafted: Sequence[int] = ()) -> list[int]:
    """Let a text choose and take its next token, and further ones as long as each is the one that
    was drafted. An end-of-sequence token is the last of them.

    Shapes: logits (1 + len(drafted), V): after the text, and after each drafted token.
    """
    came: list[int] = []
    for i, row in enumerate(logits):
        came.append(text.choose(row[None]))
        if text.take(came[-1]) or came[i:] != list(drafted[i : i + 1]):
            break
    return came


def events_of(number: int, text: Text, came: Sequence[int], made: int) -> list[Event]:
    """The tokens that came, one by one; the end with the last of them. `made` is how many the text
    had before."""
    tokens: list[int | None] = [*came]
    if len(text.tokens) < made + len(came):
        tokens[-1] = None  # it ended the text, and is none of it
    *first, last = tokens
    return [*(Event(number, token) for token in first), Event(number, last, text.finish_reason)]
