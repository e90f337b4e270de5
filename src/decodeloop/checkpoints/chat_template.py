"""A model's chat template: a program that came with the weights, and writes a conversation as the
model was trained to read it.

The sandbox keeps it from files and from Python. It does not keep it from going on for ever or
taking all memory, and nothing inside one process can: so it is rendered in another one, which
stays for the next turn and is ended if it takes too long.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from decodeloop.errors import UserError, one_line

WORKER = Path(__file__).with_name("template_worker.py")
START_SECONDS = 60.0
SECONDS = 10.0  # templates take milliseconds


def render(template: str, variables: Mapping[str, Any]) -> str:
    """The text that a chat template makes of its variables.

    Raises:
        UserError: it rejects them, fails, takes too long or too much.
    """
    answer = the_worker().ask({"template": template, "variables": variables})
    if answer is None:
        raise UserError(
            f"the model's chat template was ended: it took more than {SECONDS:.0f} s, or too much "
            f"memory; give the text as it is (--raw), or take another model."
        )
    if "rejected" in answer:
        raise UserError(
            f"the model's chat template rejects the messages: {one_line(answer['rejected'])}."
        )
    if "failed" in answer:
        raise UserError(
            f"the model's chat template fails ({one_line(answer['failed'])}): give the text as it "
            f"is (--raw), or take another model."
        )
    return answer["text"]


class Worker:
    """The other process.

    Raises:
        UserError: it can't be started.
    """

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.lock = threading.Lock()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,  # Ctrl-C at a terminal is not for it
            )
        except OSError as error:
            raise UserError(
                f"the process that renders chat templates can't be started ({error.strerror}): "
                f"give the text as it is (--raw)."
            ) from None
        self.end = weakref.finalize(self, end, self.process)
        if self._line(START_SECONDS) != b"ready\n":
            self.end()

    def ask(self, question: dict[str, Any]) -> dict[str, str] | None:
        """Its answer; None if it had to be ended, or has ended by itself."""
        line = json.dumps(question, default=lambda value: f"<{type(value).__name__}>")
        with self.lock:
            try:
                assert self.process.stdin is not None
                self.process.stdin.write(line.encode() + b"\n")
                self.process.stdin.flush()
                answer = self._line(SECONDS)
            except OSError:
                answer = b""
            except BaseException:  # Ctrl-C: what it answers later belongs to no question
                self.end()
                raise
        if not answer.endswith(b"\n"):
            self.end()
            return None
        told: dict[str, str] = json.loads(answer)
        return told

    def _line(self, seconds: float) -> bytes:
        """The next line that it writes, or what there is of it when it is ended."""
        clock = threading.Timer(seconds, self.process.kill)
        clock.daemon = True
        clock.start()
        try:
            assert self.process.stdout is not None
            return self.process.stdout.readline()
        finally:
            clock.cancel()


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


_workers: list[Worker] = []  # one, or none yet


def the_worker() -> Worker:
    """The process that renders for this one; a new one where it has ended, or is our parent's."""
    if not _workers or not _workers[0].end.alive or _workers[0].owner != os.getpid():
        _workers[:] = [Worker()]
    return _workers[0]
