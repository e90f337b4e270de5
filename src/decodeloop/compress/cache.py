"""The KV cache in 8 bits or 4: keys by channel, values by token.

Some channels of the keys are large for every token, so a scale for each token would be spent on
them; among positions of one channel numbers are alike. Values have no such channels, and those of a
token are alike. (Liu et al., "KIVI", 2024.) A channel's positions must be complete before they can
share a scale, so the last keys wait in fp32. Built in lesson 19.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from decodeloop.compress.quantization import check_bits
from decodeloop.errors import ShapeError, UserError
from decodeloop.model import ContiguousKVCache, ModelConfig
from decodeloop.model.kv_cache import row_numbers

GROUP = 64  # positions of the keys that share a scale for each channel
BITS = (8, 4)


def quantize_cache(x: Tensor, bits: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """The nearest whole numbers from 0 to 2^bits - 1, the step from one to the next, and what 0
    stands for. The numbers along `dim` share a step: positions of a channel for keys, channels of
    a token for values.

    Where they are so close together that 16 bits make the step 0, the whole numbers are 0. So they
    are where what 0 stands for, rounded up to 16 bits, lies above all of them, and the step is
    below 0.

    Shapes: x any → the same, uint8; twice the same with 1 along `dim`, fp16.

    Raises:
        UserError: the bits are not from 2 to 8.

    >>> whole, step, low = quantize_cache(torch.tensor([-1.0, 0.0, 6.5]), 4, 0)
    >>> whole.tolist(), step.tolist(), low.tolist()
    ([0, 2, 15], [0.5], [-1.0])
    """
    check_bits(bits, "quantize_cache")
    x = x.float()
    most = torch.finfo(torch.float16).max
    low = x.amin(dim, keepdim=True).clamp(-most, most).half()
    step = ((x.amax(dim, keepdim=True) - low.float()) / (2**bits - 1)).clamp(max=most).half()
    inverse = torch.where(step > 0, 1 / step.float(), 0.0)
    whole = ((x - low.float()) * inverse).round_().clamp_(0, 2**bits - 1)
    return whole.to(torch.uint8), step, low


def dequantize_cache(whole: Tensor, step: Tensor, low: Tensor) -> Tensor:
    """What the whole numbers stand for. Shapes: as `quantize_cache` gives them → x, fp32."""
    return whole.float() * step.float() + low.float()


def pack_nibbles(whole: Tensor) -> Tensor:
    """Two numbers from 0 to 15 in a byte: channel d in its lower half, d + D/2 in its upper one.

    Shapes: (…, D) uint8 → (…, D/2).

    >>> pack_nibbles(torch.tensor([1, 2, 3, 15], dtype=torch.uint8)).tolist()
    [49, 242]
    """
    if whole.shape[-1] % 2:
        raise ShapeError(f"pack_nibbles: {whole.shape[-1]} channels can't be packed in pairs.")
    low, high = whole.chunk(2, -1)
    return low | high << 4


def unpack_nibbles(packed: Tensor) -> Tensor:
    """What `pack_nibbles` was given. Shapes: (…, D/2) uint8 → (…, D)."""
    return torch.cat((packed & 15, packed >> 4), -1)


class QuantizedKVCache(ContiguousKVCache):
    """A `ContiguousKVCache` whose keys and values have 8 or 4 bits, but for the last keys.

    A key is attended to as it is until the forward after the one that completes its group.
    `truncate` makes keys of a group that is cut fp32 again, as they were rounded.

    Shapes: keys and values (L, B, G, positions, D or D/2) uint8, positions a multiple of 64;
    key_step and key_low (L, B, G, groups, D), value_step and value_low (L, B, G, positions), fp16;
    tail (L, B, G, room, D) fp32: the keys after the last whole group.

    Raises:
        UserError: the bits are neither 8 nor 4; as `ContiguousKVCache`.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        max_length: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
        *,
        bits: int,
    ) -> None:
        if bits not in BITS:
            raise UserError(f"a KV cache of {bits!r} bits: expected 8 or 4.")
        small = ContiguousKVCache(config, batch, max_length, dtype, "meta")  # checks, and shape
        L, B, G, _, D = small.keys.shape
        groups = -(-max_length // GROUP)
        room, width = groups * GROUP, D if bits == 8 else D // 2
        self.bits, self.dtype, self._max_length, self._length = bits, dtype, max_length, 0
        self._attention, self._causal_mask = small._attention, small._causal_mask
        self._window = small._window
        self.head_shape = (G, D)

        def zeros(*shape: int, kind: torch.dtype = torch.float16) -> Tensor:
            return torch.zeros(L, B, G, *shape, dtype=kind, device=device)

        self.keys = zeros(room, width, kind=torch.uint8)
        self.values = zeros(room, width, kind=torch.uint8)
        self.key_step, self.key_low = zeros(groups, D), zeros(groups, D)
        self.value_step, self.value_low = zeros(room), zeros(room)
        self.tail = zeros(2 * GROUP, D, kind=torch.float32)

    TENSORS = ("keys", "values", "key_step", "key_low", "value_step", "value_low", "tail")

    @property
    def max_length(self) -> int:
        return self._max_length

    @property
    def folded(self) -> int:
        """How many keys are in whole groups; the others are in the tail."""
        return self._length // GROUP * GROUP

    @property
    def stored_bytes(self) -> int:
        return sum(getattr(self, name).nbytes for name in self.TENSORS)

    def is_plain(self, dtype: torch.dtype) -> bool:
        """Whether it is what its class says, on the CPU, for a decoder of this type."""
        own = type(self) is not QuantizedKVCache or self._window is not None
        return not own and self.keys.is_cpu and self.dtype == dtype

    def whole_numbers(self, x: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
        """What is stored of keys or values: (…, n, D or D/2), and their steps and lows."""
        whole, step, low = quantize_cache(x, self.bits, dim)
        return whole if self.bits == 8 else pack_nibbles(whole), step.squeeze(dim), low.squeeze(dim)

    def numbers(self, stored: Tensor, step: Tensor, low: Tensor) -> Tensor:
        """What was stored, in fp32. Shapes: (…, n, D or D/2), two that broadcast → (…, n, D)."""
        whole = stored if self.bits == 8 else unpack_nibbles(stored)
        return dequantize_cache(whole, step, low)

    def keys_of(self, layer: int | slice, first: int, last: int) -> Tensor:
        """Keys of whole groups, as they were rounded. Shapes: → (B, G, last - first, D)."""
        groups = slice(first // GROUP, -(-last // GROUP))
        step, low = (x[layer, :, :, groups] for x in (self.key_step, self.key_low))
        begin = first // GROUP * GROUP
        stored = self.keys[layer, :, :, begin : begin + step.shape[-2] * GROUP]
        split = stored.unflatten(-2, (-1, GROUP))
        found = self.numbers(split, step[..., None, :], low[..., None, :]).flatten(-3, -2)
        return found[..., first - begin : last - begin, :]

    def fold(self, layer: int | slice, group: int, keys: Tensor) -> None:
        """Store whole groups of keys, from the group-th on. Shapes: keys (…, n · 64, D)."""
        split = keys.unflatten(-2, (-1, GROUP))
        whole, step, low = self.whole_numbers(split, -2)
        places = slice(group * GROUP, group * GROUP + keys.shape[-2])
        self.keys[layer, :, :, places] = whole.flatten(-3, -2)
        groups = slice(group, group + step.shape[-2])
        self.key_step[layer, :, :, groups], self.key_low[layer, :, :, groups] = step, low

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """As `ContiguousKVCache.append`: values as they were rounded, and keys of groups that were
        whole before; the others as they are.

        What is there already stays until `advance`: a forward that is interrupted changes nothing.
        """
        self.check_shapes(k, v)
        self.check_room(k.shape[2])
        n, T = self._length, k.shape[2]
        start, places = n - self.folded, slice(n, n + T)
        waiting = self.tail[layer, :, :, :start]
        keys = torch.cat((self.keys_of(layer, 0, self.folded), waiting, k.float()), 2)
        whole, step, low = self.whole_numbers(v, -1)
        self.values[layer, :, :, places] = whole
        self.value_step[layer, :, :, places], self.value_low[layer, :, :, places] = step, low
        if start + T < 2 * GROUP:
            self.tail[layer, :, :, start : start + T] = k
        else:
            joined = torch.cat((waiting, k.float()), 2)
            rest = (start + T) % GROUP
            self.fold(layer, self.folded // GROUP, joined[:, :, : start + T - rest])
            self.tail[layer, :, :, GROUP : GROUP + rest] = joined[:, :, start + T - rest :]
        step, low = (x[layer, :, :, : n + T, None] for x in (self.value_step, self.value_low))
        values = self.numbers(self.values[layer, :, :, : n + T], step, low)
        return keys.to(k.dtype), values.to(v.dtype)

    def advance(self, T: int) -> None:
        start, old = self._length - self.folded, self._length
        super().advance(T)
        if start + T < GROUP:
            return
        if start + T < 2 * GROUP:
            self.fold(slice(None), old // GROUP, self.tail[:, :, :, :GROUP])
        self.tail = self.tail.roll(-GROUP, 3)

    def truncate(self, n: int) -> None:
        tail = self.tail
        if 0 <= n < self.folded and n % GROUP:
            tail = tail.clone()
            tail[:, :, :, : n % GROUP] = self.keys_of(slice(None), n // GROUP * GROUP, n)
        super().truncate(n)
        self.tail = tail

    def grow(self, max_length: int) -> None:
        self.check_growth(max_length)
        more = -(-max_length // GROUP) - self.key_step.shape[3]
        grown = {
            name: torch.cat((x, x.new_zeros(*x.shape[:3], size * more, *x.shape[4:])), 3)
            for name, size in zip(self.TENSORS, (GROUP, GROUP, 1, 1, GROUP, GROUP, 0), strict=True)
            for x in [getattr(self, name)]
        }
        for name, x in grown.items():  # at the end: nothing is lost if it is interrupted
            setattr(self, name, x)
        self._max_length = max_length

    def select(self, rows: Tensor | Sequence[int]) -> None:
        index = row_numbers(rows, self.batch).to(self.keys.device)
        chosen = {name: getattr(self, name).index_select(1, index) for name in self.TENSORS}
        for name, x in chosen.items():
            setattr(self, name, x)
