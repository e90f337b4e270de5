"""`decodeloop build`: lessons become notebooks."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from decodeloop.commands.shared import Json
from decodeloop.errors import UserError

HEADINGS = ("words", "code", "drawing", "longest", "ignored", "minutes", "reckoned")


def build(
    lessons: Annotated[list[str] | None, typer.Argument(help="Numbers or names: 01.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what is up to date.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only say what is stale; 1 if any.")
    ] = False,
    weigh: Annotated[
        bool,
        typer.Option("--weigh", help="Only say what each lesson weighs; 1 if any is too heavy."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Build the notebooks of the lessons that changed, or of those that are named."""
    from decodeloop.bar import progress_bar
    from decodeloop.course import building

    root = building.project_root()
    if as_json and not weigh:
        raise UserError("--json was given without --weigh: add it, or leave --json out.")
    if weigh:
        chosen = building.lesson_paths(root)
        if lessons:
            chosen = [building.pick(chosen, name) for name in lessons]
        raise typer.Exit(1 if show_weights(chosen, as_json) else 0)
    if check:
        old = building.stale(root)
        for path in old:
            print(f"stale: {path.relative_to(root)}")
        raise typer.Exit(1 if old else 0)
    with progress_bar() as show:
        built = building.build(root, lessons, everything, show)
    print(f"built: {', '.join(built)}" if built else "every notebook is up to date")


def show_weights(paths: list[Path], as_json: bool) -> list[str]:
    """Print what lessons weigh; give the sentences about those that weigh too much."""
    from decodeloop.course.lessons import read_lesson
    from decodeloop.course.weighing import excess, weigh

    weights = [weigh(read_lesson(path)) for path in paths]
    found = [sentence for weight in weights for sentence in excess(weight)]
    if as_json:
        print(json.dumps({"lessons": [asdict(weight) for weight in weights], "excess": found}))
        return found
    print(f"{'lesson':<32}" + "".join(f"{heading:>10}" for heading in HEADINGS))
    rows = [list(asdict(weight).values()) for weight in weights]
    for name, *numbers in rows:
        print(f"{name:<32}" + "".join(f"{number:>10,}" for number in numbers))
    for sentence in found:
        print(sentence)
    return found
