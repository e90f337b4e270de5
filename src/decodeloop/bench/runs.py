"""Run the contenders in turn, and say what came out: medians with their spread, rates, ratios."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from decodeloop.bar import Progress, silent
from decodeloop.bench.busy import core_held
from decodeloop.bench.contenders import CONTENDERS, TABLE, Contender
from decodeloop.bench.spread import Spread, rate_spread, spread
from decodeloop.bench.workers import Worker, started
from decodeloop.checkpoints.files import can_be_a_path
from decodeloop.checkpoints.gguf_file import GGUFFile, is_gguf
from decodeloop.checkpoints.hub_config import read_config
from decodeloop.cost.flops import decode_bytes, masked_flops, prefill_flops
from decodeloop.errors import UserError
from decodeloop.finding import KNOWN, known_folder, unknown
from decodeloop.measure.machine import Job, matmul_job, stream_jobs
from decodeloop.measure.room import check_room, total_memory
from decodeloop.measure.timing import median_seconds
from decodeloop.model import ModelConfig

BUSY_RUNS = 3  # at most: beside a busy program some contenders take minutes for a run
CACHE_BYTES = {"fp32": 4.0, "fp16": 2.0, "int8": 1.06, "int4": 0.56}  # with scales, on average


@dataclass(frozen=True)
class Settings:
    """What is run, alike for all.

    Raises:
        UserError: a number is too small.
    """

    model: str = "smollm2-135m"
    prompt_tokens: int = 128
    new_tokens: int = 64
    runs: int = 10
    threads: int = 0  # 0: as many as PyTorch takes
    busy: bool = False  # afterwards once more, with one core held by another program

    def __post_init__(self) -> None:
        least = {"prompt_tokens": 1, "new_tokens": 2, "runs": 1, "threads": 0}
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise UserError(
                    f"--{name.replace('_', '-')} is {getattr(self, name)}: expected at least "
                    f"{smallest}."
                )
        cores = os.cpu_count() or 1
        if self.threads > cores:
            raise UserError(f"--threads is {self.threads}: this machine has {cores}.")

    @property
    def thread_count(self) -> int:
        return self.threads or torch.get_num_threads()

    @property
    def busy_runs(self) -> int:
        return min(self.runs, BUSY_RUNS) if self.busy else 0


@dataclass(frozen=True)
class Row:
    """What one contender reached."""

    name: str
    bits: float
    activations: str
    cache: str
    ttft_s: Spread
    tokens_per_s: Spread
    peak_bytes: int | None  # above the state after imports
    bytes_per_s: float  # weights and cache that each token must read, over its time
    flops_per_s: float  # of the prefill, without what the causal mask throws away
    run_bytes: int | None = None  # the most in a run, above what was held before: its median
    busy_ttft_s: Spread | None = None  # these two beside a busy program, if that was asked for
    busy_tokens_per_s: Spread | None = None

    @property
    def busy_share(self) -> float | None:
        """What is left of the tokens per second beside a busy program."""
        busy = self.busy_tokens_per_s
        return None if busy is None else busy.median / self.tokens_per_s.median


@dataclass(frozen=True)
class Report:
    """What came of a bench."""

    settings: Settings
    read: float  # bytes/s that this machine's memory gives
    matmul: float  # FLOP/s of a large fp32 product
    rows: tuple[Row, ...]
    failed: dict[str, str]  # contenders that could not run, and why

    def ratios(self) -> dict[str, dict[str, float]]:
        """Tokens per second of each own contender over those of each other."""
        own = {contender.name for contender in (*CONTENDERS, TABLE) if contender.own}
        return {
            row.name: {
                other.name: row.tokens_per_s.median / other.tokens_per_s.median
                for other in self.rows
                if other.name != row.name
            }
            for row in self.rows
            if row.name in own
        }

    def as_dict(self) -> dict[str, Any]:
        """Everything, for `--json`."""
        return {
            "settings": {**asdict(self.settings), "threads": self.settings.thread_count},
            "machine": {"read_bytes_per_s": self.read, "matmul_flops_per_s": self.matmul},
            "paths": [
                {
                    **asdict(row),
                    "of_read_bandwidth": row.bytes_per_s / self.read,
                    "of_matmul_peak": row.flops_per_s / self.matmul,
                    "busy_share": row.busy_share,
                }
                for row in self.rows
            ],
            "ratios": self.ratios(),
            "failed": self.failed,
        }


def bench(
    config: ModelConfig,
    settings: Settings,
    contenders: Sequence[Contender] = CONTENDERS,
    progress: Progress = silent,
    workers: Callable[..., contextlib.AbstractContextManager[list[Worker]]] = started,
    busy: Callable[[], contextlib.AbstractContextManager[Any]] = core_held,
) -> Report:
    """Run the contenders in turn, round after round, after one that is not counted; then a few
    rounds beside a busy program, if that is asked for.

    ITL is the time from the first token to the last, over the tokens after the first; tokens per
    second is one over it.
    """
    positions = settings.prompt_tokens + settings.new_tokens
    table = TABLE in contenders
    check_room(config, 1, settings.prompt_tokens, positions, total_memory(), table=table)
    peaks = peak_jobs()
    peak_seconds: list[list[float]] = []
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(config.vocabulary, (settings.prompt_tokens,), generator=generator).tolist()
    found: dict[str, list[dict[str, Any]]] = {contender.name: [] for contender in contenders}
    found_busy: dict[str, list[dict[str, Any]]] = {contender.name: [] for contender in contenders}
    rounds = 1 + settings.runs + settings.busy_runs

    def run_all(ready: Sequence[Worker], into: dict[str, list[dict[str, Any]]] | None) -> None:
        for worker in ready:
            if not worker.error:
                answer = worker.run(ids, settings.new_tokens)
                if into is not None and not worker.error:
                    into[worker.contender.name].append(answer)

    with workers(contenders, settings, progress) as ready:
        for number in range(1 + settings.runs):
            run_all(ready, found if number else None)
            if number:  # in turn with the rest: what the memory gives changes from minute to minute
                peak_seconds.append(median_seconds([job for job, _ in peaks], 1))
            progress("run", (number + 1) / rounds)
        with busy() if settings.busy else contextlib.nullcontext():
            for number in range(1 + settings.runs, rounds):
                run_all(ready, found_busy)
                progress("run", (number + 1) / rounds)
        failed = {worker.contender.name: worker.error for worker in ready if worker.error}
    rows = [
        row_of(contender, found[contender.name], found_busy[contender.name], config, settings)
        for contender in contenders
        if found[contender.name]
    ]
    read, matmul = (
        amount / statistics.median(seconds)
        for (_, amount), seconds in zip(peaks, zip(*peak_seconds, strict=True), strict=True)
    )
    return Report(settings, read, matmul, tuple(rows), failed)


def config_of(model: str) -> ModelConfig:
    """The shape of a model that `load` would load, without its weights.

    Raises:
        UserError: there is no such model; or it is damaged, or not supported.
    """
    if model in KNOWN:
        return read_config(known_folder(model))
    path = Path(model)
    if not can_be_a_path(path):
        raise unknown(model)
    if path.is_dir():
        return read_config(path)
    if is_gguf(path) and path.is_file():
        return GGUFFile(path).config
    raise unknown(model)


def peak_jobs() -> list[tuple[Job, float]]:
    """A read of a large tensor and the bytes that it moves; a large fp32 product and its FLOPs."""
    cpu = torch.device("cpu")
    return [stream_jobs(cpu)["read"], matmul_job(2048, torch.float32, cpu)]


def row_of(
    contender: Contender,
    answers: Sequence[dict[str, Any]],
    busy_answers: Sequence[dict[str, Any]],
    config: ModelConfig,
    settings: Settings,
) -> Row:
    """What the answers of one contender amount to."""
    firsts, gaps = firsts_and_gaps(answers)
    middle = settings.prompt_tokens + settings.new_tokens // 2  # positions, on average
    moved = decode_bytes(
        config,
        1,
        middle,
        weight_bytes_per_number=contender.bits / 8,
        cache_bytes_per_number=CACHE_BYTES.get(contender.cache, 2.0),
    )
    needed = prefill_flops(config, 1, settings.prompt_tokens)
    needed -= masked_flops(config, 1, settings.prompt_tokens)  # some leave them out, some do not
    peaks = [a["peak"] for a in answers if a["peak"] is not None]
    taken = [a["run_peak"] for a in answers if a.get("run_peak") is not None]
    busy_firsts, busy_gaps = firsts_and_gaps(busy_answers)
    return Row(
        name=contender.name,
        bits=contender.bits,
        activations=contender.activations,
        cache=contender.cache,
        ttft_s=spread(firsts),
        tokens_per_s=rate_spread(gaps),
        peak_bytes=max(peaks) if peaks else None,
        bytes_per_s=moved / statistics.median(gaps),
        flops_per_s=needed / statistics.median(firsts),
        run_bytes=int(statistics.median(taken)) if taken else None,
        busy_ttft_s=spread(busy_firsts) if busy_firsts else None,
        busy_tokens_per_s=rate_spread(busy_gaps) if busy_gaps else None,
    )


def firsts_and_gaps(answers: Sequence[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """The TTFT and the ITL of each run, in seconds."""
    times = [answer["times"] for answer in answers]
    return [t[0] for t in times], [(t[-1] - t[0]) / (len(t) - 1) for t in times]
