"""Exercises of lesson 13: what a step costs, where a batch stops helping, what a static one wastes."""

from __future__ import annotations

import math
import random
import statistics  # noqa: F401, the edits use it
from collections.abc import Sequence
from fractions import Fraction
from numbers import Real
from typing import Any

import torch

from decodeloop import serve
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Case, Exercise, Mistake, call, copies, lend, trial
from decodeloop.serve import StepCost, StepTime

LESSON = "13_batching"

# --- fit_step_cost --------------------------------------------------------------------------------

PARTS = ("step", "token", "text", "position")


def described(found: Any, scale: float = 1.0) -> Any:
    """A cost by its parts, without the digits that differ from run to run; a dict, which would look
    like one, in words, and so is a cost that was computed with few digits."""
    if isinstance(found, StepCost):
        parts = [number(getattr(found, name)) for name in PARTS]
        if not all(isinstance(x, float) for x in parts):
            return dict(zip(PARTS, parts, strict=True))
        if few_digits(parts):
            return "a StepCost of numbers with the few digits of float32"
        return {name: digits(x * scale) for name, x in zip(PARTS, parts, strict=True)}
    return f"a dict of {', '.join(map(str, found))}" if isinstance(found, dict) else found


def few_digits(parts: Sequence[float]) -> bool:
    """Whether all are numbers that a float32 can hold, and not all of them round ones."""
    held = torch.tensor(parts, dtype=torch.float32).tolist()
    return held == [*parts] and any(x * 1024 % 1 for x in parts)


def number(value: Any) -> Any:
    """A number as Python's, whatever carries it."""
    alone = isinstance(value, Real) or (isinstance(value, torch.Tensor) and value.ndim == 0)
    return float(value) if alone else value


def digits(value: float) -> float:
    return float(f"{value:.10g}")


def by_normal_equations(measured: Sequence[StepTime], scale: float = 1.0) -> dict[str, float]:
    """Closed form in exact fractions: AᵀA x = Aᵀ1, the rows of A divided by their seconds."""
    rows = []
    for s in measured:
        seconds = Fraction(s.seconds)
        rows.append([Fraction(x) / seconds for x in (1, s.tokens, s.texts, s.positions)])
    system = [
        [sum((row[i] * row[j] for row in rows), Fraction(0)) for j in range(4)]
        + [sum((row[i] for row in rows), Fraction(0))]
        for i in range(4)
    ]
    for i in range(4):  # Gauss and Jordan; AᵀA has no 0 on its way
        system[i] = [x / system[i][i] for x in system[i]]
        for k in range(4):
            if k != i:
                factor = system[k][i]
                system[k] = [x - factor * y for x, y in zip(system[k], system[i], strict=True)]
    return {name: digits(float(row[4]) * scale) for name, row in zip(PARTS, system, strict=True)}


def by_least_squares(measured: Sequence[StepTime]) -> StepCost:
    """A right one."""
    seconds = torch.tensor([[s.seconds] for s in measured], dtype=torch.float64)
    counts = [[1, s.tokens, s.texts, s.positions] for s in measured]
    rows = torch.tensor(counts, dtype=torch.float64)
    rows, target = rows / seconds, torch.ones_like(seconds)
    found = torch.linalg.lstsq(rows, target).solution
    return StepCost(*found[:, 0].tolist())


FOUR = [(1, 1, 100), (1, 1, 300), (8, 8, 800), (100, 1, 100)]  # tokens, texts, positions
KINDS = [*FOUR, *((b, b, b * n) for b in (1, 2, 4, 16) for n in (64, 512)), (500, 1, 500)]
KINDS += [(40, 5, 1090), (33, 3, 33), (1, 1, 77)]
BY_HAND = StepCost(step=8.0, token=1.0, text=0.5, position=0.01)
IN_SECONDS = StepCost(step=8e-3, token=1e-3, text=4e-4, position=1.2e-6)


def steps(
    cost: StepCost, kinds: Sequence[tuple[int, int, int]], noise: float = 0.0, seed: int = 0
) -> list[StepTime]:
    """Steps that cost what they should, give or take some noise."""
    draw = random.Random(seed)
    return [StepTime(*k, cost(*k) * (1 + draw.uniform(-noise, noise))) for k in kinds]


