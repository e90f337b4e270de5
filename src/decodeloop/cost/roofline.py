"""The roofline: two times, one to compute and one to move bytes, and the longer of them counts.

Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance Model for Multicore
Architectures" (2009), Communications of the ACM 52(4). Built in lesson 12. Everything here is
arithmetic: a lower bound of a time, for a machine that overlaps computing and moving perfectly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from decodeloop.cost.architecture import BYTES
from decodeloop.cost.flops import forward_bytes, forward_flops
from decodeloop.errors import UserError
from decodeloop.model import ModelConfig
from decodeloop.model.config import check_dense


@dataclass(frozen=True)
class Phase:
    """One piece of work on the roofline."""

    seconds: float  # the longer of the two times
    bound: Literal["compute", "memory"]  # which of them it is
    intensity: float  # FLOPs for each byte moved


@dataclass(frozen=True)
class Prediction:
    """The two phases of inference on one machine, at the best that the roofline allows."""

    ttft_s: float  # to the first token: the prefill
    itl_s: float  # from token to token: one decode step
    prefill: Phase
    decode: Phase
    batch: int = 1

    @property
    def tokens_per_second(self) -> float:
        """New tokens per second of all rows together, while decoding."""
        return self.batch / self.itl_s


class Rated(Protocol):
    """What the roofline asks of a machine; an `Accelerator` has it."""

    @property
    def flops(self) -> Mapping[str, float]:
        """Dense peak FLOP/s by type."""

    @property
    def bandwidth(self) -> float:
        """Bytes per second between memory and the part that computes."""


def positive(name: str, value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise UserError(
            f"the roofline: {name} is {value}: expected a positive number; give FLOP/s, bytes/s "
            f"and counts in whole units, not in tera or giga."
        )


def ridge(peak_flops: float, bandwidth: float) -> float:
    """The FLOPs per byte from which on a machine is bound by computing.

    Units: FLOP/s, bytes/s → FLOPs per byte.

    >>> ridge(312e12, 1.555e12) > 200  # an A100 in bf16
    True
    """
    positive("the peak", peak_flops)
    positive("the bandwidth", bandwidth)
    return peak_flops / bandwidth


def attainable(intensity: float, peak_flops: float, bandwidth: float) -> float:
    """The height of the roof: the most FLOP/s that work of this intensity can reach.

    Units: FLOPs per byte, FLOP/s, bytes/s → FLOP/s.

    >>> attainable(0.5, 100.0, 20.0), attainable(50.0, 100.0, 20.0)
    (10.0, 100.0)
    """
    positive("the intensity", intensity)
    positive("the peak", peak_flops)
    positive("the bandwidth", bandwidth)
    return min(peak_flops, intensity * bandwidth)


def phase(flops: float, bytes_moved: float, peak_flops: float, bandwidth: float) -> Phase:
    """How long some work takes at best, and what it waits for.

    Computing and moving overlap, so the longer time counts. Where both are equal, at the ridge,
    it is called bound by computing.

    Units: FLOPs, bytes, FLOP/s, bytes/s → seconds and FLOPs per byte.

    >>> phase(flops=200.0, bytes_moved=100.0, peak_flops=100.0, bandwidth=20.0)
    Phase(seconds=5.0, bound='memory', intensity=2.0)
    """
    positive("the number of FLOPs", flops)
    positive("the number of bytes", bytes_moved)
    positive("the peak", peak_flops)
    positive("the bandwidth", bandwidth)
    compute, memory = flops / peak_flops, bytes_moved / bandwidth
    return Phase(
        seconds=max(compute, memory),
        bound="compute" if compute >= memory else "memory",
        intensity=flops / bytes_moved,
    )


def arithmetic_intensity(
    config: ModelConfig, batch: int, T: int, S: int, bytes_per_number: float
) -> float:
    """FLOPs per byte of one forward: T new positions of each row, S with those before them.

    Every weight is read once, however many rows there are. The head runs on one position a row.
    `bytes_per_number` is that of weights and cache.

    >>> from decodeloop.model import SMOLLM2_135M
    >>> round(arithmetic_intensity(SMOLLM2_135M, 1, 1, 1, 4), 2)  # a decode step in fp32
    0.5
    """
    flops = forward_flops(config, batch, T, S)
    moved = forward_bytes(
        config,
        batch,
        T,
        S,
        weight_bytes_per_number=bytes_per_number,
        cache_bytes_per_number=bytes_per_number,
    )
    return sum(flops.values()) / sum(moved.values())


def shared_and_own_bytes(
    config: ModelConfig, length: int, bytes_per_number: float
) -> tuple[float, float]:
    """The bytes of a decode step that all rows share, and those that each row brings."""
    moved = forward_bytes(
        config,
        1,
        1,
        length,
        weight_bytes_per_number=bytes_per_number,
        cache_bytes_per_number=bytes_per_number,
    )
    shared = moved["weights"] + moved["head"]
    return shared, sum(moved.values()) - shared


def decode_surplus(
    config: ModelConfig, length: int, machine_ridge: float, bytes_per_number: float
) -> float:
    """FLOPs of one row's decode step beyond those that its own bytes leave time for."""
    _, own = shared_and_own_bytes(config, length, bytes_per_number)
    return sum(forward_flops(config, 1, 1, length).values()) - machine_ridge * own


