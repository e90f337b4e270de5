"""`decodeloop bundle`: the course on a stick, for a room without network."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from decodeloop.errors import UserError, one_line

if TYPE_CHECKING:
    from decodeloop.course.bundling import Target, Wheel


def bundle(
    out: Annotated[Path, typer.Option(help="The folder, such as that of a stick.")],
    platform: Annotated[
        str, typer.Option(help="Some of linux,windows,macos.")
    ] = "linux,windows,macos",
    python: Annotated[str, typer.Option(help="Versions, such as 3.11,3.12.")] = "3.11",
    yes: Annotated[bool, typer.Option("--yes", help="Download without asking.")] = False,
) -> None:
    """Put the course on a stick: wheels, the model, the notebooks, and a script that installs them.

    The sizes are shown before anything is downloaded; run again, it goes on where it stopped.
    """
    from decodeloop.bar import progress_bar
    from decodeloop.course import bundling
    from decodeloop.course.building import project_root

    asked, root = bundling.targets(platform, python), project_root()
    (out / "locks").mkdir(parents=True, exist_ok=True)
    wanted: dict[Target, list[Wheel]] = {}
    with progress_bar() as show, tempfile.TemporaryDirectory() as scratch:
        for number, target in enumerate(asked):
            show("locks", number / len(asked))
            lock = bundling.make_lock(target, root, out / "locks")
            wanted[target] = bundling.wheels(target, lock, Path(scratch))
        show("locks", 1.0)
    show_sizes(wanted, out)
    if not yes and not typer.confirm("Download?"):
        return
    with progress_bar() as show:
        for target, files in wanted.items():
            folder = out / "wheels" / target.name
            folder.mkdir(parents=True, exist_ok=True)
            todo = bundling.missing(files, folder)
            for number, wheel in enumerate(todo):
                show(target.name, number / len(todo))
                bring(wheel, out, folder)
            show(target.name, 1.0)
            own_wheel(root, folder)
    finish(asked, out, root)


def bring(wheel: Wheel, out: Path, folder: Path) -> None:
    """One file: out of another system's folder, if it lies there, else from the network."""
    from decodeloop.course import bundling

    for other in (out / "wheels").glob(f"*/{wheel.name}"):
        if bundling.is_whole(other, wheel.sha256):
            shutil.copyfile(other, folder / wheel.name)
            return
    bundling.download(wheel, folder)


def own_wheel(root: Path, folder: Path) -> None:
    """The course's own package."""
    words = ["wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(root)]
    result = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True)
    if result.returncode:
        raise UserError(f"the course's own wheel can't be built: {one_line(result.stderr)}.")


def show_sizes(wanted: dict[Target, list[Wheel]], out: Path) -> None:
    from decodeloop.course import bundling

    for target, files in wanted.items():
        rest = bundling.missing(files, out / "wheels" / target.name)
        print(
            f"{target.name:<14} {len(files):>4} wheels, {bundling.total(files) / 1e6:,.0f} MB; "
            f"to be downloaded: {bundling.total(rest) / 1e6:,.0f} MB"
        )


def finish(asked: list[Target], out: Path, root: Path) -> None:
    """The model, the notebooks, the scripts; then every folder is tried by itself."""
    from decodeloop.bar import progress_bar
    from decodeloop.checkpoints import PINNED, fetch
    from decodeloop.commands.shared import MODEL
    from decodeloop.course import bundling
    from decodeloop.course.bundle_texts import POWERSHELL, SHELL, start_page

    with progress_bar() as show:
        folder = fetch(PINNED[MODEL], progress=show)
    (out / "model").mkdir(exist_ok=True)
    name = PINNED[MODEL].file_name
    model = next((p for p in (folder / name, folder.parent / name) if p.is_file()), None)
    if model is None:
        raise UserError(f"{folder} has no {name}: run 'decodeloop fetch' first.")
    shutil.copyfile(model, out / "model" / model.name)
    bundling.copy_course(root, out)
    (out / "install.sh").write_text(SHELL, "utf-8")
    (out / "install.ps1").write_text(POWERSHELL, "utf-8-sig")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    (out / "START.md").write_text(start_page(asked, size), "utf-8")
    (out / "SHA256SUMS").write_text(bundling.checksums(out), "utf-8")
    with tempfile.TemporaryDirectory() as scratch:
        for target in asked:
            lock = out / "locks" / f"{target.name}.txt"
            why = bundling.resolves(target, lock, out / "wheels" / target.name, Path(scratch))
            if why:
                raise UserError(f"{target.name} is not complete: {why}: run this again.")
            print(f"{target.name}: every requirement has its wheel")
