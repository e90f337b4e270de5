"""Ranks in processes of their own: started, asked, watched and ended from here.

Three things are demanded of them. A rank that dies is named within seconds, though the others wait
for it. An interrupt in the middle of a request ends them all: they stand at different places then.
And none outlives this process, however that ends (each reads from a pipe that ends with it).
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from decodeloop.cost.checks import check_whole
from decodeloop.errors import UserError, one_line

GRACE_S = 0.5  # what else ends within it counts as one event, of which the cause is looked for
PATIENCE_S = 600.0  # of a request
STUCK_S = 5.0  # for a process that was killed to be gone
Event = tuple[int, str, Any]  # which rank, of what kind, and what it said
KINDS = ("died", "refused", "failed", "lost")  # of a failure: each may be the cause of those behind


class WorkerError(UserError):
    """A worker died, failed, or does not answer; all of them were ended."""


class Workers:
    """`ranks` processes that run one function, and stay until they are closed.

    Args:
        function: of a module, since the processes import it by name. It is called once in each, as
            ``function(group, **options)``, and returns what answers a request there.
        ranks: how many.
        threads: of PyTorch, in each; if not given, the machine's cores divided among them.
        options: the same for all.

    Raises:
        UserError: the function is in no module, or refuses the options.
        WorkerError: a process died or failed on its way.
    """

    def __init__(
        self,
        function: Callable[..., Callable[..., Any]],
        ranks: int,
        *,
        threads: int | None = None,
        **options: Any,
    ) -> None:
        check_whole("Workers", ranks=ranks)
        check_importable(function)
        if threads is None:
            threads = max(1, (os.cpu_count() or 1) // ranks)
        self.ranks = ranks
        self._why_closed = ""
        self._said: queue.SimpleQueue[Event] = queue.SimpleQueue()
        folder = Path(tempfile.mkdtemp(prefix="decodeloop-ranks-"))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._end = weakref.finalize(self, end, self._processes, folder)
        self._logs = [folder / f"rank-{rank}.log" for rank in range(ranks)]
        try:
            for rank in range(ranks):
                self._processes.append(start(folder, rank, ranks, threads))
                self._listen(rank)
            self._tell([str(Path(entry).absolute()) for entry in sys.path])
            self._tell((function.__module__, function.__name__, options))
            self._collect(PATIENCE_S)
        except BaseException:
            self.close("they could not be started")
            raise

    @property
    def processes(self) -> list[int]:
        """Their numbers, as the system has them."""
        return [process.pid for process in self._processes]

    def ask(self, *request: Any, seconds: float = PATIENCE_S) -> list[Any]:
        """Give every rank a request, and give what each of them answers.

        Raises:
            WorkerError: one of them died, failed, or did not answer in time; or they are closed.
        """
        if self._why_closed:
            raise WorkerError(f"the workers were ended: {self._why_closed}; start them again.")
        try:
            self._tell(request)
            return self._collect(seconds)
        except KeyboardInterrupt:
            self.close("a request was interrupted")
            raise
        except BaseException as error:
            self.close(one_line(error))
            raise

    def close(self, why: str = "they were closed") -> None:
        """End them all; what they held is gone."""
        self._why_closed = self._why_closed or why
        self._end()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, what: Any) -> None:
        data = pickle.dumps(what)
        for process in self._processes:
            assert process.stdin
            with contextlib.suppress(OSError):  # a dead one is found out below
                process.stdin.write(data)
                process.stdin.flush()

    def _listen(self, rank: int) -> None:
        """Put what a rank says into the queue, as long as it lives."""
        pipe, said = self._processes[rank].stdout, self._said

        def read() -> None:
            assert pipe
            with contextlib.suppress(EOFError, OSError, ValueError, pickle.UnpicklingError):
                while True:
                    said.put((rank, *pickle.load(pipe)))
            said.put((rank, "died", None))

        threading.Thread(target=read, daemon=True).start()

    def _collect(self, seconds: float) -> list[Any]:
        """An answer of each rank."""
        answers: dict[int, Any] = {}
        deadline = time.monotonic() + seconds
        while len(answers) < self.ranks:
            try:
                rank, kind, what = self._said.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                late = [rank for rank in range(self.ranks) if rank not in answers]
                raise WorkerError(
                    f"rank {late[0]} of {self.ranks} has not answered within {seconds:.0f} s: all "
                    f"were ended; give more seconds, or a smaller request."
                ) from None
            if kind != "answer":
                raise self._failure([(rank, kind, what)])
            answers[rank] = what
        return [answers[rank] for rank in range(self.ranks)]

    def _failure(self, events: list[Event]) -> UserError:
        """The error of what went wrong first; where one rank dies, the others lose their peer."""
        deadline = time.monotonic() + GRACE_S
        with contextlib.suppress(queue.Empty):
            while True:
                left = max(0.0, deadline - time.monotonic())
                events.append(self._said.get(timeout=left))
        rank, kind, what = cause(events)
        if kind == "refused":
            return UserError(what)
        if kind == "died":
            what = last_words(self._processes[rank].wait(), self._logs[rank])
        return WorkerError(
            f"rank {rank} of {self.ranks} {kind} ({what}): all of them were ended; start them "
            f"again."
        )


def cause(events: Sequence[Event]) -> Event:
    """Of all that happened, what the rest follows from: where one dies, the others lose a peer."""
    failures = [event for event in events if event[1] in KINDS]
    return min(failures, key=lambda event: (KINDS.index(event[1]), event[0]))


def last_words(status: int, log: Path) -> str:
    """How a process ended, and what it printed last."""
    how = f"with status {status}"
    with contextlib.suppress(ValueError):
        how = f"by {signal.Signals(-status).name}"
    printed = [line for line in log.read_text("utf-8", "replace").split("\n") if line.strip()]
    return f"{how}; it said: {one_line(printed[-1])}" if printed else how


def check_importable(function: Callable[..., Any]) -> None:
    """Raise a `UserError` unless another process can import it by name."""
    module = getattr(function, "__module__", "__main__")
    name = getattr(function, "__qualname__", "<lambda>")
    if module == "__main__" or getattr(sys.modules.get(module), name, None) is not function:
        raise UserError(
            f"the workers can't import {name}: a worker is a process of its own, and finds its "
            f"function by name in a module; write it into a .py file beside your notebook, and "
            f"import it from there (`importable` of a lesson does that)."
        )


def start(folder: Path, rank: int, ranks: int, threads: int) -> subprocess.Popen[bytes]:
    """A process for one rank. An interrupt at the keyboard does not reach it: we end it."""
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    with (folder / f"rank-{rank}.log").open("wb") as log:
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "decodeloop.parallel.worker",
                str(folder / "meeting"),
                str(rank),
                str(ranks),
                str(threads),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            **apart,
        )


def end(processes: Sequence[subprocess.Popen[bytes]], folder: Path) -> None:
    """End processes at once, wait for each, and remove what they met in."""
    for process in processes:
        process.kill()
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):  # stuck in the system
            process.wait(STUCK_S)
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # what could not be written any more
                if pipe:
                    pipe.close()
    shutil.rmtree(folder, ignore_errors=True)
