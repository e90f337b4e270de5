"""Exercises of lesson 14: what a scheduler decides, and a clock that jumps from step to step."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from decodeloop import serve
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Candidate, Case, Exercise, call, trial
from decodeloop.serve import (
    BlockManager,
    Job,
    Moment,
    Scheduler,
    SchedulerParts,
    Simulation,
    StepCost,
)
from decodeloop.serve.simulation import Life

LESSON = "14_scheduling"

# --- chunk ----------------------------------------------------------------------------------------


def most_that_all_allow(left: int, budget: int, size: int | None = None) -> int:
    """Brute force: the largest number that is none too large."""
    limits = [left, budget] if size is None else [left, budget, size]
    return max(n for n in range(left + 1) if all(n <= limit for limit in limits))


def least_of_the_limits(left: int, budget: int, size: int | None = None) -> int:
    """A right one."""
    limit = budget if size is None else min(budget, size)
    return min(left, limit)


CHUNK = Exercise(
    name="chunk",
    lesson=LESSON,
    library=serve.chunk,
    minutes=3,
    part=True,
    difficulty=1,
    cases=tuple(
        call(label, *inputs, oracle=most_that_all_allow)
        for label, inputs in (
            ("a prompt of 100, a budget of 64", (100, 64)),
            ("at most 7 of one text", (100, 64, 7)),
            ("the last 3", (3, 64, 7)),
            ("one token", (1, 64)),
            ("one more than the budget", (65, 64)),
            ("all that is left, and no more", (17, 17, 17)),
            ("the budget is less than a chunk", (30, 12, 20)),
            ("the budget is more than a chunk", (30, 41, 20)),
            ("three chunks, the last one shorter", (17, 50, 8)),
            ("less is left than a chunk", (20, 64, 100)),
            ("the step is full", (40, 0, 8)),
            ("the step is full, chunks of any size", (40, 0)),
            ("a long prompt", (9001, 8192)),
            ("a long prompt in long chunks", (9001, 8192, 2048)),
        )
    ),
    mistakes=edits(
        least_of_the_limits,
        """
