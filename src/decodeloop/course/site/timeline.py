"""What the scheduler of the package decides for eight people who ask, step by step, in plain HTML.

What stands in the page are drawings, one for each setting. `static/pieces.js` shows one at a time,
and tells what each step does.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

from decodeloop.course.figures import BLUE, ORANGE, RED
from decodeloop.course.figures_scheduling import MAKING, PALE, READING, REREADING, pauses, spans_of
from decodeloop.serve import BlockManager, Job, Scheduler, Simulation, StepCost, simulate

COST = StepCost(step=7.5e-3, token=1.1e-3, text=0.1e-3, position=1.2e-6)  # seconds; lesson 14's
ASKED = (  # when, tokens of the prompt, tokens of the answer
    (0.00, 8, 20),
    (0.02, 30, 24),
    (0.05, 12, 30),
    (0.10, 40, 16),
    (0.20, 240, 10),
    (0.25, 10, 14),
    (0.30, 60, 12),
    (0.35, 6, 18),
)
SETTINGS = {  # title → tokens a step reads at most, blocks of 16 positions
    "at most 512 tokens a step": (512, 64),
    "at most 32 tokens a step": (32, 64),
    "at most 32, and little memory": (32, 24),
}
LEFT, WIDTH, HEIGHT, TOP = 84, 720, 22, 8  # of the drawing: margin, all, a row, margin
FILLS = {READING: ORANGE, REREADING: "url(#again-{setting})", MAKING: BLUE}


def results() -> dict[str, Simulation]:
    """The same requests by each setting, on a clock that is simulated: the same everywhere."""
    jobs = [
        Job(when, [1 + 1000 * who + at for at in range(prompt)], answer)  # nobody shares a prompt
        for who, (when, prompt, answer) in enumerate(ASKED)
    ]
    return {
        title: simulate(jobs, Scheduler(BlockManager(blocks), budget=budget), COST)
        for title, (budget, blocks) in SETTINGS.items()
    }


def figure() -> str:
    """The piece, in HTML without an empty line, as Markdown wants it."""
    runs = results()
    end = max(run.seconds for run in runs.values())
    choices = "".join(
        f'<label><input type="radio" name="setting" value="{at}"{" checked" if not at else ""}> '
        f"{escape(title)}</label>"
        for at, title in enumerate(runs)
    )
    drawings = "\n".join(
        f'<div class="setting"><p class="setting-title">{escape(title)}: {escape(told(run))}</p>'
        f'<div class="wide" tabindex="0" role="region" aria-label="timeline, {escape(title)}">'
        f"{drawing(run, end, title, at)}</div></div>"
        for at, (title, run) in enumerate(runs.items())
    )
    inline = json.dumps([steps(run) for run in runs.values()], separators=(",", ":"))
    return (
        '<figure class="piece timeline-piece">\n'
        "<figcaption>A row for each request: grey while it waits, orange while its prompt is read, "
        "blue where it makes tokens. A cross is a request that is sent back for want of memory; "
        "hatched, it reads again what it had.</figcaption>\n"
        f'<div class="controls" hidden><fieldset><legend>The scheduler may read</legend>{choices}'
        '</fieldset><label>step <input type="range" name="step" min="0" value="0"></label></div>\n'
        f'{drawings}\n<output aria-live="polite"></output>\n'
        f'<script type="application/json" data-left="{LEFT}" data-width="{WIDTH}" '
        f'data-end="{end:.4f}">{inline}</script>\n</figure>'
    )


def told(run: Simulation) -> str:
    """What the people feel of it, in a sentence."""
    page = max(range(len(ASKED)), key=lambda who: ASKED[who][1])
    back = f", {run.preemptions} sent back" if run.preemptions else ""
    return (
        f"the longest pause between two tokens is {1e3 * max(run.itl):.0f} ms, the page of "
        f"{ASKED[page][1]} tokens has its first token after {run.ttft[page]:.2f} s{back}."
    )


def drawing(run: Simulation, end: float, title: str, setting: int) -> str:
    """One run as SVG, on the clock from 0 to `end`; ids carry the number of the `setting`."""
    rows = range(len(run.requests))
    spans = spans_of(run, rows)
    marks = []
    for row, request in enumerate(run.requests):
        top = TOP + row * HEIGHT
        marks.append(f'<text x="4" y="{top + 15}" fill="#222">request {row}</text>')
        busy = [span for (of, _), some in spans.items() if of == row for span in some]
        waits = pauses(request.arrival, request.end, busy)
        marks += [box(begin, length, top + 3, 16, PALE, end) for begin, length in waits]
    for (row, kind), some in spans.items():
        thin = 3 if kind != MAKING else 7
        top = TOP + row * HEIGHT + thin
        fill = FILLS[kind].format(setting=setting)
        marks += [box(b, length, top, HEIGHT - 2 * thin, fill, end) for b, length in some]
    for moment in run.moments:
        for victim in moment.plan.preempted:
            x, y = x_of(moment.start, end), TOP + victim.number * HEIGHT + HEIGHT / 2
            marks.append(
                f'<path d="M{x - 5:.1f} {y - 5}l10 10m0 -10l-10 10" stroke="{RED}" '
                f'stroke-width="3"/>'
            )
    bottom = TOP + len(rows) * HEIGHT
    for tenth in range(0, int(10 * end) + 1, 2):
        x = x_of(tenth / 10, end)
        marks.append(f'<path d="M{x:.1f} {bottom}v5" stroke="#222"/>')
        marks.append(
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" fill="#222">'
            f"{tenth / 10:.1f} s</text>"
        )
    marks.append(
        f'<path class="cursor" d="M{LEFT} {TOP}V{bottom}" stroke="#111" stroke-width="2" '
        f'visibility="hidden"/>'
    )
    label = f"Timeline of {len(rows)} requests, {title}: {told(run)}"
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {WIDTH} {bottom + 24}" '
        f'width="{WIDTH}" height="{bottom + 24}"><defs><pattern id="again-{setting}" width="5" '
        f'height="5" patternUnits="userSpaceOnUse"><path d="M0 5L5 0" stroke="#8a4500"/></pattern>'
        f"</defs>"
        f"{''.join(marks)}</svg>"
    )


def x_of(second: float, end: float) -> float:
    return LEFT + (WIDTH - LEFT - 16) * second / end


def box(begin: float, length: float, top: float, height: float, fill: str, end: float) -> str:
    x, width = x_of(begin, end), x_of(begin + length, end) - x_of(begin, end)
    return (
        f'<rect x="{x:.1f}" y="{top}" width="{max(width - 0.5, 0.5):.1f}" height="{height}" '
        f'fill="{fill}"/>'
    )


def steps(run: Simulation) -> list[dict[str, Any]]:
    """What each step does: from when to when, which tokens, who waits, who is sent back."""
    said = []
    for moment in run.moments:
        reads = [[piece.request.number, piece.count] for piece in moment.plan.pieces]
        inside = {number for number, _ in reads}
        waits = [
            number
            for number, request in enumerate(run.requests)
            if request.arrival <= moment.start < request.end and number not in inside
        ]
        back = [request.number for request in moment.plan.preempted]
        begin, end = round(moment.start, 4), round(moment.end, 4)
        said.append({"begin": begin, "end": end, "reads": reads, "waits": waits, "back": back})
    return said


__all__ = ["figure", "results", "steps"]
