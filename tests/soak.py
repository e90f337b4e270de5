"""A server at saturation for long, by good clients and by bad ones: `make soak`.

Whether tokens are wrong can be said in fp32 alone: 8-bit products round otherwise for many texts.
It starts `decodeloop serve` and asks it, from so many threads, a mix: good requests, streamed or
not, of which every tenth is compared with `generate`; hang-ups at a random moment; bad bodies; and
prompts that can't fit. The cache has room for some four of the longest texts, fewer than are
computed at a time: so blocks are taken from what was kept of old prompts, and texts are sent back.
At the end it says in one JSON object what came of it, and exits with 1 if

- a token was wrong, or a good request was not answered,
- a bad one was not refused with 4xx,
- none was ever sent back for blocks,
- a block was not free at the end,
- the process has grown by more than 3 % since its first five minutes (a run of less than ten
  minutes only says by how much, since its first fifth),
- or something unexpected stands in its log.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx
import psutil
import torch

from decodeloop.decode import stream
from decodeloop.loading import load

WORDS = ["one", "two", "six", "ten", "red", "green", "blue", "small", "large", "old", "new"]
BAD = [b"", b"{", b"[]", b'{"prompt": 5}', b'{"temperature": "hot"}', b"\xff" * 99, b"[" * 9999]
SETTLED = 10.0  # minutes: a shorter run ends before a process has its size
JSON = {"content-type": "application/json"}
KV_USED = "kv_blocks_used"
HISTOGRAM = re.compile(r"_(bucket|created|sum)\b")


@dataclass
class Told:
    """What came of it so far; many threads write."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    counts: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    wrong: list[str] = field(default_factory=list)
    _good: int = 0  # that have an answer

    def tenth(self) -> bool:
        """Whether this answer is one of those that are compared."""
        with self.lock:
            self._good += 1
            is_tenth = self._good % 10 == 1
            self.compared += is_tenth
        return is_tenth

    def count(self, kind: str, wrong: str | None = None) -> None:
        with self.lock:
            self.counts[kind] += 1
            if wrong is not None:
                self.wrong.append(f"{kind}: {wrong}"[:300])


@dataclass(frozen=True)
class Question:
    prompt: str
    tokens: int
    answer: str  # what `generate` makes of it


def questions(model: str, dtype: str, draw: random.Random, count: int) -> list[Question]:
    """Prompts of many lengths, and what a text alone becomes."""
    llm = load(model, dtype=dtype)
    made = []
    for _ in range(count):
        prompt = " ".join(draw.choices(WORDS, k=draw.randrange(1, 80)))
        tokens = draw.randrange(4, 32)
        made.append(Question(prompt, tokens, stream(llm, prompt, tokens, raw=True).read()))
    return made


def body_of(question: Question, name: str, streamed: bool) -> dict[str, object]:
    return {
        "model": name,
        "prompt": question.prompt,
        "max_tokens": question.tokens,
        "temperature": 0,
        "stream": streamed,
    }


def good(client: httpx.Client, question: Question, name: str, draw: random.Random) -> str:
    """The text of an answer."""
    if draw.random() < 0.5:
        told = client.post("/v1/completions", json=body_of(question, name, False))
        told.raise_for_status()
        text: str = told.json()["choices"][0]["text"]
        return text
    pieces = []
    with client.stream("POST", "/v1/completions", json=body_of(question, name, True)) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if line.startswith("data: {"):
                pieces += [choice["text"] for choice in json.loads(line[6:])["choices"]]
    return "".join(pieces)


def hang_up(client: httpx.Client, question: Question, name: str, draw: random.Random) -> None:
    """Leave at a random moment, in the middle of a stream or while nothing has come."""
    if draw.random() < 0.5:
        body = body_of(question, name, True)
        with client.stream("POST", "/v1/completions", json=body) as response:
            for number, _ in enumerate(response.iter_lines()):
                if number >= draw.randrange(8):
                    return
        return
    patience = httpx.Timeout(60, read=draw.uniform(0.01, 0.5))
    try:
        client.post("/v1/completions", json=body_of(question, name, False), timeout=patience)
    except httpx.ReadTimeout:
        return


