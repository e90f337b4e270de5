"""Speculative decoding in turn with decoding as it is: how fast, and how much of a draft stayed."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from decodeloop.bar import Progress, silent
from decodeloop.bench.spread import Spread, rate_spread
from decodeloop.bench.tasks import TASKS
from decodeloop.decode import Speculation, generate
from decodeloop.drafting import speculation_of
from decodeloop.errors import UserError
from decodeloop.kernels import obstacle
from decodeloop.loading import LanguageModel, load

# What the weights are, and who drafts for them; the first of each kind of weights has no draft.
WAYS = (("fp32", None), ("fp32", "lookup"), ("fp32", "int8"), ("int8", None), ("int8", "lookup"))


@dataclass(frozen=True)
class DraftSettings:
    """What is run, alike for all.

    Raises:
        UserError: a number is too small.
    """

    model: str = "smollm2-135m"
    new_tokens: int = 64  # at most: a text that ends sooner is not driven on
    runs: int = 10
    threads: int = 0  # 0: as many as PyTorch takes
    k: int | None = None  # drafted for each step; as many as pay, if none

    def __post_init__(self) -> None:
        least = {"new_tokens": 3, "runs": 1, "threads": 0, "k": 1}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                option = "draft-tokens" if name == "k" else name.replace("_", "-")
                raise UserError(f"--{option} is {value}: expected at least {smallest}.")
        cores = os.cpu_count() or 1
        if self.threads > cores:
            raise UserError(f"--threads is {self.threads}: this machine has {cores}.")

    @property
    def thread_count(self) -> int:
        return self.threads or torch.get_num_threads()


@dataclass(frozen=True)
class DraftRun:
    """One text: its tokens, the seconds from its first to its last, and what drafts brought."""

    tokens: list[int]
    seconds: float
    tokens_per_step: float = 1.0
    accepted: float | None = None  # of the drafted tokens that were checked; None without any


@dataclass(frozen=True)
class DraftRow:
    """What one way of decoding reached at one task."""

    task: str
    dtype: str
    draft: str | None
    tokens_per_s: Spread
    over: float  # tokens per second against the same weights without a draft
    made: int  # tokens
    tokens_per_step: float
    accepted: float | None
    same: bool  # the tokens are those without a draft

    @property
    def way(self) -> str:
        return self.dtype if self.draft is None else f"{self.dtype} + {self.draft}"


@dataclass(frozen=True)
class DraftReport:
    """What came of a bench of drafts."""

    settings: DraftSettings
    rows: tuple[DraftRow, ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything, for `--json`."""
        return {
            "settings": {**asdict(self.settings), "threads": self.settings.thread_count},
            "rows": [{**asdict(row), "way": row.way} for row in self.rows],
        }


Speak = Callable[[str, int], DraftRun]  # a prompt, and how many tokens at most
Way = tuple[str, str | None]


def bench_drafts(
    settings: DraftSettings,
    progress: Progress = silent,
    tasks: Mapping[str, str] = TASKS,
    ways: Callable[[DraftSettings, Progress], Mapping[Way, Speak]] | None = None,
) -> DraftReport:
    """Run each task, and in it the ways in turn, round after round, after one that is not counted.

    Tokens per second are those of decoding: one over the time from the first token to the last.
    """
    speakers = (ways or loaded)(settings, progress)
    found: dict[tuple[str, Way], list[DraftRun]] = {}
    rounds = 1 + settings.runs
    for number in range(rounds):
        for at, (task, prompt) in enumerate(tasks.items()):
            for way, speak in speakers.items():
                run = speak(prompt, settings.new_tokens)
                if number:
                    found.setdefault((task, way), []).append(run)
            progress("run", (number + (at + 1) / len(tasks)) / rounds)
    rows = [
        row_of(task, way, found[task, way], found[task, (way[0], None)])
        for task in tasks
        for way in speakers
    ]
    return DraftReport(settings, tuple(rows))


def row_of(task: str, way: Way, runs: Sequence[DraftRun], plain: Sequence[DraftRun]) -> DraftRow:
    """What some runs amount to, beside those of the same weights without a draft."""
    gaps, plain_gaps = (
        [run.seconds / (len(run.tokens) - 1) for run in some] for some in (runs, plain)
    )
    last = runs[-1]
    return DraftRow(
        task=task,
        dtype=way[0],
        draft=way[1],
        tokens_per_s=rate_spread(gaps),
        over=statistics.median(plain_gaps) / statistics.median(gaps),
        made=len(last.tokens),
        tokens_per_step=last.tokens_per_step,
        accepted=last.accepted,
        same=all(run.tokens == plain[0].tokens for run in runs),
    )


def loaded(settings: DraftSettings, progress: Progress) -> Mapping[Way, Speak]:
    """The ways, in this process: they share their weights.

    Raises:
        UserError: there are no kernels on this machine, without which a draft only costs.
    """
    cpu = torch.device("cpu")
    if reason := obstacle(cpu, "fp32"):
        raise UserError(f"--draft is measured over compiled steps: {reason}.")
    torch.set_num_threads(settings.thread_count)
    models: dict[str, LanguageModel] = {}
    speakers: dict[Way, Speak] = {}
    for number, (dtype, draft) in enumerate(WAYS):
        if dtype not in models:
            models[dtype] = load(settings.model, cpu, dtype, compiled=True)
        llm = models[dtype]
        speculation = None if draft is None else speculation_of(llm, draft, settings.k)
        speakers[dtype, draft] = speaking(llm, speculation)
        progress("load", (number + 1) / len(WAYS))
    return speakers


def speaking(llm: LanguageModel, speculation: Speculation | None) -> Speak:
    """A model that answers greedily, and looks at the clock."""

    def speak(prompt: str, new_tokens: int) -> DraftRun:
        ids = torch.tensor([llm.prompt_ids(prompt)])
        tokens, times = [], []
        made = generate(llm.model, ids, new_tokens, eos_ids=llm.eos_ids, speculation=speculation)
        for token in made:
            tokens.append(token)
            times.append(time.perf_counter())
        if len(tokens) < 2:
            raise UserError(
                f"the model made {len(tokens)} tokens of {prompt[:40]!r}: expected two to measure "
                f"the time between; take another model."
            )
        stats = speculation.stats if speculation else None
        seconds = times[-1] - times[0]
        if stats is None:
            return DraftRun(tokens, seconds)
        share = stats.accepted_share if stats.proposed else None
        return DraftRun(tokens, seconds, stats.tokens_per_round, share)

    return speak
