"""The block manager: a pool of blocks, who uses which, which are known, which is forgotten first.

A block is in use while a text's table names it: it has references. One that is free may still hold
a known beginning of texts, and is found by its hash until somebody needs the room. Free blocks are
taken in the order in which they became free, the least recently used first, and of one text the
last first: so a beginning outlives what followed it. Numbers only. Built in lesson 15.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from decodeloop.cost.checks import check_whole
from decodeloop.errors import UserError
from decodeloop.serve.blocks import LIBRARY_PARTS, ROOT, BlockParts, Table


class NoRoom(UserError):
    """Fewer blocks are free than are needed; nothing was taken."""


class BlockManager:
    """A pool of `count` blocks of `size` positions, and who uses which.

    `share=False` finds no beginnings. All of its operations do all that was asked, or nothing.

    Raises:
        UserError: `count` or `size` is less than 1.
    """

    def __init__(
        self, count: int, size: int = 16, parts: BlockParts = LIBRARY_PARTS, *, share: bool = True
    ) -> None:
        check_whole("BlockManager", count=count, size=size)
        self.size, self.parts, self.share = size, parts, share
        self.references: list[int] = []  # of each block: how many tables name it
        self.free: OrderedDict[int, None] = OrderedDict()  # in the order in which they are taken
        self.block_of: dict[bytes, int] = {}  # what is known, by its hash …
        self.hash_of: dict[int, bytes] = {}  # … and the other way round
        self.extend(count)

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return len(self.references)

    def extend(self, count: int) -> None:
        """Add so many free blocks to the pool."""
        self.free.update(dict.fromkeys(range(self.count, self.count + count)))
        self.references += [0] * count

    def match(self, table: Table) -> list[int]:
        """The blocks that hold a beginning of a text already."""
        if not self.share:
            return []
        parts = self.parts
        return parts.match_prefix(
            table.tokens, self.size, self.block_of, table.key, block_hash=parts.block_hash
        )

    def price(self, table: Table, found: Sequence[int]) -> int:
        """How many blocks are free no longer once a text is admitted: its new ones, and those of
        the `found` ones that nobody uses now."""
        new = self.parts.blocks_needed(len(table.tokens), self.size) - len(found)
        return new + sum(self.references[block] == 0 for block in found)

    def admit(self, table: Table, found: Sequence[int] = ()) -> int:
        """Give a new text the blocks found of it, and new ones for all its further tokens.

        Returns how many positions it need not compute.

        Raises:
            NoRoom: too few blocks are free.
        """
        self._check_room(self.price(table, found))
        for block in found:
            self.free.pop(block, None)
            self.references[block] += 1
        table.stored = len(found) * self.size
        table.hashes = [self.hash_of[block] for block in found]
        table.blocks = list(found)
        self._append(table, len(table.tokens))
        return table.stored

    def grow(self, table: Table, count: int) -> list[tuple[int, int]]:
        """Make room for `count` more positions, which the text alone may write to.

        Returns the copies, (from, to), that must be made in this order before anything is written.

        Raises:
            NoRoom: too few blocks are free.
        """
        start, end = table.stored, table.stored + count
        new = self.parts.blocks_needed(end, self.size) - len(table.blocks)
        shared = self.parts.copy_on_write(table.blocks, self.references, start, count, self.size)
        self._check_room(max(0, new) + len(shared))
        copies = []
        for i in shared:
            old, own = table.blocks[i], self._take()
            self._give_back([old])
            table.blocks[i] = own
            copies.append((old, own))
        self._append(table, end)
        for block in table.blocks[start // self.size :]:
            self._forget(block)  # a text that was truncated may be known by what it now overwrites
        return copies

    def complete(self, table: Table, count: int) -> None:
        """`count` more positions are stored. Blocks that are full now can be found from now on, and
        not before: nobody may read what is not yet computed."""
        table.stored += count
        for i in range(len(table.hashes), min(table.stored, len(table.tokens)) // self.size):
            parent = table.hashes[-1] if i else ROOT
            tokens = table.tokens[i * self.size : (i + 1) * self.size]
            name, block = self.parts.block_hash(parent, tokens, table.key), table.blocks[i]
            table.hashes.append(name)
            if name not in self.block_of:  # of two that were computed at once, one is found
                self.block_of[name], self.hash_of[block] = block, name

    def fork(self, table: Table) -> Table:
        """A second text with the same beginning, in the same blocks."""
        for block in table.blocks:
            self.references[block] += 1
        return Table([*table.tokens], table.key, [*table.blocks], table.stored, [*table.hashes])

    def truncate(self, table: Table, n: int) -> None:
        """Forget all positions from `n` on; its tokens are the caller's."""
        if not 0 <= n <= table.stored:
            raise UserError(f"truncate({n}): expected 0 to {table.stored}, what is stored.")
        keep = self.parts.blocks_needed(n, self.size)
        self._give_back(table.blocks[keep:])
        del table.blocks[keep:], table.hashes[n // self.size :]
        table.stored = n

    def release(self, table: Table) -> None:
        """Give all blocks of a text back; its tokens stay."""
        self.truncate(table, 0)

    def _check_room(self, needed: int) -> None:
        if needed > len(self.free):
            raise NoRoom(
                f"{needed} blocks are needed and {len(self.free)} of {self.count} are free: give "
                f"some back first."
            )

    def _append(self, table: Table, positions: int) -> None:
        """New blocks at the end of a table, so that it has room for so many positions."""
        new = self.parts.blocks_needed(positions, self.size) - len(table.blocks)
        # in the order of their numbers: attention reads neighbours in one go
        table.blocks += sorted(self._take() for _ in range(new))

    def _take(self) -> int:
        """The block that has been free the longest, for one text alone."""
        block, _ = self.free.popitem(last=False)
        self._forget(block)
        self.references[block] = 1
        return block

    def _give_back(self, blocks: Sequence[int]) -> None:
        self.free.update(dict.fromkeys(self.parts.release(blocks, self.references)))

    def _forget(self, block: int) -> None:
        """It is no longer found: it will hold something else."""
        if block in self.hash_of:
            del self.block_of[self.hash_of.pop(block)]
