"""Lesson 14: right answers, named mistakes in other words, and wrong answers nobody named."""

from math import ceil  # noqa: F401, the edits use it
from operator import itemgetter  # noqa: F401

from decodeloop import cost as costs
from decodeloop.exercises.edits import edited
from decodeloop.exercises.fresh.lesson_14 import chunk_by_branches
from decodeloop.serve import Moment, Simulation

# --- chunk ----------------------------------------------------------------------------------------


def chunk_by_sorting(left, budget, size=None):
    limits = [left, budget]
    if size is not None:
        limits.append(size)
    return sorted(limits)[0]


CHUNKS = edited(
    chunk_by_branches,
    """
## the size ignored
- if size is not None and count > size:
-     count = size
## the budget ignored
- if count > budget: → if size is None and count > budget:
## whole or not at all
- return count → return count if count == left else 0
## what is left afterwards
- return count → return left - count
## more than there are
- return count → return budget if size is None or size > budget else size
## the larger of the two limits
- return count → return min(left, budget if size is None else max(budget, size))
## chunks of equal length
- return count
+ most = budget if size is None else min(budget, size)
+ chunks = -(-left // most) if most else left
+ return ceil(left / chunks)
## one at least
- return count → return count or 1
## as many whole chunks as fit
- if size is not None and count > size:
-     count = size
+ if size is not None:
+     budget -= budget % size
## one token short
- count > size → count >= size
- count = size → count = size - 1
- count > budget → count >= budget
- count = budget → count = budget - 1
## the limits added
- if size is not None and count > size:
-     count = size
+ budget += size or 0
## the short chunk first
- return count
+ most = budget if size is None else min(budget, size)
+ return left - (ceil(left / most) - 1) * most if most else 0
""",
)

UNNAMED_CHUNKS = edited(
    chunk_by_branches,
    """
## halved
- return count → return ceil(count / 2)
## all that is left
- return count → return left
## the size as a floor
- count > size → count < size
## a limit of its own
- return count → return min(count, 2048)
## one token more where it is the last
- return count → return count + (left - count == 1)
""",
)

# --- take_tokens ----------------------------------------------------------------------------------


def sorted_by_need(left, budget, size=None, *, chunk):
    counts = {}
    for i in sorted(range(len(left)), key=lambda i: left[i] > 1):
        counts[i] = chunk(left[i], budget - sum(counts.values()), size)
    return [counts[i] for i in range(len(left))]


def in_two_passes(left, budget, size=None, *, chunk):
    n = len(left)
    counts = [0] * n
    for i in range(n):
        if left[i] == 1:
            counts[i] = chunk(1, budget, size)
            budget -= counts[i]
    for i in range(n):
        if left[i] > 1:
            counts[i] = chunk(left[i], budget, size)
            budget -= counts[i]
    return counts


