"""Multi-head latent attention: what is kept of a token is one short vector for all heads.

DeepSeek-AI, "DeepSeek-V2" (2024), arXiv:2405.04434, section 2.1. Keys and values of a trained model
as a latent: Ji et al., "Towards Economical Inference: Enabling DeepSeek's Multi-Head Latent
Attention in Any Transformer-based LLMs" (2025), arXiv:2502.14837, section 3. Built in lesson 18.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from decodeloop.errors import ShapeError, UserError
from decodeloop.model.attention import causal_mask, check_mask, softmax
from decodeloop.model.kv_cache import check_truncate, row_numbers
from decodeloop.model.multi_head import grouped_query_attention


class Kept(NamedTuple):
    """What latent attention keeps of the S tokens of a text, and all that it reads of them.

    Shapes: latents (B, S, r), one for all heads; rotated (B, g, S, R), g keys that were turned.
    """

    latents: Tensor
    rotated: Tensor


def expand(latents: Tensor, up: Tensor, heads: int) -> Tensor:
    """The keys or values that latents stand for.

    Shapes: latents (B, S, r), up (heads·D, r), as `nn.Linear` stores it → (B, heads, S, D).
    """
    B, S, _ = latents.shape
    return (latents @ up.mT).view(B, S, heads, len(up) // heads).transpose(1, 2)


def absorb(q: Tensor, up_key: Tensor, heads: int) -> Tensor:
    """Queries that meet latents in the place of keys: q · (up c) = (upᵀ q) · c.

    Query head h belongs to key head h // (H/G), as in `grouped_query_attention`.

    Shapes: q (B, H, T, D), up_key (G·D, r), G = `heads` → (B, H, T, r).

    Raises:
        ShapeError: the rows of `up_key` are not G·D, or H is no multiple of G.

    >>> absorb(torch.ones(1, 2, 3, 4), torch.ones(4, 5), heads=1).shape
    torch.Size([1, 2, 3, 5])
    """
    B, H, T, D = q.shape
    if heads < 1 or len(up_key) != heads * D or H % heads:
        raise ShapeError(
            f"absorb: queries {tuple(q.shape)} and up_key {tuple(up_key.shape)} with {heads} key "
            f"heads: expected (B, H, T, D) with H a multiple of {heads}, and ({heads}·D, r)."
        )
    own = up_key.view(heads, D, up_key.shape[1])  # (G, D, r)
    return (q.reshape(B, heads, H // heads * T, D) @ own).reshape(B, H, T, -1)


def value_from(mixed: Tensor, up_value: Tensor, heads: int) -> Tensor:
    """The weighted sum of values, out of the weighted sum of latents: Σ w (up c) = up (Σ w c).

    Shapes: mixed (B, H, T, r), up_value (G·D, r), G = `heads` → (B, H, T, D).
    """
    B, H, T, r = mixed.shape
    own = up_value.view(heads, -1, r)  # (G, D, r)
    return (mixed.reshape(B, heads, -1, r) @ own.mT).reshape(B, H, T, -1)


def latent_attention(
    q: Tensor,
    q_rotated: Tensor,
    kept: Kept,
    up_key: Tensor,
    up_value: Tensor,
    heads: int,
    mask: Tensor | None = None,
) -> Tensor:
    """Attention to latents as they are: no key and no value is ever made.

    A score is the sum of two: what a query says to the content of a token, through the latent, and
    what a turned query says to its turned key. Both are divided by √(D + R), as if the key had been
    made, whatever the rank.

    Shapes: q (B, H, T, D), q_rotated (B, H, T, R); up_key (G·D, r), up_value (G·Dv, r), G =
    `heads`; mask broadcastable to (B, H, T, S) → (B, H, T, Dv).
    """
    (B, H, T, D), R = q.shape, q_rotated.shape[-1]
    latents, rotated = kept.latents[:, None], kept.rotated  # (B, 1, S, r), (B, g, S, R)
    about_content = absorb(q, up_key, heads) @ latents.mT  # (B, H, T, S)
    grouped = q_rotated.reshape(B, rotated.shape[1], -1, R)
    about_place = (grouped @ rotated.mT).reshape(B, H, T, -1)
    scores = (about_content + about_place) / math.sqrt(D + R)
    if mask is not None:
        check_mask(mask, scores.shape)
        scores = scores.masked_fill(~mask, -math.inf)
    return value_from(softmax(scores) @ latents, up_value, heads)


def expanded_attention(
    q: Tensor,
    q_rotated: Tensor,
    kept: Kept,
    up_key: Tensor,
    up_value: Tensor,
    heads: int,
    mask: Tensor | None = None,
) -> Tensor:
    """The same with all keys and values made, as in training. Arguments as `latent_attention`."""
    keys = expand(kept.latents, up_key, heads)  # (B, G, S, D)
    turned = kept.rotated.repeat_interleave(heads // kept.rotated.shape[1], 1)
    k = torch.cat((keys, turned), -1)  # (B, G, S, D + R)
    values = expand(kept.latents, up_value, heads)
    return grouped_query_attention(torch.cat((q, q_rotated), -1), k, values, mask)


def latent_factors(
    weight: Tensor, rank: int, moment: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The two thin matrices whose product comes nearest to a matrix: y = W x ≈ up (down x).

    Nearest for inputs whose second moment E[x xᵀ] is `moment`: the outputs are projected onto the
    `rank` directions in which they have most; without it, as if all inputs were equally likely,
    which is the singular value decomposition of W.

    Shapes: weight (N, C), moment (C, C) → up (N, rank), down (rank, C).

    Raises:
        UserError: the rank is not between 1 and N.

    >>> up, down = latent_factors(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), rank=1)
    >>> (up @ down).round().abs().tolist()
    [[3.0, 0.0], [0.0, 0.0]]
    """
    N = len(weight)
    if not 1 <= rank <= N:
        raise UserError(f"latent_factors: rank {rank}: expected 1 to {N}, the rows of the matrix.")
    W = weight.cpu().double()  # in fp64, which not every device has
    outputs = W @ W.mT if moment is None else W @ moment.cpu().double() @ W.mT  # (N, N): E[y yᵀ]
    directions = torch.linalg.eigh(outputs).eigenvectors[:, N - rank :].flip(1)  # largest first
    return directions.to(weight), (directions.mT @ W).to(weight)


