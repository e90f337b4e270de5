"""The decisions about blocks of the KV cache, as functions: of numbers only, no tensor is in them.

A text's positions lie in blocks of equal size, wherever one is free; its table says where. Texts
that begin alike share blocks. Kwon et al., "Efficient Memory Management for Large Language Model
Serving with PagedAttention" (2023). Built in lesson 15.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from decodeloop.errors import UserError

ROOT = bytes(32)  # what stands before the first block


def blocks_needed(positions: int, size: int) -> int:
    """How many blocks of `size` positions hold so many positions.

    >>> [blocks_needed(positions, 4) for positions in (0, 1, 4, 5)]
    [0, 1, 1, 2]
    """
    return -(-positions // size)


def block_hash(parent: bytes, tokens: Sequence[int], key: bytes = b"") -> bytes:
    """What a full block is found by: its tokens, and by `parent` all tokens before them.

    What was computed for a block depends on everything before it, so equal tokens after another
    beginning are another block. A keyed digest, and not Python's `hash`: two blocks that are taken
    for one would show a user another's text, and nobody may be able to construct them.

    Args:
        parent: the hash of the block before, or `ROOT`.
        key: that of a tenant, at most 64 bytes: other tenants' equal blocks are other blocks.
    """
    numbers = struct.pack(f"<{len(tokens)}q", *tokens)
    return blake2b(parent + numbers, digest_size=32, key=key).digest()


def match_prefix(
    tokens: Sequence[int],
    size: int,
    known: Mapping[bytes, int],
    key: bytes = b"",
    *,
    block_hash: Callable[..., bytes] = block_hash,
) -> list[int]:
    """The blocks that hold the longest known beginning of a text, in order.

    Never the whole text: its last token must be read, for the logits of what comes next.

    Args:
        known: hash → block.
    """
    found, parent = [], ROOT
    for end in range(size, len(tokens), size):  # the last token is behind every end
        parent = block_hash(parent, tokens[end - size : end], key)
        if parent not in known:
            break
        found.append(known[parent])
    return found


def release(blocks: Sequence[int], references: MutableSequence[int]) -> list[int]:
    """Take one reference from each block of a text; which nobody uses now, its last one first.

    >>> release([4, 2, 0], references := [1, 0, 2, 0, 1]), references
    ([0, 4], [0, 0, 1, 0, 0])
    """
    free = []
    for block in reversed(blocks):
        references[block] -= 1
        if references[block] == 0:
            free.append(block)
    return free


def copy_on_write(
    blocks: Sequence[int], references: Sequence[int], start: int, count: int, size: int
) -> list[int]:
    """Which entries of a text's table must become copies of their own before it writes `count`
    positions from `start` on: those of blocks that somebody else reads, too.

    >>> copy_on_write([4, 2], [0, 0, 2, 0, 2], start=6, count=1, size=4)
    [1]
    """
    written = range(start // size, min(blocks_needed(start + count, size), len(blocks)))
    return [i for i in written if references[blocks[i]] > 1]


@dataclass(frozen=True)
class BlockParts:
    """The functions that a block manager decides with; pass your own in the place of any."""

    blocks_needed: Callable[[int, int], int] = blocks_needed
    block_hash: Callable[[bytes, Sequence[int], bytes], bytes] = block_hash
    match_prefix: Callable[..., list[int]] = match_prefix
    release: Callable[[Sequence[int], MutableSequence[int]], list[int]] = release
    copy_on_write: Callable[..., list[int]] = copy_on_write


LIBRARY_PARTS = BlockParts()


@dataclass(eq=False)
class Table:
    """What is known of one text: its tokens, and the blocks that hold the first `stored` of them.

    `hashes` are those of its full blocks. A text whose tokens are not known (`tokens` is empty)
    is never found by another.
    """

    tokens: list[int] = field(default_factory=list)
    key: bytes = b""
    blocks: list[int] = field(default_factory=list)
    stored: int = 0
    hashes: list[bytes] = field(default_factory=list)

    @property
    def left(self) -> int:
        """How many of its tokens are not yet stored: of a prompt, or the newest one."""
        return len(self.tokens) - self.stored


def tenant_key(salt: str | bytes | None) -> bytes:
    """The key of a tenant's hashes. Texts share blocks with those of the same salt, and no others:
    how fast an answer begins must not tell one tenant what another has asked.

    Raises:
        UserError: the salt is of another type.
    """
    if salt is None:
        return b""
    if not isinstance(salt, str | bytes):
        raise UserError(
            f"the salt is {salt!r}, of type {type(salt).__name__}: expected a str or bytes that "
            f"the texts of one tenant have in common, or None."
        )
    return blake2b(salt if isinstance(salt, bytes) else salt.encode("utf-8", "replace")).digest()
