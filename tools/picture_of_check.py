"""Draw `notebooks/check.svg`, the moving picture of the README: `check` names a bug.

    python tools/picture_of_check.py [FILE]

What is shown was run: the exercise `attention` of lesson 01 with one index wrong, what `check` said
of it, the line put right, and what `check` said then. The picture moves by style sheets alone, so
that it needs no script, and stands still for readers who asked their system for that. The same run
gives the same bytes.
"""

from __future__ import annotations

import re
import sys
import textwrap
from dataclasses import dataclass
from html import escape
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from decodeloop.course.building import project_root
from decodeloop.course.lessons import read_lesson, with_solutions

LESSON, EXERCISE = "01_attention", "attention"
RIGHT, WRONG = "q.shape[-1]", "q.shape[-2]"
IMPORTS = "import math\nimport torch\nfrom decodeloop.course import check\n"
IMPORTS += "from decodeloop.model import softmax"

COLUMNS, LINE, SIZE, LEFT, PAD = 90, 21, 14.5, 74, 14  # characters; the others in pixels
WIDTH = 900
INK, PAPER, CELL, RULE = "#1f2328", "#ffffff", "#f6f8fa", "#d0d7de"
COLOURS = {"31": "#b3261e", "32": "#116329", "33": "#7a5200"}  # at least 4.5 : 1 on paper
SEEN = re.compile(r"\x1b\[(\d+)m")


@dataclass(frozen=True)
class Line:
    """One line of text at its place, and the seconds between which it is seen."""

    row: float
    text: str  # as printed, with a terminal's colours
    since: float
    until: float
    bold: bool = False


def answers() -> tuple[str, str]:
    """The cell of the exercise with the bug, and as the lesson has it."""
    lesson = read_lesson(project_root() / "lessons" / f"{LESSON}.md")
    [right] = (
        with_solutions(cell.source)
        for cell in lesson.cells
        if cell.cell_type == "code" and cell.source.startswith(f"def {EXERCISE}(")
    )
    if right.count(RIGHT) != 1:
        raise SystemExit(f"{LESSON}: expected {RIGHT!r} once in the solution of {EXERCISE}.")
    return right.replace(RIGHT, WRONG), right


def said_of(shell: InteractiveShell, answer: str) -> list[str]:
    """What `check` prints of an answer, in lines that fit into the picture."""
    shell.run_cell(answer, store_history=True).raise_error()
    with capture_output() as printed:
        shell.run_cell(f"{EXERCISE} = check({EXERCISE})", store_history=True).raise_error()
    fitting = []
    for line in printed.stdout.rstrip().splitlines():
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        fitting += textwrap.wrap(line, COLUMNS, subsequent_indent=indent)
    return fitting


def scene() -> tuple[list[Line], float, float]:
    """All lines, the seconds that the whole takes, and the moment that says most."""
    shell = InteractiveShell.instance()
    shell.run_cell(IMPORTS).raise_error()
    wrong, right = answers()
    verdict, praise = said_of(shell, wrong), said_of(shell, right)
    last = 18.0
    lines = []
    for row, (bad, good) in enumerate(
        zip(wrong.splitlines(), right.splitlines(), strict=True), start=1
    ):
        since = 0.3 + 0.35 * row
        mended = bad != good
        lines.append(Line(row, bad, since, 11.5 if mended else last, mended))
        if mended:
            lines.append(Line(row, good, 11.5, last, True))
    asked = row + 2.2
    lines.append(Line(asked, f"{EXERCISE} = check({EXERCISE})", 3.4, last))
    answer = asked + 1.6
    lines += [Line(answer + n, text, 4.4, 11.5) for n, text in enumerate(verdict)]
    lines += [Line(answer + n, text, 13.0, last) for n, text in enumerate(praise)]
    return lines, last, 10.0


def spans(text: str) -> str:
    """A terminal's colours as those of a picture."""
    parts = SEEN.split(text)
    written = escape(parts[0])
    for code, part in zip(parts[1::2], parts[2::2], strict=True):
        colour = COLOURS.get(code)
        inside = escape(part)
        written += (
            f'<tspan fill="{colour}" font-weight="600">{inside}</tspan>' if colour else inside
        )
    return written


def box(top: float, bottom: float) -> str:
    y, height = top * LINE + PAD - LINE * 0.95, (bottom - top) * LINE + LINE * 1.4
    return (
        f'<rect x="{LEFT - 10}" y="{y:.1f}" width="{WIDTH - LEFT - PAD + 10}" '
        f'height="{height:.1f}" rx="4" fill="{CELL}" stroke="{RULE}"/>'
    )


def prompt(row: float, text: str) -> str:
    return f'<text x="{PAD}" y="{row * LINE + PAD:.1f}" fill="#57606a">{text}</text>'


def moving(number: int, line: Line, whole: float) -> str:
    """When a line is seen, as keyframes."""
    since, until = 100 * line.since / whole, 100 * line.until / whole
    stops = f"0%{{opacity:0}}{since:.2f}%{{opacity:1}}"
    stops += f"{until:.2f}%{{opacity:0}}" if until < 100 else ""
    end = "0" if until < 100 else "1"
    name = f"l{number}"
    return (
        f"@keyframes {name}{{{stops}100%{{opacity:{end}}}}}"
        f".{name}{{animation:{name} {whole:g}s step-end infinite}}"
    )


def picture() -> str:
    """The whole picture, as SVG."""
    lines, whole, still = scene()
    asked = next(line.row for line in lines if line.text.startswith(f"{EXERCISE} = "))
    code = max(line.row for line in lines if line.row < asked)
    height = (max(line.row for line in lines) + 0.8) * LINE + PAD
    style = [moving(n, line, whole) for n, line in enumerate(lines)]
    hidden = [n for n, line in enumerate(lines) if not line.since <= still < line.until]
    style.append("@media (prefers-reduced-motion:reduce){text{animation:none!important}")
    style.append("".join(f".l{n}{{display:none}}" for n in hidden) + "}")
    texts = [
        f'<text class="l{n}" x="{LEFT}" y="{line.row * LINE + PAD:.1f}"'
        f' font-weight="{600 if line.bold else 400}">{spans(line.text)}</text>'
        for n, line in enumerate(lines)
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
            f'width="{WIDTH}" height="{height:.0f}" role="img" '
            f'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" '
            f'font-size="{SIZE}px" fill="{INK}">',
            "<title>check names a bug: the root of the wrong axis</title>",
            f"<style>text{{white-space:pre}}{''.join(style)}</style>",
            f'<rect width="100%" height="100%" fill="{PAPER}"/>',
            box(1, code),
            box(asked, asked),
            prompt(1, "[12]:"),
            prompt(asked, "[13]:"),
            *texts,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else project_root() / "notebooks" / "check.svg"
    target.write_text(picture(), "utf-8", newline="\n")
    print(target)
