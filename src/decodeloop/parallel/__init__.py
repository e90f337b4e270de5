"""Over several processes: which part each holds, what they say to each other, what it brings."""

from decodeloop.parallel.experts import expert_parallel, own_experts
from decodeloop.parallel.group import Group, LostPeer
from decodeloop.parallel.handover import HandoverRank, pack_blocks, unpack_blocks
from decodeloop.parallel.ring import Wire, ring_all_reduce
from decodeloop.parallel.sharding import (
    local_heads,
    possible_ranks,
    shard_config,
    shard_decoder,
    sharded_block,
    split_columns,
    split_rows,
)
from decodeloop.parallel.simulated import on_threads
from decodeloop.parallel.split_model import Rank, SplitModel
from decodeloop.parallel.traffic import (
    Link,
    Traffic,
    all_reduce_bytes,
    all_reduces,
    break_even_latency,
    split_seconds,
)
from decodeloop.parallel.workers import WorkerError, Workers

__all__ = [
    "Group",
    "HandoverRank",
    "Link",
    "LostPeer",
    "Rank",
    "SplitModel",
    "Traffic",
    "Wire",
    "WorkerError",
    "Workers",
    "all_reduce_bytes",
    "all_reduces",
    "break_even_latency",
    "expert_parallel",
    "local_heads",
    "on_threads",
    "own_experts",
    "pack_blocks",
    "possible_ranks",
    "ring_all_reduce",
    "shard_config",
    "shard_decoder",
    "sharded_block",
    "split_columns",
    "split_rows",
    "split_seconds",
    "unpack_blocks",
]
