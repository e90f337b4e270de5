"""The decoder: embedding, a stack of blocks, a norm, and the head.

Touvron et al., "LLaMA" (2023). Built in lesson 04.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from decodeloop.errors import ShapeError, UserError
from decodeloop.model.block import Attend, Block, Linear, RMSNorm, block, check_positions, rms_norm
from decodeloop.model.config import ModelConfig, check_computed
from decodeloop.model.kv_cache import Attends, ContiguousKVCache, KVCache, NoCache
from decodeloop.model.multi_head import grouped_query_attention


class Embedding(nn.Embedding):
    """A table of one vector for each token; on the meta device none are drawn, as in `Linear`."""

    def reset_parameters(self) -> None:
        if not self.weight.is_meta:
            super().reset_parameters()


@dataclass(frozen=True)
class Parts:
    """The functions that a decoder is made of; pass your own in the place of any."""

    block: Callable[[Tensor, Block, Tensor, Attend], Tensor] = block
    rms_norm: Callable[[Tensor, Tensor, float], Tensor] = rms_norm
    cache: Callable[..., KVCache] = ContiguousKVCache
    no_cache: Callable[..., Attends] = NoCache  # one for each forward without a cache


LIBRARY_PARTS = Parts()
# Attention as lessons 01 to 06 build it, with all scores of a layer at once.
WITH_TABLE = Parts(
    cache=partial(ContiguousKVCache, attention=grouped_query_attention),
    no_cache=partial(NoCache, attention=grouped_query_attention),
)


class Decoder(nn.Module):
    """A decoder-only transformer of the Llama architecture, or of a relative: with a sliding
    window, biases of queries, keys and values, norms of queries and keys, stretched positions.

    Called, it gives the logits of every position; `hidden` and `head` are its two halves, so that
    the head, a seventh of the work of a small model, runs only on positions that somebody reads.

    >>> from decodeloop.model import TINY
    >>> Decoder(TINY)(torch.tensor([[1, 2, 3]])).shape
    torch.Size([1, 3, 97])

    Raises:
        UserError: the configuration asks for what is not computed, such as LayerNorm.
    """

    def __init__(self, config: ModelConfig, parts: Parts = LIBRARY_PARTS) -> None:
        super().__init__()
        check_computed(config, "Decoder")
        self.config = config
        self.parts = parts
        self.embedding = Embedding(config.vocabulary, config.width)
        self.layers = nn.ModuleList(Block(config, number) for number in range(config.layers))
        self.norm = RMSNorm(config.width)
        self.output = Linear(config.width, config.vocabulary)
        if config.tied:
            self.output.weight = self.embedding.weight

    @property
    def device(self) -> torch.device:
        """Where it computes. Its norms tell: projections may be replaced by ones of other types."""
        return self.norm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in, and what its caches hold."""
        return self.norm.weight.dtype

    def forward(
        self,
        token_ids: Tensor,
        cache: Attends | None = None,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Logits of every position. Shapes: as `hidden`, → (B, T, V)."""
        return self.head(self.hidden(token_ids, cache, positions, mask))

    def hidden(
        self,
        token_ids: Tensor,
        cache: Attends | None = None,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """The residual stream after the last block, normalised.

        With a `cache`, the tokens follow those that it holds, and it holds them too afterwards.
        The cache says where they stand and what they see, unless `positions` and `mask`
        (``True`` = may attend) do: left-padded rows need both, to hide the padding.

        Shapes: token_ids (B, T); positions (T,) or (B, T); mask broadcastable to (B, H, T, S),
        where the last T of the S keys are the new ones → (B, T, C).

        Raises:
            ShapeError: `token_ids` or `positions` have the wrong shape.
            UserError: a token id is outside the vocabulary, or the cache is full.
        """
        check_token_ids(token_ids, self.config.vocabulary)
        B, T = token_ids.shape
        device = self.device
        seen = self._seen_with(cache)
        if positions is None:
            positions = positions_after(seen, T, device)
        check_positions(positions, B, T)
        positions = positions.to(device)
        mask = None if mask is None else mask.to(device)

        def attend_in(number: int) -> Attend:
            return lambda q, k, v: seen.attend(number, q, k, v, mask)

        x = self.embedding(token_ids.to(device))  # (B, T, C)
        for number, layer in enumerate(self.layers):
            x = self.parts.block(x, cast(Block, layer), positions, attend_in(number))
        seen.advance(T)
        return self.parts.rms_norm(x, self.norm.weight, self.config.norm_eps)

    def head(self, hidden: Tensor) -> Tensor:
        """A score for each token of the vocabulary. Shapes: (..., C) → (..., V)."""
        return self.output(hidden)

    def _seen_with(self, cache: Attends | None) -> Attends:
        """What new tokens attend to: the cache, or what stands for none."""
        if cache is not None:
            return cache
        window = {} if self.config.window is None else {"window": self.config.window}
        return self.parts.no_cache(self.device, **window)

    def new_cache(self, batch: int, max_length: int) -> KVCache:
        """An empty cache of this model's shape, type and device."""
        return self.parts.cache(self.config, batch, max_length, self.dtype, self.device)

    def with_parts(self, parts: Parts) -> Decoder:
        """A decoder with these very weights that computes with other functions."""
        twin = copy.copy(self)
        twin.parts = parts
        return twin


def positions_after(cache: Attends, T: int, device: torch.device) -> Tensor:
    """Where T new tokens stand: where the cache says, or, if it says nothing of positions, after
    its length. A cache as lesson 06 builds it needs no such method, and goes in here.

    Shapes: → (T,) or (B, T).
    """
    if callable(getattr(cache, "positions", None)):
        return cache.positions(T)
    length = cast(KVCache, cache).length
    return torch.arange(length, length + T, device=device)


def check_token_ids(token_ids: Tensor, vocabulary: int) -> None:
    """Raise unless `token_ids` is a non-empty (B, T) tensor of ids inside the vocabulary."""
    if token_ids.ndim != 2 or token_ids.numel() == 0:
        raise ShapeError(
            f"token_ids {tuple(token_ids.shape)}: expected two axes (B, T), none of them empty; "
            f"a single prompt becomes a batch of one with torch.tensor([ids])."
        )
    if token_ids.is_floating_point() or token_ids.dtype == torch.bool:
        raise ShapeError(f"token_ids have type {token_ids.dtype}: expected whole numbers.")
    if token_ids.is_cpu:  # elsewhere a look would wait for the device; ids are drawn on the CPU
        low, high = int(token_ids.min()), int(token_ids.max())
        if low < 0 or high >= vocabulary:
            raise UserError(
                f"token id {low if low < 0 else high} is outside the vocabulary: expected 0 to "
                f"{vocabulary - 1}; encode the text with this model's own tokenizer."
            )