def fitting(label: str, measured: list[StepTime], scale: float = 1.0) -> Case:
    """`scale`: the costs are compared as so many times what they are, where they are small."""
    return Case(
        label,
        lambda candidate: described(lend(candidate, measured), scale),
        lambda: by_normal_equations(copies((measured,))[0], scale),
        (measured,),
    )


NOISY_REST = steps(BY_HAND, KINDS[7:], 0.08, seed=10)

FIT_STEP_COST = Exercise(
    name="fit_step_cost",
    lesson=LESSON,
    library=serve.fit_step_cost,
    minutes=8,
    difficulty=2,
    tolerance=1e-6,
    cases=(
        fitting("four steps, by hand", steps(BY_HAND, FOUR)),
        fitting("sixteen steps, exact", steps(StepCost(3.0, 0.3, 0.7, 0.13), KINDS)),
        fitting("measured, with 4 % of noise", steps(BY_HAND, KINDS, 0.04, seed=1)),
        fitting("other steps, with more noise", steps(StepCost(90, 2, 4, 0.5), KINDS, 0.09, 8)),
        fitting("three of each", steps(StepCost(5, 3, 2, 0.25), KINDS * 3, 0.05, seed=3)),
        fitting("in the opposite order", steps(BY_HAND, KINDS[::-1], 0.03, seed=5)),
        fitting("some measured twice", 2 * steps(BY_HAND, KINDS[:7], 0.08, 9) + NOISY_REST),
        fitting("in seconds, by the millionth", steps(IN_SECONDS, KINDS, 0.03, seed=4), scale=1e6),
        fitting("a machine that takes minutes", steps(StepCost(900, 70, 50, 3), KINDS, 0.02, 6)),
    ),
    mistakes=edits(
        by_least_squares,
        """
## absolute errors
- rows, target = rows / seconds, torch.ones_like(seconds) → target = seconds
You fit the seconds themselves: then an error of 1 % of a long prompt counts more than a decode
step that is wrong by half. Divide each row, and its seconds, by the seconds.
## the rows divided, the seconds not
- torch.ones_like(seconds) → seconds
You divide the rows by their seconds, and fit to the seconds all the same. What is divided on one
side must be divided on the other: each row should then give 1.
## the seconds divided, the rows not
- rows / seconds, torch → rows, torch
Each of your rows should give 1, but not all of its four numbers are divided by the seconds: the
first is 1 / seconds.
## multiplied by the seconds
- rows / seconds, torch.ones_like(seconds) → rows * seconds, seconds**2
You multiply both sides by the seconds: long steps then count even more. Divide.
## divided by the root
- rows / seconds, torch.ones_like(seconds) → rows / seconds.sqrt(), seconds.sqrt()
You divide by the square root of the seconds. Errors are relative when both sides are divided by
the seconds themselves.
## nothing that is paid once
- [[1, s.tokens → [[0, s.tokens
- torch.linalg.lstsq(rows, target).solution → torch.linalg.pinv(rows) @ target
Your fit has no column for what a step costs once: the 1 in each row. It is the largest part.
## the texts ignored
- s.texts, s.positions] → 0, s.positions]
- torch.linalg.lstsq(rows, target).solution → torch.linalg.pinv(rows) @ target
Your fit has no column for the texts.
## the tokens ignored
- [[1, s.tokens → [[1, 0
- torch.linalg.lstsq(rows, target).solution → torch.linalg.pinv(rows) @ target
Your fit has no column for the tokens.
## the positions ignored
- s.texts, s.positions] → s.texts, 0]
- torch.linalg.lstsq(rows, target).solution → torch.linalg.pinv(rows) @ target
Your fit has no column for the positions: a long context would cost nothing.
## tokens and texts exchanged
- s.tokens, s.texts → s.texts, s.tokens
The cost of a token and that of a text stand in each other's place: StepCost takes step, token,
text, position.
## texts and positions exchanged
- s.texts, s.positions] → s.positions, s.texts]
The cost of a text and that of a position stand in each other's place: StepCost takes step, token,
text, position.
## the step last
- [[1, s.tokens, s.texts, s.positions] → [[s.tokens, s.texts, s.positions, 1]
What is paid once stands last. StepCost takes step, token, text, position.
## positions of one text
- s.positions] → s.positions / s.texts]
You divide the positions by the texts. A step of eight texts attends to the positions of all eight,
and `positions` is their sum already.
## seconds for each token
- [[s.seconds] → [[s.seconds / s.tokens]
You fit the seconds for each token. What is fitted is the seconds of a whole step.
## the first four
- return StepCost → found = torch.linalg.solve(rows[:4], target[:4])
+ return StepCost
You solve for the first four steps, and leave the others out. With noise in them, all of them
together know better.
## the last is left out
- [[s.seconds] for s in measured] → [[s.seconds] for s in measured[:-1]]
- s.positions] for s in measured] → s.positions] for s in measured[:-1]]
- torch.linalg.lstsq(rows, target).solution → torch.linalg.pinv(rows) @ target
The last step plays no part in your fit.
## one column for each row
- rows / seconds, torch → rows / seconds[:, 0], torch
You divide column by column: `seconds` has no second axis, so it is laid along the rows. As
`seconds[:, None]`, (n, 1), it divides each row.
## few digits
- seconds = torch.tensor([[s.seconds] for s in measured], dtype=torch.float64)
+ seconds = torch.tensor([[s.seconds] for s in measured], dtype=torch.float32)
- rows = torch.tensor(counts, dtype=torch.float64)
+ rows = torch.tensor(counts, dtype=torch.float32)
Seven digits are too few: positions are thousands and their cost is millionths. Make the tensors
with `dtype=torch.float64`.
## in milliseconds
- found[:, 0].tolist() → [1000 * x for x in found[:, 0].tolist()]
Those are milliseconds. `seconds` is in seconds, and so are the costs.
## rounded
- found[:, 0].tolist() → [round(x, 3) for x in found[:, 0].tolist()]
You round the costs to thousandths. A position costs a millionth of a second: return what comes
out.
## rounded to millionths
- found[:, 0].tolist() → [round(x, 6) for x in found[:, 0].tolist()]
You round the costs to millionths. A position costs about one: return what comes out.
## a bare tuple
- return StepCost(*found[:, 0].tolist()) → return tuple(found[:, 0].tolist())
The four costs are right, but they come back as a bare tuple: return StepCost(step, token, text,
position).
## least absolute errors
- return StepCost
+ for _ in range(50):
+     off = (rows @ found - target).abs().clamp(min=1e-9).sqrt()
+     found = torch.linalg.lstsq(rows / off, target / off).solution
+ return StepCost
You make the sum of the *absolute* errors small. Asked for is least squares.
""",
    ),
    hints=(
        "Write one equation for each step: step + token·tokens + text·texts + position·positions = "
        "seconds. Four unknowns, and more equations than that: `torch.linalg.lstsq`.",
        "For relative errors divide both sides of each equation by its seconds: on the right stands "
        "1 then. So the rows are (1, tokens, texts, positions) / seconds, and the target is ones.",
        "`rows` is (n, 4), `target` (n, 1), both in float64. `torch.linalg.lstsq(rows, "
        "target).solution` is (4, 1); `StepCost(*solution[:, 0].tolist())` puts the four in place.",
    ),
)

