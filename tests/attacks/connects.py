"""Thousands of rapid connects, while a hundred slow ones hold on: the server goes on answering.

`make attack` runs it; `make test` has 2,000 of them, one after another.
"""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))
from live_servers import NAME, all_free, live, tiny_speaker, wait_until

SLOW = 100


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connects", type=int, default=10_000)
    options, _ = parser.parse_known_args()  # what is meant for the other attacks
    body = {"model": NAME, "prompt": "hello", "max_tokens": 2, "temperature": 0}
    with tempfile.TemporaryDirectory() as folder, live(tiny_speaker(Path(folder))) as server:
        url = httpx.URL(server.url)
        address = (url.host, url.port)
        waits: list[float] = []
        over = threading.Event()

        def good() -> None:
            while not over.is_set():
                began = time.monotonic()
                told = httpx.post(f"{server.url}/v1/completions", json=body, timeout=60)
                told.raise_for_status()
                waits.append(time.monotonic() - began)

        asking = threading.Thread(target=good, daemon=True)
        with ExitStack() as stack:
            for _ in range(SLOW):
                one = stack.enter_context(socket.create_connection(address, timeout=60))
                one.sendall(b"POST /v1/completions HTTP/1.1\r\nX-Slow: ")
            asking.start()
            for _ in range(options.connects):
                socket.create_connection(address, timeout=60).close()
            over.set()
            asking.join(60)
        answered = httpx.post(f"{server.url}/v1/completions", json=body, timeout=60).status_code
        wait_until(lambda: server.service.here == 0 and all_free(server), 20)
    print(
        f"{options.connects} connects beside {SLOW} slow ones; {len(waits)} requests answered "
        f"meanwhile, the slowest after {max(waits, default=0):.1f} s; afterwards: {answered}"
    )
    return 0 if waits and answered == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
