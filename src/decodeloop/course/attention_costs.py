"""What ways to attend cost by the length of the text: time, and the memory held (lesson 01)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from decodeloop.measure import median_seconds, peak_bytes
from decodeloop.model import attention, causal_mask

Attend = Callable[[Tensor, Tensor, Tensor, Tensor], object]  # of q, k, v and a mask
PATIENCE = 0.5  # seconds for the shortest text: whoever takes more loops in Python


@dataclass(frozen=True)
class AttentionCosts:
    """Of one layer, by the name of the way; for each length one number."""

    seconds: dict[str, list[float]]
    peak_bytes: dict[str, list[int]]  # held at once by PyTorch on the CPU, exactly
    table_bytes: list[int]  # of all scores, once: 4 · H · T²


def attention_costs(
    ways: Mapping[str, Attend],
    lengths: Sequence[int],
    heads: int,
    head_dim: int,
    device: torch.device,
) -> AttentionCosts:
    """Time ways to attend causally in turn, on `device`, and count what they hold, on the CPU.

    A way that takes too long for the shortest text gives way to the library's, and that is said.
    """
    inputs = {T: causal_inputs(T, heads, head_dim) for T in lengths}
    ways = {name: patient(name, way, inputs[min(lengths)]) for name, way in ways.items()}
    there = {T: [x.to(device) for x in tensors] for T, tensors in inputs.items()}
    calls = [partial(way, *there[T]) for way in ways.values() for T in lengths]
    seconds = iter(median_seconds(calls, repeats=5, device=device))
    return AttentionCosts(
        {name: [next(seconds) for _ in lengths] for name in ways},
        {
            name: [peak_bytes(partial(way, *inputs[T])) for T in lengths]
            for name, way in ways.items()
        },
        [4 * heads * T * T for T in lengths],
    )


def causal_inputs(T: int, heads: int, head_dim: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(T)
    drawn = [torch.randn(1, heads, T, head_dim, generator=generator) for _ in range(3)]
    return [*drawn, causal_mask(T)]


def patient(name: str, way: Attend, inputs: Sequence[Tensor]) -> Attend:
    """The way, or the library's attention where nobody would wait for it."""
    if median_seconds([partial(way, *inputs)], repeats=1)[0] <= PATIENCE:
        return way
    print(f"{name}: too slow to be measured (does it loop in Python?). The library's instead.\n")
    return attention


__all__ = ["AttentionCosts", "attention_costs"]