# --- break_even_batch -----------------------------------------------------------------------------


def two_halves(cost: StepCost, length: int) -> float:
    """Closed form: what a text adds is the difference of two steps, in exact fractions."""
    parts = [Fraction(getattr(cost, name)) for name in PARTS]
    each = parts[1] + parts[2] + parts[3] * length
    return float(parts[0] / each) if each else math.inf


def once_over_each(cost: StepCost, length: int) -> float:
    """A right one."""
    each = cost.token + cost.text + cost.position * length
    return cost.step / each if each else math.inf


FREE = StepCost(step=2.0, token=0.0, text=0.0, position=0.0)


def nearly_free_and_free(candidate: Any) -> list[Any]:
    nearly = lend(candidate, StepCost(2.0, 0.125, 0.0, 0.0), 9)
    try:
        return [nearly, lend(candidate, FREE, 9)]
    except ZeroDivisionError:
        return [nearly, "a ZeroDivisionError"]


BREAK_EVEN_BATCH = Exercise(
    name="break_even_batch",
    lesson=LESSON,
    library=serve.break_even_batch,
    minutes=3,
    difficulty=1,
    tolerance=1e-6,
    cases=(
        call("by hand, a short context", BY_HAND, 32, oracle=two_halves),
        call("by hand, a long context", BY_HAND, 1000, oracle=two_halves),
        call("one position", StepCost(7.0, 0.5, 0.25, 0.125), 1, oracle=two_halves),
        call(
            "a text costs more than the step", StepCost(1.0, 2.0, 3.0, 0.5), 10, oracle=two_halves
        ),
        call(
            "texts cost nothing of their own", StepCost(9.0, 1.5, 0.0, 0.01), 75, oracle=two_halves
        ),
        call("tokens cost nothing", StepCost(9.0, 0.0, 0.75, 0.03), 55, oracle=two_halves),
        call("nothing is paid once", StepCost(0.0, 1.5, 0.5, 0.01), 40, oracle=two_halves),
        call("a large machine", StepCost(4.8e6, 16.0, 1.0, 0.039), 4096, oracle=two_halves),
        trial("a text that costs nothing", nearly_free_and_free, lambda: [16.0, math.inf]),
    ),
    mistakes=edits(
        once_over_each,
        """
## upside down
- cost.step / each if each else math.inf → each / cost.step if cost.step else 0.0
That is upside down. Ask how many times what a text costs fits into what a step costs once.
## rounded up
- cost.step / each if each → math.ceil(cost.step / each) if each
You round up. Asked for is the quotient itself: nothing jumps at this batch.
## rounded down
- cost.step / each if each → cost.step // each if each
You round down. Asked for is the quotient itself: nothing jumps at this batch.
## rounded
- cost.step / each if each → round(cost.step / each) if each
You round. Asked for is the quotient itself: nothing jumps at this batch.
## one position for each text
- cost.position * length → cost.position
A text attends to `length` positions in each step, not to one.
## the positions ignored
-  + cost.position * length
A text also pays for the positions that it attends to: `cost.position * length`.
## the text ignored
- cost.token + cost.text + → cost.token +
What a text adds to a decode step is a token *and* a text, and its positions.
## the token ignored
- cost.token + cost.text + → cost.text +
What a text adds to a decode step is a text *and* a token, and its positions.
## only the positions
- cost.token + cost.text + cost.position → cost.position
A text also brings a token, and itself.
## everything for each position
- cost.token + cost.text + cost.position * length
+ (cost.token + cost.text + cost.position) * length
In a decode step a text computes *one* token, and attends to `length` positions. Only the last part
is multiplied.
## the step of one text
- cost.step / each if each → (cost.step + each) / each if each
You divide the whole step of one text. Asked for is what is paid once, alone.
## a share
- cost.step / each if each → cost.step / (cost.step + each) if each
That is the share of a step of one text which is paid once. Divide by what a text adds, alone.
## a share of a step of one
- cost.step / each if each else math.inf → cost.step / cost(1, 1, length)
That is the share of a step of one text which is paid once. Divide by what a text adds, alone.
## no text is free
- cost.step / each if each else math.inf → cost.step / each
A text may add nothing at all, and nothing can be divided by 0: return `math.inf` then.
## free without a cost of its own
- if each else math.inf → if cost.text else math.inf
Where `cost.text` is 0, a text still brings a token and its positions. It adds nothing only if all
three together are 0.
## half of it
- cost.step / each if each → cost.step / 2 / each if each
That is half of it. At the batch asked for, the texts together cost as much as the step does once.
## twice it
- cost.step / each if each → 2 * cost.step / each if each
That is twice it. At the batch asked for, the texts together cost as much as the step does once.
## one text at least
- cost.step / each if each → max(1.0, cost.step / each) if each
You give at least 1. Where a text costs more than the step does once, the quotient is below 1: then
batches bring little from the start.
## nothing for a text that costs nothing
- else math.inf → else 0.0
If a text adds nothing, no batch is too large: return `math.inf`.
## none for a text that costs nothing
- else math.inf → else None
If a text adds nothing, no batch is too large: return `math.inf`.
## the new position twice
- cost.position * length → cost.position * (length + 1)
`length` counts the new position already.
## the new position left out
- cost.position * length → cost.position * (length - 1)
`length` counts the new position, and a token attends to itself too.
## a prompt instead of a step
- cost.token + → cost.token * length +
That is what reading a whole prompt would add. In a decode step a text computes one token.
""",
    ),
    hints=(
        "A decode step of B texts costs cost.step once, and B times what one text adds. What does "
        "one text add?",
        "One token, one text, and `length` positions. Both sides are equal where B times that is "
        "`cost.step`: solve for B. And if a text adds nothing, `math.inf`.",
    ),
)

