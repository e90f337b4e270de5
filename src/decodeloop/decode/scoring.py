"""How surprised a model is by a text: the number that every change to it is judged by.

Built in lesson 00.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from decodeloop.decode.loop import Model
from decodeloop.decode.sampling import at_least_fp32
from decodeloop.errors import ShapeError, UserError


def next_token_loss(logits: Tensor, token_ids: Tensor) -> Tensor:
    """The mean surprise −ln p of each token, given those before it, in nats.

    The logits at position t are a forecast of token t + 1, so the last ones forecast nothing that
    is there, and the first token is forecast by nobody.

    Shapes: logits (B, T, V), token_ids (B, T) → a tensor without axes.

    Raises:
        ShapeError: the shapes don't fit, or T is 1.
    """
    if logits.ndim != 3 or logits.shape[:2] != token_ids.shape or token_ids.shape[1] < 2:
        raise ShapeError(
            f"next_token_loss: logits {tuple(logits.shape)} and token_ids "
            f"{tuple(token_ids.shape)}: expected (B, T, V) and (B, T), with T at least 2."
        )
    log_probabilities = at_least_fp32(logits[:, :-1]).log_softmax(-1)  # (B, T - 1, V): forecasts
    came = token_ids[:, 1:, None].to(logits.device)  # (B, T - 1, 1): what came
    return -log_probabilities.gather(-1, came).mean()


def perplexity(loss: Tensor | float) -> float:
    """e^loss: among how many equally likely tokens the model might as well have been choosing.

    >>> round(perplexity(math.log(50)), 6)
    50.0
    """
    return math.exp(float(loss))


@torch.inference_mode()
def text_loss(model: Model, token_ids: Sequence[int]) -> float:
    """The loss of a model on one text, in nats for each token.

    Raises:
        UserError: the text has fewer than two tokens, or more than the model's context.
    """
    if not 2 <= len(token_ids) <= model.config.context:
        raise UserError(
            f"text_loss: the text has {len(token_ids)} tokens: expected 2 to the model's context, "
            f"{model.config.context}."
        )
    ids = torch.tensor([list(token_ids)])
    return float(next_token_loss(model.head(model.hidden(ids)), ids))
