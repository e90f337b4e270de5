"""`decodeloop progress`: what a learner has done so far."""

from __future__ import annotations

import json

from decodeloop.commands.shared import Json, Work, work_folder


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
    as_json: Json = False,
) -> None:
    """What you have done so far, lesson by lesson. It stays on this machine."""
    from decodeloop.course.progress import Progress
    from decodeloop.exercises.finding import all_exercises

    done = Progress(work_folder(work)).read().get("exercises")
    rows = [
        {
            "lesson": exercise.lesson,
            "exercise": name,
            "kind": exercise.kind,
            **noted(done, name),
        }
        for name, exercise in all_exercises().items()
    ]
    if as_json:
        print(json.dumps({"exercises": rows}))
        return
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
