"""What goes into the projections of a model while it reads: for what is measured on calibration
texts, and what is done to activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from decodeloop.errors import UserError
from decodeloop.model import Decoder


@contextmanager
def seeing_inputs(decoder: Decoder, see: Callable[[str, Tensor], Tensor]) -> Iterator[None]:
    """Within it `see(name, x)` is called with the inputs (..., C) of each projection of the layers,
    and what it returns goes in instead.

    >>> from decodeloop.model import TINY
    >>> decoder, seen = Decoder(TINY), []
    >>> with seeing_inputs(decoder, lambda name, x: seen.append(name) or x):
    ...     _ = decoder(torch.tensor([[1, 2]]))
    >>> seen[0], len(seen) == 7 * TINY.layers
    ('layers.0.attention.query', True)
    """
    hooks = []
    for name, module in decoder.named_modules():
        if name.startswith("layers.") and getattr(module, "weight", torch.empty(0)).ndim == 2:

            def before(_: Any, inputs: tuple[Tensor], name: str = name) -> tuple[Tensor]:
                return (see(name, inputs[0]),)

            hooks.append(module.register_forward_pre_hook(before))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def read(decoder: Decoder, texts: Sequence[Tensor]) -> None:
    """Run a decoder over texts for what can be seen on the way."""
    if not texts or any(ids.ndim != 1 or not len(ids) for ids in texts):
        shapes = ", ".join(str(tuple(ids.shape)) for ids in texts) or "none"
        raise UserError(
            f"texts to calibrate with: {shapes}: expected at least one, token ids of shape (T,)."
        )
    for ids in texts:
        decoder.hidden(ids[None])
