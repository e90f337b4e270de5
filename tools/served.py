"""What serving costs over computing, and whether lesson 14's clock knows what users wait for.

Three lines, each with what was aimed at: tokens per second of the server with 8 users beside those
of the engine alone at batch 8, in turn; what the server adds to a token; and the TTFT, P90, of 300
requests that come at random, at 70 % of what the server can do, beside what the simulated clock
says of the same requests at the same times. The server is a process, this one is its client, and
both share the cores: so the clock goes by steps as clients feel them, measured before and after
each part of the requests. It ends in one line of JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from server_processes import Server, ours, running

from decodeloop.bench.serving import LoadSettings, asking, body_of
from decodeloop.cost import percentile
from decodeloop.decode import Sequence as Text
from decodeloop.loading import LanguageModel, load
from decodeloop.measure import ask_at, ask_in_turns, tokens_per_second
from decodeloop.serve import (
    BlockManager,
    Engine,
    Job,
    Scheduler,
    StepTime,
    fit_step_cost,
    fit_step_table,
    simulate,
)

MODEL = "smollm2-135m"
USERS = 8
BLOCKS = 1200
PARTS = 4
REPEATS = 3
CROWD = 30.0  # requests a second that no laptop answers


def prompt_ids(llm: LanguageModel, settings: LoadSettings, number: int) -> list[int]:
    return llm.tokenizer.encode(body_of(settings, number)["prompt"], beginning=True)


def engine_alone(llm: LanguageModel, settings: LoadSettings) -> float:
    """Tokens per second of the engine at batch 8, on the requests that a server gets."""
    engine = Engine(llm.model, blocks=BLOCKS, most=USERS)
    for number in range(settings.requests):
        ids = torch.tensor([prompt_ids(llm, settings, number)])
        engine.add(Text(ids, settings.new_tokens))
    began = time.perf_counter()
    while engine.busy:
        engine.step()
    return settings.requests * settings.new_tokens / (time.perf_counter() - began)


def served(server: Server, settings: LoadSettings) -> float:
    """Tokens per second of 8 users, each of whom asks again when it is answered."""
    ask = asking(server.endpoint, settings)
    return tokens_per_second(ask_in_turns(ask, USERS, settings.requests, max_seconds=600))


def felt_steps(server: Server, llm: LanguageModel, seed: int) -> list[StepTime]:
    """Steps as clients feel them, with the network, JSON and threads of their own beside: the gaps
    of some users, the first token of prompts of several lengths, and the pause of those who decode
    while somebody's prompt is read. Means, since a queue grows by the slow steps, too."""
    steps = list[StepTime]()
    numbers = itertools.count(1000 * seed)  # no prompt twice: none whose beginning is known

    def asked(words: int, new: int) -> tuple[Callable[[int], Any], int]:
        settings = LoadSettings(MODEL, prompt_words=words, new_tokens=new, seed=next(numbers))
        return asking(server.endpoint, settings), len(prompt_ids(llm, settings, 0))

    for users in (1, 2, 3, 4, 6, USERS):
        ask, read = asked(40, 24)
        load = ask_in_turns(ask, users, users, max_seconds=600)
        gap = statistics.mean(gap for one in load.latencies for gap in one.itl)
        steps.append(StepTime(users, users, users * (read + 12), gap))
    for words in (16, 40, 80, 160):
        ask, read = asked(words, 1)
        load = ask_in_turns(ask, 1, REPEATS, max_seconds=600)
        steps.append(StepTime(read, 1, read, statistics.mean(one.ttft for one in load.latencies)))
    for users in (1, 3, 7):
        decode, read = asked(10, 64)
        for words in (16, 40, 80):
            prompt, more = asked(words, 1)
            pause = statistics.mean(pause_of(decode, prompt, users, n) for n in range(REPEATS))
            steps.append(StepTime(users + more, users + 1, users * (read + 30) + more, pause))
    return steps


def pause_of(
    decode: Callable[[int], Any], prompt: Callable[[int], Any], users: int, attempt: int
) -> float:
    """How long users who get tokens wait for the next one, when a prompt comes in between."""
    first = attempt * (users + 1)
    late = 0.4  # by then all of them decode
    load = ask_at(
        lambda number: (prompt if number == users else decode)(first + number),
        [*[0.0] * users, late],
        max_seconds=600,
    )
    waits = [
        max(then - now for now, then in itertools.pairwise(one.token_times) if then > late)
        for one in load.requests
        if len(one.token_times) > 1 and one.token_times[-1] > late
    ]
    return statistics.median(waits)


