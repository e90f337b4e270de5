"""Lesson 13: right answers, named mistakes in other words, and wrong answers nobody named."""

import math
import statistics
from itertools import accumulate

import numpy as np
import torch

from decodeloop.exercises.edits import edited
from decodeloop.serve import StepCost

# --- fit_step_cost --------------------------------------------------------------------------------


def fit_by_numpy(measured):
    rows = np.array([(1.0, s.tokens, s.texts, s.positions) for s in measured])
    weights = np.array([1 / s.seconds for s in measured])
    found, *_ = np.linalg.lstsq(rows * weights[:, None], np.ones(len(rows)), rcond=None)
    return StepCost(*found)


def fit_by_qr(measured):
    seconds = [s.seconds for s in measured]
    rows = [
        [1 / t, s.tokens / t, s.texts / t, s.positions / t]
        for s, t in zip(measured, seconds, strict=True)
    ]
    q, r = torch.linalg.qr(torch.tensor(rows, dtype=torch.float64))
    step, token, text, position = torch.linalg.solve_triangular(
        r, q.T @ torch.ones(len(rows), 1, dtype=torch.float64), upper=True
    )[:, 0].tolist()
    return StepCost(step=step, token=token, text=text, position=position)


def fit_with_too_few_axes(measured):
    rows = torch.tensor([(1, *s[:3]) for s in measured]).double()
    took = torch.tensor([s.seconds for s in measured]).double()
    # by the same solver: the fit is 10.5, 0, 0, 0, and another leaves other dust in its zeros
    found = torch.linalg.lstsq(rows / took, torch.ones(len(took), 1, dtype=torch.float64))
    return StepCost(*found.solution.flatten().tolist())


FITS = edited(
    fit_by_numpy,
    """
## absolute errors
- rows * weights[:, None], np.ones(len(rows)) → rows, 1 / weights
## the rows divided, the seconds not
- np.ones(len(rows)) → 1 / weights
## the seconds divided, the rows not
-  * weights[:, None]
## multiplied by the seconds
- rows * weights[:, None], np.ones(len(rows)) → rows / weights[:, None], weights**-2
## divided by the root
- [1 / s.seconds for → [s.seconds**-0.5 for
- np.ones(len(rows)) → 1 / weights
## nothing that is paid once
- (1.0, s.tokens → (0.0, s.tokens
## the texts ignored
- s.texts, s.positions) → 0, s.positions)
## the tokens ignored
- (1.0, s.tokens → (1.0, 0
## the positions ignored
- s.texts, s.positions) → s.texts, 0)
## tokens and texts exchanged
- StepCost(*found) → StepCost(found[0], found[2], found[1], found[3])
## texts and positions exchanged
- StepCost(*found) → StepCost(found[0], found[1], found[3], found[2])
## the step last
- StepCost(*found) → StepCost(*found[1:], found[0])
## positions of one text
- s.positions) → s.positions / s.texts)
## seconds for each token
- [1 / s.seconds for → [s.tokens / s.seconds for
## the first four
- rows = → measured = measured[:4]
+ rows =
## the last is left out
- rows = → measured = measured[: len(measured) - 1]
+ rows =
## few digits
- rows = np.array([(1.0, s.tokens, s.texts, s.positions) for s in measured])
+ rows = np.array([(1.0, s.tokens, s.texts, s.positions) for s in measured], np.float32)
- weights = np.array([1 / s.seconds for s in measured])
+ weights = np.array([1 / s.seconds for s in measured], np.float32)
- np.ones(len(rows)) → np.ones(len(rows), np.float32)
- StepCost(*found) → StepCost(*found.tolist())
## in milliseconds
- StepCost(*found) → StepCost(*(x * 1e3 for x in found))
## rounded
- StepCost(*found) → StepCost(*found.round(3))
## rounded to millionths
- StepCost(*found) → StepCost(*(float(f"{x:.6f}") for x in found))
## a bare tuple
- StepCost(*found) → list(found)
## least absolute errors
- return StepCost
+ A, one = rows * weights[:, None], np.ones(len(rows))
+ for _ in range(50):
+     w = np.maximum(abs(A @ found - one), 1e-9) ** -0.5
+     found = np.linalg.lstsq(A * w[:, None], w, rcond=None)[0]
+ return StepCost
""",
)
FITS["one column for each row"] = fit_with_too_few_axes

