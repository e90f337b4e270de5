"""The README's table of lessons, made out of what each lesson says of itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from decodeloop.course.lessons import front_matter

HEAD = "| | lesson | minutes | you build |\n| --- | --- | --- | --- |\n"
TABLE = re.compile(re.escape(HEAD) + r"(?:\|.*\n)*")


def row(path: Path) -> str:
    """The line of one lesson: number, title, minutes, and what is built in it."""
    front = front_matter(path, path.read_text("utf-8").replace("\r\n", "\n"))
    link = f"[{path.stem.split('_')[0]}](notebooks/{path.stem}.ipynb)"
    return f"| {link} | {front['title']} | {front['minutes']} | {front['builds']} |\n"


def with_table(text: str, paths: Sequence[Path]) -> str:
    """A README with the table of these lessons; as it is, where it has no such table."""
    table = HEAD + "".join(row(path) for path in paths)
    return TABLE.sub(lambda _: table, text, count=1)


def readme_path(root: Path) -> Path:
    return root / "README.md"


def is_stale(root: Path, paths: Sequence[Path]) -> bool:
    """Whether the README says something else than the lessons."""
    path = readme_path(root)
    return path.is_file() and path.read_text("utf-8") != with_table(path.read_text("utf-8"), paths)


def write(root: Path, paths: Sequence[Path]) -> None:
    path = readme_path(root)
    path.write_text(with_table(path.read_text("utf-8"), paths), "utf-8", newline="\n")
