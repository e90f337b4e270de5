"""The cheat-sheet: the notation and every function with its shapes, on one page.

It is made out of the docstrings, so it can't say anything else than they do.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
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
ROOMS = (  # lesson, title, module
    ("01", "Attention", "decodeloop.model.attention"),
    ("02", "Several heads", "decodeloop.model.multi_head"),
    ("03", "The block", "decodeloop.model.block"),
    ("04", "The decoder", "decodeloop.model.decoder"),
    ("04", "Its numbers", "decodeloop.model.config"),
    ("06", "The KV cache", "decodeloop.model.kv_cache"),
    ("07", "Sampling", "decodeloop.decode.sampling"),
    ("05 · 06 · 08", "The loop", "decodeloop.decode.loop"),
    ("08", "One text", "decodeloop.decode.sequence"),
    ("08", "Batches", "decodeloop.decode.batch"),
    ("08", "Beams", "decodeloop.decode.beam"),
    ("08", "Text", "decodeloop.decode.text_stream"),
    ("08", "Answers", "decodeloop.decode.text"),
    ("00", "Loss", "decodeloop.decode.scoring"),
)
COSTS = (  # lesson, title, modules: numbers in, numbers out
    ("09", "Memory", ("decodeloop.cost.architecture", "decodeloop.cost.memory")),
    ("10", "FLOPs and bytes", ("decodeloop.cost.flops",)),
    ("11", "Waiting", ("decodeloop.cost.metrics",)),
    ("12", "The roofline", ("decodeloop.cost.roofline", "decodeloop.cost.accelerators")),
)
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
    for lesson, title, name in ROOMS:
        heading = f"{lesson} {title}"
        for signature, shapes, words in rows(importlib.import_module(name)):
            if shapes:
                lines.append(f"| {heading} | `{signature}` | {shapes} |")
                heading = ""
            else:
                others.append(f"`{signature}` {words}")
    lines += ["", "Without tensors of their own: " + " · ".join(others)]
    for lesson, title, names in COSTS:
        found = [row for name in names for row in rows(importlib.import_module(name))]
        listed = " · ".join(f"`{signature}` {words}" for signature, _, words in found)
        lines += ["", f"{lesson} {title}: {listed}"]
    return "\n".join([*lines, ""])


def rows(module: Any) -> Iterator[tuple[str, str, str]]:
    """Signature, shapes and first words of each public function of a module, and of its classes'
    methods."""
    room = importlib.import_module(module.__name__.rpartition(".")[0])
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
