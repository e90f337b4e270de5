"""Many texts at once: what a step costs, who is computed next, where the cache of each one lies."""

from decodeloop.serve.batch import generate_batch
from decodeloop.serve.batching import (
    StepCost,
    StepTime,
    break_even_batch,
    fit_step_cost,
    pad_waste,
    static_batch_time,
    static_token_times,
)
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
from decodeloop.serve.simulation import (
    Job,
    Moment,
    Simulation,
    poisson_jobs,
    simulate,
    simulate_static,
)
from decodeloop.serve.step import BlockMemory, Span, Step

__all__ = [
    "BlockManager",
    "BlockMemory",
    "BlockParts",
    "Engine",
    "Event",
    "Job",
    "Moment",
    "NoRoom",
    "PagedKVCache",
    "Piece",
    "Plan",
    "Request",
    "Scheduler",
    "SchedulerParts",
    "Simulation",
    "Span",
    "Step",
    "StepCost",
    "StepTime",
    "Table",
    "admit",
    "attend_paged",
    "block_hash",
    "blocks_needed",
    "break_even_batch",
    "chunk",
    "copy_on_write",
    "fit_step_cost",
    "generate_batch",
    "match_prefix",
    "pad_waste",
    "poisson_jobs",
    "preempt",
    "release",
    "simulate",
    "simulate_static",
    "static_batch_time",
    "static_token_times",
    "take_tokens",
    "tenant_key",
]
