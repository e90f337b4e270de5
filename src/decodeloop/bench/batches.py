"""Contenders with several texts at once: tokens per second by batch and context, in turn."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from decodeloop.bar import Progress, silent
from decodeloop.bench.contenders import CONTENDERS, Contender
from decodeloop.bench.runs import CACHE_BYTES, peak_jobs
from decodeloop.bench.spread import Spread, rate_spread, spread
from decodeloop.bench.workers import Worker, started
from decodeloop.cost.flops import decode_bytes, decode_flops
from decodeloop.errors import UserError
from decodeloop.measure.room import check_room, total_memory
from decodeloop.measure.timing import median_seconds
from decodeloop.model import ModelConfig


@dataclass(frozen=True)
class BatchSettings:
    """What is run, alike for all: each batch at each context.

    Raises:
        UserError: a number is too small, or there is none.
    """

    model: str = "smollm2-135m"
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    contexts: tuple[int, ...] = (64,)  # tokens of the prompt, in the cache when decoding begins
    new_tokens: int = 16
    runs: int = 5
    threads: int = 0  # 0: as many as PyTorch takes

    def __post_init__(self) -> None:
        for option, values, smallest in (
            ("--batch", self.batches, 1),
            ("--context", self.contexts, 1),
            ("--new-tokens", (self.new_tokens,), 3),
            ("--runs", (self.runs,), 1),
            ("--threads", (self.threads,), 0),
        ):
            if not values or min(values) < smallest:
                shown = ",".join(map(str, values))
                raise UserError(f"{option} is {shown!r}: expected at least {smallest}.")
        cores = os.cpu_count() or 1
        if self.threads > cores:
            raise UserError(f"--threads is {self.threads}: this machine has {cores}.")

    @property
    def thread_count(self) -> int:
        return self.threads or torch.get_num_threads()

    @property
    def cases(self) -> list[tuple[int, int]]:
        """Contexts and batches, the smallest first: memory that was used once may stay."""
        return [(S, B) for S in sorted(set(self.contexts)) for B in sorted(set(self.batches))]


@dataclass(frozen=True)
class BatchRow:
    """What one contender reached at one batch and context."""

    path: str
    batch: int
    context: int
    tokens_per_s: Spread  # of all texts together
    itl_s: Spread  # from one token of a text to its next
    ttft_s: Spread  # of the prompt alone, before it is copied
    peak_bytes: int | None  # above the state after imports
    bytes_per_s: float  # weights and caches that a step must read, over its time
    flops_per_s: float  # of the products of a step


@dataclass(frozen=True)
class BatchReport:
    """What came of a bench of batches."""

    settings: BatchSettings
    read: float  # bytes/s that this machine's memory gives
    matmul: float  # FLOP/s of a large fp32 product
    rows: tuple[BatchRow, ...]
    failed: dict[str, str]  # contenders that could not run, and why

    def rate(self, path: str, batch: int, context: int) -> float | None:
        """Tokens per second; None where there is no such row."""
        for row in self.rows:
            if (row.path, row.batch, row.context) == (path, batch, context):
                return row.tokens_per_s.median
        return None

    def paths(self) -> list[str]:
        return list(dict.fromkeys(row.path for row in self.rows))

    def as_dict(self) -> dict[str, Any]:
        """Everything, for `--json`: plain numbers are medians."""
        return {
            "settings": {**asdict(self.settings), "threads": self.settings.thread_count},
            "machine": {"read_bytes_per_s": self.read, "matmul_flops_per_s": self.matmul},
            "rows": [
                {
                    "path": row.path,
                    "batch": row.batch,
                    "context": row.context,
                    "tokens_per_s": row.tokens_per_s.median,
                    "itl_ms": 1e3 * row.itl_s.median,
                    "ttft_ms": 1e3 * row.ttft_s.median,
                    "memory_mb": None if row.peak_bytes is None else row.peak_bytes / 1e6,
                    "of_read_bandwidth": row.bytes_per_s / self.read,
                    "of_matmul_peak": row.flops_per_s / self.matmul,
                    "spread": {
                        "tokens_per_s": [row.tokens_per_s.least, row.tokens_per_s.most],
                        "itl_ms": [1e3 * row.itl_s.least, 1e3 * row.itl_s.most],
                        "ttft_ms": [1e3 * row.ttft_s.least, 1e3 * row.ttft_s.most],
                    },
                }
                for row in self.rows
            ],
            "failed": self.failed,
        }


def bench_batches(
    config: ModelConfig,
    settings: BatchSettings,
    contenders: Sequence[Contender] = CONTENDERS,
    progress: Progress = silent,
    workers: Callable[..., contextlib.AbstractContextManager[list[Worker]]] = started,
) -> BatchReport:
    """Run each case, and in it the contenders in turn, round after round, after one round that is
    not counted. The texts of a batch have one prompt, which is read once.

    ITL is the time of a step: from the second one on, since the first may still copy what was read.
    """
    for S, B in settings.cases:
        check_room(config, B, 1, S + settings.new_tokens, total_memory())
    taking = [contender for contender in contenders if contender.batches]
    peaks, peak_seconds = peak_jobs(), []
    generator = torch.Generator().manual_seed(0)
    longest = max(settings.contexts)
    ids = torch.randint(config.vocabulary, (longest,), generator=generator).tolist()
    found: dict[tuple[str, int, int], list[dict[str, Any]]] = {}
    rounds = 1 + settings.runs
    with workers(taking, settings, progress) as ready:
        for number in range(rounds):
            for at, (S, B) in enumerate(settings.cases):
                for worker in (one for one in ready if not one.error):
                    answer = worker.run(ids[:S], settings.new_tokens, batch=B, afresh=1)
                    if number and not worker.error:
                        found.setdefault((worker.contender.name, B, S), []).append(answer)
                progress("run", (number + (at + 1) / len(settings.cases)) / rounds)
            if number:
                peak_seconds.append(median_seconds([job for job, _ in peaks], 1))
        failed = {worker.contender.name: worker.error for worker in ready if worker.error}
    rows = [
        row_of(contender, found[contender.name, B, S], B, S, config, settings)
        for contender in taking
        for S, B in settings.cases
        if (contender.name, B, S) in found
    ]
    read, matmul = (
        amount / statistics.median(seconds)
        for (_, amount), seconds in zip(peaks, zip(*peak_seconds, strict=True), strict=True)
    )
    return BatchReport(settings, read, matmul, tuple(rows), failed)


def row_of(
    contender: Contender,
    answers: Sequence[dict[str, Any]],
    B: int,
    S: int,
    config: ModelConfig,
    settings: BatchSettings,
) -> BatchRow:
    """What the answers of one contender amount to."""
    times = [answer["times"] for answer in answers]
    steps = [(t[-1] - t[1]) / (len(t) - 2) for t in times]
    middle = S + settings.new_tokens // 2  # positions, on average
    moved = decode_bytes(
        config,
        B,
        middle,
        weight_bytes_per_number=contender.bits / 8,
        cache_bytes_per_number=CACHE_BYTES.get(contender.cache, 2.0),
    )
    peaks = [a["peak"] for a in answers if a["peak"] is not None]
    itl = statistics.median(steps)
    rates = rate_spread(steps)
    return BatchRow(
        path=contender.name,
        batch=B,
        context=S,
        tokens_per_s=Spread(B * rates.median, B * rates.least, B * rates.most),
        itl_s=spread(steps),
        ttft_s=spread([t[0] for t in times]),
        peak_bytes=min(peaks) if peaks else None,
        bytes_per_s=moved / itl,
        flops_per_s=decode_flops(config, B, middle) / itl,
    )
