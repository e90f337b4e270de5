"""Odd work folders: a progress file that somebody else wrote, answers that are no files, a disk
that refuses. `check` judges all the same, `mine` names the file and goes on with the library's, and
what was there is there afterwards.

    python tests/attacks/odd_work.py [--count N] [--seed S]

Each runs in a fork of this process, by a user who is not root.
"""

from __future__ import annotations

import contextlib
import io
import json
import linecache
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from decodeloop.commands.progress import progress
from decodeloop.course import answers, checking, own, predictions, session
from decodeloop.errors import UserError
from decodeloop.exercises.finding import all_exercises
from decodeloop.loading import LanguageModel
from decodeloop.model import TINY, Decoder

sys.path.insert(0, str(Path(__file__).parents[1]))
from attacking import Report, command_line, drawn, told_by_a_fork

NOBODY = 65534
RIGHT = (
    "import torch\n\ndef softmax(x, dim=-1):\n    return torch.softmax(x, dim).nan_to_num(0.0)\n"
)
ROPE = "def rope(x, positions, base=100_000.0):\n    return x\n"
Spoil = Callable[[Path], Any]  # what is done to the place of a file


def text(content: str | bytes) -> Spoil:
    data = content.encode() if isinstance(content, str) else content
    return lambda path: path.write_bytes(data)


def data(value: Any) -> Spoil:
    return text(json.dumps(value))


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


def closed(path: Path) -> None:
    path.write_text("{}")
    path.chmod(0)


def entry(**fields: Any) -> dict[str, Any]:
    return {"exercises": {"softmax": fields}}


PROGRESS: dict[str, Spoil] = {
    "as it begins": text("{}\n"),
    "empty": text(""),
    "no JSON": text("{"),
    "no UTF-8": text(b"\xff\xfe{}"),
    "UTF-16": text("{}".encode("utf-16")),
    "a mark in front": text(b"\xef\xbb\xbf{}"),
    "zeros": text(b"\0" * 4096),
    "deep": text(nested(100_000)),
    "deep inside": text('{"exercises": ' + nested(50_000) + "}"),
    "a number of 10,000 digits": text("1" * 10_000),
    "infinite": text('{"records": {"a": [Infinity, "s"]}}'),
    "no number": text('{"records": {"a": [NaN, "s"]}}'),
    "twice the same": text('{"exercises": {}, "exercises": []}'),
    "huge": text(b" " * 2**24),
    "a terabyte": sparse,
    "a folder": lambda path: path.mkdir(),
    "a pipe": lambda path: os.mkfifo(path),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a closed file": closed,
    "null": data(None),
    "a list": data([]),
    "a text": data("progress"),
    "a truth value": data(True),
    "exercises: a list": data({"exercises": []}),
    "exercises: null": data({"exercises": None}),
    "exercises: a text": data({"exercises": "softmax"}),
    "an exercise: a number": data({"exercises": {"softmax": 3}}),
    "an exercise: empty": data(entry()),
    "an exercise: a state alone": data(entry(state="right")),
    "an exercise: another state": data(entry(state="perhaps", attempts=1)),
    "attempts: a text": data(entry(state="right", attempts="1")),
    "attempts: a list": data(entry(state="right", attempts=[1])),
    "attempts: huge": data(entry(state="right", attempts=10**400)),
    "state: a list": data(entry(state=["right"], attempts=1)),
    "state: markup": data(entry(state="[/]\x1b[2J", attempts=1)),
    "records: a list": data({"records": []}),
    "a record: a number": data({"records": {"a": 1.0}}),
    "a record: three": data({"records": {"a": [1.0, "s", 2]}}),
    "a record: no unit": data({"records": {"a": [1.0, None]}}),
    "a record: a text": data({"records": {"a": ["1.0", "s"]}}),
    "another's keys": data({"version": 7, "exercises": {}, "x": {}}),
    "a long name": data({"exercises": {"s" * 10**5: 3}}),
}