def waits(llm: LanguageModel, server: Server, count: int) -> dict[str, Any]:
    """TTFT at 70 % of capacity, measured and by the clock, seconds. The requests come in parts, and
    steps are felt before and after each: a machine is not as fast at all times.

    Capacity is what the server answers when more come than it can answer.
    """
    short = LoadSettings(MODEL, prompt_words=40, new_tokens=16, seed=99)
    ask = asking(server.endpoint, short)
    draw, steps = random.Random(5), [felt_steps(server, llm, 1)]

    def arriving(count: int, rate: float) -> list[float]:
        return list(itertools.accumulate(draw.expovariate(rate) for _ in range(count)))

    crowd = ask_at(lambda n: ask(10_000 + n), arriving(96, CROWD), max_seconds=600)
    rate = 0.7 * len(crowd.requests) / crowd.seconds
    measured, clock, answered = list[float](), dict[str, list[float]](), 0
    for part in range(PARTS):
        numbers = range(part * count // PARTS, (part + 1) * count // PARTS)
        arrivals = arriving(len(numbers), rate)
        live = ask_at(lambda n: ask(numbers[n]), arrivals, max_seconds=600)  # noqa: B023
        measured += [one.ttft for one in live.latencies]
        answered += len(live.requests)
        steps.append(felt_steps(server, llm, 2 + part))
        beside = steps[-2] + steps[-1]
        jobs = [
            Job(at, prompt_ids(llm, short, n), 16) for n, at in zip(numbers, arrivals, strict=True)
        ]
        costs: dict[str, Callable[[int, int, int], float]] = {
            "table": fit_step_table(beside),
            "line": fit_step_cost(beside),
        }
        for name, cost in costs.items():
            run = simulate(jobs, Scheduler(BlockManager(BLOCKS), most=USERS), cost)
            clock.setdefault(name, []).extend(run.ttft)
    found: dict[str, Any] = {"rate": rate, "answered": answered}
    for name, own in {"measured": measured, **clock}.items():
        found |= {f"{name}_p50": percentile(own, 50), f"{name}_p90": percentile(own, 90)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", default="fp32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=32, help="of a round")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--trace", type=int, default=300, help="requests that come at random")
    options = parser.parse_args()
    llm = load(MODEL, dtype=options.dtype)
    command = ours("--dtype", options.dtype, "--max-batch", str(USERS))
    with (
        tempfile.TemporaryDirectory() as folder,
        running(command, Path(folder) / "log") as server,
    ):
        alone, with_server = list[float](), list[float]()
        for seed in range(-1, options.rounds):  # the first is cold, and not counted
            settings = LoadSettings(
                MODEL, requests=options.requests, new_tokens=options.new_tokens, seed=seed
            )
            alone.append(engine_alone(llm, settings))
            with_server.append(served(server, settings))
            print(f"engine {alone[-1]:.0f}, served {with_server[-1]:.0f} tokens/s", flush=True)
        found = waits(llm, server, options.trace)
    engine, server_s = statistics.median(alone[1:]), statistics.median(with_server[1:])
    overhead = 1e3 * (1 / server_s - 1 / engine)
    first = {name: found[f"{name}_p90"] for name in ("measured", "table", "line")}
    print(
        f"served {server_s:.0f} of {engine:.0f} tokens/s: {server_s / engine:.2f} (at least 0.9)\n"
        f"the server adds {overhead:.2f} ms to a token (at most 0.3)\n"
        f"TTFT P90 at {found['rate']:.1f} requests/s: {first['measured']:.3f} s; by the clock "
        f"{first['table']:.3f} s ({first['measured'] / first['table']:.2f}, 0.85 to 1.15), with a "
        f"straight line for the cost of steps {first['line']:.3f} s"
    )
    told = {"dtype": options.dtype, "engine": engine, "served": server_s, "overhead_ms": overhead}
    print(json.dumps({**told, **found}))


if __name__ == "__main__":
    main()
