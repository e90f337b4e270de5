"""What a model forecasts at each position of some texts, however it computes.

Texts are read in batches: rows of about the same length, padded on the right. In a causal model no
token sees what stands to its right, so the padding changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from decodeloop.decode.loop import Model
from decodeloop.errors import UserError
from decodeloop.model import KVCache

TOKENS = 512  # of a batch: a product of so many rows is as fast as a machine can be
NewCache = Callable[[int, int], KVCache]


class Encodes(Protocol):
    """What is asked of a tokenizer."""

    def encode(self, text: str) -> list[int]: ...


def tokenized(tokenizer: Encodes, texts: Sequence[str], most: int | None = None) -> list[Tensor]:
    """The token ids of each text, at most so many of each. Shapes: → a list of (T,).

    Raises:
        UserError: a text is too short to forecast anything, or there is none.
    """
    found = [torch.tensor(tokenizer.encode(text)[:most], dtype=torch.long) for text in texts]
    check_texts(found)
    return found


def check_texts(texts: Sequence[Tensor]) -> None:
    """Raise a `UserError` unless there are texts, each of them with something to forecast."""
    if not texts:
        raise UserError("there is no text: expected at least one.")
    for number, ids in enumerate(texts, start=1):
        if ids.ndim != 1 or len(ids) < 2:
            raise UserError(
                f"text {number} has token ids of shape {tuple(ids.shape)}: expected (T,) with at "
                f"least two tokens, since the first is forecast by nobody."
            )


def batches(texts: Sequence[Tensor], most: int = TOKENS) -> list[list[int]]:
    """The numbers of the texts that are read together: sorted by length, so that little is padding,
    and at most so many tokens with the padding, unless one text has more.

    >>> batches([torch.zeros(3), torch.zeros(9), torch.zeros(4)], most=10)
    [[1], [2, 0]]
    """
    found: list[list[int]] = []
    for number in sorted(range(len(texts)), key=lambda n: -len(texts[n])):
        if not found or len(texts[found[-1][0]]) * (len(found[-1]) + 1) > most:
            found.append([])
        found[-1].append(number)
    return found


@torch.inference_mode()
def hidden_batches(
    model: Model,
    texts: Sequence[Tensor],
    *,
    chunk: int | None = None,
    new_cache: NewCache | None = None,
) -> Iterator[list[tuple[int, Tensor]]]:
    """The residual stream that the head reads, of the texts that are read together.

    Args:
        chunk: how many tokens are read at a time, through a cache; if not given, all at once, as a
            prompt is. With 1 every position is a decode step, which may compute otherwise.
        new_cache: what makes the cache, (batch, max_length) → cache: to judge a cache that keeps
            less. The model's own if not given.

    Shapes: texts a list of (T,) → for each of `batches` a list of (number, (T, C)).

    Raises:
        UserError: a text is too short, or longer than the model's context; `chunk` is below 1.
    """
    check_texts(texts)
    if chunk is not None and chunk < 1:
        raise UserError(f"chunk is {chunk}: expected at least 1.")
    longest = max(map(len, texts))
    if longest > model.config.context:
        raise UserError(
            f"a text has {longest} tokens: expected at most the model's context, "
            f"{model.config.context}; cut it into several."
        )
    for numbers in batches(texts):
        rows = torch.nn.utils.rnn.pad_sequence([texts[n] for n in numbers], batch_first=True)
        B, T = rows.shape
        if chunk is None and new_cache is None:
            hidden = model.hidden(rows)  # (B, T, C)
        else:
            cache = (new_cache or model.new_cache)(B, T)
            pieces = rows.split(min(chunk or T, T), dim=1)
            hidden = torch.cat([model.hidden(piece, cache) for piece in pieces], dim=1)
        yield [(n, row[: len(texts[n])]) for n, row in zip(numbers, hidden, strict=True)]


def hidden_states(
    model: Model,
    texts: Sequence[Tensor],
    *,
    chunk: int | None = None,
    new_cache: NewCache | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Each text's number, and the residual stream that the head reads at its positions.

    Arguments and errors are those of `hidden_batches`.

    Shapes: texts a list of (T,) → (number, (T, C)), in the order of `batches`.
    """
    for read in hidden_batches(model, texts, chunk=chunk, new_cache=new_cache):
        yield from read


def forecasts(
    model: Model,
    texts: Sequence[Tensor],
    *,
    chunk: int | None = None,
    new_cache: NewCache | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Each text's number, and the log-probabilities of its tokens but the first.

    The head reads what was read together at once: its weights are many, and a product of the few
    rows of one short text takes nearly as long as one of all. Arguments and errors are those of
    `hidden_batches`.

    Shapes: texts a list of (T,) → (number, (T - 1, V)) fp32, in the order of `batches`.
    """
    for read in hidden_batches(model, texts, chunk=chunk, new_cache=new_cache):
        found = log_probabilities(model, torch.cat([hidden[:-1] for _, hidden in read]))
        sizes = [len(hidden) - 1 for _, hidden in read]
        yield from zip([number for number, _ in read], found.split(sizes), strict=True)


@torch.inference_mode()
def log_probabilities(model: Model, hidden: Tensor) -> Tensor:
    """The log-probabilities of all tokens after each position, on the CPU.

    Shapes: (T, C) → (T, V) fp32.
    """
    logits: Tensor = model.head(hidden)
    return logits.float().cpu().log_softmax(-1)
