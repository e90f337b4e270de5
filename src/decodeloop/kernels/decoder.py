"""A decoder that takes the fast path for a text or a few, and the plain one otherwise.

It has the shape of `Decoder`, and its very weights: the logits are the same but for the order of
additions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeGuard, cast

import numba
import numpy as np
import torch
from torch import Tensor, nn

from decodeloop.compress.cache import GROUP, QuantizedKVCache
from decodeloop.errors import ShapeError, UserError
from decodeloop.kernels import compiled, int4_products, w8a8
from decodeloop.kernels.batched import (
    MOST_IN_LOOPS,
    MOST_ROUNDS,
    check_tables,
    layer_of_many,
    places_of,
    rows_of,
)
from decodeloop.kernels.int8 import Int8Linear
from decodeloop.kernels.known import not_in_kernels, turning
from decodeloop.kernels.layers import Pages, layer_in_4_bits, layer_in_8_bits, layer_of_few
from decodeloop.kernels.pace import Pace
from decodeloop.kernels.prefill import normalised, prefill_layer
from decodeloop.kernels.quantized_cache import Layer, layers_of
from decodeloop.kernels.screened import ScreenedLinear
from decodeloop.kernels.threads import LOCK, numba_threads, pytorch_at_pace, run_at_pace
from decodeloop.kernels.weights import Array, are_known, arrays, layer_arrays, sizes_of
from decodeloop.model import (
    Attends,
    Block,
    BlockTables,
    ContiguousKVCache,
    Decoder,
    Parts,
    rotary_angles,
)
from decodeloop.model.decoder import LIBRARY_PARTS, check_token_ids

FEW = 8  # tokens of equally long texts that one step takes; with more, PyTorch's products do


def block_tables(cache: Attends | None, dtype: torch.dtype) -> BlockTables | None:
    """Where the tokens of a step lie, if that is what the cache is, and a plain one: numbers of
    this type on the CPU, attended to as the library does."""
    tables = getattr(cache, "tables", None)
    plain = isinstance(tables, BlockTables) and cast(Any, cache).is_plain(dtype)
    return tables if plain else None


def same(positions: Tensor, others: Tensor) -> bool:
    """Whether a row of positions, (N,) or (1, N), is this one (N,)."""
    return torch.equal(positions.reshape(-1).cpu(), others)


def tables_over(cache: ContiguousKVCache, B: int, T: int) -> BlockTables:
    """T new tokens of each of B texts in a contiguous cache: each text has one long block."""
    return BlockTables(
        cache.keys,
        cache.values,
        texts=torch.arange(B).repeat_interleave(T),
        positions=torch.arange(cache.length, cache.length + T).repeat(B),
        tables=torch.arange(B)[:, None],
    )


class FastDecoder(Decoder):
    """A `Decoder` whose decode step is compiled, over another's modules.

    A step takes up to `FEW` new tokens, of one text or of several that are equally long, and more
    of one text are a prefill; both without positions or mask of their own, in a plain
    `ContiguousKVCache` or a `QuantizedKVCache`, where no gradients are asked for (a prefill needs
    no cache). All else takes the plain path: larger batches, prompts of unequal length, other
    caches.

    Tokens of unequal texts in one row, (1, N), whose cache has block `tables` (`serve.Step`), are
    one step too, however many. Where also the inputs of products have 8 bits (w8a8, int4),
    everything is such a step, and a token gets the same bits whatever comes with it.

    Raises:
        UserError: the decoder computes in another type than fp32, elsewhere than on the CPU, with
            parts of its own, or what kernels do not know (`not_in_kernels`).

    >>> from decodeloop.model import TINY
    >>> fast = FastDecoder(Decoder(TINY))
    >>> with torch.inference_mode():
    ...     fast(torch.tensor([[5]]), fast.new_cache(1, 8)).shape
    torch.Size([1, 1, 97])
    """

    def __init__(self, decoder: Decoder) -> None:
        nn.Module.__init__(self)  # and not Decoder's, which would make weights
        if decoder.dtype != torch.float32 or decoder.device.type != "cpu":
            raise UserError(
                f"the compiled decode step is for fp32 on the CPU; this decoder computes in "
                f"{decoder.dtype} on {decoder.device}: use it as it is."
            )
        if unknown := not_in_kernels(decoder.config):
            raise UserError(
                f"the compiled decode step does not know {unknown}: use the decoder as it is."
            )
        if replace(decoder.parts, cache=LIBRARY_PARTS.cache) != LIBRARY_PARTS:
            raise UserError(
                "the compiled decode step can't call functions of your own: use the decoder that "
                "has them as it is."
            )
        self.plain = (decoder,)  # in a tuple, so that its modules are not registered twice
        self.config, self.parts = decoder.config, decoder.parts
        self.embedding, self.layers = decoder.embedding, decoder.layers
        self.norm, self.output = decoder.norm, decoder.output
        self.frequencies, self.attention = turning(self.config)
        self.pace = Pace()
        self.eval()
        self.look_at_modules()

    def look_at_modules(self) -> None:
        """Take the memory of all weights; none if a module is not one that kernels know.

        Done for each prompt, since a projection may have been replaced, moved or hooked since.
        Another thread may be decoding meanwhile: each attribute is replaced as a whole.
        """
        weights: list[tuple[Array, ...]] = []
        if are_known(self):
            weights = [layer_arrays(cast(Block, block)) for block in self.layers]
            self.table, self.table_scale = arrays(self.embedding)
            self.last_norm = self.norm.weight.detach().numpy()
            self.matrix, self.scale = arrays(self.output)
            head: nn.Module = self.output
            self.in_4_bits = isinstance(head, ScreenedLinear)
            self.sizes = [sizes_of(cast(Block, block), self.config) for block in self.layers]
            self.products = head.products if isinstance(head, Int8Linear) else torch.float32
            # a prefill widens int8 weights before it multiplies: three steps are quicker than that
            self.few_steps = 3 if isinstance(head, Int8Linear) else 1
        self.weights = weights

    @property
    def in_8_bits(self) -> bool:
        """Whether the inputs of all products are in 8 bits."""
        return self.in_4_bits or self.products == torch.int8

    def looked_up(self, token_ids: Tensor) -> Array:
        """Their rows of the table. Shapes: any → (N, C)."""
        ids = token_ids.reshape(-1).numpy()
        rows: Array = self.table[ids].astype(np.float32) * self.table_scale[ids, None]
        return rows

    def with_parts(self, parts: Parts) -> Decoder:
        """The plain decoder with these weights, computing with other functions."""
        return self.plain[0].with_parts(parts)

    def hidden(
        self,
        token_ids: Tensor,
        cache: Attends | None = None,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """As `Decoder.hidden`. Shapes: token_ids (B, T) → (B, T, C)."""
        if mask is not None or torch.is_grad_enabled():  # no gradients go through kernels
            return super().hidden(token_ids, cache, positions, mask)
        tables = block_tables(cache, self.dtype)
        alike = tables is not None and positions is not None and same(positions, tables.positions)
        if not (tables is not None or self.can_fill(cache)) or not (positions is None or alike):
            return super().hidden(token_ids, cache, positions)
        token_ids = token_ids.cpu()
        check_token_ids(token_ids, self.config.vocabulary)
        B, N = len(token_ids), token_ids.numel()
        if tables is not None:
            return self.packed_hidden(token_ids, cast(Attends, cache), tables)
        kept = cast("ContiguousKVCache | None", cache)
        if kept is None or kept.length == 0 or N > FEW:
            self.look_at_modules()
        quantized = isinstance(kept, QuantizedKVCache)
        if self.weights and (self.in_8_bits or (quantized and N <= FEW)):
            return self.hidden_in_pieces(token_ids, kept)
        if quantized and not (self.weights and B == 1):
            return super().hidden(token_ids, kept)
        if self.weights and kept is not None and N <= FEW and kept.batch == B:
            return self.step(token_ids, kept)
        if self.weights and B == 1 and (kept is None or kept.batch == 1):
            if kept is not None and not quantized and self.few_steps * FEW >= N:
                kept.check_room(N)
                return torch.cat([self.step(some, kept) for some in token_ids.split(FEW, 1)], 1)
            return self.prefill(token_ids, kept)
        return super().hidden(token_ids, kept)

    def packed_hidden(self, token_ids: Tensor, cache: Attends, tables: BlockTables) -> Tensor:
        """Tokens of several texts in one row. Shapes: (1, N) → (1, N, C)."""
        if len(token_ids) != 1:
            raise ShapeError(
                f"token_ids {tuple(token_ids.shape)} with block tables: expected one row (1, N), "
                f"in which the tokens of all texts stand."
            )
        N, positions = token_ids.shape[1], tables.positions
        if len(tables.tables) != N or int(positions.min()) == 0:  # not for every token made
            self.look_at_modules()
        if not self.weights:
            return super().hidden(token_ids, cache)
        check_tables(tables, self.config, N)
        hidden = self.packed(token_ids, tables)
        cache.advance(N)
        return hidden

    def hidden_in_pieces(self, token_ids: Tensor, cache: ContiguousKVCache | None) -> Tensor:
        """Tokens of equally long texts, as if their cache were blocks. Shapes: (B, T) →
        (B, T, C)."""
        B, T = token_ids.shape
        if cache is None:
            cache = ContiguousKVCache(self.config, B, T)
        if cache.batch != B:  # the plain path says what is wrong
            return super().hidden(token_ids, cache)
        cache.check_room(T)
        found = []
        # of a quantized one the keys that wait have room for a group's more
        for ids in token_ids.split(GROUP if isinstance(cache, QuantizedKVCache) else T, 1):
            layers = layers_of(cache) if isinstance(cache, QuantizedKVCache) else None
            row, tables = ids.reshape(1, -1), tables_over(cache, *ids.shape)
            found.append(self.packed(row, tables, layers).view(*ids.shape, -1))
            cache.advance(ids.shape[1])
        return torch.cat(found, 1) if len(found) > 1 else found[0]

    def packed(
        self, token_ids: Tensor, tables: BlockTables, layers: list[Layer] | None = None
    ) -> Tensor:
        """Tokens where tables say, through all layers; those of a cache in fewer bits, if they are
        given. Shapes: (1, N) → (1, N, C)."""
        places = places_of(tables, self.frequencies, self.attention)
        eps = self.config.norm_eps
        x = self.looked_up(token_ids)  # (N, C)
        numbers = zip(tables.keys.numpy(), tables.values.numpy(), strict=True)
        caches: Sequence[Pages | Layer] = layers or [Pages(*two) for two in numbers]
        kind = ("packed", type(caches[0]), len(x), int(places.positions.sum()).bit_length())
        if self.in_8_bits or len(x) <= MOST_IN_LOOPS:
            way = layer_in_8_bits if self.in_8_bits else layer_of_few
            way = layer_in_4_bits if self.in_4_bits else way
            pieces = zip(caches, self.sizes, self.weights, strict=True)
            arguments = ((x, cache, places, sizes, eps, *own) for cache, sizes, own in pieces)
            with numba_threads() as most:
                run_at_pace(self.pace, kind, most, way, arguments)
        else:  # of a cache in fewer bits only few at a time come here
            rows = rows_of(places.texts, self.products)
            for (keys, values, *_), weights in zip(caches, self.weights, strict=True):
                with pytorch_at_pace(self.pace, kind), numba_threads():
                    layer_of_many(x, keys, values, places, eps, weights, rows)
        return normalised(torch.from_numpy(x), self.norm.weight, eps)[None]

    def can_fill(self, cache: Attends | None) -> TypeGuard[ContiguousKVCache | None]:
        """Whether it is no cache, or a plain one of this model's shape: kernels check no bounds."""
        if cache is None or type(cache) not in (ContiguousKVCache, QuantizedKVCache):
            return cache is None
        kept, config = cast(ContiguousKVCache, cache), self.config
        expected = (config.layers, config.kv_heads, config.head_dim)
        return (len(kept.keys), *kept.head_shape) == expected and kept.is_plain(self.dtype)

    def prefill(self, token_ids: Tensor, cache: ContiguousKVCache | None) -> Tensor:
        """T tokens through all layers. Shapes: (1, T) → (1, T, C)."""
        T, config = token_ids.shape[1], self.config
        start = 0 if cache is None else cache.length
        if cache is not None:
            cache.check_room(T)
        positions = torch.arange(start, start + T)
        turning = config.head_dim, config.rope_base, config.rope_scaling
        angles = rotary_angles(positions, *turning)  # (T, D/2)
        x = self.embedding(token_ids)[0]  # (T, C)
        with LOCK:
            self.pace.forget("prefill")  # another prompt is of another length
        for number, layer in enumerate(self.layers):
            with pytorch_at_pace(self.pace, "prefill"):
                prefill_layer(x, cast(Block, layer), number, angles, cache, self.products)
        if cache is not None:
            cache.advance(T)
        return normalised(x, self.norm.weight, config.norm_eps)[None]

    def step(self, token_ids: Tensor, cache: ContiguousKVCache) -> Tensor:
        """A few tokens through all layers. Shapes: (B, T) → (B, T, C)."""
        (B, T), config = token_ids.shape, self.config
        cache.check_room(T)
        # B·T tokens, one after the other: which text each belongs to, and its position there
        texts, places = np.repeat(np.arange(B), T), np.tile(np.arange(T) + cache.length, B)
        angles = places[:, None].astype(np.float32) * self.frequencies  # (B·T, D/2)
        cos, sin = np.cos(angles) * self.attention, np.sin(angles) * self.attention
        keys, values = cache.keys.numpy(), cache.values.numpy()  # (L, B, G, S, D)
        x = self.looked_up(token_ids)  # (B·T, C)
        layers = (
            (x, texts, places, cos, sin, k, v, config.norm_eps, *weights)
            for k, v, weights in zip(keys, values, self.weights, strict=True)
        )
        out = np.empty_like(x)
        with numba_threads() as most:
            run_at_pace(self.pace, len(x), most, compiled.decode_layer, layers)
            for row, normed in zip(x, out, strict=True):
                compiled.rms_norm(row, self.last_norm, config.norm_eps, normed)
        cache.advance(T)
        return torch.from_numpy(out).view(B, T, -1)

    def head(self, hidden: Tensor) -> Tensor:
        """A score for each token of the vocabulary. Shapes: (..., C) → (..., V)."""
        N = hidden.numel() // self.config.width
        # int8 in rounds: as floats in 16 bits the logits of a text would depend on how many come
        in_rounds = self.weights and self.matrix.dtype == np.int8
        most_at_once = FEW * MOST_ROUNDS if in_rounds else FEW
        few = N > 0 and (self.in_8_bits or most_at_once >= N)
        here = hidden.is_cpu and hidden.dtype == torch.float32
        if not few or not here or not self.weights or torch.is_grad_enabled():
            return super().head(hidden)
        x = hidden.detach().reshape(-1, self.config.width).contiguous()
        # NumPy's zeros: PyTorch would call its threads together for so many, and wait for them
        logits = np.zeros((len(x), self.config.vocabulary), np.float32)
        with numba_threads() as most:
            numba.set_num_threads(self.pace.best(most))
            if self.in_8_bits:
                ways: Any = int4_products if self.in_4_bits else w8a8
                inputs = ways.room(*x.shape)
                ways.quantize_rows(x.numpy(), *inputs)
                ways.product(self.matrix, self.scale, *inputs, logits)
                if isinstance(head := cast(nn.Module, self.output), ScreenedLinear):
                    exact = arrays(head.exact)
                    int4_products.score_again(*exact, x.numpy(), head.error, logits)
            else:
                for i in range(0, N, FEW):
                    some = x[i : i + FEW].numpy()
                    compiled.add_product(self.matrix, self.scale, some, logits[i : i + FEW])
        return torch.from_numpy(logits).view(*hidden.shape[:-1], -1)