MINE: dict[str, Spoil] = {
    "empty": text(""),
    "no UTF-8": text(b"def rope(x): return '\xff'\n"),
    "a null byte": text("def rope(x):\n    return '\0'\n"),
    "no Python": text("def rope(:\n"),
    "deep": text("rope = " + nested(10_000) + "\n"),
    "many minuses": text("rope = " + "-" * 100_000 + "1\n"),
    "another name": text("def ropes(x): ...\n"),
    "a number": text("rope = 3\n"),
    "another answer": text(ROPE),
    "raises": text(f"{ROPE}rope = 1 / 0\n"),
    "exits": text("import sys\nrope = sys.exit(1)\n"),
    "raises its own": text("class E(BaseException): ...\ndef f(): raise E\nrope = f()\n"),
    "a message that raises": text(
        "class E(Exception):\n  def __str__(self): raise E\ndef f(): raise E\nrope = f()\n"
    ),
    "never ends": text("def f():\n  while 1: pass\nrope = f()\n"),
    "swallows its end": text(
        "def f():\n  while 1:\n    try:\n      while 1: pass\n    except: pass\nrope = f()\n"
    ),
    "sleeps": text("import time\nrope = time.sleep(3600)\n"),
    "asks": text("rope = input('? ')\n"),
    "all memory": text("rope = [bytearray(2**28) for _ in range(2**20)]\n"),
    "endless recursion": text("def f(): return f()\nrope = f()\n"),
    "a device for all": text("import torch\nrope = torch.set_default_device('meta')\n"),
    "a function for all": text(
        "import torch\ndef f():\n  torch.isclose = None\n  return 1\nrope = f()\n"
    ),
    "huge": text(b"#" * 2**24),
    "a terabyte": sparse,
    "a folder": lambda path: path.mkdir(),
    "a pipe": lambda path: os.mkfifo(path),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to nowhere": lambda path: path.symlink_to("/nowhere/at/all"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a closed file": closed,
}


def read_only(work: Path) -> None:
    (work / "mine").chmod(0o555)
    work.chmod(0o555)


def locked(work: Path) -> None:
    (work / ".progress.json.lock").mkdir()