TAKEN = {
    **edited(
        sorted_by_need,
        """
## in the order of arrival alone
- key=lambda i: left[i] > 1 → key=lambda i: 0
## prompts first
- left[i] > 1 → left[i] == 1
## nothing is spent
- budget - sum(counts.values()) → budget
## those who wait cost nothing
- sum(counts.values()) → sum(count for j, count in counts.items() if left[j] > 1)
## what is left comes off
- budget - sum(counts.values()) → max(budget - sum(left[j] for j in counts), 0)
## in the order of service
- [counts[i] for i in range(len(left))] → list(counts.values())
## the shortest first
- key=lambda i: left[i] > 1 → key=lambda i: left[i]
## the longest prompt first
- key=lambda i: left[i] > 1 → key=lambda i: (left[i] > 1, -left[i])
## the last prompt first
- key=lambda i: left[i] > 1 → key=lambda i: (left[i] > 1, -i * (left[i] > 1))
## the last of those who wait first
- key=lambda i: left[i] > 1 → key=lambda i: (left[i] > 1, -i * (left[i] == 1))
## the size ignored
- , size)
+ , None)
## a chunk of one's own
- chunk(left[i], → chunk_by_sorting(left[i],
## equal shares
- budget - sum(counts.values()) → budget // len(left)
## zeros left out
- [counts[i] for i in range(len(left))] → [counts[i] for i in range(len(left)) if counts[i] > 0]
## what is left afterwards
- [counts[i] for i in range(len(left))] → [left[i] - counts[i] for i in range(len(left))]
""",
    ),
    **edited(
        in_two_passes,
        """
## nobody behind a prompt that does not fit
- if left[i] > 1:
-     counts[i] = chunk(left[i], budget, size)
-     budget -= counts[i]
+ if left[i] > 1:
+     counts[i] = chunk(left[i], budget, size)
+     budget -= counts[i]
+     if counts[i] != left[i]:
+         budget = 0
## prompts only where nobody waits
- if left[i] > 1: → if left[i] > 1 and 1 not in left:
## prompts not at all
- if left[i] > 1: → if False:
## more single tokens than the budget
- counts[i] = chunk(1, budget, size)
- budget -= counts[i]
+ counts[i] = chunk(1, budget, size)

- for i in range(n):
-     if left[i] > 1:
+ budget -= sum(counts)
+ for i in range(n):
+     if left[i] > 1:
## whole or not at all
- if left[i] > 1: → if left[i] > 1 and chunk(left[i], budget, size) == left[i]:
## one prompt a step
- if left[i] > 1: → if left[i] > 1 and all(n == 1 for n in left[:i]):
""",
    ),
}

UNNAMED_TAKEN = edited(
    in_two_passes,
    """
## two tokens left count as one who waits
- left[i] == 1 → left[i] <= 2
- chunk(1, → chunk(left[i],
- if left[i] > 1: → if left[i] > 2:
## how many in all
- return counts → return sum(counts)
## prompts share what is left
- chunk(left[i], budget, size) → chunk(left[i], max(1, budget // 2), size)
## by place
- return counts → return dict(enumerate(counts))
## a limit of its own
- return counts → return [min(count, 1024) for count in counts]
""",
)

# --- admit ----------------------------------------------------------------------------------------


def admit_by_what_is_left(price, free, running, most):
    blocks, places = free - price, most - running
    return blocks >= 0 and places > 0


def admit_by_refusals(price, free, running, most):
    if price > free:
        return False
    return not running >= most


ADMITTED = edited(
    admit_by_what_is_left,
    """
## blocks ignored
- return blocks >= 0 and places > 0 → return places > 0
## places ignored
- return blocks >= 0 and places > 0 → return blocks >= 0
## one of the two is enough
- blocks >= 0 and places > 0 → blocks >= 0 or places > 0
## a block stays free
- blocks >= 0 → blocks > 0
## one too many
- places > 0 → places >= 0
## a place stays free
- places > 0 → places > 1
## a hundredth in reserve
- blocks >= 0 → blocks >= free / 100
## anybody may enter where nobody runs
- return blocks >= 0 → return not running or blocks >= 0
## only where nobody runs
- places > 0 → places == most
## one block is enough
- blocks >= 0 → free >= 1
## a block for each that runs
- blocks >= 0 → blocks >= running
## how many blocks are left
- return blocks >= 0 and places > 0 → return blocks if places > 0 else 0
## who may not
- return blocks >= 0 and places > 0 → return blocks < 0 or places <= 0
## the limits mixed up
- blocks, places = free - price, most - running → blocks, places = free - running, most - price
""",
)

UNNAMED_ADMITTED = edited(
    admit_by_what_is_left,
    """
## as a number
- return blocks >= 0 and places > 0 → return int(blocks >= 0 and places > 0)
## always
- return blocks >= 0 and places > 0 → return True
## half of the pool
- blocks >= 0 → blocks >= price
## a limit of its own
- places > 0 → places > 0 and running < 16
""",
)

# --- preempt --------------------------------------------------------------------------------------


def by_a_loop(arrivals):
    place = 0
    for i, arrival in enumerate(arrivals):
        if arrival > arrivals[place]:
            place = i
    return place


def by_pairs(arrivals):
    number, place = max((number, i) for i, number in enumerate(arrivals))
    return place if arrivals[place] == number else None