def compute_bound_batch(
    config: ModelConfig,
    length: int,
    peak_flops: float,
    bandwidth: float,
    bytes_per_number: float,
) -> int | None:
    """The smallest batch whose decode step is bound by computing; None if there is none.

    Each row adds FLOPs, and the bytes of its own cache; the weights are read once for all rows.
    With f FLOPs and c bytes a row, W bytes of weights, and the ridge r, the batch B must reach
    B·f ≥ r·(W + B·c). If f ≤ r·c, none does.

    Args:
        length: positions that the step attends to, the new one included.
        bytes_per_number: of weights and cache.
    """
    check_dense(config, "compute_bound_batch")
    r = ridge(peak_flops, bandwidth)
    shared, _ = shared_and_own_bytes(config, length, bytes_per_number)
    surplus = decode_surplus(config, length, r, bytes_per_number)
    return math.ceil(r * shared / surplus) if surplus > 0 else None


def compute_bound_length(
    config: ModelConfig, peak_flops: float, bandwidth: float, bytes_per_number: float
) -> int | None:
    """The longest context at which some batch is still bound by computing; None: no limit.

    Both the FLOPs and the cache's bytes of a row grow linearly with the context, so what is left
    of the FLOPs falls on a straight line; 0 if there is nothing left even at one position.
    """
    r = ridge(peak_flops, bandwidth)
    first, second = (decode_surplus(config, S, r, bytes_per_number) for S in (1, 2))
    if second >= first:
        return None
    return max(0, math.ceil(first / (first - second)))


def predict_phases(
    config: ModelConfig,
    accelerator: Rated,
    *,
    batch: int = 1,
    prompt: int,
    context: int | None = None,
    dtype: str = "bf16",
    weight_bytes_per_number: float | None = None,
    cache_bytes_per_number: float | None = None,
) -> Prediction:
    """Time to first token and from token to token on one machine: the roofline's lower bounds.

    Whether the model fits into its memory is another question: ask `memory`.

    Args:
        prompt: tokens of each row's prompt.
        context: positions that the decode step attends to, the new one included; the first after
            the prompt if not given.
        dtype: of the products, and of weights and cache where nothing else is said.
        weight_bytes_per_number: weights stored smaller than they are computed with, as int8.
        cache_bytes_per_number: the same for keys and values.

    Raises:
        UserError: the machine's table has no peak for this type, or a size is not positive.
    """
    if dtype not in accelerator.flops:
        known = ", ".join(accelerator.flops) or "none"
        raise UserError(
            f"predict_phases: {getattr(accelerator, 'name', 'this machine')} has no peak for "
            f"{dtype!r}: expected one of {known}; pass another dtype."
        )
    size = BYTES["fp32"] if dtype == "tf32" else BYTES[dtype]
    weights = size if weight_bytes_per_number is None else weight_bytes_per_number
    cache = size if cache_bytes_per_number is None else cache_bytes_per_number

    def on_the_roof(T: int, S: int) -> Phase:
        moved = forward_bytes(
            config, batch, T, S, weight_bytes_per_number=weights, cache_bytes_per_number=cache
        )
        return phase(
            sum(forward_flops(config, batch, T, S).values()),
            sum(moved.values()),
            accelerator.flops[dtype],
            accelerator.bandwidth,
        )

    prefill = on_the_roof(prompt, prompt)
    decode = on_the_roof(1, prompt + 1 if context is None else context)
    return Prediction(prefill.seconds, decode.seconds, prefill, decode, batch)