def full(work: Path) -> None:
    """A disk that takes nothing more."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


FOLDERS: dict[str, Spoil] = {
    "as it should be": lambda work: None,
    "read-only": read_only,
    "a full disk": full,
    "the lock is a folder": locked,
    "mine is a file": lambda work: (shutil.rmtree(work / "mine"), (work / "mine").write_text("")),
    "mine is a link to nowhere": lambda work: (
        shutil.rmtree(work / "mine"),
        (work / "mine").symlink_to("/nowhere"),
    ),
    "mine is closed": lambda work: (work / "mine").chmod(0),
    "the answer is a folder": lambda work: (work / "mine" / "softmax.py").mkdir(),
    "the partial file is there": lambda work: (
        work / "mine" / f".softmax.py.{os.getpid()}"
    ).mkdir(),
    "the working folder is gone": lambda work: (
        (work / "gone").mkdir(),
        os.chdir(work / "gone"),
        (work / "gone").rmdir(),
    ),
}


@dataclass(frozen=True)
class Attack:
    """A work folder, and what is odd about it."""

    name: str
    progress: Spoil = PROGRESS["as it begins"]
    mine: Spoil | None = None
    folder: Spoil = FOLDERS["as it should be"]

    def make(self, work: Path) -> None:
        (work / "mine").mkdir(parents=True)
        self.progress(work / "progress.json")
        if self.mine is not None:
            self.mine(work / "mine" / "rope.py")


def attacks(seed: int) -> Iterator[Attack]:
    """Every odd thing by itself, and some together."""
    rng = random.Random(seed)
    for name, spoil in PROGRESS.items():
        yield Attack(f"progress.json: {name}", progress=spoil)
    for name, spoil in MINE.items():
        yield Attack(f"mine/rope.py: {name}", mine=spoil)
    for name, spoil in FOLDERS.items():
        yield Attack(f"the folder: {name}", folder=spoil)
    for _ in range(20):
        one, other, third = (rng.choice(list(x.items())) for x in (PROGRESS, MINE, FOLDERS))
        yield Attack(f"{one[0]} + {other[0]} + {third[0]}", one[1], other[1], third[1])


class Letters:
    """A tokenizer of one letter."""

    def decode(self, token_ids: Any, skip_special: bool = False) -> str:
        return "a" * len(token_ids)


def tiny() -> LanguageModel:
    torch.manual_seed(0)
    decoder = Decoder(TINY).requires_grad_(False).eval()
    return LanguageModel("tiny", TINY, Letters(), decoder, ())  # type: ignore[arg-type]


def answer(source: str) -> Any:
    """A function as a cell makes it."""
    namespace: dict[str, Any] = {}
    linecache.cache["<cell>"] = (len(source), None, source.splitlines(keepends=True), "<cell>")
    exec(compile(source, "<cell>", "exec"), namespace)
    return namespace["softmax"]


def verdict_on(attack: Attack, work: Path, llm: LanguageModel) -> str:
    """What is bad about how a lesson goes in such a folder, or nothing."""
    namespace = {session.KEY: session.Session("", "lab", work)}
    session.notebook_namespace = lambda: namespace  # type: ignore[assignment,return-value]
    before = {p: p.read_bytes() for p in work.rglob("*") if readable(p)}
    cells = {"✓": RIGHT, "✗": RIGHT.replace("torch.softmax(x, dim)", "x"), "○": STUB}
    for mark, source in cells.items():
        given = answer(source)
        said, goes_on_with = printed(lambda given=given: checking.check(given))
        if f"{mark} softmax: " not in said:
            return f"no verdict {mark}: {said!r}"
        if (goes_on_with is given) != (mark == "✓") or said.count("\n") > 8:
            return f"check says {said!r}"
    said, model = printed(lambda: own.mine(llm, work))
    parts = {part.name: part for part in model.parts}
    if attack.mine and parts["rope"].whose == "yours":
        return "the odd answer speaks"
    if attack.mine and attack.folder is FOLDERS["as it should be"] and not parts["rope"].failed:
        return "mine does not say what is odd"
    if len(list(model.model.decoder(torch.tensor([[1, 2]])))) != 1:
        return "the model does not speak"
    printed(predictions.scoreboard)
    with contextlib.suppress(UserError):  # as the command line does
        printed(lambda: progress(work, False))
    known = {work / "progress.json", work / "mine" / "softmax.py", work / ".progress.json.lock"}
    for path, content in before.items():
        if path not in known and path.read_bytes() != content:
            return f"{path} was changed"
    strays = [p for p in work.rglob(".*.py.*") if p.is_file()]
    return f"a stray file: {strays[0]}" if strays else ""


STUB = RIGHT.split("    return")[0] + "    raise NotImplementedError('write me')\n"


def printed(act: Callable[[], Any]) -> tuple[str, Any]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        result = act()
    return out.getvalue(), result


def readable(path: Path) -> bool:
    size = path.stat().st_size if path.is_file() else 2**40
    return size < 2**25 and not path.is_symlink() and os.access(path, os.R_OK)


def become_nobody() -> None:
    """Root may read and write everything, which no learner may. Where root stands for a user of
    another name, as it does with the network cut off, there is nobody to become."""
    if os.getuid() == 0:
        with contextlib.suppress(OSError):
            os.setresuid(NOBODY, NOBODY, NOBODY)


def bad_end(attack: Attack, llm: LanguageModel) -> str:
    """How an attack ended badly, in a fork of this process, or nothing."""

    def tell() -> str:
        answers.LONGEST_S = 1.0
        work = Path(tempfile.mkdtemp())
        work.chmod(0o777)
        become_nobody()
        attack.make(work / "work")
        with contextlib.suppress(OSError):
            os.chdir(work / "work")
        attack.folder(work / "work")
        return verdict_on(attack, work / "work", llm)

    return told_by_a_fork(tell)


def attack(count: int | None, seed: int, report: Report = print) -> tuple[int, int]:
    """Try all attacks, or so many that are drawn; how many there were, and how many ended badly."""
    torch.set_num_threads(1)
    picked = drawn(list(attacks(seed)), count, seed)
    all_exercises()
    llm, bad = tiny(), 0
    plain = Attack("", mine=MINE["another name"])
    with tempfile.TemporaryDirectory() as folder:  # nobody can import anything later
        plain.make(Path(folder, "work"))
        with patch.object(session, "notebook_namespace"):
            if told := verdict_on(plain, Path(folder, "work"), llm):
                bad += 1
                report(f"a work folder as it should be: {told}")
    for one in picked:
        if told := bad_end(one, llm):
            bad += 1
            report(f"{one.name}: {told}")
    return len(picked), bad


if __name__ == "__main__":
    command_line(__doc__, "odd work folders", attack)
