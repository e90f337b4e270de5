"""The cheat-sheet: the notation and every function with its shapes, on one page.

It is made out of the docstrings, so it can't say anything else than they do.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any

NAME = "cheat-sheet.md"
NOTATION = {
    "B": "batch",
    "T": "query positions",
    "S": "key positions",
    "H": "query heads",
    "G": "KV heads",
    "D": "head dimension",
    "C": "model width",
    "F": "feed-forward width",
    "V": "vocabulary",
    "L": "layers",
}
TENSORS = ("decodeloop.model", "decodeloop.decode")  # rooms whose functions take tensors
NUMBERS = ("decodeloop.cost", "decodeloop.serve")  # numbers in, numbers out
BUILT_IN = re.compile(r"Built\s+in\s+lessons?\s+((?:(?:\d\d[a-z]?|A\d)(?:,\s+|\s+and\s+)?)+)")
SHAPES = re.compile(r"Shapes: (.*?)(?:\n\s*\n|\Z)", re.DOTALL)


def page() -> str:
    """The whole page, as Markdown."""
    notation = " · ".join(f"`{letter}` {meaning}" for letter, meaning in NOTATION.items())
    lines = [
        "# Cheat-sheet",
        "",
        f"{notation}. Masks are boolean, and `True` means *may attend*.",
        "",
        "| lesson | function | shapes |",
        "| --- | --- | --- |",
    ]
    others = []
    for lessons, title, module in built_in_lessons(TENSORS):
        heading = f"{' · '.join(lessons)} {title}"
        for signature, shapes, words in rows(module):
            if shapes:
                lines.append(f"| {heading} | `{signature}` | {shapes} |")
                heading = ""  # once, at the first
            else:
                others.append(f"`{signature}` {words}")
    lines += ["", "Without tensors of their own: " + " · ".join(others), ""]
    for lesson, found in groupby(built_in_lessons(NUMBERS), key=lambda built: built[0][0]):
        _, titles, modules = zip(*found, strict=True)
        listed = [
            f"`{signature}` {words}"
            for module in modules
            for signature, _, words in rows(module)
            if "." not in signature.partition("(")[0]  # a class is more than its methods
        ]
        lines.append(f"- {lesson} {in_one(titles)}: {' · '.join(listed)}")
    return "\n".join([*lines, ""])


def built_in_lessons(rooms: Sequence[str]) -> list[tuple[list[str], str, Any]]:
    """The modules of some rooms that lessons build, by lesson: the lessons that the docstring
    names, what it begins with, and the module."""
    found = []
    for room in rooms:
        whole = importlib.import_module(room)
        for info in pkgutil.walk_packages(whole.__path__, f"{room}."):  # rooms within a room, too
            text = docstring(info)
            if match := BUILT_IN.search(text):
                lessons = re.findall(r"\d\d[a-z]?|A\d", match[1])
                title = re.split("[:;.,]", text)[0]
                found.append((lessons, title, shared(whole, info.name)))
    return sorted(found, key=lambda built: (built[0][-1], built[0][0]))


def docstring(info: pkgutil.ModuleInfo) -> str:
    """What a module says of itself, as its file has it."""
    spec = info.module_finder.find_spec(info.name, None)
    if spec is None or spec.origin is None:
        return ""
    return ast.get_docstring(ast.parse(Path(spec.origin).read_text("utf-8")), clean=False) or ""


def shared(room: Any, name: str) -> Any:
    """A module whose names its room shares; of another an empty one. Such a one may need packages
    that not everybody has installed, as the server does."""
    from_there = {getattr(getattr(room, x), "__module__", None) for x in room.__all__}
    return importlib.import_module(name) if name in from_there else ModuleType(name)


def in_one(titles: Sequence[str]) -> str:
    """Several headings as one."""
    first, *others = titles
    return ", ".join([first, *(t if t[1:2].isupper() else t[:1].lower() + t[1:] for t in others)])


def rows(module: Any) -> Iterator[tuple[str, str, str]]:
    """Signature, shapes and first words of each public function of a module, and of its classes'
    methods."""
    room = importlib.import_module(".".join(module.__name__.split(".")[:2]))
    for name, value in vars(module).items():
        if name not in room.__all__ or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(value):
            yield name + parameters(value), shapes_of(value), summary_of(value)
        elif inspect.isclass(value):
            for label, method in vars(value).items():
                own = getattr(method, "__qualname__", "") == f"{name}.{label}"
                if inspect.isfunction(method) and own and label[0] != "_" and method.__doc__:
                    signature = f"{name}.{label}{parameters(method)}"
                    yield signature, shapes_of(method), summary_of(method)


def shapes_of(function: Callable[..., Any]) -> str:
    """What the docstring says after "Shapes:", up to the end of the sentence; empty if nothing."""
    found = SHAPES.search(inspect.getdoc(function) or "")
    words = " ".join(found[1].split()).split(". ")[0] if found else ""
    return words.rstrip(".").replace("|", "\\|").replace("``", "`")


def summary_of(function: Callable[..., Any]) -> str:
    """The beginning of the docstring, as far as it goes without a pause."""
    words = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
    beginning = re.split(r"\. |\.$|: |; |, ", words)[0]
    if beginning[1:2].isupper():  # FLOPs
        return beginning
    return beginning[:1].lower() + beginning[1:]


def parameters(function: Callable[..., Any]) -> str:
    """The positional parameters with their defaults, without types."""
    written = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY or name == "self":
            continue
        default = parameter.default
        plain = default is None or isinstance(default, bool | int | float | str | tuple)
        if default is parameter.empty:
            written.append(name)
        elif plain:
            written.append(f"{name}={default!r}")
    return f"({', '.join(written)})"


def cheat_sheet_path(root: Path) -> Path:
    return root / "notebooks" / NAME


def write_cheat_sheet(root: Path) -> None:
    cheat_sheet_path(root).write_text(page(), "utf-8", newline="\n")


def is_stale(root: Path) -> bool:
    path = cheat_sheet_path(root)
    return not path.is_file() or path.read_text("utf-8") != page()
