"""How a server does under load: so many users at once, or so many requests in a second."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from decodeloop.cost import percentile
from decodeloop.errors import UserError
from decodeloop.measure.users import (
    UserLoad,
    ask_at,
    ask_in_turns,
    tokens_from,
    tokens_per_second,
)
from decodeloop.serve.client import Endpoint

WORDS = ["one", "two", "six", "ten", "red", "green", "blue", "small", "large", "old", "new"]
PERCENTILES = (50, 90, 99)


@dataclass(frozen=True)
class LoadSettings:
    """What is asked of a server.

    Args:
        users: rounds of a closed load, each with so many users.
        rates: rounds of an open load, requests per second, Poisson arrivals.
        requests: in each round.
        prompt_words: of each prompt, so many words, other ones each time.
        new_tokens: of each answer; a server of ours makes them all, end of sequence or not.
    """

    model: str
    users: tuple[int, ...] = (1, 4, 8)
    rates: tuple[float, ...] = ()
    requests: int = 32
    prompt_words: int = 100
    new_tokens: int = 64
    seconds: float = 120.0
    seed: int = 0


@dataclass(frozen=True)
class LoadRow:
    """What came of one round. Times are seconds: percentiles over requests, of `itl` over gaps.

    Most gaps are a step that decodes, a few are longer by somebody's prompt: so the median of the
    gaps is less than that of `tpot`, each request's mean gap, where prompts come in between.
    """

    load: str
    answered: int
    failed: int
    seconds: float
    tokens_per_s: float
    ttft: dict[str, float]
    itl: dict[str, float]
    tpot: dict[str, float]
    end_to_end: dict[str, float]
    failure: str | None  # the first of them


def bench_server(
    endpoint: Endpoint, settings: LoadSettings, show: Callable[[str], object] = lambda text: None
) -> list[LoadRow]:
    """Load a server, round after round.

    Raises:
        UserError: it answers nobody.
    """
    ask = asking(endpoint, settings)
    for _ in ask(-1):  # the first finds everything cold
        pass
    rows = []
    for users in settings.users:
        show(f"{users} users")
        load = ask_in_turns(ask, users, settings.requests, max_seconds=settings.seconds)
        rows.append(row(f"{users} users", load))
    for rate in settings.rates:
        show(f"{rate:g} requests/s")
        draw, now, arrivals = random.Random(settings.seed), 0.0, []
        for _ in range(settings.requests):
            now += draw.expovariate(rate)
            arrivals.append(now)
        load = ask_at(ask, arrivals, max_seconds=max(settings.seconds, now + 1))
        rows.append(row(f"{rate:g} requests/s", load))
    return rows


def asking(
    endpoint: Endpoint, settings: LoadSettings
) -> Callable[[int], Generator[object, None, None]]:
    """A user's request by its number: the same number asks the same."""
    return lambda number: tokens_from(endpoint.stream("/completions", body_of(settings, number)))


def body_of(settings: LoadSettings, number: int) -> dict[str, Any]:
    """What is asked by this number."""
    draw = random.Random(f"{settings.seed} {number}")
    return {
        "model": settings.model,
        "prompt": " ".join(draw.choices(WORDS, k=settings.prompt_words)),
        "max_tokens": settings.new_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    }


def row(name: str, load: UserLoad) -> LoadRow:
    """One round, summed up.

    Raises:
        UserError: nobody was answered.
    """
    failure = str(load.failures[0]) if load.failures else None
    if not load.requests:
        raise UserError(f"with {name} nobody was answered: {failure or 'the time was up.'}")
    waits = load.latencies
    return LoadRow(
        name,
        len(load.requests),
        load.unserved,
        load.seconds,
        tokens_per_second(load),
        percentiles([one.ttft for one in waits]),
        percentiles([gap for one in waits for gap in one.itl] or [0.0]),
        percentiles([one.tpot for one in waits]),
        percentiles([one.end_to_end for one in waits]),
        failure,
    )


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    return {f"p{p}": percentile(samples, p) for p in PERCENTILES}


def as_dict(settings: LoadSettings, rows: Sequence[LoadRow]) -> dict[str, Any]:
    """What `bench --url --json` prints."""
    return {"settings": asdict(settings), "rounds": [asdict(one) for one in rows]}
