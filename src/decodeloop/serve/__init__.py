"""Many texts at once: what a step costs, who is computed next, where the cache of each one lies."""

from decodeloop.serve.admission import Refused, admission
from decodeloop.serve.answer import Answer
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
from decodeloop.serve.engine import Engine
from decodeloop.serve.events import event, hold_back, on_disconnect, sse_events
from decodeloop.serve.objectives import kept, slo_capacity
from decodeloop.serve.paged_attention import attend_paged
from decodeloop.serve.paged_cache import PagedKVCache
from decodeloop.serve.plan import Piece, Plan, Request
from decodeloop.serve.policy import SchedulerParts, admit, chunk, preempt, take_tokens
from decodeloop.serve.scheduler import Scheduler
from decodeloop.serve.service import Service
from decodeloop.serve.simulation import (
    Job,
    Moment,
    Simulation,
    poisson_jobs,
    simulate,
    simulate_static,
)
from decodeloop.serve.step import BlockMemory, Span, Step
from decodeloop.serve.step_table import StepTable, fit_step_table
from decodeloop.serve.taking import Event

__all__ = [
    "Answer",
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
    "Refused",
    "Request",
    "Scheduler",
    "SchedulerParts",
    "Service",
    "Simulation",
    "Span",
    "Step",
    "StepCost",
    "StepTable",
    "StepTime",
    "Table",
    "admission",
    "admit",
    "attend_paged",
    "block_hash",
    "blocks_needed",
    "break_even_batch",
    "chunk",
    "copy_on_write",
    "event",
    "fit_step_cost",
    "fit_step_table",
    "generate_batch",
    "hold_back",
    "kept",
    "match_prefix",
    "on_disconnect",
    "pad_waste",
    "poisson_jobs",
    "preempt",
    "release",
    "simulate",
    "simulate_static",
    "slo_capacity",
    "sse_events",
    "static_batch_time",
    "static_token_times",
    "take_tokens",
    "tenant_key",
]
