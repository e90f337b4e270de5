"""GuideLLM's figures beside those of `bench --url`: the same server, the same load, in turn.

GuideLLM is a load generator that nobody here wrote, in an environment of its own: `pip install
guidellm==0.8.1`. A closed load of 4 users, and an open one whose requests come at random (Poisson),
each with both clients; it ends in a table of medians, and in status 1 if a request failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from server_processes import Server, ours, running

from decodeloop.bench.serving import LoadRow, LoadSettings, bench_server
from decodeloop.exporting import export

MODEL = "smollm2-135m"
PROMPT, NEW, USERS = 100, 32, 4


def guidellm(environment: Path, server: Server, profile: str, count: int, folder: Path) -> Any:
    """Its report of one profile."""
    report = folder / "report.json"
    target = f"target={server.endpoint.url},model={MODEL},request_format=/v1/completions"
    words = [
        *(
            "--backend",
            f"kind=openai_http,{target}",
        ),
        *("--profile", profile),
        *("--constraint", f"kind=max_requests,count={count}"),
        *("--tokenizer", f"kind=huggingface_auto,model={folder / 'model'}"),
        *("--data", f"kind=synthetic_text,prompt_tokens={PROMPT},output_tokens={NEW}"),
        *("--output", f"kind=json,path={report}"),
    ]
    done = subprocess.run(
        [str(environment / "bin/guidellm"), "run", *words],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        encoding="utf-8",
    )
    if done.returncode:
        raise SystemExit(done.stdout[-1000:] + done.stderr[-1000:])
    return json.loads(report.read_text("utf-8"))["benchmarks"][0]


def own(server: Server, load: dict[str, Any], count: int) -> LoadRow:
    settings = LoadSettings(
        MODEL, requests=count, prompt_words=PROMPT, new_tokens=NEW, seconds=600, **load
    )
    return bench_server(server.endpoint, settings)[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("environment", type=Path, help="where GuideLLM is installed")
    parser.add_argument("--requests", type=int, default=48)
    parser.add_argument("--rate", type=float, default=1.0, help="of the open load, a second")
    parser.add_argument("--dtype", default="fp32")
    options = parser.parse_args()
    failed, count = 0, options.requests
    loads: dict[str, dict[str, Any]] = {
        f"kind=concurrent,streams={USERS}": {"users": (USERS,)},
        f"kind=poisson,rate={options.rate}": {"users": (), "rates": (options.rate,)},
    }
    print("| load | TTFT P50, ms: GuideLLM, ours | ITL P50, ms: GuideLLM, ours | failed |")
    print("| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export(MODEL, folder / "model")
        with running(ours("--dtype", options.dtype), folder / "log") as server:
            for seed, (profile, load) in enumerate(loads.items()):
                theirs = guidellm(options.environment, server, profile, count, folder)["metrics"]
                row = own(server, {**load, "seed": seed}, count)  # no prompt twice
                ttft, itl = (
                    theirs[f"{what}_ms"]["successful"]["median"]
                    for what in ("time_to_first_token", "inter_token_latency")
                )
                errors = theirs["request_totals"]["errored"] + row.failed
                failed += errors
                print(
                    f"| {profile} | {ttft:.0f}, {1e3 * row.ttft['p50']:.0f} | {itl:.1f}, "
                    f"{1e3 * row.itl['p50']:.1f} | {errors} |",
                    flush=True,
                )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
