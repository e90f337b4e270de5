"""Servers as processes of their own, for programs that load them: begun, and always ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from decodeloop.serve.client import Endpoint


@dataclass(frozen=True)
class Server:
    """One that answers, and its process."""

    endpoint: Endpoint
    process: psutil.Process

    @property
    def memory(self) -> float:
        """Bytes that it and its children hold."""
        family = [self.process, *self.process.children(recursive=True)]
        return float(sum(one.memory_info().rss for one in family))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def ours(*options: str) -> list[str]:
    """The command of our server; a port is to follow."""
    return [sys.executable, "-m", "decodeloop", "serve", *options, "--port"]


@contextlib.contextmanager
def running(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    seconds: float = 300.0,
) -> Iterator[Server]:
    """A server that is started by a command and the port behind it; what it says goes to `log`."""
    port = free_port()
    with log.open("wb") as said:
        process = subprocess.Popen(
            [*command, str(port)],
            stdout=said,
            stderr=subprocess.STDOUT,
            env=os.environ | dict(environment or {}),
            start_new_session=True,  # so that its children end with it
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, log, seconds)
        yield Server(Endpoint(f"http://127.0.0.1:{port}", seconds=600), psutil.Process(process.pid))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    """Until it answers; a SystemExit with the end of its log, if it never does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.5)
    raise SystemExit(f"{url} never answered:\n{log.read_text(errors='replace')[-2000:]}")
