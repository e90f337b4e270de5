"""Mistakes as edits of a right answer: what is replaced in it, and by what.

Most mistakes are one line of a right function, changed. So the right answer is written once, and
each mistake is what a reader would see in a diff::

    mistakes=edits(right, '''
    ## not advanced
    - cache.advance(T) → pass
    The cache is never told that T positions have come: call `cache.advance(T)` after the layers.

    ## all layers in one
    - for number, layer in enumerate(model.layers):
    -     x = block(x, layer, cache, number)
    + for layer in model.layers:
    +     x = block(x, layer, cache, 0)
    Every layer hands the same number to the cache: count them with `enumerate`.
    ''')

``##`` begins a mistake and names it. A ``-`` text stands in the source of the right answer exactly
once: a part of a line, or several whole lines. The ``+`` lines take its place, indented like it;
where there are none it is deleted. ``- old → new`` says both in one line. A mistake may have
several such changes (an empty line keeps two deletions apart); what follows them is its hint.

Nothing is compiled before a mistake is tried, so that a lesson is imported no slower for it. What
only an edit needs is imported all the same, with a ``noqa: F401``: `ruff` reads no edits.
"""

from __future__ import annotations

import inspect
import linecache
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from operator import itemgetter
from typing import Any

from decodeloop.errors import UserError
from decodeloop.exercises.exercise import Candidate, Mistake

ARROW = re.compile(r" +→ +")


class BadEdit(UserError):
    """An edit that can't be made; the message names the mistake and the line of its text."""


@dataclass
class Change:
    """One replacement: lines of the right answer, without their indentation, and others."""

    old: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)


@dataclass
class Section:
    """What the text says of one mistake."""

    name: str
    changes: list[Change] = field(default_factory=list)
    hint: list[str] = field(default_factory=list)


@dataclass(eq=False)
class Edited:
    """The right answer with changes, compiled when it is first called.

    The copy sees the globals of the right answer; a function that calls itself calls the copy.
    """

    right: Candidate
    name: str  # of the mistake
    changes: list[Change]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.compiled(*args, **kwargs)

    @cached_property
    def compiled(self) -> Any:
        """The function or class itself.

        Raises:
            BadEdit: a text does not stand in the right answer exactly once, or what comes of the
                changes is not Python.
        """
        source = self.source()
        filename = f"<{self.right.__name__}: {self.name}>"
        namespace = dict(globals_of(self.right))
        try:
            exec(compile(source, filename, "exec"), namespace)
        except SyntaxError as error:
            line = (error.text or "").strip()
            raise BadEdit(
                f"mistake {self.name!r} of {self.right.__name__}: {error.msg} at {line!r}: "
                f"expected Python; look at what the edit puts there."
            ) from None
        lines = source.splitlines(keepends=True)
        linecache.cache[filename] = (len(source), None, lines, filename)  # for tracebacks
        return namespace[self.right.__name__]

    def source(self) -> str:
        """The source with all changes made; each finds its place in the right answer as it is."""
        source = source_of(self.right)
        found = sorted(((self.place(c, source), c) for c in self.changes), key=itemgetter(0))
        end_of_this = len(source)
        for (start, end, indentation), change in reversed(found):
            if end > end_of_this:
                raise BadEdit(
                    f"mistake {self.name!r}: {quoted(change)} runs into the text of another: "
                    f"say both in one change."
                )
            source = source[:start] + ("\n" + indentation).join(change.new) + source[end:]
            end_of_this = start
        return source

    def place(self, change: Change, source: str) -> tuple[int, int, str]:
        """Where the old text of a change stands."""
        found = list(places(change.old, source))
        if len(found) != 1:
            raise BadEdit(
                f"mistake {self.name!r}: {quoted(change)} stands {len(found)} times in "
                f"{self.right.__name__}: expected once; quote more of its line, or the line as it "
                f"is now."
            )
        return found[0]


def edits(right: Candidate, text: str) -> tuple[Mistake, ...]:
    """The mistakes that a text describes, each an edit of `right`, in their order.

    Raises:
        BadEdit: the text is not of the form above, or a mistake has no hint.
    """
    mistakes = []
    for section in sections(right, text):
        if not section.hint:
            raise BadEdit(f"mistake {section.name!r} has no hint: write it below its changes.")
        wrong = Edited(right, section.name, section.changes)
        mistakes.append(Mistake(section.name, " ".join(section.hint), wrong))
    return tuple(mistakes)


def edited(right: Candidate, text: str) -> dict[str, Candidate]:
    """The same edits by name, without hints: for answers that are wrong and have none.

    Raises:
        BadEdit: the text is not of the form above, or has a line that is none of an edit.
    """
    wrong: dict[str, Candidate] = {}
    for section in sections(right, text):
        if section.hint:
            raise BadEdit(
                f"mistake {section.name!r}: {section.hint[0]!r} is no edit: expected a line that "
                f"begins with '## ', '- ' or '+ '."
            )
        wrong[section.name] = Edited(right, section.name, section.changes)
    return wrong


def sections(right: Candidate, text: str) -> list[Section]:
    """A text in its parts, one for each mistake."""
    if not getattr(right, "__qualname__", "").isidentifier():
        raise BadEdit(f"{right!r} can't be edited: expected a function or class of a module.")
    found: list[Section] = []
    before = ""
    for line in textwrap.dedent(text).splitlines():
        if line.startswith("## "):
            found.append(Section(line.removeprefix("## ").strip()))
        elif line.strip():
            if not found:
                raise BadEdit(f"{line!r} belongs to no mistake: expected '## ' and a name first.")
            add(line, before, found[-1])
        before = line
    for section in found:
        if not section.changes:
            raise BadEdit(f"mistake {section.name!r} changes nothing: give it a '- ' line.")
    names = [section.name for section in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise BadEdit(f"two mistakes are called {min(twice)!r}: give each a name of its own.")
    return found


def add(line: str, before: str, section: Section) -> None:
    """Put a line of a section where it belongs; `before` is the line above it."""
    changes = section.changes
    if section.hint and line.startswith(("- ", "+ ")):
        raise BadEdit(f"mistake {section.name!r}: {line!r} stands behind the hint: changes first.")
    if line.startswith("- "):
        old, *new = ARROW.split(line.removeprefix("- "), maxsplit=1)
        goes_on = before.startswith("- ") and not changes[-1].new
        if new or not goes_on:
            changes.append(Change())
        changes[-1].old.append(old)
        changes[-1].new.extend(new)
    elif line.startswith("+ "):
        if not before.startswith(("- ", "+ ")):
            raise BadEdit(f"mistake {section.name!r}: {line!r} replaces nothing: a '- ' first.")
        changes[-1].new.append(line.removeprefix("+ "))
    else:
        section.hint.append(line.strip())


def quoted(change: Change) -> str:
    return repr("\n".join(change.old))


def places(old: list[str], source: str) -> Iterator[tuple[int, int, str]]:
    """Where lines stand in a source: start, end, and the indentation of the first."""
    for match in re.finditer(re.escape(old[0]), source):
        start = match.start()
        line = source[source.rfind("\n", 0, start) + 1 :]
        indentation = line[: len(line) - len(line.lstrip(" "))]
        whole = ("\n" + indentation).join(old)
        if source.startswith(whole, start):
            yield start, start + len(whole), indentation


@cache
def source_of(right: Candidate) -> str:
    """Its source; that of a class takes a while to be found, so once is enough."""
    return inspect.getsource(right)


def globals_of(right: Candidate) -> Mapping[str, Any]:
    return vars(sys.modules[right.__module__])


__all__ = ["BadEdit", "Edited", "edited", "edits"]