## the size ignored
- budget if size is None else min(budget, size) → budget
You ignore `size`: where it is given, no more than that of one text is read in a step.
## the budget ignored
- min(budget, size) → size
Where a size is given you forget the budget: it is what the step has left, and may be less.
## whole or not at all
- return min(left, limit) → return left if left <= limit else 0
What does not fit wholly waits: a prompt longer than the budget would then wait for ever. Read as
much of it as fits.
## what is left afterwards
- return min → return left - min
That is what is left *afterwards*. Asked for is how many are read.
## more than there are
- return min(left, limit) → return limit
You read on behind the end of the text: no more than `left`.
## the larger of the two limits
- min(budget, size) → max(budget, size)
You take the larger of budget and size. Each of them is a limit: the smaller one counts.
## chunks of equal length
- return min(left, limit) → return math.ceil(left / max(math.ceil(left / max(limit, 1)), 1))
You make all chunks of a text equally long. Read as much as the limits allow: only the last chunk is
shorter.
## one at least
- return min(left, limit) → return max(1, min(left, limit))
Where the step has nothing left the answer is 0: you read one token more than the budget.
## as many whole chunks as fit
- min(budget, size) → budget // size * size
`size` is the most that one text reads in a step, not a unit: one chunk a step.
## one token short
- limit = budget if → limit = budget - 1 if
- min(budget, size) → min(budget, size) - 1
You stay one below the limit. It may be reached.
## the limits added
- min(budget, size) → budget + size
You add budget and size. Each of them is a limit: the smaller one counts.
## the short chunk first
- return min(left, limit) → return (left % limit or limit) if limit else 0
Your first chunk is the short one, so that the others are full. The tokens are the same, but the
step has room that stays empty: read as much as the limits allow.
""",
    ),
    hints=(
        "There are two limits, or three: what is left, what the step may still read, and `size` where "
        "it is not None. What is the most that breaks none of them?",
        "The smallest of the limits. `None` is not a number: leave it out before you compare.",
    ),
)

# --- take_tokens ----------------------------------------------------------------------------------

Chunk = Callable[[int, int, int | None], int]


def dealt_out(
    left: Sequence[int], budget: int, size: int | None = None, *, chunk: Chunk
) -> list[int]:
    """Brute force: token after token is dealt out."""
    counts, most = [0] * len(left), math.inf if size is None else size
    for waits_for_one in (True, False):
        for i, n in enumerate(left):
            while (n == 1) == waits_for_one and counts[i] < min(n, most) and sum(counts) < budget:
                counts[i] += 1
    return counts


def first_those_with_one(
    left: Sequence[int], budget: int, size: int | None = None, *, chunk: Chunk
) -> list[int]:
    """A right one."""
    ones = [i for i, n in enumerate(left) if n == 1]
    prompts = [i for i, n in enumerate(left) if n > 1]
    counts, rest = [0] * len(left), budget
    for i in ones + prompts:
        counts[i] = chunk(left[i], rest, size)
        rest -= counts[i]
    return counts


def two_at_a_time(left: int, budget: int, size: int | None = None) -> int:
    return min(left, budget, 2)


def with_another_chunk(candidate: Candidate, left: list[int], budget: int) -> Any:
    return candidate(left, budget, 9, chunk=two_at_a_time)


def at_two_steps(candidate: Candidate, first: list[int], then: list[int]) -> Any:
    return [candidate(left, 8, chunk=least_of_the_limits) for left in (first, then)]


TAKE_TOKENS = Exercise(
    name="take_tokens",
    lesson=LESSON,
    library=serve.take_tokens,
    minutes=8,
    part=True,
    difficulty=2,
    cases=(
        *(
            call(label, *inputs, chunk=least_of_the_limits, oracle=dealt_out)
            for label, inputs in (
                ("two prompts and two who wait for a token", ([100, 1, 50, 1], 64)),
                ("the same, 16 at most of one text", ([100, 1, 50, 1], 64, 16)),
                ("one who waits", ([1], 1)),
                ("more wait than the budget allows", ([1, 1, 1, 1, 1], 3)),
                ("nothing is left for the prompt", ([40, 1, 1, 1], 3)),
                ("prompts alone", ([30, 10, 20], 45)),
                ("a long prompt, a short one, and one who waits", ([50, 3, 1], 20, 8)),
                ("three prompts in chunks", ([12, 30, 5], 40, 10)),
                ("all fits", ([3, 1, 2], 100)),
                ("the budget ends in a chunk", ([5, 1, 2, 1, 9], 8, 4)),
                ("a prompt of 2", ([9, 2, 1], 5)),
                ("a shorter prompt came later", ([9, 4, 20, 1], 12)),
                ("a budget of 1", ([7, 3], 1)),
                ("long ones", ([3001, 1, 2500], 4096)),
                ("long ones in long chunks", ([3001, 1, 2500], 4096, 1025)),
            )
        ),
        trial("nobody, then one", at_two_steps, lambda *_: [[], [8]], [], [9]),
        trial(
            "a `chunk` of another's: 2 at most of one text",
            with_another_chunk,
            lambda left, budget: [2, 1, 2, 1, 0],
            [5, 1, 7, 1, 9],
            6,
        ),
    ),
    mistakes=edits(
        first_those_with_one,
        """
