"""What serving costs over computing, and whether lesson 14's clock knows what users wait for.

Three lines, each with what was aimed at: tokens per second of the server with 8 users beside those
of the engine alone at batch 8, in turn; what the server adds to a token; and the TTFT, P90, of 300
requests that come at random, at 70 % of what the server can do, beside what the simulated clock
says of the same requests at the same times, by step costs that were just fitted. The server is a
process, this one is its client, and both share the cores: the engine alone does not know what that
costs, so the clock is also run with steps as clients felt them before. It ends in one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from server_processes import Server, ours, running

from decodeloop.bench.serving import LoadSettings, asking, body_of
from decodeloop.cost import percentile
from decodeloop.decode import Sequence as Text
from decodeloop.loading import LanguageModel, load
from decodeloop.measure import ask_at, ask_in_turns, step_times, tokens_per_second
from decodeloop.serve import (
    BlockManager,
    Engine,
    Job,
    Scheduler,
    StepTime,
    fit_step_cost,
    simulate,
)

MODEL = "smollm2-135m"
USERS = 8
BLOCKS = 1200


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


def felt_steps(server: Server, llm: LanguageModel) -> list[StepTime]:
    """Steps as clients feel them, with the network, JSON and threads of their own beside: the gaps
    of 1, 2, 4 and 8 users, and the first token of one user for prompts of three lengths."""
    steps, seed = list[StepTime](), 1000
    for users in (1, 2, 4, USERS):
        for words in (20, 120):
            seed += 1  # another prompt: not one whose beginning is known
            settings = LoadSettings(MODEL, prompt_words=words, new_tokens=32, seed=seed)
            ask = asking(server.endpoint, settings)
            load = ask_in_turns(ask, users, 2 * users, max_seconds=600)
            gap = percentile([gap for one in load.latencies for gap in one.itl], 50)
            read = len(prompt_ids(llm, settings, 0)) + settings.new_tokens // 2
            steps.append(StepTime(users, users, users * read, gap))
    for words in (10, 40, 160):
        seed += 1
        settings = LoadSettings(MODEL, prompt_words=words, new_tokens=1, seed=seed)
        load = ask_in_turns(asking(server.endpoint, settings), 1, 5, max_seconds=600)
        read = len(prompt_ids(llm, settings, 0))
        first = percentile([one.ttft for one in load.latencies], 50)
        steps.append(StepTime(read, 1, read, first))
    return steps


def waits(llm: LanguageModel, server: Server, count: int) -> dict[str, Any]:
    """TTFT at 70 % of capacity, measured, and by the clock with two kinds of step costs: of the
    engine alone, and as clients feel them; seconds."""
    alone = fit_step_cost(step_times(llm.model, (1, 2, 4, 8), (32, 128), (16, 64), repeats=5))
    felt = fit_step_cost(felt_steps(server, llm))
    short = LoadSettings(MODEL, prompt_words=40, new_tokens=16, requests=count, seed=99)
    ask = asking(server.endpoint, short)
    closed = ask_in_turns(lambda n: ask(10_000 + n), USERS, 96, max_seconds=600)
    rate = 0.7 * len(closed.requests) / closed.seconds
    draw, arrivals, now = random.Random(5), list[float](), 0.0
    for _ in range(count):
        now += draw.expovariate(rate)
        arrivals.append(now)
    live = ask_at(ask, arrivals, max_seconds=600)
    jobs = [Job(at, prompt_ids(llm, short, n), 16) for n, at in enumerate(arrivals)]
    found: dict[str, Any] = {"rate": rate, "answered": len(live.requests)}
    ttft = {"measured": [one.ttft for one in live.latencies]}
    for name, costs in {"clock_alone": alone, "clock_felt": felt}.items():
        scheduler = Scheduler(BlockManager(BLOCKS), most=USERS)
        ttft[name] = simulate(jobs, scheduler, costs).ttft
        found[f"{name}_costs"] = asdict(costs)
    for name, own in ttft.items():
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
    first = {name: found[f"{name}_p90"] for name in ("measured", "clock_felt", "clock_alone")}
    print(
        f"served {server_s:.0f} of {engine:.0f} tokens/s: {server_s / engine:.2f} (at least 0.9)\n"
        f"the server adds {overhead:.2f} ms to a token (at most 0.3)\n"
        f"TTFT P90 at {found['rate']:.1f} requests/s: {first['measured']:.3f} s; by the clock "
        f"with steps as clients feel them {first['clock_felt']:.3f} s (0.85 to 1.15 of it: "
        f"{first['measured'] / first['clock_felt']:.2f}), with the engine's alone "
        f"{first['clock_alone']:.3f} s"
    )
    told = {"dtype": options.dtype, "engine": engine, "served": server_s, "overhead_ms": overhead}
    print(json.dumps({**told, **found}))


if __name__ == "__main__":
    main()
