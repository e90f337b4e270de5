"""GuideLLM's figures beside ours: the same server, the same requests at the same times, in turn.

GuideLLM is a load generator that nobody here wrote, in an environment of its own: `pip install
guidellm==0.8.1`. A closed load of 4 users, and an open one whose requests come at random (Poisson),
each with both clients, round after round. It ends in a table of medians, and in status 1 if a
request failed or a median is further than a tenth from GuideLLM's.

What it calls inter-token latency is the mean gap of each request, counted once for each of its
gaps: the median of that is compared. The median of the gaps themselves, which `bench --url` gives,
stands beside it: most gaps are a decode step, a few are longer by somebody's prompt, so the two
differ where prompts come in between.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from server_processes import Server, ours, running

from decodeloop.bench.serving import WORDS
from decodeloop.cost import Latencies, percentile
from decodeloop.exporting import export
from decodeloop.measure.users import UserLoad, ask_at, ask_in_turns, tokens_from

MODEL = "smollm2-135m"
USERS = 4
TRIES = 3
SETTINGS = {"HF_HUB_OFFLINE": "1", "GUIDELLM__MAX_WORKER_PROCESSES": "1"}
WITHIN = 0.1


@dataclass(frozen=True)
class Medians:
    """What one client says of a round, milliseconds."""

    ttft: float
    mean_gap: float  # each request's, counted once for each of its gaps
    failed: int


def bodies(first: str, seed: int, count: int) -> list[dict[str, Any]]:
    """Requests: prompts and answers of many lengths, so that users don't keep in step.

    Args:
        first: what each prompt begins with: another word for each who asks, or the second finds
            the prompts of the first in the cache.
    """
    draw = random.Random(seed)
    return [
        {
            "prompt": " ".join([first, *draw.choices(WORDS, k=draw.randint(40, 120))]),
            "output_tokens_count": draw.randint(16, 48),
        }
        for _ in range(count)
    ]


def arrivals(seed: int, count: int, rate: float) -> list[float]:
    """When requests come: those of GuideLLM's Poisson profile for this seed, with one process."""
    draw = random.Random(seed)
    return list(accumulate(draw.expovariate(rate) for _ in range(count)))


def guidellm(
    environment: Path, server: Server, profile: str, asked: Sequence[Any], seed: int, folder: Path
) -> Any:
    """Its report of one profile."""
    report, data = folder / "report.json", folder / "data.jsonl"
    data.write_text("\n".join(map(json.dumps, asked)), "utf-8")
    target = f"target={server.endpoint.url},model={MODEL},request_format=/v1/completions"
    words = [
        *("--backend", f"kind=openai_http,{target}"),
        *("--profile", profile),
        *("--constraint", f"kind=max_requests,count={len(asked)}"),
        *("--tokenizer", f"kind=huggingface_auto,model={folder / 'model'}"),
        *("--data", f"kind=json_file,path={data}"),
        *("--seed", f"kind=static,value={seed}"),
        *("--output", f"kind=json,path={report}"),
        "--disable-console",
    ]
    done = subprocess.run(
        [str(environment / "bin/guidellm"), "run", *words],
        env=os.environ | SETTINGS,
        capture_output=True,
        encoding="utf-8",
    )
    if done.returncode:
        raise SystemExit(done.stdout[-1000:] + done.stderr[-1000:])
    return json.loads(report.read_text("utf-8"))["benchmarks"][0]


def sent_at(report: Any) -> list[float]:
    """When it sent each request, seconds from the first."""
    times = sorted(one["request_start_time"] for one in report["requests"]["successful"])
    return [time - times[0] for time in times]


def on_time(report: Any, due: Sequence[float]) -> bool:
    """Whether it sent its requests when they were due. On few cores its processes may read the
    clock of the load before that is set, and then all are sent at once."""
    lag = [sent - (at - due[0]) for sent, at in zip(sent_at(report), due, strict=False)]
    return max(map(abs, lag)) < 1.0


def theirs(report: Any) -> Medians:
    told = report["metrics"]
    ttft, gap = (
        told[f"{what}_ms"]["successful"]["median"]
        for what in ("time_to_first_token", "inter_token_latency")
    )
    return Medians(ttft, gap, told["request_totals"]["errored"])


def mean_gaps(waits: Sequence[Latencies]) -> list[float]:
    return [one.tpot for one in waits for _ in one.itl]


def own(load: UserLoad) -> Medians:
    ttft = percentile([one.ttft for one in load.latencies], 50)
    gap = percentile(mean_gaps(load.latencies), 50)
    return Medians(1e3 * ttft, 1e3 * gap, load.unserved)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("environment", type=Path, help="where GuideLLM is installed")
    parser.add_argument("--requests", type=int, default=64, help="of each round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rate", type=float, default=1.0, help="of the open load, a second")
    parser.add_argument("--dtype", default="fp32")
    options = parser.parse_args()
    count, rate = options.requests, options.rate
    profiles = {
        f"{USERS} users": f"kind=concurrent,streams={USERS}",
        f"{rate:g} requests/s": f"kind=poisson,rate={rate}",
    }
    rows: dict[str, list[tuple[Medians, Medians, float]]] = {name: [] for name in profiles}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export(MODEL, folder / "model")
        with running(ours("--dtype", options.dtype), folder / "log") as server:

            def load(asked: Sequence[Any], due: Sequence[float] | None) -> UserLoad:
                def ask(number: int) -> Any:
                    body = {
                        "model": MODEL,
                        "prompt": asked[number]["prompt"],
                        "max_tokens": asked[number]["output_tokens_count"],
                        "ignore_eos": True,
                        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
                    }
                    return tokens_from(server.endpoint.stream("/completions", body))

                if due is None:
                    return ask_in_turns(ask, USERS, len(asked), max_seconds=600)
                return ask_at(ask, due, max_seconds=600)

            load(bodies("warm", 0, 8), None)
            for round_ in range(options.rounds):
                for kind, profile in profiles.items():
                    due = None if profile.startswith("kind=conc") else arrivals(round_, count, rate)
                    for attempt in range(TRIES):
                        asked = bodies(f"{kind} {round_} {attempt}", round_, count)
                        report = guidellm(
                            options.environment, server, profile, asked, round_, folder
                        )
                        if due is None or on_time(report, due):
                            break
                        print("GuideLLM sent its requests all at once: once more", flush=True)
                    live = load(bodies(f"{kind} {round_}", round_, count), due)
                    gaps = [gap for one in live.latencies for gap in one.itl]
                    rows[kind].append((theirs(report), own(live), 1e3 * percentile(gaps, 50)))
                    print(kind, *rows[kind][-1], flush=True)
    return table(rows)


def table(rows: dict[str, list[tuple[Medians, Medians, float]]]) -> int:
    """Print it; the status to end with."""
    bad = False
    print("| load | TTFT P50, ms: GuideLLM, ours | mean gap P50, ms | our ITL P50 | failed |")
    print("| --- | --- | --- | --- | --- |")
    for kind, found in rows.items():
        pairs = []
        for what in ("ttft", "mean_gap"):
            of = [statistics.median(getattr(row[i], what) for row in found) for i in (0, 1)]
            bad |= abs(of[1] / of[0] - 1) > WITHIN
            pairs.append(f"{of[0]:.1f}, {of[1]:.1f} ({of[1] / of[0]:.2f})")
        failed = sum(row[0].failed + row[1].failed for row in found)
        bad |= failed > 0
        itl = statistics.median(row[2] for row in found)
        print(f"| {kind} | {pairs[0]} | {pairs[1]} | {itl:.1f} | {failed} |")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
