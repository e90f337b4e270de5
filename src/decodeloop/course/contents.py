"""What the README says of the lessons, the paths and the project's address, made from where each of
them is said: the lessons' front matter, `paths.py` and pyproject."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from decodeloop.course.addresses import badges
from decodeloop.course.lessons import front_matter
from decodeloop.course.paths import WAYS, Leg, hours, legs

HEAD = "| | lesson | minutes | you build |\n| --- | --- | --- | --- |\n"
TABLE = re.compile(re.escape(HEAD) + r"(?:\|.*\n)*")
BLOCK = re.compile(r"(<!-- (badges|paths): made -->\n).*?(<!-- end -->\n)", re.DOTALL)
PATHS_HEAD = "| path | hours | lessons | you leave with |\n| --- | --- | --- | --- |\n"


def row(path: Path) -> str:
    """The line of one lesson: number, title, minutes, and what is built in it."""
    front = front_matter(path, path.read_text("utf-8").replace("\r\n", "\n"))
    link = f"[{path.stem.split('_')[0]}](notebooks/{path.stem}.ipynb)"
    return f"| {link} | {front['title']} | {front['minutes']} | {front['builds']} |\n"


def with_table(text: str, paths: Sequence[Path]) -> str:
    """A README with the table of these lessons; as it is, where it has no such table."""
    table = HEAD + "".join(row(path) for path in paths)
    return TABLE.sub(lambda _: table, text, count=1)


def paths_table(paths: Sequence[Path]) -> str:
    """The ways through these lessons, with their hours."""
    lines = [PATHS_HEAD]
    for way in WAYS.values():
        if taken := legs(way, paths):
            listed = in_runs(taken, [path.stem for path in paths])
            lines.append(f"| **{way.title}** | {hours(taken)} | {listed} | {way.leads_to} |\n")
    return "".join(lines)


def in_runs(taken: Sequence[Leg], names: Sequence[str]) -> str:
    """Lessons by their numbers, with links; three and more that follow each other as a run."""
    runs: list[list[Leg]] = []
    for leg in taken:
        place = names.index(leg.name)
        follows = runs and names[place - 1] == runs[-1][-1].name and not runs[-1][-1].to_pause
        if follows and not leg.to_pause:
            runs[-1].append(leg)
        else:
            runs.append([leg])
    words = []
    for run in runs:
        if len(run) > 2:
            words.append(f"{linked(run[0])}–{linked(run[-1])}")
        else:
            words += [linked(leg) for leg in run]
    return " · ".join(words)


def linked(leg: Leg) -> str:
    to_pause = " to its pause" if leg.to_pause else ""
    return f"[{leg.number}](notebooks/{leg.name}.ipynb){to_pause}"


def made(text: str, root: Path, paths: Sequence[Path]) -> str:
    """A README with everything in it that is made; what it has no place for is left out."""
    blocks = {"badges": lambda: badges(root), "paths": lambda: paths_table(paths)}

    def block(found: re.Match[str]) -> str:
        inside = blocks[found[2]]()
        return found[1] + (f"\n{inside}\n" if inside else "") + found[3]

    return with_table(BLOCK.sub(block, text), paths)


def readme_path(root: Path) -> Path:
    return root / "README.md"


def is_stale(root: Path, paths: Sequence[Path]) -> bool:
    """Whether the README says something else than the lessons."""
    path = readme_path(root)
    return path.is_file() and path.read_text("utf-8") != made(path.read_text("utf-8"), root, paths)


def write(root: Path, paths: Sequence[Path]) -> None:
    path = readme_path(root)
    path.write_text(made(path.read_text("utf-8"), root, paths), "utf-8", newline="\n")
