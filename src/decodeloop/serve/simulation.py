"""A day at the server in no time: the real scheduler, and a clock that jumps by what a step costs.

Simulated seconds are the same on every machine; what they are worth is what the cost of a step is
worth (`batching.fit_step_cost`). Built in lesson 14.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from decodeloop import cost as costs
from decodeloop.cost import Latencies
from decodeloop.cost.checks import check_positive, check_whole
from decodeloop.errors import UserError
from decodeloop.serve.batching import StepCost, static_token_times
from decodeloop.serve.plan import Plan, Request
from decodeloop.serve.scheduler import Scheduler


@dataclass(frozen=True)
class Job:
    """What somebody will ask, and when: a prompt, and how many tokens the answer has."""

    arrival: float
    prompt: Sequence[int]
    answer: int


class Moment(NamedTuple):
    """A step of the simulation: from when to when, and what was computed."""

    start: float
    end: float
    plan: Plan


@dataclass(frozen=True)
class Simulation:
    """What came of a load: the life of each request in order of arrival, and every step."""

    requests: list[costs.Request]
    moments: list[Moment] = field(default_factory=list)  # none of a static batch

    @property
    def seconds(self) -> float:
        """From time 0 to the last token."""
        return max(request.end for request in self.requests)

    @property
    def latencies(self) -> list[Latencies]:
        return [request.latencies for request in self.requests]

    @property
    def ttft(self) -> list[float]:
        """The time to first token of each request."""
        return [waits.ttft for waits in self.latencies]

    @property
    def itl(self) -> list[float]:
        """All inter-token latencies, of all requests."""
        return [gap for waits in self.latencies for gap in waits.itl]

    @property
    def tokens_per_second(self) -> float:
        return sum(len(request.token_times) for request in self.requests) / self.seconds

    @property
    def preemptions(self) -> int:
        return sum(len(moment.plan.preempted) for moment in self.moments)

    def goodput(self, **targets: float) -> float:
        """Requests per second that kept every target; as `cost.goodput`."""
        return costs.goodput(self.latencies, self.seconds, **targets)


def poisson_jobs(
    rate: float,
    count: int,
    draw: random.Random,
    *,
    prompt: int = 100,
    answer: int = 40,
    longest: int = 600,
    vocabulary: int = 1000,
) -> list[Job]:
    """Independent users: exponential gaps, and lengths that differ widely, as people's do.

    Lengths are log-normal, with `prompt` and `answer` as their medians, from 1 to `longest`.

    Args:
        rate: how many come in a second.
        draw: a generator; not PyTorch's, whose draws differ from processor to processor.
    """
    check_positive("poisson_jobs", rate=rate)
    check_whole("poisson_jobs", count=count, prompt=prompt, answer=answer, longest=longest)

    def length(median: int) -> int:
        return min(longest, max(1, round(median * draw.lognormvariate(0.0, 0.8))))

    jobs = []
    for arrival in accumulate(draw.expovariate(rate) for _ in range(count)):
        tokens = [draw.randrange(vocabulary) for _ in range(length(prompt))]
        jobs.append(Job(arrival, tokens, length(answer)))
    return jobs


@dataclass
class Life:
    """Of one job so far."""

    job: Job
    start: float | None = None
    token_times: list[float] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return len(self.token_times) == self.job.answer

    def as_request(self) -> costs.Request:
        times = tuple(self.token_times)
        start = self.job.arrival if self.start is None else self.start
        return costs.Request(self.job.arrival, start, times, times[-1])


def simulate(
    jobs: Sequence[Job], scheduler: Scheduler, cost: Callable[[int, int, int], float]
) -> Simulation:
    """Continuous batching: who comes is in the next step, if there is room; who has ended is not.

    Args:
        cost: seconds of a step by its tokens, texts and positions: a `StepCost` or a `StepTable`.

    Raises:
        UserError: there is no job, or one that never fits.
    """
    lives = lives_of(jobs)
    coming, here = deque(lives), dict[Request, Life]()
    now, moments = 0.0, []
    while coming or scheduler.waiting or scheduler.running:
        while coming and coming[0].job.arrival <= now:
            life = coming.popleft()
            prompt = life.job.prompt
            here[scheduler.add(prompt, len(prompt) + life.job.answer - 1)] = life
        plan = scheduler.schedule()
        if not plan.pieces:
            now = coming[0].job.arrival  # nobody is here: on to who comes next
            continue
        begun = now
        positions = sum(piece.start + piece.count for piece in plan.pieces)
        tokens = sum(piece.count for piece in plan.pieces)
        now += cost(tokens, len(plan.pieces), positions)
        moments.append(Moment(begun, now, plan))
        for piece in plan.pieces:
            life = here[piece.request]
            life.start = begun if life.start is None else life.start
            token = None
            if piece.last:
                life.token_times.append(now)
                token = 0  # what it says makes no difference
            scheduler.update(piece, token, ended=life.ended)
    return Simulation([life.as_request() for life in lives], moments)


def simulate_static(jobs: Sequence[Job], cost: StepCost, batch: int) -> Simulation:
    """Static batches: up to `batch` of those who wait are taken, and nobody else until all of them
    have ended. A batch of 1 is one text at a time.

    Raises:
        UserError: there is no job.
    """
    check_whole("simulate_static", batch=batch)
    lives = lives_of(jobs)
    coming, now = deque(lives), 0.0
    while coming:
        now = max(now, coming[0].job.arrival)
        taken: list[Life] = []
        while coming and coming[0].job.arrival <= now and len(taken) < batch:
            taken.append(coming.popleft())
        prompts, answers = zip(*((len(x.job.prompt), x.job.answer) for x in taken), strict=True)
        times = [now + seconds for seconds in static_token_times(prompts, answers, cost)]
        for life in taken:
            life.start, life.token_times = now, times[: life.job.answer]
        now = times[-1]
    return Simulation([life.as_request() for life in lives])


def lives_of(jobs: Sequence[Job]) -> list[Life]:
    if not jobs:
        raise UserError("a simulation was given no jobs: expected at least one.")
    return [Life(job) for job in sorted(jobs, key=lambda job: job.arrival)]
