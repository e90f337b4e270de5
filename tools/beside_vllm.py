"""Our server beside vLLM's: the same client, the same load, in turn. `make peers-vllm` runs it.

vLLM is in an environment of its own, since it brings its own PyTorch; ours is this one. All servers
are up together, and rounds go from one to the next, so that whatever else the machine does meets
all of them; each round asks what was never asked before. It ends in a table of medians and one line
of JSON. Quality is how many of 20 prompts each continues, greedily, as the first of ours does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
from pathlib import Path

from server_processes import Server, ours, running

from decodeloop.bench.serving import LoadRow, LoadSettings, bench_server
from decodeloop.exporting import export

MODEL = "smollm2-135m"
OURS = ("fp32", "int8", "w8a8")
THEIRS = {"float32": "vLLM fp32", "bfloat16": "vLLM bf16"}
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
PLACES = ["France", "Japan", "Egypt", "Peru", "Norway", "Kenya", "Spain", "Chile", "India", "Oman"]
PROMPTS = [f"The capital of {place} is" for place in PLACES]
PROMPTS += [f"A short story from {place}:" for place in PLACES]


def vllm(environment: Path, folder: Path, dtype: str) -> list[str]:
    """The command of vLLM's server; a port is to follow."""
    words = f"--served-model-name {MODEL} --host 127.0.0.1 --dtype {dtype} --max-model-len 2048"
    return [str(environment / "bin/vllm"), "serve", str(folder), *words.split(), "--port"]


def texts(server: Server) -> list[str]:
    """What it makes of the prompts, greedily."""
    body = {"model": MODEL, "max_tokens": 32, "temperature": 0}
    said = []
    for prompt in PROMPTS:
        events = server.endpoint.stream("/completions", {**body, "prompt": prompt})
        said.append("".join(c["text"] for event in events for c in event.get("choices", ())))
    return said


def measured(server: Server, users: int, seed: int, options: argparse.Namespace) -> LoadRow:
    """One round with so many users, each of whom asks at least `--each` times."""
    settings = LoadSettings(
        MODEL,
        users=(users,),
        requests=max(options.each * users, 4),
        prompt_words=options.prompt_tokens,
        new_tokens=options.new_tokens,
        seconds=600,
        seed=seed,
    )
    return bench_server(server.endpoint, settings)[0]


def summed(rows: list[LoadRow]) -> dict[str, float]:
    """Medians of the rounds; times in ms."""
    return {
        "tokens_per_s": statistics.median(row.tokens_per_s for row in rows),
        "least": min(row.tokens_per_s for row in rows),
        "most": max(row.tokens_per_s for row in rows),
        "ttft_p50": 1e3 * statistics.median(row.ttft["p50"] for row in rows),
        "ttft_p90": 1e3 * statistics.median(row.ttft["p90"] for row in rows),
        "itl_p50": 1e3 * statistics.median(row.itl["p50"] for row in rows),
        "itl_p90": 1e3 * statistics.median(row.itl["p90"] for row in rows),
        "failed": sum(row.failed for row in rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("environment", type=Path, help="where vLLM is installed")
    parser.add_argument("--ours", nargs="+", default=OURS, help="types of our weights")
    parser.add_argument("--users", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--each", type=int, default=2, help="requests of a user in a round")
    parser.add_argument("--prompt-tokens", type=int, default=120)
    parser.add_argument("--new-tokens", type=int, default=64)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        export(MODEL, folder / "model")
        commands = {name: ours("--dtype", name, "--max-batch", "16") for name in options.ours}
        for dtype, name in THEIRS.items():
            commands[name] = vllm(options.environment, folder / "model", dtype)
        servers = {
            name: stack.enter_context(running(command, folder / f"{n}.log", ENVIRONMENT))
            for n, (name, command) in enumerate(commands.items())
        }
        said = {name: texts(server) for name, server in servers.items()}
        rows: dict[tuple[str, int], list[LoadRow]] = {}
        for seed in range(options.rounds):
            for users in options.users:
                for name, server in servers.items():
                    row = measured(server, users, seed, options)
                    rows.setdefault((name, users), []).append(row)
                    print(f"{name}, {users} users: {row.tokens_per_s:.0f} tokens/s", flush=True)
        memory = {name: server.memory / 1e6 for name, server in servers.items()}
    same = {n: sum(map(str.__eq__, own, said[options.ours[0]])) for n, own in said.items()}
    found = {key: summed(own) for key, own in rows.items()}
    print("\n| | users | tokens/s | TTFT P50, P90, ms | ITL P50, P90, ms | MB | same text of 20 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for (name, users), one in found.items():
        print(
            f"| {name} | {users} | {one['tokens_per_s']:.0f} "
            f"({one['least']:.0f}–{one['most']:.0f}) | {one['ttft_p50']:.0f}, "
            f"{one['ttft_p90']:.0f} | {one['itl_p50']:.0f}, {one['itl_p90']:.0f} | "
            f"{memory[name]:.0f} | {same[name]} |"
        )
    told = [{"server": name, "users": users, **one} for (name, users), one in found.items()]
    print(json.dumps({"rows": told, "memory_mb": memory, "same_text_of_20": same}))


if __name__ == "__main__":
    main()
