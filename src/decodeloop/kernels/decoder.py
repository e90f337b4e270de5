"""A decoder that takes the compiled path for one token of one text, and the plain one otherwise.

It has the shape of `Decoder`, and its very weights: the logits are the same but for the order of
additions.
"""

from __future__ import annotations

import threading
from typing import Any, cast

import numba
import numpy as np
import torch
from torch import Tensor, nn

from decodeloop.errors import UserError
from decodeloop.kernels import compiled
from decodeloop.kernels.int8 import Int8Linear
from decodeloop.model import Block, ContiguousKVCache, Decoder, KVCache, Parts, rotary_angles
from decodeloop.model.decoder import LIBRARY_PARTS, check_token_ids

Array = np.ndarray[Any, Any]

# The simplest of Numba's threading layers ends the process if two threads are in kernels at once.
LOCK = threading.Lock()


def arrays(projection: nn.Module) -> tuple[Array, Array]:
    """The matrix of a projection and a scale for each of its rows, over its own memory."""
    if isinstance(projection, Int8Linear):
        return projection.matrix.quantized.numpy(), projection.matrix.scale.numpy()
    weight = cast(Tensor, projection.weight).detach()
    return weight.numpy(), np.ones(weight.shape[0], np.float32)


def layer_arrays(block: Block) -> tuple[Array, ...]:
    """The weights of one layer, in the order of `compiled.decode_layer`."""
    attention, feed_forward = block.attention, block.feed_forward
    return (
        block.attention_norm.weight.detach().numpy(),
        *arrays(attention.query),
        *arrays(attention.key),
        *arrays(attention.value),
        *arrays(attention.output),
        block.feed_forward_norm.weight.detach().numpy(),
        *arrays(feed_forward.gate),
        *arrays(feed_forward.up),
        *arrays(feed_forward.down),
    )


class FastDecoder(Decoder):
    """A `Decoder` whose decode step is compiled, over another's modules.

    The compiled path is for token_ids (1, 1) without positions or mask of their own, and a plain
    `ContiguousKVCache`. Prefill, batches, beams and other caches take the plain one.

    Raises:
        UserError: the decoder computes in another type than fp32, elsewhere than on the CPU, or
            with parts of its own.

    >>> from decodeloop.model import TINY
    >>> fast = FastDecoder(Decoder(TINY))
    >>> fast(torch.tensor([[5]]), fast.new_cache(1, 8)).shape
    torch.Size([1, 1, 97])
    """

    def __init__(self, decoder: Decoder) -> None:
        nn.Module.__init__(self)  # and not Decoder's, which would make weights
        if decoder.dtype != torch.float32 or decoder.device.type != "cpu":
            raise UserError(
                f"the compiled decode step is for fp32 on the CPU; this decoder computes in "
                f"{decoder.dtype} on {decoder.device}: use it as it is."
            )
        if decoder.parts != LIBRARY_PARTS:
            raise UserError(
                "the compiled decode step can't call functions of your own: use the decoder that "
                "has them as it is."
            )
        self.plain = (decoder,)  # in a tuple, so that its modules are not registered twice
        self.config, self.parts = decoder.config, decoder.parts
        self.embedding, self.layers = decoder.embedding, decoder.layers
        self.norm, self.output = decoder.norm, decoder.output
        self.eval()
        self.weights = [layer_arrays(cast(Block, block)) for block in decoder.layers]
        self.last_norm = decoder.norm.weight.detach().numpy()
        self.matrix, self.scale = arrays(decoder.output)

    def with_parts(self, parts: Parts) -> Decoder:
        """The plain decoder with these weights, computing with other functions."""
        return self.plain[0].with_parts(parts)

    def hidden(
        self,
        token_ids: Tensor,
        cache: KVCache | None = None,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """As `Decoder.hidden`. Shapes: token_ids (B, T) → (B, T, C)."""
        alone = token_ids.shape == (1, 1) and positions is None and mask is None
        if alone and type(cache) is ContiguousKVCache and cache.is_plain(self.dtype):
            return self.step(token_ids, cache)
        return super().hidden(token_ids, cache, positions, mask)

    def step(self, token_ids: Tensor, cache: ContiguousKVCache) -> Tensor:
        """One token through all layers. Shapes: (1, 1) → (1, 1, C)."""
        check_token_ids(token_ids, self.config.vocabulary)
        cache.check_room(1)
        place, config = cache.length, self.config
        angles = rotary_angles(torch.tensor([place]), config.head_dim, config.rope_base)
        cos, sin = (x[0].numpy() for x in angles)  # (D/2,)
        keys, values = cache.keys[:, 0].numpy(), cache.values[:, 0].numpy()  # (L, G, S, D)
        x = self.embedding(token_ids)[0, 0].detach().numpy().copy()  # (C,)
        out = np.empty_like(x)
        with LOCK:
            use_threads()
            for number, weights in enumerate(self.weights):
                compiled.decode_layer(
                    x, place, cos, sin, keys[number], values[number], config.norm_eps, *weights
                )
            compiled.rms_norm(x, self.last_norm, config.norm_eps, out)
        cache.advance(1)
        return torch.from_numpy(out).view(1, 1, -1)

    def head(self, hidden: Tensor) -> Tensor:
        """A score for each token of the vocabulary. Shapes: (..., C) → (..., V)."""
        if hidden.numel() != self.config.width:
            return super().head(hidden)
        x, logits = hidden.detach().reshape(-1).contiguous().numpy(), torch.empty(len(self.scale))
        with LOCK:
            use_threads()
            compiled.matrix_vector(self.matrix, self.scale, x, logits.numpy())
        return logits.view(*hidden.shape[:-1], -1)


def use_threads() -> None:
    """Compute with as many threads as PyTorch does.

    When Numba starts its threads, the first time, PyTorch would afterwards take as many as Numba
    has: both use OpenMP. So what it took is said again.
    """
    threads = torch.get_num_threads()
    most: int = cast(Any, numba.config).NUMBA_NUM_THREADS
    numba.set_num_threads(min(threads, most))
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
