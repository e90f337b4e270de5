"""What this machine reaches: bytes per second, FLOP per second, and what a forward pass needs.

The bandwidths are those of STREAM (McCalpin, 1995): each counts the bytes that the program names,
not those that the hardware moves besides. A forward pass is predicted from two measurements that
know nothing of it: its matrices alone, and a narrow model of the same depth, which has the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from decodeloop.cost.architecture import linear_shapes
from decodeloop.cost.flops import forward_bytes, forward_flops
from decodeloop.decode import prefill
from decodeloop.errors import UserError
from decodeloop.measure.timing import OnProgress, median_seconds, silent
from decodeloop.model import ContiguousKVCache, Decoder, ModelConfig
from decodeloop.model.block import Linear

Job = Callable[[], object]
LARGE = 256 * 2**20  # bytes: more than most caches hold, so that they come from memory
SIZES = (256, 512, 1024, 2048)
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
NARROW = 8  # the width of a model whose matrices cost nothing


@dataclass(frozen=True)
class Machine:
    """What one machine reached in one run."""

    device: str  # its kind
    threads: int
    read: float  # bytes/s: a sum over a large tensor
    copy: float  # bytes/s, read and written
    triad: float  # bytes/s: a + s · b, two read and one written
    linear: float  # bytes/s of the model's own matrices, multiplied by one vector
    matmul: dict[str, dict[int, float]]  # type → size of the square matrices → FLOP/s

    @property
    def flops(self) -> dict[str, float]:
        """The best FLOP/s by type."""
        return {kind: max(by_size.values()) for kind, by_size in self.matmul.items()}

    @property
    def bandwidth(self) -> float:
        """Bytes per second that the memory delivers at best: those of a pure read."""
        return self.read


@dataclass(frozen=True)
class ForwardTime:
    """One forward pass: its time as predicted from parts, and as measured in the same run."""

    batch: int
    T: int  # new positions in each row
    S: int  # key positions, the new ones included
    matrices: float  # seconds: the model's matrices alone
    rest: float  # seconds: all else, by a narrow model of the same depth, heads and cache
    measured: float  # seconds

    @property
    def predicted(self) -> float:
        return self.matrices + self.rest


# bandwidth and matrix products


def stream_jobs(device: torch.device, size: int = LARGE) -> dict[str, tuple[Job, float]]:
    """Read, copy and triad over tensors of `size` bytes: name → (job, the bytes that it names)."""
    a, b, c = (torch.full((size // 4,), value, device=device) for value in (1.0, 2.0, 0.0))
    moved = float(a.numel() * 4)
    return {
        "read": (lambda: a.sum(), moved),
        "copy": (lambda: c.copy_(a), 2 * moved),
        "triad": (lambda: torch.add(a, b, alpha=3.0, out=c), 3 * moved),
    }


def matmul_job(size: int, dtype: torch.dtype, device: torch.device) -> tuple[Job, float]:
    """The product of two square matrices: (job, its FLOPs). Small ones are repeated."""
    x = torch.full((size, size), 0.5, dtype=dtype, device=device)
    y, out = x.clone(), torch.empty_like(x)
    times = max(1, 2**27 // size**3)

    def job() -> None:
        for _ in range(times):
            torch.mm(x, y, out=out)

    return job, 2.0 * size**3 * times


# the parts of a forward pass


def matrices_job(
    config: ModelConfig,
    rows: int,
    head_rows: int,
    dtype: torch.dtype,
    device: torch.device,
    matrices: Matrices | None = None,
) -> Job:
    """Multiply `rows` vectors by every matrix of the layers, and `head_rows` by the head's.

    Each matrix has memory of its own, so that it comes from there, as in the model; how they are
    multiplied is the decoder's own `Linear`.
    """
    stack = matrices or Matrices(config, dtype, device)
    inputs: dict[tuple[int, int], Tensor] = {}
    for count, linear in [(rows, x) for x in stack.layers] + [(head_rows, stack.head)]:
        shape = (count, linear.in_features)
        inputs.setdefault(shape, torch.full(shape, 0.01, dtype=dtype, device=device))

    def job() -> None:
        for linear in stack.layers:
            linear(inputs[rows, linear.in_features])
        stack.head(inputs[head_rows, stack.head.in_features])

    return job


class Matrices:
    """As many bytes of weights as a model has, in its shapes; their values play no part."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype, device: torch.device) -> None:
        def matrix(rows: int, columns: int) -> Linear:
            with torch.device("meta"):
                linear = Linear(columns, rows)
            weight = torch.full((rows, columns), 0.01, dtype=dtype, device=device)
            linear.weight = nn.Parameter(weight, requires_grad=False)
            return linear

        shapes = linear_shapes(config).values()
        self.layers = [matrix(*shape) for _ in range(config.layers) for shape in shapes]
        self.head = matrix(config.vocabulary, config.width)

    @property
    def bytes(self) -> int:
        return sum(x.weight.nbytes for x in [*self.layers, self.head])


