"""Execute and write the notebooks of a lesson; know which are stale."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import re
import socket
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from decodeloop.course import cheatsheet, contents
from decodeloop.course.languages import name_of, translation_paths
from decodeloop.course.lessons import (
    Lesson,
    LessonError,
    edition,
    edition_hash,
    read_lesson,
    tags,
    where,
)
from decodeloop.course.session import Edition
from decodeloop.errors import UserError
from decodeloop.nbguards.kernels import apart

ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
CELL_FILE = re.compile(r"[^\s\"']*ipykernel_\d+[/\\]\d+\.py")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
TIMEOUT_S = 300


def project_root(start: Path | None = None) -> Path:
    """The checkout that holds `lessons/`: around `start`, else the one this package lies in.

    Raises:
        UserError: there is none, as in an installation without the course's files.
    """
    start = (start or Path.cwd()).resolve()
    here = Path(__file__).resolve()
    for folder in (start, *start.parents, *here.parents):
        if (folder / "lessons").is_dir() and (folder / "notebooks").is_dir():
            return folder
    raise UserError(
        f"no checkout of the course lies at or above {start}: run this in the folder that holds "
        f"lessons/ and notebooks/."
    )


def lesson_paths(root: Path) -> list[Path]:
    """Every lesson, in the order of the course: numbers first, then appendices, and P, which is
    what to know before."""
    return sorted((root / "lessons").glob("[0-9AP]*_*.md"))


def notebook_path(root: Path, name: str, kind: Edition) -> Path:
    folder = root / "notebooks" / "lab" if kind == "lab" else root / "notebooks"
    return folder / f"{name}.ipynb"


def built_from(path: Path) -> str | None:
    """The hash of the lesson that a notebook was built from; None if there is no such notebook."""
    try:
        return json.loads(path.read_text("utf-8"))["metadata"]["decodeloop"]["source_hash"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def stale(root: Path) -> list[Path]:
    """The notebooks that are missing, or older than their lesson, and those without a lesson; the
    cheat-sheet, if the docstrings say something else; the README, if its table does."""
    wanted = {
        notebook_path(root, name_of(path), kind): edition_hash(path, kind)
        for path in [*lesson_paths(root), *translation_paths(root)]
        for kind in ("worked", "lab")
    }
    orphans = set((root / "notebooks").glob("**/*.ipynb")) - set(wanted)
    orphans = {p for p in orphans if ".ipynb_checkpoints" not in p.parts}
    pages = {cheatsheet.cheat_sheet_path(root)} if cheatsheet.is_stale(root) else set()
    if contents.is_stale(root, lesson_paths(root)):
        pages.add(contents.readme_path(root))
    return sorted({p for p, digest in wanted.items() if built_from(p) != digest} | orphans | pages)


def build(
    root: Path,
    names: list[str] | None = None,
    everything: bool = False,
    report: Callable[[str, float], None] = lambda name, fraction: None,
) -> list[str]:
    """Build the lessons that changed, or those that are named; return the names of those built.

    Args:
        names: lesson numbers or names, such as ``01``, or ``de/01`` for a translation.
        everything: also those that are up to date.
        report: called with a lesson's name and the fraction of its cells that have run.

    Raises:
        LessonError: a lesson can't be built; nothing of it is written.
    """
    paths = [*lesson_paths(root), *translation_paths(root)]
    if names:
        paths = [pick(paths, name) for name in names]
    old = stale(root)
    built = []
    for path in paths:
        targets = {k: notebook_path(root, name_of(path), k) for k in ("worked", "lab")}
        if not (names or everything or any(target in old for target in targets.values())):
            continue
        lesson = read_lesson(path)
        if names or everything or targets["worked"] in old:  # else only the lab edition is
            worked = executed(lesson, root, partial(report, lesson.name))
            write(worked, targets["worked"])
        write(edition(lesson, "lab"), targets["lab"])
        built.append(lesson.name)
    if cheatsheet.is_stale(root):
        cheatsheet.write_cheat_sheet(root)
        built.append(cheatsheet.NAME.removesuffix(".md"))
    if contents.is_stale(root, lesson_paths(root)):
        contents.write(root, lesson_paths(root))
        built.append("README")
    return built


def pick(paths: list[Path], name: str) -> Path:
    for path in paths:
        whole = name_of(path).casefold()
        if name.casefold() in (whole, whole.split("_")[0]):
            return path
    known = ", ".join(map(name_of, paths))
    raise UserError(f"unknown lesson {name!r}: expected a number or a name among {known}.")


def executed(lesson: Lesson, root: Path, report: Callable[[float], None] = lambda f: None) -> Any:
    """The worked edition with its outputs.

    Raises:
        LessonError: a cell fails, a figure has no alt text, or an output names this machine.
    """
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    notebook = edition(lesson, "worked")
    total, running = len(notebook.cells), 0

    def begins(cell: Any, cell_index: int) -> None:
        nonlocal running
        running = cell_index

    client = NotebookClient(
        notebook,
        km=apart(AsyncKernelManager, kernel_name="python3"),
        timeout=TIMEOUT_S,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(root / "notebooks")}},
        on_cell_execute=begins,
        on_cell_complete=lambda cell, cell_index: report((cell_index + 1) / total),
    )
    try:
        client.execute(cleanup_kc=True)  # a kernel that it was given would stay
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise LessonError(
            f"{where(lesson, running, notebook.cells[running].source)} fails:\n"
            f"{COLOUR.sub('', str(error))}"
        ) from None
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            cell.metadata.pop("execution", None)
            for output in cell.outputs:
                scrub(output)
            check_outputs(cell, where(lesson, number, cell.source))
    # what the kernel says of itself changes with every Python release
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def scrub(output: Any) -> None:
    """Take memory addresses and temporary paths out of an output."""
    if "text" in output:
        output["text"] = scrubbed(output["text"])
    for kind, value in output.get("data", {}).items():
        if kind.startswith("text/") and isinstance(value, str):
            output["data"][kind] = scrubbed(value)


def scrubbed(text: str) -> str:
    return CELL_FILE.sub("<cell>", ADDRESS.sub("0x…", text))


def check_outputs(cell: Any, place: str) -> None:
    """A figure must have alt text, and no output may name this machine."""
    text = " ".join(output_texts(cell))
    if any("image/png" in output.get("data", {}) for output in cell.outputs):
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if len(alt.split()) < 5:
            raise LessonError(
                f"{place} draws a figure without alt text: say in mystnb: image: alt: what a "
                f"reader who can't see it should know."
            )
    if "nbval-ignore-output" in tags(cell) and not cell.outputs:
        raise LessonError(f"{place} is tagged nbval-ignore-output but prints nothing.")
    for name in machine_names():
        if name in text:
            raise LessonError(f"{place} prints {name!r}, which names the machine it was built on.")


def output_texts(cell: Any) -> Iterator[str]:
    for output in cell.outputs:
        yield output.get("text", "")
        yield from (v for k, v in output.get("data", {}).items() if k.startswith("text/"))


def machine_names() -> set[str]:
    """Strings by which an output would give this machine away."""
    names = {str(Path.home()), os.getcwd(), tempfile.gettempdir(), socket.gethostname()}
    with contextlib.suppress(OSError, KeyError):  # a container may have no name for its user
        names.add(getpass.getuser())
    common = {"root", "user", "home", "localhost", "runner", "/"}
    return {n for n in names if len(n) > 3 and n not in common}


def write(notebook: Any, path: Path) -> None:
    """Write a notebook whole or not at all, the same bytes for the same content."""
    import nbformat

    nbformat.validate(notebook)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(nbformat.writes(notebook) + "\n", "utf-8", newline="\n")
    os.replace(partial, path)
