"""What a lecturer needs besides the notebooks, made from the lessons so that it is never stale.

For each lesson a plan for 90 minutes and its quiz as a bank of questions: GIFT for Moodle, and the
text of text2qti, which makes a QTI file for Canvas. For all of them a term of six or twelve weeks,
and a rubric.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from decodeloop.course.lessons import Lesson, prose_lines
from decodeloop.exercises.exercise import Exercise
from decodeloop.exercises.finding import numbers, of_lesson

ROOM = 90  # minutes
IN_PAIRS, MOST_SHOWN = 50, 40  # of them: writing, and watching, at most
SPARE = "what was left open last time; whoever is done begins the next lesson"
QUIZ = re.compile(r"<details><summary>(.+?)</summary>\n(.*?)</details>", re.DOTALL)
SPECIAL = re.compile(r"([~=#{}:\\])")  # to GIFT
MATH = re.compile(r"\$\$?(.+?)\$\$?", re.DOTALL)


@dataclass(frozen=True)
class Question:
    """One of a quiz, with what a good answer says."""

    text: str
    answer: str


def questions(lesson: Lesson) -> list[Question]:
    """The quiz of a lesson, in its order."""
    cells = [cell.source for cell in lesson.cells if cell.cell_type == "markdown"]
    _, _, quiz = "\n\n".join(cells).partition("### Quiz\n")
    quiz, _, _ = quiz.partition("\n### ")
    return [Question(one_text(q), one_text(a)) for q, a in QUIZ.findall(quiz)]


def one_text(markdown: str) -> str:
    """A paragraph in one line."""
    return " ".join(markdown.split())


def gift(lesson: Lesson) -> str:
    """The quiz as Moodle's GIFT: essay questions, whose feedback is the answer of the lesson."""
    entries = [f"$CATEGORY: decodeloop/{lesson.name}\n"]
    for number, question in enumerate(questions(lesson), start=1):
        text, answer = (escaped(latex(x)) for x in (question.text, question.answer))
        title = f"Lesson {lesson.number}, question {number}"
        entries.append(f"::{title}::[markdown]{text} {{####{answer}}}\n")
    return "\n".join(entries)


def escaped(text: str) -> str:
    return SPECIAL.sub(r"\\\1", text)


def latex(text: str) -> str:
    r"""Formulas as both platforms read them: \( … \)."""
    return MATH.sub(lambda found: rf"\({found[1]}\)", text)


def text2qti(lesson: Lesson) -> str:
    """The quiz as text2qti reads it: essay questions, with the lesson's answer as feedback."""
    lines = [f"Quiz title: Lesson {lesson.number}: {lesson.title}", ""]
    for number, question in enumerate(questions(lesson), start=1):
        lines += [f"{number}. {question.text}", f"... {question.answer}", "____", ""]
    return "\n".join(lines)


def plan(lesson: Lesson) -> str:
    """A class of 90 minutes: what is shown, what is done there, and what at home."""
    exercises = list(exercises_of(lesson))
    core = [x for x in exercises if x.kind == "core"]
    there, home = chosen(core)
    spent = sum(minutes_in_class(x) for x in there)
    more, later = chosen([x for x in exercises if x.kind == "stretch"], IN_PAIRS - spent)
    spent += sum(minutes_in_class(x) for x in more)
    there, home = there + more, home + later
    room = ROOM - 10 - spent - 15
    shown = min(room, MOST_SHOWN)
    begins, left = 10 + shown + spent, room - shown
    return "\n".join(
        [
            f"# Lesson {lesson.number} in {ROOM} minutes: {lesson.title}",
            "",
            f"Needs {lesson.needs}; a learner alone takes about {lesson.minutes} minutes.",
            "",
            "| minutes | what |",
            "| --- | --- |",
            "| 0–10 | the question that opens the lesson; everybody writes down a guess |",
            f"| 10–{10 + shown} | shown at the front: {', '.join(headings(lesson)[:4])} |",
            f"| {10 + shown}–{begins} | in the room, in pairs: {named(there)} |",
            *([f"| {begins}–{begins + left} | {SPARE} |"] if left else []),
            f"| {begins + left}–{ROOM} | the guesses against what was measured; the quiz |",
            "",
            f"At home: {named(home)}.",
            "",
            "## Where to stop",
            "",
            *[f"- {heading}" for heading in headings(lesson)],
            "",
            "## What goes wrong in class",
            "",
            "By the mistakes that `check` knows. Let a wrong answer stand until somebody has said "
            "what it computes.",
            "",
            *[trouble(x) for x in there or exercises],
            "",
            "## The quiz",
            "",
            *[f"{n}. {q.text}" for n, q in enumerate(questions(lesson), start=1)],
            "",
        ]
    )