PREEMPTED = {
    **edited(
        by_a_loop,
        """
## the first to come
- arrival > arrivals[place] → arrival < arrivals[place]
## the last in the list
- if arrival > arrivals[place]: → if True:
## minus one
- return place → return range(-len(arrivals), 0)[-1]
## the first in the list
- if arrival > arrivals[place]: → if False:
## the number instead of the place
- return place → return arrivals[place]
## counted from the end
- return place → return -(len(arrivals) - place)
## counted from 1
- enumerate(arrivals) → enumerate(arrivals[1:], 1)
- return place → return 1 + place
## compared as texts
- if arrival > arrivals[place]: → if f"{arrival}" > f"{arrivals[place]}":
## how many there are
- return place → return sum(1 for _ in arrivals)
## a list of one
- return place → return [i for i in range(len(arrivals)) if i == place]
## place and number
- return place → return place, arrivals[place]
""",
    ),
    **edited(
        by_pairs,
        """
## the last but one
- number, place = max((number, i) for i, number in enumerate(arrivals))
+ ordered = sorted((number, i) for i, number in enumerate(arrivals))
+ number, place = ordered[max(len(ordered) - 2, 0)]
## the one in the middle
- number, place = max((number, i) for i, number in enumerate(arrivals))
+ ordered = sorted((number, i) for i, number in enumerate(arrivals))
+ number, place = ordered[len(arrivals) // 2]
""",
    ),
}

UNNAMED_PREEMPTED = edited(
    by_a_loop,
    """
## nobody
- return place → return None
## in the order of arrival
- return place → return sorted(range(len(arrivals)), key=lambda i: arrivals[i])
## the last neighbour that came later
- arrival > arrivals[place] → i and arrival > arrivals[i - 1]
## a limit of its own
- arrival > arrivals[place] → arrivals[place] < arrival < 500
""",
)

# --- simulate -------------------------------------------------------------------------------------


def by_a_ledger(jobs, scheduler, cost):
    jobs = sorted(jobs, key=lambda job: job.arrival)
    begins, times = [None] * len(jobs), [[] for _ in jobs]
    who, steps, now = {}, [], 0.0
    while any(len(made) < job.answer for made, job in zip(times, jobs, strict=True)):
        while len(who) < len(jobs) and jobs[len(who)].arrival <= now:
            job = jobs[len(who)]
            request = scheduler.add(job.prompt, len(job.prompt) + job.answer - 1)
            who[request] = len(who)
        plan = scheduler.schedule()
        pieces = plan.pieces
        if pieces:
            ends = [piece.start + piece.count for piece in pieces]
            seconds = cost(sum(p.count for p in pieces), len(pieces), sum(ends))
            steps.append(Moment(now, now + seconds, plan))
            for piece, end in zip(pieces, ends, strict=True):
                i = who[piece.request]
                begins[i] = now if begins[i] is None else begins[i]
                due = end == len(piece.request.table.tokens)
                times[i] += [now + seconds] * due
                ended = len(times[i]) == jobs[i].answer
                scheduler.update(piece, 7 if due else None, ended=ended)
            now += seconds
        else:
            now = jobs[len(who)].arrival
    lives = zip(jobs, begins, times, strict=True)
    return Simulation([costs.Request(j.arrival, b, tuple(t), t[-1]) for j, b, t in lives], steps)


def by_events(jobs, scheduler, cost):
    """The clock's events are laid down first, and read off afterwards."""
    queue = sorted(enumerate(jobs), key=lambda pair: (pair[1].arrival, pair[0]))
    moments, log, names, now = [], {i: [] for i, _ in queue}, {}, 0.0
    waiting = list(queue)
    while waiting or scheduler.waiting or scheduler.running:
        while waiting and waiting[0][1].arrival <= now:
            i, job = waiting.pop(0)
            names[scheduler.add(job.prompt, len(job.prompt) + job.answer - 1)] = i
        if not scheduler.waiting and not scheduler.running:
            now = waiting[0][1].arrival
            continue
        plan = scheduler.schedule()
        totals = [(p.count, 1, p.start + p.count) for p in plan.pieces]
        end = now + cost(*map(sum, zip(*totals, strict=True)))
        moments.append(Moment(now, end, plan))
        for piece in plan.pieces:
            i = names[piece.request]
            log[i].append((now, end, piece.last))
            made = sum(last for *_, last in log[i])
            scheduler.update(piece, 1 if piece.last else None, ended=made == jobs[i].answer)
        now = end
    requests = []
    for i, job in queue:
        times = tuple(end for _, end, last in log[i] if last)
        requests.append(costs.Request(job.arrival, log[i][0][0], times, times[-1]))
    return Simulation(requests, moments)