## in the order of arrival alone
- ones + prompts → range(len(left))
A prompt that came before takes the budget, and those who wait for one token get none: their answers
stop. Those with one token left go first, then the prompts.
## prompts first
- ones + prompts → prompts + ones
Your prompts go first, and whoever waits for a token waits on. It is the other way round: those with
one token left first.
## nothing is spent
- rest -= counts[i]
Each text gets the whole budget. All together may read as many: take off what the earlier ones got.
## what is left comes off
- rest -= counts[i] → rest = max(0, rest - left[i])
You take off what a text has *left*. It may have read less, since `size` limits it: take off what it
reads.
## more single tokens than the budget
- rest -= counts[i] → rest = budget - sum(counts) if i not in ones[:-1] else budget
All single tokens are read, even where they are more than the budget. Ask `chunk` for each, with what
remains, and take it off at once.
## those who wait cost nothing
- rest -= counts[i] → rest -= counts[i] if left[i] > 1 else 0
The single tokens are part of the step: they, too, come off the budget.
## in the order of service
- return counts → return [counts[i] for i in ones + prompts]
The counts are right, their order is not: entry i of the result belongs to text i of `left`.
## the shortest first
- ones + prompts → sorted(range(len(left)), key=left.__getitem__)
You serve short prompts before long ones. A long one then waits as long as shorter ones come: prompts
go in their order.
## the longest prompt first
- ones + prompts → ones + sorted(prompts, key=left.__getitem__, reverse=True)
You serve long prompts before short ones. Prompts go in their order.
## the last prompt first
- ones + prompts → ones + prompts[::-1]
The prompt that came last goes first, and the first waits as long as others come. Prompts go in
their order.
## the last of those who wait first
- ones + prompts → ones[::-1] + prompts
Where the budget is not enough for all who wait for a token, the first of them get theirs: in their
order.
## nobody behind a prompt that does not fit
- rest -= counts[i]
+ rest -= counts[i]
+ if counts[i] < left[i]:
+     break
You stop at the first text that does not read all it has. The budget may not be spent yet: a chunk
may be limited by `size`, and the next text reads what is left.
## prompts only where nobody waits
- ones + prompts → ones or prompts
As long as anybody waits for a token, no prompt is read: a newcomer would wait until all have ended.
Prompts take what the budget has left.
## prompts not at all
- ones + prompts → ones
Only those with one token left read anything. The prompts follow, with what the budget has left.
## the size ignored
- chunk(left[i], rest, size) → chunk(left[i], rest, None)
You don't hand `size` to `chunk`: no more than that of one text is read in a step.
## a chunk of one's own
- chunk(left[i], rest, size) → least_of_the_limits(left[i], rest, size)
You compute the chunk yourself. Ask the `chunk` that you were given: another policy may be in it.
## equal shares
- chunk(left[i], rest, size) → chunk(left[i], budget // len(left), size)
You divide the budget equally, and what one does not need is lost. Each gets what it can use, in
turn, until nothing is left.
## whole or not at all
- counts[i] = chunk(left[i], rest, size)
+ counts[i] = chunk(left[i], rest, size)
+ if counts[i] < left[i]:
+     counts[i] = 0
Texts that can't read all they have read nothing. A prompt is read in chunks: give it what is left.
## one prompt a step
- ones + prompts → ones + prompts[:1]
You read one prompt at most. Where the budget has something left, the next one takes it.
## zeros left out
- return counts → return [n for n in counts if n]
A text that reads nothing has its 0 in the list: entry i of the result belongs to text i of `left`.
## what is left afterwards
- return counts → return [n - count for n, count in zip(left, counts)]
That is what each has left *afterwards*. Asked for is how many each reads.
""",
    ),
    hints=(
        "Two passes over the places 0 … n - 1: first those with `left[i] == 1`, then the others. Keep "
        "what is left of the budget beside.",
        "Begin with `counts = [0] * len(left)`, and fill in `counts[i] = chunk(left[i], rest, size)`: "
        "so every count lands where its text stands.",
        "`ones = [i for i, n in enumerate(left) if n == 1]`, `prompts` alike; then one loop over "
        "`ones + prompts`, which takes each count off `rest`.",
    ),
)

# --- admit ----------------------------------------------------------------------------------------


def nothing_overdrawn(price: int, free: int, running: int, most: int) -> bool:
    """Closed form: afterwards neither blocks nor places are fewer than none."""
    return min(free - price, most - (running + 1)) >= 0


def blocks_and_a_place(price: int, free: int, running: int, most: int) -> bool:
    """A right one."""
    return price <= free and running < most


ADMIT = Exercise(
    name="admit",
    lesson=LESSON,
    library=serve.admit,
    minutes=3,
    part=True,
    difficulty=1,
    cases=tuple(
        call(label, *inputs, oracle=nothing_overdrawn)
        for label, inputs in (
            ("just enough blocks, nobody runs", (3, 3, 0, 1)),
            ("one block short, nobody runs", (4, 3, 0, 1)),
            ("blocks, and no place", (1, 9, 8, 8)),
            ("a place, and no blocks", (5, 2, 3, 8)),
            ("neither", (6, 5, 5, 5)),
            ("the last place", (2, 9, 7, 8)),
            ("all its blocks are shared", (0, 0, 3, 8)),
            ("room for all", (3, 90, 2, 8)),
            ("room in a small engine", (4, 9, 0, 3)),
            ("one place, taken", (1, 2, 1, 1)),
            ("most of a large pool", (996, 1000, 20, 256)),
            ("more than a large pool", (1001, 1000, 20, 256)),
            ("just enough, others run", (12, 12, 5, 6)),
            ("more run than may, since the limit was lowered", (1, 9, 9, 8)),
        )
    ),
    mistakes=edits(
        blocks_and_a_place,
        """
## blocks ignored
- price <= free and running < most → running < most
You look at the places alone. Without blocks a text that began would have to be sent back at once.
## places ignored
- price <= free and running < most → price <= free
You look at the blocks alone: there are also at most `most` texts.
## one of the two is enough
- free and running → free or running
Both must hold, blocks *and* a place.
## a block stays free
- price <= free → price < free
It may take the last block: exactly as many as it needs are enough.
## one too many
- running < most → running <= most
`running` is how many run without it: where it equals `most`, there is no place.
## a place stays free
- running < most → running + 1 < most
The last place may be taken.
## a hundredth in reserve
- price <= free → price <= 0.99 * free
You keep a part of the pool in reserve, as some engines do. Here it may take the last block.
## anybody may enter where nobody runs
- return price <= free and → return running == 0 or price <= free and
That nobody runs makes no blocks. (A text that never fits has been refused before.)
## only where nobody runs
- running < most → running == 0
You let a text in only where nobody runs: that is a static batch of one. It may join those that run.
## one block is enough
- price <= free → free > 0
A free block is not enough: it needs `price` of them.
## a block for each that runs
- price <= free → price <= free - running
You keep a block for each running text to grow into. Here it may take the last one: whoever finds no
block later is what `preempt` is for.
## how many blocks are left
- return price <= free and running < most → return free - price if running < most else 0
That is a number. Asked for is a truth value: may it begin?
## who may not
- return price <= free and running < most → return not (price <= free and running < most)
It is the other way round: True where the text may begin.
## the limits mixed up
- price <= free and running < most → price < most and running <= free
You hold blocks against places. The price is in blocks, as `free` is; `running` counts texts, as
`most` does.
""",
    ),
    hints=(
        "Two things must hold at once. Which number is held against which?",
        "`price` and `free` are blocks, and all of them may be used up. `running` and `most` are "
        "texts, and the new one is not among those that run. Try both limits with the last block and "
        "the last place: which comparison lets it in?",
    ),
)

# --- preempt --------------------------------------------------------------------------------------


def nobody_came_later(arrivals: Sequence[int]) -> int:
    """Brute force: the one that has nobody behind it."""
    (place,) = [i for i, a in enumerate(arrivals) if all(a >= b for b in arrivals)]
    return place


def place_of_the_largest(arrivals: Sequence[int]) -> int:
    """A right one."""
    latest = max(arrivals)
    return list(arrivals).index(latest)


PREEMPT = Exercise(
    name="preempt",
    lesson=LESSON,
    library=serve.preempt,
    minutes=3,
    part=True,
    difficulty=1,
    cases=tuple(
        call(label, arrivals, oracle=nobody_came_later)
        for label, arrivals in (
            ("three", [4, 9, 7]),
            ("one alone", [7]),
            ("in the order of arrival", [0, 1, 2, 3]),
            ("the last to come stands first", [12, 3, 5]),
            ("9 and 10", [10, 9]),
            ("five", [5, 40, 31, 100, 7]),
            ("the first two", [1, 0]),
            ("after a long day", [300, 1000, 999, 2, 850, 421]),
        )
    ),
    mistakes=edits(
        place_of_the_largest,
        """
## the first to come
- latest = max(arrivals) → latest = min(arrivals)
You send back the one that came first: it has the most to read again, and others overtake it. The
last to come gives way.
## the last in the list
- return list(arrivals).index(latest) → return len(arrivals) - 1
That is the last in the *list*, which need not be the last to come: look at the numbers.
## minus one
- return list(arrivals).index(latest) → return -1
That is the last in the *list*, counted from its end: look at the numbers, and count from 0.
## the first in the list
- return list(arrivals).index(latest) → return 0
That is the first in the list. Look at the numbers: the largest came last.
## the number instead of the place
- return list(arrivals).index(latest) → return latest
That is the number of the text. Asked for is its place in the list, from 0.
## counted from the end
- .index(latest) → .index(latest) - len(arrivals)
You count the place from the end. It is counted from the beginning, from 0.
## counted from 1
- .index(latest) → .index(latest) + 1
You count places from 1. They are counted from 0, as Python does.
## the last but one
- latest = max(arrivals) → latest = sorted(arrivals)[-2:][0]
That is the last but one to come. The very last gives way.
## compared as texts
- max(arrivals) → max(arrivals, key=str)
You compare the numbers as texts, and "9" is greater than "10". Compare them as numbers.
## the one in the middle
- latest = max(arrivals) → latest = sorted(arrivals)[len(arrivals) // 2]
That is one from the middle. The last to come gives way.
## how many there are
- return list(arrivals).index(latest) → return len(arrivals)
That is how many there are. Asked for is the place of one of them.
## a list of one
- return list(arrivals).index(latest) → return [list(arrivals).index(latest)]
The place is right: give it as a number, without a list around it.
## place and number
- return list(arrivals).index(latest) → return list(arrivals).index(latest), latest
The place is right: give it alone.
""",
    ),
    hints=(
        "The numbers count the arrivals, so the last to come has the largest. Where does it stand?",
        "`max(range(len(arrivals)), key=…)` gives a place; or find the largest number, then "
        "`.index` of it.",
    ),
)

# --- simulate -------------------------------------------------------------------------------------


def jumping_clock(jobs: Sequence[Job], scheduler: Scheduler, cost: StepCost) -> Simulation:
    """A right one, and the oracle of all that no closed form says."""
    lives = [Life(job) for job in sorted(jobs, key=lambda job: job.arrival)]
    coming, here, moments, now = deque(lives), dict[Any, Life](), [], 0.0
    while coming or scheduler.waiting or scheduler.running:
        while coming and coming[0].job.arrival <= now:
            life = coming.popleft()
            longest = len(life.job.prompt) + life.job.answer - 1
            here[scheduler.add(life.job.prompt, longest)] = life
        plan = scheduler.schedule()
        if not plan.pieces:
            now = coming[0].job.arrival
            continue
        begun, texts = now, len(plan.pieces)
        tokens = sum(piece.count for piece in plan.pieces)
        positions = sum(piece.start + piece.count for piece in plan.pieces)
        now += cost(tokens, texts, positions)
        moments.append(Moment(begun, now, plan))
        for piece in plan.pieces:
            life = here[piece.request]
            if life.start is None:
                life.start = begun
            if piece.last:
                life.token_times.append(now)
            scheduler.update(piece, 0 if piece.last else None, ended=life.ended)
    return Simulation([life.as_request() for life in lives], moments)


def one_after_another(jobs: Sequence[Job], cost: StepCost) -> Any:
    """Closed form of one text at a time, prompts whole: running sums, and the queue of lesson 11."""
    lives, moments, free = [], [], 0.0
    for job in jobs:
        start = max(job.arrival, free)
        prompt, times = len(job.prompt), [start]
        for made in range(job.answer):
            new = prompt if made == 0 else 1
            times.append(times[-1] + cost(new, 1, prompt + made))
            moments.append([times[-2], times[-1], new])
        free = times[-1]
        lives.append((job.arrival, start, times[1:], free))
    return in_words(lives, moments)


def told(result: Simulation) -> Any:
    """A simulation in numbers: each request's life, each step's times and tokens."""
    lives = ((r.arrival, r.start, [*r.token_times], r.end) for r in result.requests)
    steps = [[m.start, m.end, sum(p.count for p in m.plan.pieces)] for m in result.moments]
    return in_words(lives, steps)


def in_words(lives: Iterable[tuple[Any, ...]], steps: list[list[float]]) -> Any:
    """The same with names, for a message that says what is wrong."""
    names = "arrival", "start", "token_times", "end"
    words = {f"job {i}": dict(zip(names, life, strict=True)) for i, life in enumerate(lives)}
    return {**words, "steps (begin, end, tokens)": steps}


def day(
    label: str, jobs: list[Job], blocks: int = 99, *, closed: bool = False, **limits: Any
) -> Case:
    """The same load through a scheduler of its own each time."""

    def run(candidate: Candidate, jobs: list[Job]) -> Any:
        return told(candidate(jobs, Scheduler(BlockManager(blocks, 4), **limits), COST))

    def expected(jobs: list[Job]) -> Any:
        return one_after_another(jobs, COST) if closed else run(jumping_clock, jobs)

    return trial(label, run, expected, jobs)


def text(arrival: float, prompt: int, answer: int) -> Job:
    """One whose tokens are those of no other."""
    return Job(arrival, [1000 * prompt + 17 * answer + i for i in range(prompt)], answer)


def one_only(
    left: Sequence[int], budget: int, size: int | None = None, *, chunk: Chunk
) -> list[int]:
    """A policy by which fewer texts are read than run."""
    return [chunk(n, budget, size) if i == 0 else 0 for i, n in enumerate(left)]


COST = StepCost(step=0.5, token=0.0625, text=0.03125, position=0.0078125)
FOUR = [text(0.0, 5, 4), text(0.25, 9, 3), text(0.75, 2, 6), text(1.0, 14, 1)]
APART = [text(2.5, 3, 2), text(30.0, 6, 3), text(30.5, 4, 1), text(99.0, 1, 1)]

SIMULATE = Exercise(
    name="simulate",
    lesson=LESSON,
    library=serve.simulate,
    minutes=10,
    difficulty=3,
    tolerance=1e-6,
    cases=(
        day("one text alone, from 0 on", [text(0.0, 3, 3)], closed=True),
        day("two texts, long apart", [text(1.5, 4, 2), text(50.0, 2, 3)], closed=True),
        day("one at a time: the queue of lesson 11", FOUR + APART, closed=True, most=1),
        day("four together, prompts whole", FOUR),
        day("four together, six tokens a step", FOUR, budget=6),
        day("four together, three of one text at most", FOUR, chunk=3),
        day("four together, two tokens a step", FOUR, budget=2),
        day("a pool that is too small for all", FOUR, 5, budget=8),
        day("idle between them", APART, budget=4),
        day("two that begin alike", [Job(0.0, [1] * 9, 2), Job(4.0, [1] * 9, 2)]),
        day("not in the order of arrival", [*FOUR[::-1], *APART]),
        day(
            "a policy that leaves out all but one", FOUR, parts=SchedulerParts(take_tokens=one_only)
        ),
    ),
    mistakes=edits(
        jumping_clock,
        """
## tokens at the beginning of their step
- life.token_times.append(now) → life.token_times.append(begun)
A token is there when its step has *ended*: move the clock first, then note the time.
## a token for every piece
- if piece.last: → if piece.count:
You note a token for each piece. A chunk of a prompt brings none: only `piece.last` does.
## taken up at the end of the step
- life.start = begun → life.start = now
A text is taken up when its first step *begins*: keep the time from before the clock moves.
## never taken up
- life.start = begun → pass
`life.start` stays None, and counts as the arrival: so nobody has ever waited. Note when the first
step of a text begins.
## taken up again at each step
- if life.start is None:
-     life.start = begun
+ life.start = begun
You overwrite `life.start` at each step, so that it is the last one's. Note only the first.
## each text a step of its own
- now += cost(tokens, texts, positions)
+ now += sum(cost(piece.count, 1, piece.start + piece.count) for piece in plan.pieces)
You pay the fixed part of the cost once for each text. The texts share one step: add up tokens, texts
and positions, and ask for the cost once.
## attended to: the new ones alone
- piece.start + piece.count for → piece.count for
The positions that a text attends to are all that it has so far, those of earlier steps too:
`piece.start + piece.count`.
## attended to: the old ones alone
- piece.start + piece.count for → piece.start for
New tokens attend to themselves as well: `piece.start + piece.count` positions.
## attended to: the whole text
- piece.start + piece.count for → len(piece.request.table.tokens) for
What a text has not read yet, it does not attend to: `piece.start + piece.count` positions.
## texts for tokens
- cost(tokens, texts, positions) → cost(texts, texts, positions)
You count a piece as one token. A chunk has `piece.count` of them.
## tokens and texts in each other's place
- cost(tokens, texts, positions) → cost(texts, tokens, positions)
The order is `cost(tokens, texts, positions)`: you have the first two in each other's place.
## the clock starts again
- now += cost → now = cost
Your clock shows how long the last step took. It goes on: `now += …`.
## an idle server steps on
- now = coming[0].job.arrival
- continue
+ now += cost(0, 0, 0)
+ continue
Where nobody is here, your server computes empty steps, and the next text finds it busy. Jump to the
next arrival.
## the jump added
- now = coming[0].job.arrival → now += coming[0].job.arrival
You jump *by* the time of the next arrival. Arrivals are times of the clock: jump *to* it.
## an empty step where nobody is here
- now = coming[0].job.arrival
- continue
+ now = coming[0].job.arrival + cost(0, 0, 0)
+ continue
After the jump your clock moves on by an empty step. Where nobody is here, there is no step.
## all that run
- begun, texts = now, len(plan.pieces) → begun, texts = now, len(scheduler.running)
You count all that run. A step has as many texts as pieces: `len(plan.pieces)`.
## a start at 0 is none
- if life.start is None: → if not life.start:
A start at 0.0 is a start, and `not 0.0` is true: ask whether it `is None`.
## the cost of one token
- cost(tokens, texts, positions) → cost(1, 1, max(p.start + p.count for p in plan.pieces))
Every step costs you what one token does. Add up tokens, texts and positions of all its pieces.
""",
    ),
    hints=(
        "Nobody here: how does the clock get to the next arrival? Else a step: what does it cost, and "
        "what does the life of each of its texts keep of it?",
        "`begun` is when the step began; after `now += cost(…)`, `now` is when it has ended. One cost "
        "for the step: sums over `plan.pieces`, with `piece.start + piece.count` positions each.",
        "For each piece: `life = here[piece.request]`; its start, if it `is None`, is `begun`; if "
        "`piece.last`, append `now` to `life.token_times`.",
    ),
)

EXERCISES = (CHUNK, TAKE_TOKENS, ADMIT, PREEMPT, SIMULATE)
