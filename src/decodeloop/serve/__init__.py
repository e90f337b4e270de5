"""Many texts at once: what a step costs, who is computed next, where the cache of each one lies."""

from decodeloop.serve.batch import generate_batch
from decodeloop.serve.block_manager import BlockManager, NoRoom
from decodeloop.serve.blocks import (
    BlockParts,
    Table,
    block_hash,
    blocks_needed,
    copy_on_write,
    match_prefix,
    release,
    tenant_key,
)
from decodeloop.serve.engine import Engine, Event
from decodeloop.serve.paged_attention import attend_paged
from decodeloop.serve.paged_cache import PagedKVCache
from decodeloop.serve.policy import SchedulerParts, admit, chunk, preempt, take_tokens
from decodeloop.serve.scheduler import Piece, Plan, Request, Scheduler
from decodeloop.serve.step import BlockMemory, Span, Step

__all__ = [
    "BlockManager",
    "BlockMemory",
    "BlockParts",
    "Engine",
    "Event",
    "NoRoom",
    "PagedKVCache",
    "Piece",
    "Plan",
    "Request",
    "Scheduler",
    "SchedulerParts",
    "Span",
    "Step",
    "Table",
    "admit",
    "attend_paged",
    "block_hash",
    "blocks_needed",
    "chunk",
    "copy_on_write",
    "generate_batch",
    "match_prefix",
    "preempt",
    "release",
    "take_tokens",
    "tenant_key",
]
