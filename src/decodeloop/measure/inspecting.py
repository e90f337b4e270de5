"""Looking inside a model while it runs, through the doors that it has: nothing is patched."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

import torch
from torch import Tensor

from decodeloop.errors import UserError
from decodeloop.model import ContiguousKVCache, Decoder, attention_weights, causal_mask


class RecordingCache(ContiguousKVCache):
    """A cache that also keeps the attention weights of every layer of the last forward."""

    def __init__(self, model: Decoder, batch: int, max_length: int) -> None:
        super().__init__(model.config, batch, max_length, model.dtype, model.device)
        self.weights: dict[int, Tensor] = {}  # layer → (B, H, T, S)

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        attended = super().attend(layer, q, k, v, mask)
        T, S = q.shape[2], self.length + q.shape[2]
        keys = self.keys[layer, :, :, :S].repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        visible = causal_mask(T, S, device=q.device) if mask is None else mask
        self.weights[layer] = attention_weights(q, keys, visible)
        return attended


@torch.inference_mode()
def attention_maps(model: Decoder, token_ids: Sequence[int]) -> Tensor:
    """The attention weights of every head of a model on one text, on the CPU.

    Shapes: T token ids → (L, H, T, T).
    """
    cache = RecordingCache(model, 1, len(token_ids))
    model.hidden(torch.tensor([list(token_ids)]), cache)
    return torch.stack([cache.weights[layer][0] for layer in range(model.config.layers)]).cpu()


class SilencedCache(ContiguousKVCache):
    """A cache that switches attention heads off: their outputs become zeros.

    `silent` has one list of (layer, head) for each row of the batch, so that one forward of B
    copies of a text tries B different heads. The keys and values are stored as ever.

    Raises:
        UserError: the model has no such layer or head.
    """

    def __init__(
        self, model: Decoder, max_length: int, silent: Sequence[Sequence[tuple[int, int]]]
    ) -> None:
        config = model.config
        super().__init__(config, len(silent), max_length, model.dtype, model.device)
        self.audible = torch.ones(config.layers, len(silent), config.heads, dtype=torch.bool)
        for row, places in enumerate(silent):
            for layer, head in places:
                if not (0 <= layer < config.layers and 0 <= head < config.heads):
                    raise UserError(
                        f"SilencedCache: there is no head {head} in layer {layer}: expected "
                        f"layers 0 to {config.layers - 1} and heads 0 to {config.heads - 1}."
                    )
                self.audible[layer, row, head] = False
        self.audible = self.audible.to(model.device)

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        attended = super().attend(layer, q, k, v, mask)  # (B, H, T, D)
        return attended * self.audible[layer, :, :, None, None]

    def select(self, rows: Tensor | Sequence[int]) -> None:
        super().select(rows)
        self.audible = self.audible[:, torch.as_tensor(rows, device=self.audible.device)]


def peak_bytes(function: Callable[[], object]) -> int:
    """The most memory that PyTorch held on the CPU for `function`, beyond what it held before.

    Counted by PyTorch's profiler from every allocation and release, so it is exact, and the same
    on every machine; memory that other libraries take is not in it.
    """
    return max(bytes_held(function), default=0)


def bytes_held(function: Callable[[], object]) -> list[int]:
    """How much PyTorch held on the CPU for `function` after each change, in their order.

    A change is an allocation or a release; what counts, and how exactly, as in `peak_bytes`.
    """
    from torch.profiler import ProfilerActivity, profile

    with (
        quiet_stderr(),
        profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded,
    ):
        function()
    changes = sorted(
        (event.time_range.start, event.self_cpu_memory_usage) for event in recorded.events()
    )
    return [0, *accumulate(change for _, change in changes if change)]


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep what the profiler's C++ library logs at each start and stop out of a notebook."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
