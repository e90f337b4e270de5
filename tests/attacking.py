"""What the attacks have in common: a fork for each, some that are drawn, and a command line."""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Report = Callable[[str], None]
SECONDS = 60  # an attack in a fork may take


def drawn(every: Sequence[Item], count: int | None, seed: int) -> Sequence[Item]:
    """So many of them, or all."""
    return every if count is None else random.Random(seed).sample(every, count)


def told_by_a_fork(tell: Callable[[], str]) -> str:
    """What `tell` says in a fork of this process, or what became of that where it can't."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        try:
            told = tell()
        except BaseException as error:
            told = f"a traceback of ours: {type(error).__name__}: {str(error)[:300]}"
        os.write(writing, told.encode("utf-8", "replace")[:2000])
        os._exit(0)
    os.close(writing)
    until = time.monotonic() + SECONDS
    ended = status = 0
    while not ended and time.monotonic() < until:
        time.sleep(0.005)
        ended, status = os.waitpid(child, os.WNOHANG)
    if not ended:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with open(reading, "rb") as pipe:
        told = pipe.read().decode("utf-8", "replace")
    if not ended:
        return f"it did not come back in {SECONDS} s"
    return f"the process ended by signal {status}" if os.WIFSIGNALED(status) else told


def command_line(
    doc: str | None, what: str, attack: Callable[[int | None, int, Report], tuple[int, int]]
) -> None:
    """``--count`` and ``--seed`` of a script: how many were tried and ended badly; exit with 1 if
    any did. `attack` takes both, and who is told of each bad end."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--count", type=int, help="so many, drawn; all if not given")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    tried, bad = attack(asked.count, asked.seed, print)
    print(f"{tried} {what}, {bad} bad ends")
    sys.exit(1 if bad else 0)