class LatentKVCache:
    """A cache of r + g·R numbers for each token and layer: a latent, and g turned keys.

    `append` is what `LatentDecoder` asks for; all else is as in any `KVCache`, but for `attend`:
    latent attention sees no keys and values.

    Shapes: latents (L, B, max_length, r), rotated (L, B, g, max_length, R).

    Raises:
        UserError: more positions are appended than there is room for.
    """

    def __init__(
        self,
        layers: int,
        batch: int,
        max_length: int,
        rank: int,
        rotated: tuple[int, int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> None:
        if batch < 1 or max_length < 1:
            raise UserError(
                f"a cache of batch {batch} and max_length {max_length}: both must be at least 1."
            )
        g, R = rotated
        self.latents = torch.zeros(layers, batch, max_length, rank, dtype=dtype, device=device)
        self.rotated = torch.zeros(layers, batch, g, max_length, R, dtype=dtype, device=device)
        self._length = 0

    @property
    def length(self) -> int:
        return self._length

    @property
    def nbytes(self) -> int:
        """Bytes of all that it holds room for."""
        return self.latents.nbytes + self.rotated.nbytes

    def positions(self, T: int) -> Tensor:
        return torch.arange(self._length, self._length + T, device=self.latents.device)

    def append(self, layer: int, new: Kept) -> Kept:
        """Write what is new after what is there; return all of it."""
        start, T = self._length, new.latents.shape[1]
        room = self.latents.shape[2]
        if len(new.latents) != self.latents.shape[1]:
            raise ShapeError(
                f"the cache has {self.latents.shape[1]} rows and was given {len(new.latents)}: "
                f"make it for this batch with model.new_cache(batch, max_length)."
            )
        if start + T > room:
            raise UserError(
                f"the cache has room for {room} positions: {start} are used and {T} more were "
                f"given; make it longer with new_cache(batch, max_length), or truncate it."
            )
        self.latents[layer, :, start : start + T] = new.latents
        self.rotated[layer, :, :, start : start + T] = new.rotated
        end = start + T
        return Kept(self.latents[layer, :, :end], self.rotated[layer, :, :, :end])

    def advance(self, T: int) -> None:
        if not 0 <= T <= self.latents.shape[2] - self._length:
            raise UserError(
                f"advance({T}): the cache has {self._length} of {self.latents.shape[2]} positions; "
                f"advance once for each forward, by the number of its tokens."
            )
        self._length += T

    def truncate(self, n: int) -> None:
        check_truncate(n, self._length)
        self._length = n

    def select(self, rows: Tensor | Sequence[int]) -> None:
        index = row_numbers(rows, self.latents.shape[1]).to(self.latents.device)
        self.latents = self.latents.index_select(1, index)
        self.rotated = self.rotated.index_select(1, index)


def mask_or_causal(mask: Tensor | None, T: int, S: int, device: torch.device) -> Tensor | None:
    """The mask that was given, or the causal one; None for a single token, which sees all."""
    return causal_mask(T, S, device=device) if mask is None and T > 1 else mask