def user(number: int, url: str, name: str, asked: list[Question], end: float, told: Told) -> None:
    """One thread: request after request, until the time is up."""
    draw = random.Random(number)
    client = httpx.Client(base_url=url, timeout=120)
    while time.monotonic() < end:
        question, kind = draw.choice(asked), draw.random()
        try:
            if kind < 0.7:
                text, wrong = good(client, question, name, draw), None
                if told.tenth() and text != question.answer:
                    wrong = f"{text!r}, not {question.answer!r}, behind {question.prompt!r}"
                told.count("good", wrong)
            elif kind < 0.85:
                hang_up(client, question, name, draw)
                told.count("hang-up")
            else:
                long = {"model": name, "prompt": "red " * 9000}
                content = draw.choice(BAD) if kind < 0.93 else json.dumps(long).encode()
                status = client.post("/v1/completions", content=content, headers=JSON).status_code
                refused = 400 <= status < 500
                told.count("bad", None if refused else f"{content[:40]!r} got {status}")
        except httpx.HTTPStatusError as error:
            if error.response.status_code == 429:
                told.count("full")
                time.sleep(0.2)
            else:
                told.count("good", f"status {error.response.status_code}")
        except httpx.HTTPError as error:
            told.count("failed", repr(error))
            client = httpx.Client(base_url=url, timeout=120)


def metrics_at(url: str) -> dict[str, float]:
    """What the server tells of itself, without the parts of its histograms."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    pairs = (line.removeprefix("decodeloop_").rsplit(" ", 1) for line in lines if line[:1] > "#")
    return {name: float(value) for name, value in pairs if not HISTOGRAM.search(name)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--users", type=int, default=12)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--dtype", default="fp32", help="int8 rounds otherwise in company")
    parser.add_argument("--cache-memory", default="24MB", help="the server's, for its blocks")
    parser.add_argument("--draft", help="as for serve")
    parser.add_argument("--least", type=int, default=2000, help="requests, or it is no soak")
    options = parser.parse_args()
    seconds = 60 * options.minutes
    torch.set_num_threads(1)
    asked = questions(options.model, options.dtype, random.Random(0), 40)
    words = ["serve", "--model", options.model, "--dtype", options.dtype, "--port", "0"]
    words += ["--max-waiting", "8", "--cache-memory", options.cache_memory]
    words += ["--draft", options.draft] if options.draft else []
    process = subprocess.Popen(
        [sys.executable, "-m", "decodeloop", *words],
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stderr is not None
    log: list[str] = []
    try:
        for line in process.stderr:
            log.append(line)
            if found := re.search(r"note: (\S+) answers at (\S+)/v1", line):
                break
        else:
            raise SystemExit("".join(log))
        name, url = found[1], found[2]
        log.clear()
        threading.Thread(target=lambda: log.extend(process.stderr), daemon=True).start()
        told, end = Told(), time.monotonic() + seconds
        threads = [
            threading.Thread(target=user, args=(number, url, name, asked, end, told), daemon=True)
            for number in range(options.users)
        ]
        for thread in threads:
            thread.start()
        memory = psutil.Process(process.pid).memory_info
        time.sleep(min(300.0, seconds / 5))
        early = memory().rss
        for thread in threads:
            thread.join(seconds + 300)
        deadline = time.monotonic() + 30
        metrics = {KV_USED: 1.0}
        while metrics[KV_USED] and time.monotonic() < deadline:
            time.sleep(0.2)
            metrics = metrics_at(url)
        late = memory().rss
        process.terminate()
        status = process.wait(60)
    finally:
        process.kill()
    requests = told.counts.total() - told.counts["full"]
    checks = {
        "requests": requests >= options.least,
        "nothing wrong": not told.wrong,
        "blocks free": metrics[KV_USED] == 0,
        "sent back": metrics["preemptions_total"] > 0,
        "memory": late <= 1.03 * early or options.minutes < SETTLED,
        "log": not log,
        "status": status == 0,
    }
    report = {
        "minutes": options.minutes,
        "users": options.users,
        "model": options.model,
        "dtype": options.dtype,
        "draft": options.draft,
        "requests": requests,
        **told.counts,
        "compared": told.compared,
        "wrong": told.wrong[:20],
        "metrics_at_the_end": metrics,
        "memory_mb": {"early": early / 1e6, "late": late / 1e6, "growth": late / early - 1},
        "log": log[:20],
        "checks": checks,
    }
    print(json.dumps(report, indent=1))
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
