"""What a test of this room is made of; the museum puts a faulty part in the place of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from decodeloop.serve import block_manager, blocks
from decodeloop.serve.blocks import BlockParts


@dataclass(frozen=True)
class Kit:
    BlockManager: Callable[..., Any] = block_manager.BlockManager
    block_parts: BlockParts = blocks.LIBRARY_PARTS

    def manager(self, count, size, **options):
        return self.BlockManager(count, size, self.block_parts, **options)
