"""`check` and `hint`: what a learner talks to."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from decodeloop.course.answers import standalone
from decodeloop.course.cells import cell_path
from decodeloop.course.judge import Verdict
from decodeloop.course.on_device import judge_here
from decodeloop.course.plain import said, shortened
from decodeloop.course.session import Session, current, history, told
from decodeloop.course.trying import source_file, unwrapped
from decodeloop.errors import UserError
from decodeloop.exercises.exercise import Candidate, Exercise, copies
from decodeloop.exercises.finding import find

Answer = TypeVar("Answer", bound=Callable[..., Any])
MARK = "_decodeloop_substitute"
GREEN, RED, YELLOW, PLAIN = "\033[32m", "\033[31m", "\033[33m", "\033[0m"


class WrongAnswer(UserError):
    """A solution in a worked edition does not pass its own check."""


def check(answer: Answer) -> Answer:
    """Check an answer, say what came of it, and return what the notebook goes on with.

    A right answer is returned, and its source kept in `work/mine/`. Otherwise the library's
    own function takes its place, marked, so that the rest of the notebook works all the same.

    Raises:
        UserError: there is no exercise of that name.
        WrongAnswer: the edition is the worked one, where every answer must be right.
    """
    name = name_of(answer)
    if name is None or not callable(answer):
        raise UserError(
            f"check was given {type(answer).__name__}: expected the function or class that the "
            f"exercise asks for, by its name and without brackets, as in check(softmax)."
        )
    exercise, session = find(name), current()
    if is_ours(answer, exercise):
        print(
            f"{YELLOW}○ {name}: this is the library's function, not yours{PLAIN}: run the cell "
            f"with your own again, then this one"
        )
        if session.strict:
            raise WrongAnswer(f"{name}: the worked edition checks the library's own function.")
        return substitute(exercise)
    verdict = judge_here(answer, exercise)
    print(report(verdict, exercise))
    session.failed.pop(name, None)
    if verdict.inputs is not None:
        session.failed[name] = verdict.inputs
    source = keep(answer, name, session) if verdict.state == "right" else None
    if session.progress is not None:
        with told():
            session.progress.exercise(name, verdict.state, source)
    if verdict.state == "right":
        return answer
    if session.strict:
        raise WrongAnswer(f"{name}: the worked edition's own answer is {verdict.state}.")
    return substitute(exercise)


def name_of(answer: object) -> str | None:
    """The name of a function or class; None of what has none, or none that is a text."""
    try:
        name = getattr(answer, "__name__", None)
    except Exception:  # an object of theirs may refuse in any way
        return None
    return name if isinstance(name, str) else None


def report(verdict: Verdict, exercise: Exercise) -> str:
    """The verdict as the learner reads it."""
    name = exercise.name
    printed = f"\n  it printed: {verdict.printed.rstrip()}" if verdict.printed.strip() else ""
    if verdict.left:
        names = ", ".join(verdict.left[:5]) + (" …" if len(verdict.left) > 5 else "")
        printed += f"\n  it changed {names}, and left it so: put back as it was"
    if verdict.state == "right":
        return f"{GREEN}✓ {name}: right{PLAIN} ({verdict.cases} cases){printed}"
    if verdict.state == "not attempted":
        return f"{YELLOW}○ {name}: not attempted{PLAIN}: going on with the library's"
    lines = [f"{RED}✗ {name}: wrong{PLAIN} on {len(verdict.failed)} of {verdict.cases} cases"]
    lines.append(f"  first on “{verdict.failed[0]}”: {verdict.what}")
    if verdict.mistake is not None:
        lines.append(f"  → {verdict.mistake.hint}")
    else:
        lines.append(f'  → stuck? hint("{name}") gives one hint at a time')
    if verdict.inputs is not None:
        lines.append(f"  → {asking_for_inputs(name)} gives the inputs of that case, to try by hand")
    lines.append("  going on with the library's, so that the cells below work")
    return "\n".join(lines) + printed


def asking_for_inputs(name: str) -> str:
    """The call that gives them, such that it runs in this notebook: not each imports it."""
    there = hasattr(sys.modules["__main__"], "failed_inputs")
    importing = "" if there else "from decodeloop.course import failed_inputs; "
    return f'{importing}failed_inputs("{name}")'


def hint(name: str) -> None:
    """Show one further hint for an exercise; call it again for the next."""
    exercise, session = find(getattr(name, "__name__", name)), current()
    shown = session.hints_shown.get(exercise.name, 0)
    total = len(exercise.hints)
    if shown == total:
        session.hints_shown[exercise.name] = 0
        print(
            f"Those were all {total} hints for {exercise.name}; the next call begins again. The "
            f"worked edition has a solution: notebooks/{exercise.lesson}.ipynb in the course's "
            f"folder."
        )
        return
    session.hints_shown[exercise.name] = shown + 1
    print(f"Hint {shown + 1} of {total} for {exercise.name}: {exercise.hints[shown]}")


def failed_inputs(name: str) -> tuple[Any, ...]:
    """The inputs of the first case that your last answer to an exercise failed.

    Raises:
        UserError: there is no such exercise, or no such case.
    """
    exercise = find(getattr(name, "__name__", name))
    inputs = current().failed.get(exercise.name)
    if inputs is None:
        raise UserError(
            f"no failed case of {exercise.name!r} is known in this notebook: run its check first; "
            f"a right answer leaves none."
        )
    return copies(inputs)


def is_ours(answer: Candidate, exercise: Exercise) -> bool:
    """Whether it is the library's, as it is or as a substitute: nobody's answer."""
    marked = getattr(answer, MARK, None) is True  # an object may claim to have every attribute
    return marked or unwrapped(answer) is unwrapped(exercise.library)


def substitute(exercise: Exercise) -> Any:
    """The library's function or class, marked as such."""
    library = exercise.library
    if isinstance(library, type):
        return type(library.__name__, (library,), {MARK: True, "__doc__": library.__doc__})

    @functools.wraps(library)
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        return library(*args, **kwargs)

    setattr(stand_in, MARK, True)
    return stand_in


def keep(answer: Candidate, name: str, session: Session) -> str | None:
    """Keep the source of an accepted answer, such that it can speak outside of this notebook.

    Whatever stands in its way, the answer stays accepted: it is said in one sentence.
    """
    try:
        path = cell_path(answer, source_file(answer), history())
        if path is None:
            return None
        source, lost = standalone(answer, path)
    except Exception as error:  # it may be written in ways that nobody thought of
        reason = shortened(said(error), 100)
        print(f"  its source can't be kept with it ({type(error).__name__}: {reason})")
        return None
    session.accepted[name] = source
    if lost:
        names = ", ".join(lost)
        print(f"  it leans on what stands in another cell ({names}), which can't be kept with it")
    return source


__all__ = ["WrongAnswer", "check", "failed_inputs", "hint"]
