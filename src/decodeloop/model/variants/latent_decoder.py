"""A decoder whose cache holds a latent and a turned key of each token, and nothing else.

DeepSeek-AI, "DeepSeek-V2" (2024), section 2.1; out of a trained model: Ji et al. (2025), section 3.
Built in lesson 18.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from decodeloop.errors import UserError
from decodeloop.model.block import (
    Block,
    FeedForward,
    Linear,
    RMSNorm,
    check_positions,
    feed_forward,
    rms_norm,
    rotary_angles,
    rotate,
)
from decodeloop.model.config import ModelConfig, check_llama
from decodeloop.model.decoder import LIBRARY_PARTS, Decoder, Embedding, check_token_ids
from decodeloop.model.kv_cache import Attends
from decodeloop.model.multi_head import merge_heads, split_heads
from decodeloop.model.variants.latent import (
    Kept,
    LatentKVCache,
    latent_attention,
    latent_factors,
    mask_or_causal,
)


@dataclass(frozen=True, repr=False)
class LatentConfig(ModelConfig):
    """A `ModelConfig` whose layers keep `rank` numbers of a token, and `rotated_heads` turned keys
    of `rotated` numbers each.

    Of the D numbers of a query, the first D - R ask for content, and the last R, turned by the
    fastest R/2 of the D/2 frequencies, for a place.

    Raises:
        UserError: `rotated` is odd or more than the head dimension, or heads don't divide.
    """

    rank: int = 1  # r
    rotated: int = 2  # R
    rotated_heads: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rotated % 2 or self.rotated > self.head_dim:
            raise UserError(
                f"LatentConfig: rotated is {self.rotated}: expected an even number of at most "
                f"head_dim = {self.head_dim}."
            )
        if self.kv_heads % self.rotated_heads:
            raise UserError(
                f"LatentConfig: {self.kv_heads} KV heads can't share {self.rotated_heads} turned "
                f"keys evenly."
            )

    @property
    def kept(self) -> int:
        """How many numbers are kept of each token in each layer."""
        return self.rank + self.rotated_heads * self.rotated


class LatentAttention(nn.Module):
    """Holds the projections of one layer's latent attention."""

    def __init__(self, config: LatentConfig) -> None:
        super().__init__()
        C, D, r, G = config.width, config.head_dim, config.rank, config.kv_heads
        self.query = Linear(C, config.heads * D)  # of each head: content first, then place
        self.down = Linear(C, r)
        self.rotated_key = Linear(C, config.rotated_heads * config.rotated)
        self.up_key = Linear(r, G * (D - config.rotated))
        self.up_value = Linear(r, G * D)
        self.output = Linear(config.heads * D, C)


class LatentBlock(nn.Module):
    """Holds the weights of one layer."""

    def __init__(self, config: LatentConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width)
        self.attention = LatentAttention(config)
        self.feed_forward_norm = RMSNorm(config.width)
        self.feed_forward = FeedForward(config)