UNNAMED_FITS = edited(
    fit_by_numpy,
    """
## the first is left out
- rows = → measured = measured[1:]
+ rows =
## nothing below a hundredth
- StepCost(*found) → StepCost(*(x if x >= 0.02 else 0.0 for x in found))
## pulled towards nothing
- found, *_ → rows, weights = np.vstack((rows, np.eye(4))), np.append(weights, [0.1] * 4)
+ found, *_
## as a dict
- StepCost(*found) → dict(zip(("step", "token", "text", "position"), found))
""",
)

# --- break_even_batch -----------------------------------------------------------------------------


def by_two_steps(cost, length):
    once = cost(0, 0, 0)
    more = cost(1, 1, length) - once
    return math.inf if not more > 0 else once / more


def by_parts(cost, length):
    adds = [cost.token, cost.text, cost.position * length]
    try:
        return cost.step / math.fsum(adds)
    except ZeroDivisionError:
        return float("inf")


BREAK_EVENS = edited(
    by_parts,
    """
## upside down
- return cost.step / math.fsum(adds) → return math.fsum(adds) / cost.step
- return float("inf") → return 0
## rounded up
- cost.step / math.fsum(adds) → -int(-cost.step // math.fsum(adds))
## rounded down
- cost.step / math.fsum(adds) → int(cost.step / math.fsum(adds))
## rounded
- cost.step / math.fsum(adds) → int(f"{cost.step / math.fsum(adds):.0f}")
## one position for each text
- cost.position * length] → cost.position]
## the positions ignored
- cost.text, cost.position * length] → cost.text]
## the text ignored
- cost.token, cost.text, → cost.token,
## the token ignored
- cost.token, cost.text, → cost.text,
## only the positions
- cost.token, cost.text, cost.position → cost.position
## everything for each position
- math.fsum(adds) → (length * (cost.token + cost.text + cost.position))
## the step of one text
- cost.step / math.fsum(adds) → 1 + cost.step / math.fsum(adds)
## a share
- return cost.step / math.fsum(adds)
+ if not any(adds):
+     return math.inf
+ return cost.step / math.fsum([cost.step, *adds])
## a share of a step of one
- cost.step / math.fsum(adds) → cost.step / math.fsum([cost.step, *adds])
## no text is free
- return float("inf") → raise
## free without a cost of its own
- try: → if not cost.text:
+     return math.inf
+ try:
## half of it
- cost.step / math.fsum(adds) → 0.5 * cost.step / math.fsum(adds)
## twice it
- cost.step / math.fsum(adds) → cost.step / math.fsum(adds) / 0.5
## one text at least
- return cost.step / math.fsum(adds)
+ quotient = cost.step / math.fsum(adds)
+ return quotient if quotient > 1 else 1
## nothing for a text that costs nothing
- float("inf") → 0
## none for a text that costs nothing
- return float("inf") → return
## the new position twice
- cost.position * length] → cost.position * length, cost.position]
## the new position left out
- cost.position * length] → cost.position * length, -cost.position]
## a prompt instead of a step
- [cost.token, → [length * cost.token,
""",
)

UNNAMED_BREAK_EVENS = edited(
    by_parts,
    """
## without the step
- cost.step / math.fsum(adds) → 1 / math.fsum(adds)
## texts twice
- cost.text, cost.position → 2 * cost.text, cost.position
## the largest part alone
- math.fsum(adds) → max(adds)
## minus one
- cost.step / math.fsum(adds) → cost.step / math.fsum(adds) - 1
""",
)

