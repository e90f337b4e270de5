"""The same model with its channels in another order: the same function, and nothing left of the
groups of neighbours that its weights were once quantized in.

The real model of the course comes from a file with 4 bits a weight: each 32 neighbours of a row
have at most 16 different values, so quantizing them again to 4 bits, in groups of 32, loses nothing
and proves nothing. In another order the neighbours are strangers, and it loses what it would lose
on a model that was never quantized.
"""

from __future__ import annotations

import random
import re

import torch
from torch import Tensor

from decodeloop.compress.rebuilding import decoder_over, layer_and_part, plain_weights
from decodeloop.model import Decoder, ModelConfig

# The axis along which a weight has the channels of the residual stream.
STREAM = {
    "embedding": 1,
    "norm": 0,
    "output": 1,
    "attention_norm": 0,
    "attention.query": 1,
    "attention.key": 1,
    "attention.value": 1,
    "attention.output": 0,
    "feed_forward_norm": 0,
    "feed_forward.router": 1,
    "feed_forward.gate": 1,
    "feed_forward.up": 1,
    "feed_forward.down": 0,
}
# The axis along which it has the channels inside a feed-forward layer, or those of the values.
INNER = {"feed_forward.gate": 0, "feed_forward.up": 0, "feed_forward.down": 1}
EXPERT = re.compile(r"\.experts\.\d+\.")


def shuffled(decoder: Decoder, seed: int = 0) -> Decoder:
    """A decoder with weights of its own that computes the same, its channels permuted.

    Three kinds of channels may stand in any order, if all weights agree on it: those of the
    residual stream, those inside each feed-forward layer, and those of the values in each KV head.
    (Queries and keys are turned in pairs by their positions, so theirs stay: they are rows, and no
    group runs along them.) The order comes from `seed`, and is the same on every machine.

    Raises:
        UserError: its projections hold no plain matrices.

    >>> from decodeloop.model import TINY
    >>> decoder, ids = Decoder(TINY), torch.tensor([[1, 2, 3]])
    >>> torch.allclose(shuffled(decoder)(ids), decoder(ids), atol=1e-5)
    True
    """
    config, draw = decoder.config, random.Random(seed)
    old = plain_weights(decoder, "shuffled")
    stream = permutation(config.width, draw)
    inner = [permutation(config.feed_forward, draw) for _ in range(config.layers)]
    values = [value_channels(config, draw) for _ in range(config.layers)]
    new: dict[str, Tensor] = {}
    for name, weight in old.items():
        layer, part = layer_and_part(name)
        part = EXPERT.sub(".", part)  # all experts of a layer alike
        moved = weight  # norms of queries and keys, and the biases of both, have none of these
        if part in STREAM:
            moved = moved.index_select(STREAM[part], stream)
        if part in INNER:
            moved = moved.index_select(INNER[part], inner[layer])
        elif part in ("attention.value", "attention.value.bias"):
            moved = moved.index_select(0, values[layer])
        elif part == "attention.output":
            moved = moved.index_select(1, seen_by_queries(values[layer], config))
        new[name] = moved
    return decoder_over(config, new).with_parts(decoder.parts).train(decoder.training)


def permutation(n: int, draw: random.Random) -> Tensor:
    """The numbers from 0 to n - 1 in some order. Shapes: → (n,)."""
    return torch.tensor(draw.sample(range(n), n))


def value_channels(config: ModelConfig, draw: random.Random) -> Tensor:
    """The channels of the values, in some order in each KV head. Shapes: → (G · D,)."""
    D = config.head_dim
    return torch.cat([g * D + permutation(D, draw) for g in range(config.kv_heads)])


def seen_by_queries(values: Tensor, config: ModelConfig) -> Tensor:
    """The same order as the query heads give it to the output projection, each that of its KV head.

    Shapes: (G · D,) → (H · D,).
    """
    H, G, D = config.heads, config.kv_heads, config.head_dim
    inside = (values.view(G, D) - D * torch.arange(G)[:, None]).repeat_interleave(H // G, dim=0)
    return (inside + D * torch.arange(H)[:, None]).flatten()
