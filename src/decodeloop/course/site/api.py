"""Pages of the API: a room a page, out of the docstrings of its public names."""

from __future__ import annotations

import importlib
import pkgutil

PACKAGE = __name__.split(".")[0]


def rooms() -> list[str]:
    """The rooms of the package that have public names and say what they are, in order.

    >>> rooms()[:2]
    ['decodeloop', 'decodeloop.bench']
    """
    found = pkgutil.iter_modules(importlib.import_module(PACKAGE).__path__)
    packages = [info.name for info in found if info.ispkg]
    inside = [f"{PACKAGE}.{name}" for name in packages if name != "commands"]
    public = [name for name in inside if getattr(importlib.import_module(name), "__all__", None)]
    return [PACKAGE, *public]


def page_name(room: str) -> str:
    return room.replace(".", "_")


def room_page(room: str) -> str:
    """The page of one room, in reStructuredText."""
    title = f"``{room}``"
    return (
        f"{title}\n{'=' * len(title)}\n\n.. automodule:: {room}\n"
        f"   :members:\n   :imported-members:\n   :member-order: groupwise\n"
    )


def index_page() -> str:
    """The table of rooms, in Markdown."""
    rows = []
    for room in rooms():
        first = (importlib.import_module(room).__doc__ or "").strip().split("\n\n")[0]
        words = " ".join(first.split()).replace("|", "\\|")
        rows.append(f"| [`{room}`]({page_name(room)}.rst) | {words} |\n")
    pages = "\n".join(page_name(room) for room in rooms())
    return (
        "# API\n\nThe public names of each room of the package. A lesson builds most of them; the "
        "[cheat-sheet](../cheat-sheet.md) has their shapes on one page.\n\n"
        f"| room | what it is |\n| --- | --- |\n{''.join(rows)}\n"
        f"```{{toctree}}\n:hidden:\n{pages}\n```\n"
    )


__all__ = ["index_page", "page_name", "room_page", "rooms"]
