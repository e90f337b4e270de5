"""Many submissions, several at a time, and where it stopped it goes on.

Each is graded by a fork of this process, with a limit to its memory and time, which drives one
sandbox: so whatever a submission does to its grader ends with it, and costs its own time only.
Where a system has no fork, they are graded here, one after another.
"""

from __future__ import annotations

import contextlib
import ctypes
import hmac
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from decodeloop.course.grade.grading import DIED, Grade, Grader, Ready
from decodeloop.course.grade.sandbox import Kind, Limits
from decodeloop.course.grade.submissions import Submission

FORKS = sys.platform.startswith("linux")
MEMORY = 6 << 30  # bytes that a grader may use
LARGEST = 4 << 20  # bytes of what it tells
EVERY_S = 0.5  # looked after


@dataclass
class Running:
    """A fork that grades one submission."""

    pid: int
    pipe: int
    slot: int
    submission: Submission
    until: float
    told: bytearray


def graded(
    submissions: Sequence[Submission],
    lessons: Mapping[str, Sequence[Ready]],
    kind: Kind,
    folder: Path,
    limits: Limits,
    jobs: int,
    first_slot: int = 0,
) -> Iterator[tuple[Submission, list[Grade]]]:
    """The grades of each submission, in the order in which they are done.

    Args:
        lessons: by number, the exercises with what is expected.
        folder: what the sandbox has of the package (`sandbox.carried`).
        first_slot: of as many as there are jobs, which nobody else on this machine may have.
    """
    if not FORKS:
        for slot, one in enumerate(submissions):
            yield one, grade_one(one, lessons, kind, folder, limits, first_slot + slot % jobs)
        return
    waiting, running = list(reversed(submissions)), dict[int, Running]()
    try:
        while waiting or running:
            free = set(range(first_slot, first_slot + jobs)) - {x.slot for x in running.values()}
            while waiting and free:
                one, slot = waiting.pop(), free.pop()
                started = start(one, slot, lessons, kind, folder, limits)
                running[started.pipe] = started
            for done in finished(running):
                del running[done.pipe]
                yield done.submission, grades_told(done, lessons)
    finally:
        for left in running.values():
            end(left)


def start(
    one: Submission,
    slot: int,
    lessons: Mapping[str, Sequence[Ready]],
    kind: Kind,
    folder: Path,
    limits: Limits,
) -> Running:
    """Grade a submission in a fork."""
    reading, writing = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if not pid:
        try:
            os.close(reading)
            alone(parent)
            grades = grade_one(one, lessons, kind, folder, limits, slot)
            data = json.dumps([asdict(grade) for grade in grades]).encode()
            while data:
                data = data[os.write(writing, data) :]
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    exercises = lessons.get(one.lesson, ())
    seconds = sum(x.exercise.seconds for x in exercises) * limits.times + 2 * limits.start_s
    computing = sum(60.0 for _ in exercises)  # of ours, on a busy machine
    return Running(pid, reading, slot, one, time.monotonic() + seconds + computing, bytearray())


def alone(parent: int) -> None:
    """This fork ends with its parent, is deaf to the terminal, and has a limit to its memory."""
    import resource

    if FORKS:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    most = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def grade_one(
    one: Submission,
    lessons: Mapping[str, Sequence[Ready]],
    kind: Kind,
    folder: Path,
    limits: Limits,
    slot: int,
) -> list[Grade]:
    exercises = lessons.get(one.lesson, ())
    if one.refused:
        names = [x.exercise.name for x in exercises] or [""]
        return [Grade(name, "refused", what=one.refused) for name in names]
    return Grader(kind, folder, limits, slot).grades(one.cells, exercises)


def finished(running: Mapping[int, Running]) -> Iterator[Running]:
    """Those that have told their grades, or ended, or run out of time."""
    ready, *_ = select.select(list(running), [], [], EVERY_S)
    for pipe, fork in list(running.items()):
        told = os.read(pipe, 1 << 16) if pipe in ready else b""
        fork.told += told
        over = pipe in ready and not told
        late = time.monotonic() > fork.until or len(fork.told) > LARGEST
        if over or late:
            end(fork)
            yield fork


def end(fork: Running) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(fork.pid, signal.SIGKILL)  # it has told all, or never will
    os.waitpid(fork.pid, 0)
    os.close(fork.pipe)


def grades_told(fork: Running, lessons: Mapping[str, Sequence[Ready]]) -> list[Grade]:
    """What a fork told; where it told nothing whole, that its submission ended it."""
    try:
        return [Grade(**grade) for grade in json.loads(bytes(fork.told))]
    except ValueError:
        late = time.monotonic() > fork.until
        verdict, what = ("timed out", "it was stopped") if late else ("wrong", DIED)
        names = [x.exercise.name for x in lessons.get(fork.submission.lesson, ())]
        return [Grade(name, verdict, what=what) for name in names]  # type: ignore[arg-type]


class Record:
    """Grades on disk, a line for each submission, so that nothing is graded twice.

    A line belongs to the bytes of a notebook, and to how it was graded (`way`). Who has not got
    the key can neither write one nor change it: it is not believed.
    """

    def __init__(self, path: Path, way: str, key: bytes) -> None:
        self.path, self.way, self.secret = path, way, key
        self.known: dict[str, list[Grade]] = {}
        if path.exists():
            for line in path.read_text("utf-8", "replace").splitlines():
                self.take(line)

    def take(self, line: str) -> None:
        try:
            entry = json.loads(line)
            sealed = hmac.compare_digest(str(entry.pop("seal")), self.seal(entry))
            if sealed and entry["way"] == self.way:
                self.known[entry["submission"]] = [Grade(**grade) for grade in entry["grades"]]
        except (ValueError, KeyError, TypeError):
            return  # a line that was being written when all ended

    def grades(self, one: Submission) -> list[Grade] | None:
        return self.known.get(self.key(one))

    def add(self, one: Submission, grades: list[Grade]) -> None:
        """Raises `OSError` where it can't be written."""
        self.known[self.key(one)] = grades
        entry: dict[str, Any] = {
            "way": self.way,
            "submission": self.key(one),
            "student": one.student,
        }
        entry["grades"] = [asdict(grade) for grade in grades]
        line = json.dumps(entry | {"seal": self.seal(entry)})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n" if self.torn() else f"{line}\n")
            file.flush()
            os.fsync(file.fileno())

    def seal(self, entry: dict[str, Any]) -> str:
        """A digest of an entry that nobody makes without the key."""
        data = json.dumps(entry, sort_keys=True).encode()
        return hmac.new(self.secret, data, "sha256").hexdigest()

    def torn(self) -> bool:
        """Whether the last line was cut off."""
        try:
            with self.path.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                return file.read(1) != b"\n"
        except OSError:
            return False

    @staticmethod
    def key(one: Submission) -> str:
        return f"{one.lesson} {one.digest}" if one.digest else f"{one.lesson} {one.place}"


Told = Callable[[Submission, list[Grade]], None]

__all__ = ["Record", "graded"]
