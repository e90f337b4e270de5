"""Answers by people who never saw the exercise data, and what `check` says of them.

A file has many answers. Each begins with a line ``### name | what is wrong with it``, or, where it
is right, ``### name | right: what is unusual about it``; the code below is a learner's cell. Where
somebody has read the hint and found it true of the answer, the line ends in ``=> that mistake``.

    python tests/attacks/strangers.py FILE … [--all]

prints the wrong ones that were accepted, the right ones that were refused, and, with ``--all``,
every verdict with its hint, to be read: whether a hint names the mistake, only a reader can say.
"""

from __future__ import annotations

import ast
import json
import math
import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange

from decodeloop.course.answers import run_answer
from decodeloop.course.judge import Verdict, judge
from decodeloop.exercises.finding import all_exercises, find

HERE = Path(__file__).parent / "strangers"
LAB = Path(__file__).parents[2] / "notebooks" / "lab"
HEADING = re.compile(r"^### (\w+) \| (.+?)(?: => (.+))?$", re.MULTILINE)


@dataclass(frozen=True)
class Answer:
    """One stranger's answer."""

    name: str  # of the exercise
    about: str  # what is wrong, or unusual
    mistake: str | None  # the named one that it makes, if a reader has agreed
    source: str
    where: str  # file and line

    @property
    def right(self) -> bool:
        return self.about.startswith("right:")


def read(path: Path) -> Iterator[Answer]:
    """The answers of a file, in their order."""
    text = path.read_text("utf-8")
    starts = list(HEADING.finditer(text))
    for heading, following in zip(starts, [*starts[1:], None], strict=True):
        source = text[heading.end() : following.start() if following else len(text)]
        line = text.count("\n", 0, heading.start()) + 1
        where = f"{path.name}:{line}"
        yield Answer(heading[1], heading[2].strip(), heading[3], source.strip() + "\n", where)


@cache
def notebook(lesson: str) -> dict[str, Any]:
    """What a learner's cell finds around it: the notebook's imports and functions, and all
    exercises by name."""
    namespace: dict[str, Any] = {"torch": torch, "F": F, "math": math, "rearrange": rearrange}
    definitions = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    for cell in json.loads((LAB / f"{lesson}.ipynb").read_text("utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        for statement in ast.parse("".join(cell["source"])).body:
            if isinstance(statement, definitions):
                with suppress(NameError):  # a default that is a tensor of the notebook's
                    exec(compile(ast.Module([statement], []), lesson, "exec"), namespace)
    return namespace | {name: exercise.library for name, exercise in all_exercises().items()}


def verdict_on(answer: Answer) -> Verdict:
    """What `check` would say."""
    around = notebook(find(answer.name).lesson)
    namespace = run_answer(answer.name, answer.source, f"<{answer.where}>", around)
    return judge(namespace[answer.name], find(answer.name))


def main(arguments: list[str]) -> None:
    paths = [Path(a) for a in arguments if not a.startswith("-")] or sorted(HERE.glob("*.txt"))
    rejected = named = wrong = right = accepted = 0
    for answer in (a for path in paths for a in read(path)):
        started = time.perf_counter()
        verdict = verdict_on(answer)
        seconds = time.perf_counter() - started
        says = verdict.mistake.hint if verdict.mistake else ""
        judged_right = verdict.state == "right"
        right += answer.right
        wrong += not answer.right
        accepted += answer.right and judged_right
        rejected += not answer.right and not judged_right
        named += not answer.right and verdict.mistake is not None
        if judged_right != answer.right or "--all" in arguments:
            flag = "" if judged_right == answer.right else "  <<< !"
            print(f"\n{answer.where} {answer.name} | {answer.about}{flag}")
            print(f"    {verdict.state} ({seconds:.1f} s): {verdict.what}")
            if verdict.mistake:
                print(f"    named {verdict.mistake.name!r}: {says}")
    print(f"\nwrong: {wrong}, rejected {rejected}, with a hint {named}; right: {right}, ", end="")
    print(f"accepted {accepted}")


if __name__ == "__main__":
    main(sys.argv[1:])