# --- pad_waste ------------------------------------------------------------------------------------


def waste_by_mean(lengths):
    longest = max(lengths)
    share = statistics.fmean(lengths) / longest
    return 1 - share


def waste_in_a_loop(lengths):
    longest, real, places = max(lengths), 0, 0
    for n in lengths:
        real += n
        places += longest
    return (places - real) / places


PAD_WASTES = {
    **edited(
        waste_by_mean,
        """
## what is real
- return 1 - share → return share
## in percent
- return 1 - share → return 100 - 100 * share
## rounded
- return 1 - share → return float(f"{1 - share:.2f}")
## a whole number
- return 1 - share → return int(1 - share)
## the first for the longest
- longest = max(lengths) → longest, *_ = lengths
## the last for the longest
- longest = max(lengths) → *_, longest = lengths
## the median
- statistics.fmean(lengths) → statistics.quantiles([*lengths, *lengths], n=2)[0]
## the shortest against the longest
- statistics.fmean(lengths) → sorted(lengths)[0]
## to a power of two
- longest = max(lengths) → longest = 1
+ while longest < max(lengths):
+     longest *= 2
## one column more
- longest = max(lengths) → longest = 1 + max(lengths)
## wasted work, squared
- return 1 - share → return (1 - share) * (1 - share)
## how many
- return 1 - share → return len(lengths) * longest - sum(lengths)
## for each text
- return 1 - share → return longest - statistics.fmean(lengths)
## for each column
- return 1 - share → return len(lengths) * (1 - share)
## against the real ones
- return 1 - share → return 1 / share - 1
## the longest counted once
- return 1 - share → shorter = [n for n in lengths if n < longest]
+ return (longest * len(lengths) - sum(lengths)) / (longest * len([longest, *shorter]))
## alike texts counted once
- longest = → lengths = list(dict.fromkeys(lengths))
+ longest =
""",
    ),
    **edited(
        waste_in_a_loop,
        """
## the longest not counted
- / places → / (places - longest or longest)
## cut to the shortest
- (places - real) / places → (real - len(lengths) * min(lengths)) / places
""",
    ),
}

UNNAMED_PAD_WASTES = edited(
    waste_in_a_loop,
    """
## the first row missing
- for n in lengths: → for n in lengths[1:] or lengths:
## the longest squared
- return (places - real) / places → return (places - real) / longest**2
## one token each
- real += n → real += 1
## negative
- (places - real) → (real - places)
""",
)

# --- static_batch_time ----------------------------------------------------------------------------


def time_by_lists(prompts, answers, cost):
    B, T, A = len(prompts), max(prompts), max(answers)
    steps = [(B * T, B, B * T)]
    steps += [(B, B, B * read) for read in range(T + 1, T + A)]
    return sum(cost(*step) for step in steps)


def time_by_parts(prompts, answers, cost):
    """Every text is a row of the same length; all parts by themselves."""
    B, T, A = len(prompts), max(prompts), max(answers)
    contexts = list(accumulate([T] + [1] * (A - 1)))
    once = A * cost.step
    tokens = B * contexts[-1] * cost.token
    return once + tokens + A * B * cost.text + B * sum(contexts) * cost.position


def alone_one_by_one(prompts, answers, cost):
    total = 0.0
    for prompt, answer in zip(prompts, answers, strict=True):
        total += time_by_parts([prompt], [answer], cost)
    return total


