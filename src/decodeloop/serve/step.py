"""One step of many texts: all their new tokens in one row, and the memory that they attend to.

Kwon et al. (2023), section 4; that tokens of all texts share a row, so that nothing is padded, is
the "selective batching" of Yu et al., "Orca" (2022). Built in lesson 15.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from decodeloop.cost.checks import check_whole
from decodeloop.errors import UserError
from decodeloop.model import BlockTables, ModelConfig, window_mask
from decodeloop.serve.blocks import blocks_needed
from decodeloop.serve.paged_attention import attend_paged

AttendPaged = Callable[..., Tensor]


class BlockMemory:
    """The keys and values of a pool of `count` blocks of `size` positions, and nothing else.

    Shapes: keys and values (L, count, G, size, D).

    Raises:
        UserError: `count` or `size` is less than 1.
    """

    def __init__(
        self,
        config: ModelConfig,
        count: int,
        size: int = 16,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> None:
        check_whole("BlockMemory", count=count, size=size)
        shape = (config.layers, count, config.kv_heads, size, config.head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.window = config.window

    def copy(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Copy blocks, (from, to), one after another: one may be copied to and then from."""
        for old, new in pairs:
            self.keys[:, new] = self.keys[:, old]
            self.values[:, new] = self.values[:, old]

    def extend(self, count: int) -> None:
        """Add so many blocks; all that is stored is moved."""
        L, _, *block = self.keys.shape
        more = self.keys.new_zeros((L, count, *block))
        self.keys, self.values = torch.cat((self.keys, more), 1), torch.cat((self.values, more), 1)


@dataclass(frozen=True)
class Span:
    """One text's part of a step: `count` new positions from `start` on, in these blocks."""

    blocks: Sequence[int]
    start: int
    count: int


class Step:
    """What the tokens of one step attend to, of all its texts: an `Attends` that is used once.

    They stand in one row, text after text: nothing is padded. Each is written into its block, and
    each text attends to itself. The head is then run on `last`, the last token of each text.

    >>> from decodeloop.model import TINY, Decoder
    >>> step = Step(BlockMemory(TINY, 4, size=2), [Span([2, 0], 0, 3), Span([3], 1, 1)])
    >>> step.positions(4).tolist(), step.last.tolist()
    ([0, 1, 2, 1], [2, 3])
    >>> Decoder(TINY).hidden(torch.tensor([[5, 7, 9, 8]]), step).shape
    torch.Size([1, 4, 48])

    Raises:
        UserError: it is asked about another number of tokens than it has, or given a mask.
    """

    def __init__(
        self,
        memory: BlockMemory,
        spans: Sequence[Span],
        *,
        attend_paged: AttendPaged = attend_paged,
    ) -> None:
        self.spans, self._window = spans, memory.window
        self._attend_paged = attend_paged
        size = memory.keys.shape[3]
        self._ends = list(accumulate(span.count for span in spans))
        used = [span.blocks[: blocks_needed(span.start + span.count, size)] for span in spans]
        most = max(map(len, used))
        # text, position, block and offset in it, of each token
        tokens = [
            (text, position, used[text][position // size], position % size)
            for text, span in enumerate(spans)
            for position in range(span.start, span.start + span.count)
        ]

        def on_device(rows: Iterable[object]) -> Tensor:
            return torch.tensor(list(rows), device=memory.keys.device)

        texts, positions, self._blocks, self._offsets = map(on_device, zip(*tokens, strict=True))
        tables = on_device([*blocks, *[0] * (most - len(blocks))] for blocks in used)
        self.last = on_device(end - 1 for end in self._ends)
        self.tables = BlockTables(memory.keys, memory.values, texts, positions, tables)

    def positions(self, T: int) -> Tensor:
        """Where they stand. Shapes: → (T,)."""
        self._check(T)
        return self.tables.positions

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Store k and v in their blocks, then let each text attend to itself.

        Shapes: q (1, H, N, D), k and v (1, G, N, D) → (1, H, N, D).
        """
        if mask is not None:
            raise UserError("a step was given a mask: expected none, each text sees only itself.")
        self._check(q.shape[2])
        self.store(layer, k, v)
        keys, values = self.tables.keys[layer], self.tables.values[layer]
        out = torch.empty_like(q)
        for span, end in zip(self.spans, self._ends, strict=True):
            own = slice(end - span.count, end)
            masks: tuple[Tensor, ...] = ()
            if self._window is not None:
                S = span.start + span.count
                masks = (window_mask(span.count, S, self._window, device=q.device),)
            out[0, :, own] = self._attend_paged(
                q[0, :, own], keys, values, span.blocks, span.start, *masks
            )
        return out

    def store(self, layer: int, k: Tensor, v: Tensor) -> None:
        """Write keys and values where they belong. Shapes: k and v (1, G, N, D)."""
        self.tables.keys[layer, self._blocks, :, self._offsets] = k[0].transpose(0, 1)  # (N, G, D)
        self.tables.values[layer, self._blocks, :, self._offsets] = v[0].transpose(0, 1)

    def advance(self, T: int) -> None:
        """The whole step has been stored; what keeps the tables must now count it."""
        self._check(T)

    def is_plain(self, dtype: torch.dtype) -> bool:
        """Whether it holds numbers of this type on the CPU, and attends as the library does."""
        keys, own = self.tables.keys, self._attend_paged is not attend_paged
        return not own and self._window is None and keys.is_cpu and keys.dtype == dtype

    def _check(self, T: int) -> None:
        if self._ends[-1] != T:
            raise UserError(
                f"a step of {self._ends[-1]} tokens was asked about {T}: expected one row of all "
                f"of them, (1, {self._ends[-1]})."
            )
