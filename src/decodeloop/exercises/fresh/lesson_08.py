"""Random inputs for the exercises of lesson 08."""

from __future__ import annotations

import itertools

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven, random_ids, seeds, shaped
from decodeloop.exercises.lesson_08 import Bytes, HashModel


def loops():
    def build(seed, T, most, ends, stops):
        return random_ids(seed, 11, 1, T), most, tuple(ends), tuple(stops)

    few = st.lists(st.integers(0, 10), max_size=2)
    return shaped(build, seeds, st.integers(1, 5), st.integers(1, 9), few, few)


def run_loop(candidate, token_ids, most, ends, stops):
    asked = []

    def stop(token):
        asked.append(token)
        return token in stops

    def choose(logits, sequence):
        return (logits - 0.5 * (sequence == sequence[:, -1:]).sum(-1, keepdim=True)).argmax(-1)

    reasons = []

    def following():
        reasons.append((yield from candidate(model, token_ids, most, choose, ends, stop)))

    model = HashModel(11)
    return [list(following()), reasons, asked, model.computed]


def streams():
    def build(text, cuts, stops):
        data = text.encode()
        places = sorted({min(c, len(data)) for c in cuts})
        chunks = [data[a:b] for a, b in itertools.pairwise([0, *places, len(data)])]
        kept = [s for s in stops if not any(s != other and s in other for other in stops)]
        return chunks, tuple(dict.fromkeys(kept))

    return shaped(
        build,
        st.text("ab 🎉é", max_size=14),
        st.lists(st.integers(0, 30), max_size=10),
        st.lists(st.text("ab ", min_size=1, max_size=3), max_size=2),
    )


def run_stream(candidate, chunks, stops):
    stream = candidate(Bytes(chunks), stops)
    pieces = [stream.push(token) for token in range(len(chunks))]
    return ["".join([*pieces, stream.finish()]), stream.stopped]


RANDOM = {
    "decoding_loop": Driven(loops(), run_loop),
    "TextStream": Driven(streams(), run_stream),
}
