"""`decodeloop progress`: what a learner has done so far."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decodeloop.commands.shared import Json, Work, work_folder
from decodeloop.errors import UserError

if TYPE_CHECKING:
    from decodeloop.course.calibration import Guess
    from decodeloop.course.following import Stage
    from decodeloop.course.paths import Way

OnPath = Annotated[
    str | None,
    typer.Option("--path", help="Follow one: short, whole or serve; says what comes next."),
]
Picture = Annotated[
    Path | None,
    typer.Option(
        "--predictions", metavar="FILE", help="Draw your guesses against what was measured (.png)."
    ),
]


def noted(done: object, name: str) -> dict[str, object]:
    """What the file says of an exercise; what somebody else wrote into it counts as nothing."""
    entry = done.get(name) if isinstance(done, dict) else None
    known = entry if isinstance(entry, dict) else {}
    state, attempts = known.get("state"), known.get("attempts")
    return {
        "state": state if state in ("right", "wrong") else "",
        "attempts": attempts if type(attempts) is int else 0,
    }


def progress(
    work: Work = None,
    path: OnPath = None,
    predictions: Picture = None,
    as_json: Json = False,
) -> None:
    """What you have done so far, lesson by lesson. It stays on this machine."""
    from decodeloop.course.calibration import guesses
    from decodeloop.course.paths import way
    from decodeloop.course.progress import Progress
    from decodeloop.exercises.finding import all_exercises

    taken = None if path is None else way(path)
    data = Progress(work_folder(work)).read()
    rows = [
        {
            "lesson": exercise.lesson,
            "exercise": name,
            "kind": exercise.kind,
            **noted(data.get("exercises"), name),
        }
        for name, exercise in all_exercises().items()
    ]
    made = guesses(data.get("predictions", {}))
    on_the_way = None if taken is None else way_gone(taken, rows)
    if predictions is not None:
        said = draw(made, predictions)
        if not as_json:
            print(f"{predictions}: {said}")
    if as_json:
        print(json.dumps(as_data(rows, made, taken, on_the_way)))
    elif taken is not None and on_the_way is not None:
        show_way(taken, on_the_way)
    elif predictions is None:
        show_exercises(rows)


def way_gone(taken: Way, rows: list[dict[str, Any]]) -> list[Stage]:
    from decodeloop.course.building import lesson_paths, project_root
    from decodeloop.course.following import stages
    from decodeloop.course.paths import legs

    states = {row["exercise"]: row["state"] for row in rows}
    return stages(legs(taken, lesson_paths(project_root())), states)


def draw(made: list[Guess], target: Path) -> str:
    """Write the picture, and give the sentence that it has as its title."""
    from decodeloop.course.calibration import summary
    from decodeloop.course.figures_calibration import save_calibration

    if not made:
        raise UserError(
            "there is no guess to draw yet: put a number in place of the dots in a cell with "
            "predict, and run the cell that measures."
        )
    said = summary(made)
    try:
        save_calibration(made, said, target)
    except OSError as error:
        raise UserError(
            f"{target} can't be written: {error.strerror}: name another file."
        ) from None
    except ValueError:
        raise UserError(
            f"{target} has the ending {target.suffix!r}: expected a picture's, .png or .svg."
        ) from None
    return said


def as_data(
    rows: list[dict[str, Any]], made: list[Guess], taken: Way | None, on_the_way: list[Stage] | None
) -> dict[str, Any]:
    """The object of `--json`."""
    data: dict[str, Any] = {"exercises": rows, "predictions": [vars(guess) for guess in made]}
    if taken is not None and on_the_way is not None:
        lessons = [
            {
                "lesson": stage.leg.name,
                "minutes": stage.leg.minutes,
                "to_pause": stage.leg.to_pause,
                "right": stage.right,
                "of": stage.of,
            }
            for stage in on_the_way
        ]
        data["path"] = {"name": taken.name, "lessons": lessons}
    return data


def show_way(taken: Way, on_the_way: list[Stage]) -> None:
    from rich.console import Console
    from rich.table import Table

    from decodeloop.course.following import left
    from decodeloop.course.paths import hours

    table = Table("lesson", "", "minutes", "core", "", box=None, pad_edge=False)
    for stage in on_the_way:
        leg = stage.leg
        mark = "[green]✓ done[/]" if stage.done else "● begun" if stage.begun else "○ open"
        title = leg.title + (" (to its pause)" if leg.to_pause else "")
        table.add_row(leg.number, title, str(leg.minutes), f"{stage.right} of {stage.of}", mark)
    print(f"{taken.title}, about {hours([stage.leg for stage in on_the_way])} hours")
    Console().print(table)
    open_ones = left(on_the_way)
    if not open_ones:
        print("Every lesson of it is done.")
        return
    done = len(on_the_way) - len(open_ones)
    print(f"{done} of {len(on_the_way)} lessons are done; about {hours(open_ones)} hours are left.")
    print(f"Next: {open_ones[0].number} {open_ones[0].title}, work/{open_ones[0].name}.ipynb")


def show_exercises(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    marks = {"right": "[green]✓ right[/]", "wrong": "[red]✗ not yet[/]"}
    table = Table("lesson", "exercise", "", "state", "checked", box=None, pad_edge=False)
    for row in rows:
        state = marks.get(str(row["state"]), "○ open")
        times = f"{row['attempts']} ×" if row["attempts"] else ""
        table.add_row(str(row["lesson"]), str(row["exercise"]), str(row["kind"]), state, times)
    Console().print(table)
    right = sum(row["state"] == "right" for row in rows)
    print(f"{right} of {len(rows)} exercises are right.")
