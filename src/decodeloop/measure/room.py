"""Whether a forward pass fits: into what the model was made for, and into this machine's memory."""

from __future__ import annotations

from decodeloop.cost.memory import activation_bytes, kv_cache_bytes, weight_bytes
from decodeloop.devices import total_memory
from decodeloop.errors import UserError
from decodeloop.model import ModelConfig

__all__ = ["check_room", "total_memory"]

FP32 = 4  # bytes


def check_room(
    config: ModelConfig, batch: int, T: int, S: int, memory: float | None, *, table: bool = False
) -> None:
    """Raise a `UserError` unless T new of S positions, in each of `batch` rows, can be computed in
    fp32 by the plain decoder, in so many bytes of memory (None: nobody knows how many); with the
    whole `table` of scores, or in tiles."""
    if config.context < S:
        raise UserError(
            f"{S:,} positions are asked for, and the model was made for {config.context:,}: ask "
            f"for at most so many."
        )
    needed = weight_bytes(config, FP32) + kv_cache_bytes(config, batch, S, FP32)
    needed += activation_bytes(config, batch, T, S, FP32, table=table)
    if memory is not None and needed > memory:
        raise UserError(
            f"{batch:,} × {T:,} new tokens at {S:,} positions take {needed / 1e9:,.1f} GB, and "
            f"this machine has {memory / 1e9:,.1f} GB: ask for fewer."
        )
