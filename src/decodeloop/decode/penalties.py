"""What servers offer besides the samplers: penalties that are subtracted, and a bias by hand.

As in OpenAI's interface, which counts the tokens that were *made*, and not those of the prompt. The
repetition penalty of `sampling` counts both, and divides. Built in lesson 24.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from decodeloop.errors import UserError

MOST = 2.0  # of a subtracted penalty, either way
MOST_BIAS = 100.0  # which bans a token, or forces it


def frequency_penalty(logits: Tensor, token_ids: Tensor, penalty: float) -> Tensor:
    """Subtract `penalty` for each time that a token occurred.

    Shapes: logits (..., V), token_ids (..., T), the tokens made so far → (..., V).

    >>> frequency_penalty(torch.zeros(4), torch.tensor([1, 3, 3]), 0.5).tolist()
    [0.0, -0.5, 0.0, -1.0]
    """
    check_penalty("frequency penalty", penalty)
    return logits - penalty * occurrences(logits, token_ids)


def presence_penalty(logits: Tensor, token_ids: Tensor, penalty: float) -> Tensor:
    """Subtract `penalty` once from each token that occurred.

    Shapes: logits (..., V), token_ids (..., T), the tokens made so far → (..., V).

    >>> presence_penalty(torch.zeros(4), torch.tensor([1, 3, 3]), 0.5).tolist()
    [0.0, -0.5, 0.0, -0.5]
    """
    check_penalty("presence penalty", penalty)
    return logits - penalty * (occurrences(logits, token_ids) > 0).to(logits.dtype)


def logit_bias(logits: Tensor, bias: Mapping[int, float]) -> Tensor:
    """Add to the logits of the tokens named: −100 bans one in practice, 100 forces it.

    Shapes: (..., V) → (..., V).

    >>> logit_bias(torch.zeros(3), {2: -100.0}).tolist()
    [0.0, 0.0, -100.0]

    Raises:
        UserError: a token is outside the vocabulary, or a bias outside −100 to 100.
    """
    check_bias(bias, logits.shape[-1])
    added = torch.zeros_like(logits)
    for token, value in bias.items():
        added[..., token] = value
    return logits + added


def occurrences(logits: Tensor, token_ids: Tensor) -> Tensor:
    """How often each token occurred. Shapes: (..., V) and (..., T) → (..., V)."""
    ids = token_ids.to(logits.device)
    return torch.zeros_like(logits).scatter_add(-1, ids, torch.ones_like(ids, dtype=logits.dtype))


@dataclass(frozen=True)
class TokenForecast:
    """What the model thought of a token that was chosen: its own log-probabilities, in nats, before
    anything was penalised, cut or sharpened; and those of its best tokens, the best first."""

    token: int
    logprob: float
    best: tuple[tuple[int, float], ...]


def token_forecast(logits: Tensor, token: int, count: int) -> TokenForecast:
    """The forecast of the token that was chosen, and of the `count` best. Shapes: logits (1, V).

    >>> token_forecast(torch.zeros(1, 4), 3, 0)
    TokenForecast(token=3, logprob=-1.3862943649291992, best=())
    """
    logprobs = logits[0].float().log_softmax(-1)
    best = logprobs.topk(min(count, logprobs.shape[-1]))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return TokenForecast(token, float(logprobs[token]), tuple(pairs))


def check_penalty(name: str, penalty: float) -> None:
    if not -MOST <= penalty <= MOST:
        raise UserError(f"{name} is {penalty}: expected a number from -2 to 2; 0 changes nothing.")


def check_bias(bias: Mapping[int, float], vocabulary: int | None = None) -> None:
    for token, value in bias.items():
        if token < 0 or (vocabulary is not None and token >= vocabulary):
            most = "" if vocabulary is None else f" to {vocabulary - 1}"
            raise UserError(f"logit bias names token {token}: expected ids from 0{most}.")
        if not -MOST_BIAS <= value <= MOST_BIAS:
            raise UserError(
                f"logit bias of token {token} is {value}: expected a number from -100 to 100."
            )
