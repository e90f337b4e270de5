"""Random inputs for the exercises of lesson 08b."""

from __future__ import annotations

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven, random_ids, seeds, shaped
from decodeloop.exercises.lesson_08 import HashModel, small_decoder


def batches():
    rows = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=4)
    return st.tuples(rows, st.integers(0, 12))


def searches():
    def build(seed, V, T, most, beams, penalty, ends):
        return (
            random_ids(seed, V, 1, T),
            V,
            most,
            min(beams, V),
            penalty,
            tuple(e % V for e in ends),
        )

    return shaped(
        build,
        seeds,
        st.integers(3, 9),
        st.integers(1, 3),
        st.integers(1, 6),
        st.integers(1, 4),
        st.sampled_from([-0.7, 0.0, 0.6, 1.0, 1.8]),
        st.lists(st.integers(0, 8), max_size=2, unique=True),
    )


def run_search(candidate, token_ids, V, most, beams, penalty, ends):
    return list(candidate(HashModel(V), token_ids, most, beams, penalty, ends))


def batch_inputs():
    rows = st.lists(st.lists(st.integers(0, 96), min_size=1, max_size=5), min_size=1, max_size=3)
    ends = st.lists(st.integers(0, 96), max_size=12).map(tuple)
    return st.tuples(rows, st.integers(1, 5), ends)


def run_batch(candidate, prompts, most, ends):
    return candidate(small_decoder(), prompts, most, ends)


RANDOM = {
    "pad_left": batches(),
    "beam_search": Driven(searches(), run_search),
    "greedy_batch": Driven(batch_inputs(), run_batch),
}