def exercises_of(lesson: Lesson) -> Sequence[Exercise]:
    """In their order; an appendix may have none."""
    return list(of_lesson(lesson.number).values()) if lesson.number in numbers().values() else []


def minutes_in_class(exercise: Exercise) -> int:
    """In pairs, and with talk: half as long again."""
    return round(1.5 * exercise.minutes)


def chosen(core: Sequence[Exercise], most: int = IN_PAIRS) -> tuple[list[Exercise], list[Exercise]]:
    """Those for the room, in their order, as long as there is time; and the others."""
    there, home, spent = list[Exercise](), list[Exercise](), 0
    for exercise in core:
        spent += minutes_in_class(exercise)
        (there if spent <= most else home).append(exercise)
    return there, home


def named(exercises: Sequence[Exercise]) -> str:
    return ", ".join(f"`{x.name}` ({minutes_in_class(x)} min)" for x in exercises) or "nothing"


def trouble(exercise: Exercise) -> str:
    mistakes = "; ".join(mistake.name for mistake in exercise.mistakes[:4])
    return f"- `{exercise.name}`: {mistakes}"


def headings(lesson: Lesson) -> list[str]:
    """The sections of a lesson, without those at its end."""
    found = [
        line.removeprefix("## ")
        for cell in lesson.cells
        if cell.cell_type == "markdown"
        for line in prose_lines(cell.source)
        if line.startswith("## ")
    ]
    return [heading for heading in found if heading not in ("Recap", "Stretch")]


def term(lessons: Sequence[Lesson], weeks: int) -> str:
    """The lessons spread over so many weeks by their minutes, in their order."""
    main = [lesson for lesson in lessons if lesson.number[0].isdigit()]
    whole, spent = sum(lesson.minutes for lesson in main), 0
    by_week: dict[int, list[Lesson]] = {week: [] for week in range(weeks)}
    for lesson in main:
        middle = spent + lesson.minutes / 2
        by_week[min(int(weeks * middle / whole), weeks - 1)].append(lesson)
        spent += lesson.minutes
    lines = [f"## {weeks} weeks", "", "| week | lessons | minutes alone |", "| --- | --- | --- |"]
    for week, own in by_week.items():
        names = ", ".join(f"{lesson.number} {lesson.title}" for lesson in own) or "catching up"
        lines.append(f"| {week + 1} | {names} | {sum(lesson.minutes for lesson in own)} |")
    return "\n".join([*lines, ""])


RUBRIC = """## Rubric

Points of an exercise are its difficulty, 1 to 3, as `decodeloop grade` gives them. For what no
program sees, a talk of five minutes about one exercise, chosen by who teaches:

| | 0 | 1 | 2 |
| --- | --- | --- | --- |
| says what each line computes, with shapes | no | with help | alone |
| says what breaks if a line is changed, then tries it | no | guesses | explains |
| predicted a measurement, and says which assumption broke | no guess | a guess | a reason |

An answer that works and can't be explained counts as not handed in: `same_as` in the table is a
reason to talk, and no proof.
"""


def overview(lessons: Sequence[Lesson]) -> str:
    """The page for a whole term."""
    return "\n".join(["# A term", "", term(lessons, 6), term(lessons, 12), RUBRIC])


def write_all(lessons: Sequence[Lesson], out: Path) -> list[Path]:
    """Write everything; raises `OSError` where it can't be."""
    out.mkdir(parents=True, exist_ok=True)
    texts = {"term.md": overview(lessons)}
    for lesson in lessons:
        texts[f"{lesson.name}.plan.md"] = plan(lesson)
        if questions(lesson):
            texts[f"{lesson.name}.gift.txt"] = gift(lesson)
            texts[f"{lesson.name}.text2qti.txt"] = text2qti(lesson)
    for name, text in texts.items():
        (out / name).write_text(text, "utf-8")
    return [out / name for name in texts]


__all__ = ["gift", "overview", "plan", "questions", "text2qti", "write_all"]