SIMULATIONS = edited(
    by_a_ledger,
    """
## tokens at the beginning of their step
- [now + seconds] * due → [now] * due
## a token for every piece
- times[i] += [now + seconds] * due → times[i] += [now + seconds]
## taken up at the end of the step
- begins[i] = now if → begins[i] = now + seconds if
## never taken up
- begins[i] = now if begins[i] is None else begins[i] → begins[i] = jobs[i].arrival
## taken up again at each step
- begins[i] = now if begins[i] is None else begins[i] → begins[i] = now
## each text a step of its own
- seconds = cost(sum(p.count for p in pieces), len(pieces), sum(ends))
+ seconds = sum(cost(p.count, 1, end) for p, end in zip(pieces, ends))
## attended to: the new ones alone
- sum(ends)) → sum(p.count for p in pieces))
## attended to: the old ones alone
- sum(ends)) → sum(p.start for p in pieces))
## attended to: the whole text
- sum(ends)) → sum(p.request.table.stored + p.request.table.left for p in pieces))
## texts for tokens
- sum(p.count for p in pieces) → len(pieces)
## tokens and texts in each other's place
- cost(sum(p.count for p in pieces), len(pieces), → cost(len(pieces), sum(p.count for p in pieces),
## the clock starts again
- Moment(now, now + seconds, plan) → Moment(now, seconds, plan)
- [now + seconds] * due → [seconds] * due
- now += seconds → now = seconds
## an idle server steps on
- now = jobs[len(who)].arrival → now += cost.step
## the jump added
- now = jobs[len(who)].arrival → now = now + jobs[len(who)].arrival
## an empty step where nobody is here
- now = jobs[len(who)].arrival → now = jobs[len(who)].arrival + cost.step
## all that run
- len(pieces), sum(ends)) → len(scheduler.running), sum(ends))
## a start at 0 is none
- begins[i] = now if begins[i] is None else begins[i] → begins[i] = begins[i] or now
## the cost of one token
- cost(sum(p.count for p in pieces), len(pieces), sum(ends)) → cost(1, 1, max(ends))
""",
)

UNNAMED_SIMULATIONS = edited(
    by_a_ledger,
    """
## twice as long
- now += seconds → now += 2 * seconds
## one step late
- times[i] += [now + seconds] * due → times[i] += [now + 2 * seconds] * due
## in the order of their ends
- = zip(jobs, begins, times, strict=True) → = sorted(zip(jobs, begins, times), key=itemgetter(2))
## a whole text's cost at its end
- sum(ends)) → max(ends))
## arrivals counted from the start
- [costs.Request(j.arrival, b, → [costs.Request(b, b,
""",
)


RIGHT = {
    "chunk": [chunk_by_sorting, chunk_by_branches],
    "take_tokens": [sorted_by_need, in_two_passes],
    "admit": [admit_by_what_is_left, admit_by_refusals],
    "preempt": [by_a_loop, by_pairs],
    "simulate": [by_a_ledger, by_events],
}

SECOND_FORMS = {
    "chunk": CHUNKS,
    "take_tokens": TAKEN,
    "admit": ADMITTED,
    "preempt": PREEMPTED,
    "simulate": SIMULATIONS,
}

UNNAMED = {
    "chunk": list(UNNAMED_CHUNKS.values()),
    "take_tokens": list(UNNAMED_TAKEN.values()),
    "admit": list(UNNAMED_ADMITTED.values()),
    "preempt": list(UNNAMED_PREEMPTED.values()),
    "simulate": list(UNNAMED_SIMULATIONS.values()),
}
