"""Contenders in processes of their own, started and asked from here."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, cast

from decodeloop.bar import Progress
from decodeloop.bench.contenders import Contender


class Asked(Protocol):
    """What of the settings of a bench a worker needs."""

    @property
    def model(self) -> str: ...

    @property
    def thread_count(self) -> int: ...


class Worker:
    """A contender in a process of its own."""

    def __init__(self, contender: Contender, settings: Asked) -> None:
        threads = settings.thread_count
        self.contender = contender
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "decodeloop.bench.worker",
                contender.name,
                settings.model,
                str(threads),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": str(threads), "NUMBA_NUM_THREADS": str(threads)},
            encoding="utf-8",
        )
        self.error = ""

    def read(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"it ended ({self.process.wait()})"}
        self.error = answer.get("error", "")
        return cast(dict[str, Any], answer)

    def run(self, ids: Sequence[int], new_tokens: int, **more: int) -> dict[str, Any]:
        """Ask for a run; `more` is the batch, and whether memory is counted afresh."""
        assert self.process.stdin
        asked = {"ids": list(ids), "new_tokens": new_tokens, **more}
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(asked) + "\n")
            self.process.stdin.flush()
        return self.read()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


@contextlib.contextmanager
def started(
    contenders: Sequence[Contender], settings: Asked, progress: Progress
) -> Iterator[list[Worker]]:
    """Workers that are ready, or have an error; they end with the block."""
    workers: list[Worker] = []
    try:
        for number, contender in enumerate(contenders):
            progress("load", number / len(contenders))
            workers.append(Worker(contender, settings))
            workers[-1].read()  # one after the other: loading takes all threads
        progress("load", 1.0)
        yield workers
    finally:
        for worker in workers:
            worker.close()
