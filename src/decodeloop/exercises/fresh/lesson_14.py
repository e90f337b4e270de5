"""Random inputs for the exercises of lesson 14."""

from __future__ import annotations

from math import ceil  # noqa: F401, edits of `chunk_by_branches` use it

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven
from decodeloop.exercises.lesson_14 import told
from decodeloop.serve import BlockManager, Job, Scheduler, StepCost


def chunk_by_branches(left, budget, size=None):
    count = left
    if size is not None and count > size:
        count = size
    if count > budget:
        count = budget
    return count


@st.composite
def days(draw):
    arrivals = sorted(draw(st.lists(st.floats(0.0, 20.0), min_size=1, max_size=6)))
    jobs = [
        Job(t, [100 * i + k for k in range(draw(st.integers(1, 12)))], draw(st.integers(1, 6)))
        for i, t in enumerate(arrivals)
    ]
    limits = {"most": draw(st.integers(1, 6)), "budget": draw(st.integers(1, 20))}
    return jobs, draw(st.integers(5, 30)), limits


def with_a_chunk(candidate, left, budget, size):
    return candidate(left, budget, size, chunk=chunk_by_branches)


def through_a_scheduler(candidate, jobs, blocks, limits):
    cost = StepCost(step=0.5, token=0.125, text=0.0625, position=0.015625)
    return told(candidate(jobs, Scheduler(BlockManager(blocks, 4), **limits), cost))


lengths = st.integers(1, 300)

sizes = st.none() | lengths

RANDOM = {
    "chunk": st.tuples(lengths, st.integers(0, 300), sizes),
    "take_tokens": Driven(
        st.tuples(st.lists(lengths | st.just(1), max_size=12), lengths, sizes), with_a_chunk
    ),
    "admit": st.tuples(*[st.integers(0, 9)] * 3, st.integers(1, 9)),
    "preempt": st.tuples(st.lists(st.integers(0, 999), min_size=1, max_size=9, unique=True)),
    "simulate": Driven(days(), through_a_scheduler),
}