# --- pad_waste ------------------------------------------------------------------------------------


def counted_cell_by_cell(lengths: Sequence[int]) -> float:
    """Brute force: a mask of what is real."""
    real = torch.arange(max(lengths)) < torch.tensor(list(lengths))[:, None]
    return float((~real).double().mean())


def missing_over_all(lengths: Sequence[int]) -> float:
    """A right one."""
    longest = max(lengths)
    padding = sum(longest - n for n in lengths)
    return padding / (len(lengths) * longest)


def drawn_lengths(seed: int, count: int) -> list[int]:
    draw = random.Random(seed)
    return [max(1, round(draw.lognormvariate(4.0, 0.8))) for _ in range(count)]


PAD_WASTE = Exercise(
    name="pad_waste",
    lesson=LESSON,
    library=serve.pad_waste,
    minutes=3,
    difficulty=1,
    tolerance=1e-6,
    cases=(
        call("four texts, by hand", [4, 1, 1, 2], oracle=counted_cell_by_cell),
        call("the longest last", [2, 3, 3, 7], oracle=counted_cell_by_cell),
        call("odd numbers", [3, 11, 1, 5, 5], oracle=counted_cell_by_cell),
        call("one long among many", [1] * 30 + [257], oracle=counted_cell_by_cell),
        call("the longest twice", [5, 2, 5], oracle=counted_cell_by_cell),
        call("one text", [5], oracle=counted_cell_by_cell),
        call("all alike", [9, 9, 9], oracle=counted_cell_by_cell),
        call("eight prompts", drawn_lengths(1, 8), oracle=counted_cell_by_cell),
        call("a hundred and one", drawn_lengths(2, 101), oracle=counted_cell_by_cell),
        call("a very long one", [1200, 5000, 3100], oracle=counted_cell_by_cell),
    ),
    mistakes=edits(
        missing_over_all,
        """
## what is real
- return padding / (len(lengths) * longest) → return sum(lengths) / (len(lengths) * longest)
That is the part that is *real*. Asked for is the rest.
## how many
- return padding / (len(lengths) * longest) → return padding
That is how many places are padding. Asked for is which part of the batch they are: divide by all
places.
## against the real ones
- (len(lengths) * longest) → sum(lengths)
You divide by the real tokens: half of the batch wasted would then be 1. Divide by all places.
## for each text
- (len(lengths) * longest) → len(lengths)
That is how many places of a text are padding, on average. Divide by their length too.
## for each column
- (len(lengths) * longest) → longest
You divide by the columns alone. All places are texts times columns.
## in percent
- return padding → return 100 * padding
That is in percent. A part is asked for, between 0 and 1.
## rounded
- return padding / (len(lengths) * longest)
+ return round(padding / (len(lengths) * longest), 2)
You round to hundredths. Return the quotient as it is.
## a whole number
- padding / (len → padding // (len
`//` rounds down to a whole number, here to 0. A part has something after the point: `/`.
## the first for the longest
- longest = max(lengths) → longest = lengths[0]
You take the first text for the longest. It may stand anywhere: `max(lengths)`.
## the last for the longest
- longest = max(lengths) → longest = lengths[-1]
You take the last text for the longest. It may stand anywhere: `max(lengths)`.
## the median
- padding / (len(lengths) * longest) → 1 - statistics.median(lengths) / longest
You compare the *median* length with the longest. What is real is the sum of all lengths: their
mean.
## the shortest against the longest
- padding / (len(lengths) * longest) → 1 - min(lengths) / longest
That is how much of the *shortest* text's row is padding. Asked for is the part of the whole batch.
## the longest not counted
- (len(lengths) * longest) → (max(len(lengths) - 1, 1) * longest)
You leave the longest text's row out of the places. It is computed too.
## the longest counted once
- (len(lengths) * longest) → (longest * (1 + sum(n < longest for n in lengths)))
You count one row for the longest text, however many are as long as it. Each text is a row.
## alike texts counted once
- padding = → lengths = set(lengths)
+ padding =
A set keeps equal lengths once. Two texts of five tokens are two rows.
## to a power of two
- longest = max(lengths) → longest = 2 ** (max(lengths) - 1).bit_length()
You pad to a power of two. Pad to the longest text.
## cut to the shortest
- sum(longest - n for n in lengths) → sum(n - min(lengths) for n in lengths)
You count what would be cut off if all were as short as the shortest. Nothing is cut: the short
ones are filled up to the longest.
## one column more
- longest = max(lengths) → longest = max(lengths) + 1
Your rows are one place too long: the longest text has no padding at all.
## wasted work, squared
- return padding / (len(lengths) * longest) → return (padding / (len(lengths) * longest)) ** 2
You square it. Each place counts once.
""",
    ),
    hints=(
        "The batch is a rectangle: as many rows as texts, as many columns as the longest has tokens. "
        "How many of its places hold no token?",
        "Places: `len(lengths) * max(lengths)`. Real ones: `sum(lengths)`. The part that is padding "
        "is 1 minus their quotient.",
    ),
)

