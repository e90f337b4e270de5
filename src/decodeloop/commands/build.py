"""`decodeloop build`: lessons become notebooks."""

from __future__ import annotations

from typing import Annotated

import typer


def build(
    lessons: Annotated[list[str] | None, typer.Argument(help="Numbers or names: 01.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what is up to date.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only say what is stale; 1 if any.")
    ] = False,
) -> None:
    """Build the notebooks of the lessons that changed, or of those that are named."""
    from decodeloop.bar import progress_bar
    from decodeloop.course import building

    root = building.project_root()
    if check:
        old = building.stale(root)
        for path in old:
            print(f"stale: {path.relative_to(root)}")
        raise typer.Exit(1 if old else 0)
    with progress_bar() as show:
        built = building.build(root, lessons, everything, show)
    print(f"built: {', '.join(built)}" if built else "every notebook is up to date")
