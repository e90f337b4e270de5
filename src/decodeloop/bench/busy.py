"""Another program at work: one core held by an endless loop."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

# It says that it runs, and ends with whoever holds the other end of its input, however that ends.
ENDLESS = """
import os, sys, threading
def wait():
    sys.stdin.read()
    os._exit(0)
threading.Thread(target=wait, daemon=True).start()
print("runs", flush=True)
while True:
    pass
"""


@contextlib.contextmanager
def core_held() -> Iterator[subprocess.Popen[str]]:
    """Inside, another process computes without end, on any one core; it ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    )
    try:
        assert process.stdout
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()