# --- static_batch_time ----------------------------------------------------------------------------


def summed_up(prompts: Sequence[int], answers: Sequence[int], cost: StepCost) -> float:
    """Closed form: an arithmetic series."""
    B, T, A = len(prompts), max(prompts), max(answers)
    tokens = B * (T + A - 1)
    positions = B * (A * T + A * (A - 1) // 2)
    return cost.step * A + cost.token * tokens + cost.text * B * A + cost.position * positions


def step_by_step(prompts: Sequence[int], answers: Sequence[int], cost: StepCost) -> float:
    """A right one."""
    B, T = len(prompts), max(prompts)
    seconds = cost(B * T, B, B * T)
    for made in range(1, max(answers)):
        seconds += cost(B, B, B * (T + made))
    return seconds


def one_after_another(prompts: Sequence[int], answers: Sequence[int], cost: StepCost) -> float:
    return sum(summed_up([p], [a], cost) for p, a in zip(prompts, answers, strict=True))


MIXED = StepCost(step=8.0, token=0.75, text=0.3125, position=1 / 128)
EIGHT = (drawn_lengths(3, 8), drawn_lengths(4, 8))

STATIC_BATCH_TIME = Exercise(
    name="static_batch_time",
    lesson=LESSON,
    library=serve.static_batch_time,
    minutes=7,
    difficulty=2,
    tolerance=1e-6,
    cases=(
        call("two texts, by hand", [3, 5], [4, 2], StepCost(10.0, 1.0, 0.0, 0.0), oracle=summed_up),
        call("only positions cost", [3, 5], [2, 4], StepCost(0, 0, 0, 1.0), oracle=summed_up),
        call("only texts cost", [3, 5, 2], [2, 4, 1], StepCost(0, 0, 1.0, 0), oracle=summed_up),
        call("one text", [6], [5], MIXED, oracle=summed_up),
        call("answers of one token", [7, 2, 4], [1, 1, 1], MIXED, oracle=summed_up),
        call("prompts of one token", [1, 1, 1], [3, 6, 2], MIXED, oracle=summed_up),
        call("long prompt and long answer apart", [2, 20, 3], [30, 4, 7], MIXED, oracle=summed_up),
        call(
            "long prompt and long answer together", [4, 5, 40], [3, 2, 31], MIXED, oracle=summed_up
        ),
        call("eight texts", *EIGHT, MIXED, oracle=summed_up),
        call("seven alike", [12] * 7, [9] * 7, MIXED, oracle=summed_up),
        call("an answer of 1,500", [5, 3], [7, 1500], MIXED, oracle=summed_up),
    ),
    mistakes=(
        *edits(
            step_by_step,
            """
## a step too many
- range(1, max(answers)) → range(1, max(answers) + 1)
One step too many: the first token comes with the prompts, so n tokens take n - 1 further steps.
## a step too few
- range(1, max(answers)) → range(1, max(answers) - 1)
One step too few: the first token comes with the prompts, the other n - 1 take a step each.
## those that have ended leave
- seconds += cost(B, B, B * (T + made))
+ left = sum(n > made for n in answers)
+ seconds += cost(left, left, left * (T + made))
Your texts leave when they have ended. In a static batch their rows are computed until the last one
has ended. (What you wrote is half of the next lesson.)
## prompts without padding
- cost(B * T, B, B * T) → cost(sum(prompts), B, sum(prompts))
You read the prompts without their padding. A static batch is a rectangle: every row is as long as
the longest, and all of it is computed.
## no padding in the context
- B * (T + made)) → sum(p + made for p in prompts))
Padding is fetched, too: after the prompts each row has T + k positions, however short its prompt.
## no padding at all
- cost(B * T, B, B * T) → cost(sum(prompts), B, sum(prompts))
- B * (T + made)) → sum(p + made for p in prompts))
You leave all padding out. A static batch is a rectangle: every row is as long as the longest
prompt, is computed, and is attended to.
## the mean answer
- max(answers) → round(statistics.fmean(answers))
You go on for as long as the *mean* answer. The batch goes on until the longest has ended.
## the shortest answer
- max(answers) → min(answers)
You stop with the shortest answer. The batch goes on until the longest has ended.
## the first answer
- max(answers) → answers[0]
You go on for as long as the *first* answer. The longest may stand anywhere.
## the last answer
- max(answers) → answers[-1]
You go on for as long as the *last* answer. The longest may stand anywhere.
## all answers added
- max(answers) → sum(answers)
You take a step for each token of each answer. One step makes a token of *every* text.
## the mean prompt
- len(prompts), max(prompts) → len(prompts), round(statistics.fmean(prompts))
You pad to the mean. Prompts are padded to the longest.
## the longest text
- range(1, max(answers)) → range(1, max(p + n for p, n in zip(prompts, answers)) - T)
You end where the longest prompt-and-answer would end without padding. The prompts are padded: every
answer starts behind the longest prompt.
## the context stands still
- B * (T + made)) → B * T)
The context grows by one position with each step.
## the positions of one text
- B * (T + made)) → T + made)
All B texts attend to their positions: multiply by B.
## the new token not attended to
- B * (T + made)) → B * (T + made - 1))
One position too few in each step: the new token attends to itself too.
## one position too many
- B * (T + made)) → B * (T + made + 1))
One position too many: in the first step after the prompts, T + 1 positions of each text are there.
## the prompt forgotten in the context
- B * (T + made)) → B * made)
The answers also attend to the prompts: T + made positions of each text.
## the prompts forgotten
- seconds = cost(B * T, B, B * T) → seconds = 0.0
You leave out the step that reads the prompts.
## a step for each token of the prompt
- seconds = cost(B * T, B, B * T)
+ seconds = sum(cost(B, B, B * read) for read in range(1, T + 1))
You read the prompts token by token. They are read in one step, B·T tokens at once.
## one text
- cost(B * T, B, B * T) → cost(B * T, 1, B * T)
- cost(B, B, B → cost(B, 1, B
A step of B texts pays for B texts.
## one text for the prompts
- cost(B * T, B, B * T) → cost(B * T, 1, B * T)
The step that reads the prompts reads those of B texts.
## the step paid once
- seconds = cost(B * T, B, B * T)
+ steps = [(B * T, B, B * T)]
- seconds += cost(B, B, B * (T + made))
+ steps.append((B, B, B * (T + made)))
- return seconds → return cost(*map(sum, zip(*steps)))
You add up tokens, texts and positions, and ask for the cost once. `cost.step` is paid in every step:
add up their seconds.
## step and texts paid once
- seconds = cost(B * T, B, B * T)
+ steps = [(B * T, 0, B * T)]
- seconds += cost(B, B, B * (T + made))
+ steps.append((B, 0, B * (T + made)))
- return seconds → return cost(*map(sum, zip(*steps))) + B * cost.text
You add up tokens and positions, and ask for the cost once. `cost.step` and the texts are paid in
every step: add up their seconds.
## one token
- cost(B, B, B → cost(1, B, B
Each step computes a token of every text: B tokens.
## pairs for positions
- cost(B * T, B, B * T) → cost(B * T, B, B * T * (T + 1) // 2)
You count pairs of tokens. `positions` is how many positions the texts have, added up: B·T when the
prompts have been read.
## the prefill with the answers
- cost(B * T, B, B * T) → cost(B * T, B, B * (T + max(answers)))
When the prompts are read there is nothing of the answers yet: B·T positions.
## the batch split
- return seconds → return seconds / B
You divide by the texts. They run at the same time: nobody's part is shorter for it.
""",
        ),
        Mistake(
            "one after another",
            "You add up what each text takes alone. In a batch they share every step.",
            one_after_another,
        ),
    ),
    hints=(
        "Two parts: one step that reads the padded prompts, then a loop of steps that each make a "
        "token of every text. `cost(tokens, texts, positions)` is the seconds of one step.",
        "With B texts, and T the longest prompt, the first step is `cost(B * T, B, B * T)`, and it "
        "gives the first token of every answer. How many further steps does the longest answer need?",
        "`max(answers) - 1` of them. After step number k each text has T + k positions, so it costs "
        "`cost(B, B, B * (T + k))`, for k from 1 on.",
    ),
)

EXERCISES = (FIT_STEP_COST, BREAK_EVEN_BATCH, PAD_WASTE, STATIC_BATCH_TIME)
