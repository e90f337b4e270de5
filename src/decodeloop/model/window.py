"""A sliding window: a query sees the last tokens alone, and perhaps the first few.

Beltagy et al., "Longformer" (2020), section 3.1; Jiang et al., "Mistral 7B" (2023), section 2;
attention sinks: Xiao et al., "Efficient Streaming Language Models with Attention Sinks" (2023),
section 3. Built in lesson 18.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from decodeloop.errors import UserError
from decodeloop.model.attention import causal_mask, check_mask


def window_mask(
    T: int,
    S: int,
    window: int,
    sinks: int = 0,
    device: torch.device | str | None = None,
) -> Tensor:
    """The causal mask of a decoder whose queries see the last `window` positions, their own
    included, and the first `sinks`.

    The `T` queries are the last `T` of the `S` keys, as in `causal_mask`.

    Shapes: → (T, S), boolean.

    Raises:
        ShapeError: `S` is less than `T`.
        UserError: the window is less than 1, or there are fewer than no sinks.

    >>> window_mask(1, 5, window=2, sinks=1).tolist()
    [[True, False, False, True, True]]
    """
    check_window(window, sinks)
    causal = causal_mask(T, S, device=device)
    keys = torch.arange(S, device=device)
    distance = keys[S - T :, None] - keys  # (T, S): of each query to each key
    return causal & ((distance < window) | (keys < sinks))


def mask_for(
    T: int,
    S: int,
    mask: Tensor | None,
    window: int | None,
    device: torch.device,
    causal_mask: Callable[..., Tensor] = causal_mask,
) -> Tensor | None:
    """Who may attend to whom, in a model with a window or with none (None); None: all to all.

    A mask of one's own stands for the causal one. In a model with a window it only takes away: the
    window holds too.

    Shapes: mask broadcastable to (B, H, T, S), or None → the same.
    """
    if window is not None:
        own = window_mask(T, S, window, device=device)
        if mask is None:
            return own
        check_mask(mask, (*mask.shape[:-2], T, S))
        return mask & own
    if mask is None and T > 1:  # a single new token may see everything: nothing to mask
        return causal_mask(T, S, device=device)
    return mask


def check_window(window: int, sinks: int = 0) -> None:
    """Raise a `UserError` unless the window is at least 1 and the sinks are not negative."""
    if window < 1 or sinks < 0:
        raise UserError(
            f"a window of {window} with {sinks} sinks: expected a window of at least 1, since a "
            f"token sees itself, and 0 sinks or more."
        )
