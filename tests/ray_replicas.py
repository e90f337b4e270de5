"""Two replicas behind Ray Serve's router, asked while one is killed: `make test-ray`.

Ray is in an environment of its own, and starts slowly where the machine is busy, so this is no part
of `make test`. It exits with 1 unless

- both answer, and say the same greedy text,
- after one is killed among streaming clients, all later requests are answered, by two again,
- a client that hangs up frees its text,
- and a signal ends all of it with status 0.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import psutil
from tiny_models import random_llama, save_folder

ANSWER = {"prompt": "hello world", "max_tokens": 200, "temperature": 0, "ignore_eos": True}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def replicas_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that answer; Ray names them so."""
    family = psutil.Process(process.pid).children(recursive=True)
    return [one for one in family if "ServeReplica" in "".join(one.cmdline())]


def ask(url: str, body: dict[str, object]) -> str:
    """The text of a streamed answer; an exception if it is cut."""
    text, ended = "", False
    with httpx.stream("POST", f"{url}/v1/completions", json={**body, "stream": True}) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if line == "data: [DONE]":
                ended = True
            elif line.startswith("data: "):
                text += "".join(choice["text"] for choice in json.loads(line[6:])["choices"])
    if not ended:
        raise EOFError(f"cut after {len(text)} characters")
    return text


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        model = save_folder(Path(folder) / "tiny", random_llama(max_position_embeddings=512))
        port = free_port()
        words = ["serve", "--model", str(model), "--no-compiled", "--device", "cpu"]
        process = subprocess.Popen(
            [sys.executable, "-m", "decodeloop", *words, "--port", str(port), "--replicas", "2"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            encoding="utf-8",
        )
        try:
            return attack(process)
        finally:
            process.kill()


def attack(process: subprocess.Popen[str]) -> int:
    began, log = time.monotonic(), list[str]()
    assert process.stderr is not None
    for line in process.stderr:
        log.append(line)
        if found := re.search(r"note: (\S+) answers at (\S+)/v1", line):
            break
    else:
        print("".join(log[-30:]))
        return 1
    name, url = found[1], found[2]
    threading.Thread(target=lambda: log.extend(process.stderr), daemon=True).start()
    print(f"up after {time.monotonic() - began:.0f} s")
    body = {**ANSWER, "model": name}
    first = {ask(url, body) for _ in range(12)}
    before = replicas_of(process)
    print(f"{len(before)} replicas say {len(first)} text(s)")

    results, stop = list[tuple[float, str]](), threading.Event()

    def client() -> None:
        while not stop.is_set():
            try:
                same = ask(url, body) in first
                results.append((time.monotonic(), "answered" if same else "another text"))
            except (httpx.HTTPError, EOFError, KeyError) as error:
                results.append((time.monotonic(), type(error).__name__))

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(3)
    killed = time.monotonic()
    before[0].kill()
    time.sleep(25)
    stop.set()
    for thread in threads:
        thread.join(60)
    told = Counter(what for _, what in results)
    late = [what for when, what in results if when > killed + 5]
    after = replicas_of(process)
    print(f"{dict(told)}; 5 s after the kill: {dict(Counter(late))}; {len(after)} replicas")

    with httpx.stream("POST", f"{url}/v1/completions", json={**body, "stream": True}) as stream:
        next(stream.iter_lines())
    end, aborted = time.monotonic() + 20, 0.0
    while not aborted and time.monotonic() < end:
        metrics = httpx.get(f"{url}/metrics").text  # of one replica or the other
        gone = re.search(r'texts_total{outcome="aborted"} (\S+)', metrics)
        aborted = float(gone[1]) if gone else 0.0
    process.send_signal(signal.SIGTERM)
    status = process.wait(60)
    checks = {
        "two replicas": len(before) == 2,
        "one text": len(first) == 1 and not told["another text"],
        "answered afterwards": bool(late) and set(late) == {"answered"},
        "replaced": len(after) == 2,
        "few were cut": sum(told.values()) - told["answered"] <= 8,
        "hang-up": aborted > 0,
        "status": status == 0,
    }
    print(json.dumps(checks))
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
