"""One rank in a process of its own: what `Workers` starts.

It is given the name of a function, calls it once with its `Group`, and then calls what that returns
with each request. All that comes and goes are pickles, through two pipes to the parent. Where the
parent is gone, whatever ended it, its pipe ends, and so does this process.
"""

from __future__ import annotations

import importlib
import os
import pickle
import queue
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, BinaryIO

import torch

from decodeloop.errors import UserError, one_line
from decodeloop.parallel.group import Group, LostPeer


def inbox_of(pipe: BinaryIO) -> queue.SimpleQueue[Any]:
    """What the parent sends, in a queue, behind the folders that it imports from.

    When the pipe ends the process does, even if it hangs.
    """
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def read() -> None:
        try:
            sys.path[:] = pickle.load(pipe)  # first: what follows may name what lies there
            while True:
                inbox.put(pickle.load(pipe))
        except (EOFError, OSError):
            pass
        except Exception as error:  # of an object whose class is not found here
            traceback.print_exception(error)
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    return inbox


def work(inbox: queue.SimpleQueue[Any], say: Any, meeting: Path, rank: int, ranks: int) -> None:
    """Join the others, then answer each request."""
    module, name, options = inbox.get()
    function = getattr(importlib.import_module(module), name)
    answer = function(Group(meeting, rank, ranks), **options)
    say("answer", None)
    while True:
        say("answer", answer(*inbox.get()))


def told(error: BaseException) -> tuple[str, str]:
    """What the parent is told of an error: of what kind it is, and one line."""
    if isinstance(error, LostPeer):
        return "lost", one_line(error)
    if isinstance(error, UserError):
        return "refused", str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}, line {last.lineno}"
    return "failed", f"{type(error).__name__}: {one_line(error)} ({place})"


def main(meeting: str, rank: int, ranks: int, threads: int) -> None:
    """Work until the parent is gone, or something fails: then say so, and wait for the end."""
    inbox = inbox_of(sys.stdin.buffer)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed here must not be taken for an answer
    torch.set_num_threads(threads)

    def say(kind: str, what: Any) -> None:
        pickle.dump((kind, what), answers)
        answers.flush()

    try:
        work(inbox, say, Path(meeting), rank, ranks)
    except BaseException as error:
        say(*told(error))
        threading.Event().wait()  # its connections stay, so that no other blames this one


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
