"""Grading is killed at any moment and run again: the table is as if nobody had killed it.

No process is left, either.

    python tests/attacks/grading_kills.py [--count N] [--seed S]
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from attacking import Report, command_line
from hostile_submissions import ANSWERS, notebook

from decodeloop.bar import silent
from decodeloop.course.grade.sandbox import Limits, probe
from decodeloop.course.grade.session import Asked, session

HANDED_IN = ("00 right", "07 forged output", "23 daemon", "24 exit", "26 stub", "27 syntax")
LIMITS = Limits(times=0.5)
USUAL = 10  # kills
PATIENCE_S = 10.0  # until what was started has gone
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: whoever loses its parent becomes a child of ours
Table = list[tuple[str, ...]]


def grade(folder: Path, record: Path) -> Table:
    """The table without the time that it took."""
    options = {"trust": bool(probe()), "limits": LIMITS, "record": record}
    rows = session(Asked([folder], lesson="11", jobs=2, seed=5, **options), silent)
    return [(*row.cells()[:6], row.cells()[7]) for row in rows]


def start(folder: Path, record: Path) -> int:
    """A grading in a process of its own; its number."""
    process = os.fork()
    if process == 0:
        with contextlib.suppress(BaseException):
            os.setsid()
            grade(folder, record)
        os._exit(0)
    return process


def left_over() -> int:
    """How many processes have not gone, some time after the one that started them."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.01)
        except ChildProcessError:
            return 0
    own = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    for process in own:
        os.kill(int(process), signal.SIGKILL)
    return len(own)


def attack(count: int | None, seed: int, report: Report) -> tuple[int, int]:
    torch.set_num_threads(1)
    ctypes.CDLL(None).prctl(SUBREAPER, 1)
    draw, bad = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "handed in"
        folder.mkdir()
        for student in HANDED_IN:
            (folder / f"{student}.ipynb").write_text(notebook(ANSWERS[student][0]), "utf-8")
        began = time.monotonic()
        wanted = grade(folder, Path(name) / "whole.jsonl")
        span = time.monotonic() - began
        for number in range(count or USUAL):
            record, after = Path(name) / f"{number}.jsonl", draw.random() * span
            process = start(folder, record)
            time.sleep(after)
            os.kill(process, signal.SIGKILL)
            if left := left_over():
                bad += 1
                report(f"killed after {after:.2f} s: {left} processes are left")
            kept = len(record.read_text("utf-8").splitlines()) if record.exists() else 0
            if grade(folder, record) != wanted:
                bad += 1
                report(f"killed after {after:.2f} s, with {kept} graded: another table")
    return count or USUAL, bad


if __name__ == "__main__":
    command_line(__doc__, "kills of a grading", attack)