STATIC_TIMES = {
    "one after another": alone_one_by_one,
    **edited(
        time_by_lists,
        """
## a step too many
- range(T + 1, T + A) → range(T + 1, T + A + 1)
## a step too few
- range(T + 1, T + A) → range(T + 1, T + A - 1)
## those that have ended leave
- [(B, B, B * read) for read in range(T + 1, T + A)]
+ [(b, b, b * (T + k)) for k in range(1, A) for b in [len([n for n in answers if n > k])]]
## prompts without padding
- [(B * T, B, B * T)] → [(sum(prompts), B, sum(prompts))]
## no padding in the context
- [(B, B, B * read) for → [(B, B, B * (read - T) + sum(prompts)) for
## no padding at all
- [(B * T, B, B * T)] → [(sum(prompts), B, sum(prompts))]
- [(B, B, B * read) for → [(B, B, B * (read - T) + sum(prompts)) for
## the mean answer
- max(answers) → round(sum(answers) / len(answers))
## the shortest answer
- max(answers) → sorted(answers)[0]
## the first answer
- max(answers) → next(iter(answers))
## the last answer
- max(answers) → answers[len(answers) - 1]
## all answers added
- max(answers) → sum(answers)
## the mean prompt
- max(prompts), → round(sum(prompts) / len(prompts)),
## the longest text
- range(T + 1, T + A) → range(T + 1, max(p + n for p, n in zip(prompts, answers)))
## the context stands still
- [(B, B, B * read) for → [(B, B, B * T) for
## the positions of one text
- [(B, B, B * read) for → [(B, B, read) for
## the new token not attended to
- range(T + 1, T + A) → range(T, T + A - 1)
## one position too many
- range(T + 1, T + A) → range(T + 2, T + A + 1)
## the prompt forgotten in the context
- range(T + 1, T + A) → range(1, A)
## the prompts forgotten
- steps = [(B * T, B, B * T)] → steps = []
- return sum → return 0.0 + sum
## a step for each token of the prompt
- steps = [(B * T, B, B * T)] → steps = []
- range(T + 1, T + A) → range(1, T + A)
## one text
- [(B * T, B, B * T)] → [(B * T, 1, B * T)]
- [(B, B, B * read) for → [(B, 1, B * read) for
## one text for the prompts
- [(B * T, B, B * T)] → [(B * T, 1, B * T)]
## the step paid once
- sum(cost(*step) for step in steps)
+ sum(cost(*step) for step in steps) - (len(steps) - 1) * cost.step
## step and texts paid once
- sum(cost(*step) for step in steps)
+ sum(cost(*step) for step in steps) - (len(steps) - 1) * cost(0, B, 0)
## one token
- [(B, B, B * read) for → [(1, B, B * read) for
## pairs for positions
- [(B * T, B, B * T)] → [(B * T, B, B * sum(range(T + 1)))]
## the prefill with the answers
- [(B * T, B, B * T)] → [(B * T, B, B * T + B * A)]
## the batch split
- cost(*step) for → cost(*step) / B for
""",
    ),
}

UNNAMED_STATIC_TIMES = edited(
    time_by_lists,
    """
## the last step alone
- return sum(cost(*step) for step in steps) → return cost(*steps[-1])
## the median answer
- max(answers) → int(statistics.median(answers))
## texts and tokens exchanged
- (B * T, B, B * T) → (B, B * T, B * T)
## the first prompt
- max(prompts), → prompts[0],
""",
)

# --- the tables -----------------------------------------------------------------------------------


RIGHT = {
    "fit_step_cost": (fit_by_numpy, fit_by_qr),
    "break_even_batch": (by_two_steps, by_parts),
    "pad_waste": (waste_by_mean, waste_in_a_loop),
    "static_batch_time": (time_by_lists, time_by_parts),
}
SECOND_FORMS = {
    "fit_step_cost": FITS,
    "break_even_batch": BREAK_EVENS,
    "pad_waste": PAD_WASTES,
    "static_batch_time": STATIC_TIMES,
}
UNNAMED = {
    "fit_step_cost": tuple(UNNAMED_FITS.values()),
    "break_even_batch": tuple(UNNAMED_BREAK_EVENS.values()),
    "pad_waste": tuple(UNNAMED_PAD_WASTES.values()),
    "static_batch_time": tuple(UNNAMED_STATIC_TIMES.values()),
}
