"""What an exercise is: cases with an oracle, the mistakes that people make, and hints.

An exercise is data. Those of lesson NN stand in ``lesson_NN.py`` as the tuple ``EXERCISES`` (with
``LESSON``, the lesson's name); nothing else has to be told of them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from decodeloop.exercises.lending import (
    Candidate,
    ChangedInput,
    copied,
    copies,
    lend,
    lend_by_name,
)


@dataclass(frozen=True)
class Case:
    """One situation in which a candidate is tried.

    `run` gives the candidate's outputs: tensors, numbers, strings, or lists and dicts of them.
    `expected` gives what they should be, by PyTorch or a closed form.
    """

    label: str
    run: Callable[[Candidate], Any]
    expected: Callable[[], Any]
    inputs: tuple[Any, ...] | None = None  # what the candidate is called with, to be looked at


@dataclass(frozen=True)
class Mistake:
    """A wrong implementation that people really write, and what to tell them."""

    name: str
    hint: str
    wrong: Candidate


@dataclass(frozen=True)
class Exercise:
    """One function or class that the learner writes.

    Where it is a `part`, the learner's own takes the library's place when a model speaks through
    their answers: `course/linking.py` says where it belongs.
    """

    name: str  # of the function asked for
    lesson: str
    library: Candidate  # what the notebook goes on with otherwise
    cases: tuple[Case, ...]
    mistakes: tuple[Mistake, ...]
    hints: tuple[str, ...]  # from a nudge to nearly everything
    minutes: int
    difficulty: Literal[1, 2, 3]
    kind: Literal["core", "stretch"] = "core"
    tolerance: float = 1e-5  # absolute and relative
    seconds: float = 10.0  # for all cases together
    part: bool = False  # whether the real model can speak through it (`mine`)


def call(label: str, *inputs: Any, oracle: Candidate, **options: Any) -> Case:
    """The usual case: call the candidate once; the oracle is called alike.

    Each gets copies, and a candidate that writes into them is told so.
    """
    return Case(
        label,
        lambda candidate: lend(candidate, *inputs, **options),
        lambda: oracle(*copies(inputs), **copied(options)),
        inputs,
    )


def beside(run: Candidate) -> Candidate:
    """Marks a `run` that looks on while the answer computes: at copies, devices, gradients.

    Where the answer is in another process (`course/grade`), it has to go there, with what it needs
    of its module: so nothing that it needs may know what is expected.
    """

    @functools.wraps(run)
    def there(candidate: Candidate, *inputs: Any) -> Any:
        sent = getattr(candidate, "send_beside", None)
        return (run if sent is None else sent(run))(candidate, *inputs)

    return there


def trial(label: str, run: Candidate, expected: Candidate, *inputs: Any) -> Case:
    """A case that is more than one call: `run(candidate, *inputs)`, and `expected(*inputs)`.

    Each gets copies, and a candidate that writes into them is told so.
    """

    names = [f"`{name}`" for name in list(inspect.signature(run).parameters)[1:]]
    if len(names) != len(inputs):  # `run` takes them all in one
        names = ["what it was lent"] * len(inputs)
    return Case(
        label,
        lambda candidate: lend_by_name(names, functools.partial(run, candidate), *inputs),
        lambda: expected(*copies(inputs)),
    )


__all__ = [
    "Candidate",
    "Case",
    "ChangedInput",
    "Exercise",
    "Mistake",
    "beside",
    "call",
    "copies",
    "lend",
    "trial",
]