def narrow(config: ModelConfig) -> ModelConfig:
    """The same depth, heads and cache, and next to no width: all of a forward but its matrices."""
    return replace(config, width=NARROW, feed_forward=NARROW, vocabulary=NARROW, tied=True)


def forward_job(model: Decoder, batch: int, T: int, S: int) -> Job:
    """A forward pass of `T` new positions after S − T, again and again, to be timed.

    As in a generation, the head runs on the last position alone.

    Raises:
        UserError: not 1 ≤ T ≤ S, or no row.
    """
    if batch < 1 or not 1 <= T <= S:
        raise UserError(
            f"a forward pass of batch {batch}, T = {T} new positions and S = {S} in all: expected "
            f"at least one row, and 1 ≤ T ≤ S."
        )
    cache = ContiguousKVCache(model.config, batch, S, model.dtype, model.device)
    cache.keys.fill_(0.01)  # memory that was never written is no memory yet
    cache.values.fill_(0.01)
    cache.advance(S - T)
    token_ids = torch.ones(batch, T, dtype=torch.long, device=model.device)

    @torch.inference_mode()
    def job() -> None:
        prefill(model, token_ids, cache)
        cache.truncate(S - T)

    return job


def forward_times(
    model: Decoder,
    cases: Sequence[tuple[int, int, int]],
    repeats: int = 5,
    progress: OnProgress = silent,
) -> list[ForwardTime]:
    """Predict and measure forward passes (batch, T, S) of a model, all in turn, by medians.

    The prediction uses nothing of the measured pass: matrices of the model's shapes, multiplied
    alone, and a narrow model.
    """
    config, dtype, device = model.config, model.dtype, model.device
    thin = Decoder(narrow(config)).to(device, dtype)
    stack = Matrices(config, dtype, device)
    jobs: list[Job] = []
    for batch, T, S in cases:
        matrices = matrices_job(config, batch * T, batch, dtype, device, stack)
        jobs += [matrices, forward_job(thin, batch, T, S), forward_job(model, batch, T, S)]
    with torch.inference_mode():
        seconds = median_seconds(jobs, repeats, device, progress)
    return [
        ForwardTime(*case, *seconds[3 * number : 3 * number + 3])
        for number, case in enumerate(cases)
    ]


def linear_bandwidth(
    config: ModelConfig,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
    repeats: int = 3,
) -> float:
    """Bytes per second at which the model's matrices are read when one vector is multiplied."""
    where = device or torch.device("cpu")
    stack = Matrices(config, dtype, where)
    job = matrices_job(config, 1, 1, dtype, where, stack)
    with torch.inference_mode():
        return stack.bytes / median_seconds([job], repeats, where)[0]


def measure_machine(
    config: ModelConfig,
    device: torch.device | None = None,
    sizes: Sequence[int] = SIZES,
    repeats: int = 5,
    progress: OnProgress = silent,
) -> Machine:
    """Measure a machine, in turns: bandwidths, matrix products by size and type, and what the
    matrices of a model reach with one vector, in fp32.

    Types that a processor only imitates are measured as they are; one that takes a hundred times
    as long as fp32 at the smallest size is left out.
    """
    where = device or torch.device("cpu")
    stack = Matrices(config, torch.float32, where)
    streams = stream_jobs(where)
    with torch.inference_mode():
        first = [matmul_job(min(sizes), kind, where) for kind in TYPES.values()]
        quick = median_seconds([job for job, _ in first], 1, where)
        kinds = {k: v for (k, v), s in zip(TYPES.items(), quick, strict=True) if s < 100 * quick[0]}
        products = {(k, n): matmul_job(n, kinds[k], where) for k in kinds for n in sizes}
        jobs = [job for job, _ in streams.values()]
        jobs += [matrices_job(config, 1, 1, torch.float32, where, stack)]
        jobs += [job for job, _ in products.values()]
        seconds = median_seconds(jobs, repeats, where, progress)
    rates = {
        name: moved / s for (name, (_, moved)), s in zip(streams.items(), seconds[:3], strict=True)
    }
    matmul: dict[str, dict[int, float]] = {kind: {} for kind in kinds}
    for ((kind, size), (_, flops)), s in zip(products.items(), seconds[4:], strict=True):
        matmul[kind][size] = flops / s
    linear = stack.bytes / seconds[3]
    return Machine(where.type, torch.get_num_threads(), linear=linear, matmul=matmul, **rates)


def achieved(config: ModelConfig, time: ForwardTime, bytes_per_number: float) -> dict[str, float]:
    """FLOP/s of the matrix products, and bytes/s moved at least, of a measured forward pass."""
    sizes: dict[str, Any] = {
        "weight_bytes_per_number": bytes_per_number,
        "cache_bytes_per_number": bytes_per_number,
    }
    flops = forward_flops(config, time.batch, time.T, time.S)
    moved = forward_bytes(config, time.batch, time.T, time.S, **sizes)
    return {
        "flops_per_s": sum(flops.values()) / time.measured,
        "bytes_per_s": sum(moved.values()) / time.measured,
    }
