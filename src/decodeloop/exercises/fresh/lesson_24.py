"""Random inputs for the exercises of lesson 24."""

from __future__ import annotations

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven
from decodeloop.exercises.lesson_24 import HALF, leaving
from decodeloop.serve.answer import Piece

bits = st.sampled_from(
    [b"data: a", b"data:b ", b"\n", b"\r\n", b"\n\n", b": x", b"id: 1", b"\xc3\xa9"]
)
events = st.sampled_from([b"data: one\n\n", b"data:\xc3\xa9\r\n", b"data: a\ndata: b\n\n"])
chunks = st.lists(bits | events, min_size=3, max_size=12)
texts = st.text("ab." + HALF, max_size=8)
stops = st.lists(st.text("ab.", min_size=1, max_size=3), max_size=3)
times = st.sampled_from([0.0, 0.1, 0.2, 0.3, 1.0, 2.0])
rates = st.sampled_from([0.5, 1.0, 2.0])
targets = st.sampled_from([0.1, 0.2, 0.3, 1.0, 2.0])
served = st.none() | st.tuples(times, st.lists(times, max_size=3), times)


def read_it(candidate, chunks):
    return list(candidate(iter(chunks)))


def pieces_of(kinds):
    """Pieces as a service gives them: nothing of a text comes behind its end."""
    over, pieces = set(), []
    for number, ends in kinds:
        if number not in over:
            pieces.append(Piece(number, "x", finish_reason="stop" if ends else None))
            if ends:
                over.add(number)
    return pieces


comings = st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=6).map(pieces_of)


def let_in(candidate, prompt, new, here, longest, most, draining):
    return candidate(prompt, new, here, longest=longest, most=most, draining=draining)


def promised(candidate, measured, ttft, itl, share):
    return candidate(measured, ttft=ttft, itl=itl, share=share)


RANDOM = {
    "sse_events": Driven(st.tuples(chunks), read_it),
    "hold_back": st.tuples(texts, stops, st.booleans()),
    "admission": Driven(
        st.tuples(*[st.integers(0, 6)] * 3, st.integers(1, 9), st.integers(1, 6), st.booleans()),
        let_in,
    ),
    "on_disconnect": Driven(
        comings.flatmap(
            lambda pieces: st.tuples(
                st.just(pieces),
                st.just([0, 1, 2]),
                st.integers(1, max(1, len(pieces))),
                st.sampled_from(["cancelled", "closed", "error", "end"] if pieces else ["end"]),
            )
        ),
        leaving,
    ),
    "slo_capacity": Driven(
        st.tuples(
            st.dictionaries(rates, st.lists(served, min_size=1), max_size=3),
            targets,
            targets,
            st.sampled_from([0.25, 0.5, 1.0]),
        ),
        promised,
    ),
}
