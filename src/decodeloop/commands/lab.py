"""`decodeloop lab`: the lab editions, in JupyterLab."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from decodeloop.commands.shared import MODEL, Work
from decodeloop.errors import UserError


def lab(
    context: typer.Context,
    work: Work = None,
    language: Annotated[
        str | None, typer.Option(help="Lessons in this language too, where there are any: de.")
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Copy the notebooks only.")] = False,
) -> None:
    """Copy the lab editions that are missing to `work/`, and open JupyterLab at lesson 00.

    Nothing in `work/` is ever overwritten. Further options go to JupyterLab.
    """
    from decodeloop.course import building
    from decodeloop.course import lab as workplace

    root = building.project_root()
    folder = work or root / "work"
    copied = workplace.prepare(root, folder, language)
    for path in copied.new:
        print(f"new: {path.name}")
    for path in copied.beside:
        print(f"a newer edition, beside yours, which is as you left it: {path.name}")
    if no_open:
        return
    if find_spec("jupyterlab") is None:
        raise UserError(
            f"JupyterLab is not installed in {sys.prefix}: run 'python -m pip install -c "
            f"constraints.txt -e .[lab]'; the notebooks lie in {folder}, for any other Jupyter."
        )
    from decodeloop.finding import known_folder

    known_folder(MODEL)  # a room of learners should not meet the download inside a cell
    lessons = sorted(path.name for path in (folder / (language or "")).glob("*.ipynb"))
    if not lessons:
        raise UserError(f"{root} has no notebooks/lab: bring the whole checkout here.")
    command = [
        sys.executable,
        "-m",
        "jupyter",
        "lab",
        "--ServerApp.root_dir",
        str(folder.resolve()),
    ]
    first = f"{language}/{lessons[0]}" if language else lessons[0]
    command += [f"--LabApp.default_url=/lab/tree/{first}"]
    # no question about news in front of lesson 00, and nothing asked of the network
    command += [f"--LabApp.app_settings_dir={Path(workplace.__file__).parent / 'lab_settings'}"]
    if getattr(os, "geteuid", lambda: 1)() == 0:
        command.append("--allow-root")  # in a container there is nobody else to be
    command += context.args
    os.chdir(folder)
    if os.name == "posix":
        os.execv(sys.executable, command)  # whoever ends this command ends JupyterLab
    raise typer.Exit(subprocess.run(command).returncode)