class LatentDecoder(Decoder):
    """A decoder with multi-head latent attention; all else is as in `Decoder`.

    Args:
        attend: how queries meet what is kept: `latent_attention`, or `expanded_attention`, which
            gives the same and makes all keys and values first.

    >>> from decodeloop.model import TINY
    >>> config = LatentConfig(**vars(TINY), rank=12, rotated=4)
    >>> LatentDecoder(config)(torch.tensor([[1, 2, 3]])).shape, config.kept
    (torch.Size([1, 3, 97]), 16)

    Raises:
        UserError: the configuration asks for what the Llama family has not.
    """

    config: LatentConfig

    def __init__(
        self, config: LatentConfig, attend: Callable[..., Tensor] = latent_attention
    ) -> None:
        nn.Module.__init__(self)  # and not Decoder's, whose blocks are others
        check_llama(config, "LatentDecoder")
        self.config, self.parts, self._attend = config, LIBRARY_PARTS, attend
        self.embedding = Embedding(config.vocabulary, config.width)
        self.layers = nn.ModuleList(LatentBlock(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)
        self.output = Linear(config.width, config.vocabulary)
        if config.tied:
            self.output.weight = self.embedding.weight

    def new_cache(self, batch: int, max_length: int) -> LatentKVCache:  # type: ignore[override]
        config, turned = self.config, (self.config.rotated_heads, self.config.rotated)
        kind, where = self.dtype, self.device
        return LatentKVCache(config.layers, batch, max_length, config.rank, turned, kind, where)

    def hidden(
        self,
        token_ids: Tensor,
        cache: Attends | None = None,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """As `Decoder.hidden`, with a `LatentKVCache`. Shapes: (B, T) → (B, T, C)."""
        check_token_ids(token_ids, self.config.vocabulary)
        B, T = token_ids.shape
        kept = cast(object, self.new_cache(B, T) if cache is None else cache)
        if not isinstance(kept, LatentKVCache):
            raise UserError(
                f"a latent decoder was given a {type(kept).__name__}: expected a LatentKVCache; "
                f"make one with model.new_cache(batch, max_length)."
            )
        positions = kept.positions(T) if positions is None else positions.to(self.device)
        check_positions(positions, B, T)
        mask = None if mask is None else mask.to(self.device)
        mask = mask_or_causal(mask, T, kept.length + T, self.device)
        x, eps = self.embedding(token_ids.to(self.device)), self.config.norm_eps  # (B, T, C)
        for number, layer in enumerate(self.layers):
            block = cast(LatentBlock, layer)
            normed = rms_norm(x, block.attention_norm.weight, eps)
            x = x + self._attended(normed, block.attention, number, kept, positions, mask)
            normed = rms_norm(x, block.feed_forward_norm.weight, eps)
            x = x + feed_forward(normed, block.feed_forward)
        kept.advance(T)
        return rms_norm(x, self.norm.weight, eps)

    def _attended(
        self,
        x: Tensor,
        own: LatentAttention,
        number: int,
        cache: LatentKVCache,
        positions: Tensor,
        mask: Tensor | None,
    ) -> Tensor:
        """One layer's attention. Shapes: x (B, T, C) → (B, T, C)."""
        config, R = self.config, self.config.rotated
        angles = rotary_angles(positions, config.head_dim, config.rope_base)
        cos, sin = (part[..., : R // 2] for part in angles)  # the fastest pairs
        q = split_heads(own.query(x), config.heads)  # (B, H, T, D)
        q, q_rotated = q[..., :-R], rotate(q[..., -R:], cos, sin)
        turned = rotate(split_heads(own.rotated_key(x), config.rotated_heads), cos, sin)
        kept = cache.append(number, Kept(own.down(x), turned))
        up_key, up_value = own.up_key.weight, own.up_value.weight
        heads = config.kv_heads
        attended = self._attend(q, q_rotated, kept, up_key, up_value, heads, mask)
        projected: Tensor = own.output(merge_heads(attended))
        return projected


Factors = Callable[[Tensor, int, Tensor | None], tuple[Tensor, Tensor]]


def latent_from(
    model: Decoder,
    rank: int,
    rotated: int,
    moments: Sequence[Tensor] | None = None,
    factors: Factors = latent_factors,
) -> LatentDecoder:
    """A latent decoder out of a trained one, without training.

    Of each key, the R/2 pairs of channels that turn fastest stay turned keys, one for each KV head;
    the others, which hardly turn within a text, are no longer turned, and become a latent together
    with the values, by `factors`. With the rank as large as what they have, the latent costs
    nothing, and what is lost is the turning of the slow pairs.

    Args:
        moments: the second moment of each layer's inputs, (C, C), as `input_moments` finds them.
        factors: how a matrix becomes two thin ones; it is given fp32 on the CPU.

    Raises:
        UserError: the model is none of the Llama family, or the sizes don't fit.
    """
    old = model.config
    check_llama(old, "latent_from")
    config = LatentConfig(**vars(old), rank=rank, rotated=rotated, rotated_heads=old.kv_heads)
    D, half, G = old.head_dim, rotated // 2, old.kv_heads
    pairs = torch.arange(D // 2)
    content = torch.cat((pairs[half:], pairs[half:] + D // 2))
    place = torch.cat((pairs[:half], pairs[:half] + D // 2))

    def rows(weight: Tensor, heads: int, chosen: Tensor) -> Tensor:
        return weight.view(heads, D, -1)[:, chosen].flatten(0, 1)

    with torch.device("meta"):
        latent = LatentDecoder(config)
    state = dict(model.state_dict())
    for number in range(old.layers):
        name = f"layers.{number}.attention"
        query, key, value = (
            state.pop(f"{name}.{part}.weight") for part in ("query", "key", "value")
        )
        joint = torch.cat((rows(key, G, content), value))  # (G·(D - R) + G·D, C)
        moment = None if moments is None else moments[number].float().cpu()
        up, down = (part.to(joint) for part in factors(joint.float().cpu(), rank, moment))
        state |= {
            f"{name}.query.weight": rows(query, old.heads, torch.cat((content, place))),
            f"{name}.down.weight": down,
            f"{name}.rotated_key.weight": rows(key, G, place),
            f"{name}.up_key.weight": up[: G * len(content)],
            f"{name}.up_value.weight": up[G * len(content) :],
        }
    latent.load_state_dict(state, assign=True)
    if config.tied:
        latent.output.weight = latent.embedding.weight
    return latent.requires_grad_(False).eval()


@torch.inference_mode()
def input_moments(model: Decoder, texts: Sequence[Tensor]) -> list[Tensor]:
    """E[x xᵀ] of what the keys and values of each layer are made of, over all tokens of some texts.

    Shapes: texts (1, T) each → one (C, C) for each layer, fp64.
    """
    C = model.config.width
    sums = [torch.zeros(C, C, dtype=torch.float64) for _ in model.layers]
    with _listening(model, sums):
        for ids in texts:
            model.hidden(ids)
    count = sum(ids.numel() for ids in texts)
    return [total / count for total in sums]


@contextmanager
def _listening(model: Decoder, sums: Sequence[Tensor]) -> Iterator[None]:
    """Add x xᵀ of all inputs of each layer's key projection to its sum."""

    def listener(total: Tensor) -> Callable[..., None]:
        def add(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0].reshape(-1, inputs[0].shape[-1]).cpu().double()
            total.add_(x.mT @ x)

        return add

    hooks = [
        cast(Block, layer).attention.key.register_forward_pre_hook(listener(total))
        for layer, total in zip(model.layers, sums, strict=True)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
