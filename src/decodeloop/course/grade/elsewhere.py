"""Submissions graded by the workers of a `dask.distributed` cluster that stands already.

Each submission is one task. A worker finds out what is expected by itself, from the package that is
installed there, and grades in a fork and a sandbox of its own, as on one machine (`running`): so it
has to be the same version of the course, on Linux, with bubblewrap. What students wrote travels as
text; what comes back are grades.
"""

from __future__ import annotations

import functools
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from decodeloop.course.grade.expected import exercises, version
from decodeloop.course.grade.grading import Grade, Ready
from decodeloop.course.grade.running import graded
from decodeloop.course.grade.sandbox import Kind, Limits, carried, demand_a_system, probe
from decodeloop.course.grade.submissions import Submission
from decodeloop.errors import UserError, one_line

SLOTS = 5000  # users that are nobody, one for each thread of a machine that grades
PATIENCE_S = 15  # until a scheduler answers
TRIES = 3  # for a worker that is lost


@dataclass(frozen=True)
class Task:
    """How a submission is to be graded."""

    version: str  # of the exercises and the grader, by their bytes
    seed: int | None
    kind: Kind
    limits: Limits


@dataclass(frozen=True)
class Unable:
    """Why a worker can't grade."""

    where: str
    why: str


def graded_by(
    address: str, submissions: Sequence[Submission], task: Task
) -> Iterator[tuple[Submission, list[Grade]]]:
    """The grades of each submission, in the order in which they are done.

    Raises:
        UserError: dask is not installed, nobody is at the address, or a worker can't grade.
    """
    distributed = imported()
    try:
        client = distributed.Client(address, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise UserError(
            f"no scheduler answers at {address!r} ({one_line(error)}): expected an address such as "
            f"tcp://host:8786, as 'dask scheduler' prints it."
        ) from None
    with client:
        if not client.scheduler_info()["workers"]:
            raise UserError(f"the scheduler at {address} has no workers: start some.")
        futures = {
            client.submit(grade_there, one, task, pure=False, retries=TRIES): one
            for one in submissions
        }
        for future in distributed.as_completed(futures, loop=client.loop):
            yield futures[future], grades_of(future)


def imported() -> Any:
    try:
        import distributed
    except ImportError:
        raise UserError(
            "--scheduler needs dask.distributed: python -m pip install 'decodeloop[grade]'."
        ) from None
    return distributed


def grades_of(future: Any) -> list[Grade]:
    """What came of a task.

    Raises:
        UserError: no worker could do it.
    """
    error = future.exception()
    if error is not None:
        raise UserError(
            f"a worker failed ({type(error).__name__}: {one_line(error)}): run it again, what was "
            f"graded is kept."
        )
    found: list[Grade] | Unable = future.result()
    if isinstance(found, Unable):
        raise UserError(f"the worker on {found.where} can't grade: {found.why}.")
    return found


def grade_there(one: Submission, task: Task) -> list[Grade] | Unable:
    """On a worker: one submission, in a fork of it."""
    if why := unable(task):
        return Unable(socket.gethostname(), why)
    lessons = {one.lesson: prepared(one.lesson, task.seed)} if one.lesson else {}
    slot = threading.get_native_id() % SLOTS  # so no two share a user, and its limits
    with carried() as folder:
        arguments = (lessons, task.kind, folder, task.limits)
        [(_, grades)] = graded([one], *arguments, jobs=1, first_slot=slot)
    return grades


def unable(task: Task) -> str:
    """Why this machine can't grade; nothing if it can."""
    try:
        demand_a_system()
    except UserError as error:
        return one_line(error)
    if task.kind == "bubblewrap" and (why := probe()):
        return why
    return "" if version() == task.version else "it has another version of the course"


@functools.lru_cache(maxsize=4)
def prepared(number: str, seed: int | None) -> list[Ready]:
    """The exercises of a lesson with what is expected, found out once on each worker."""
    import torch

    torch.set_num_threads(1)  # a fork of a process whose threads compute would wait for them
    return exercises(number, seed)


__all__ = ["Task", "graded_by"]
