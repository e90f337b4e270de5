"""Random inputs for the exercises of lesson 15."""

from __future__ import annotations

from decodeloop.exercises import lesson_15
from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven, drawn

ROOT = bytes(32)

keys_of_tenants = st.sampled_from([b"", b"one", b"other"])


@st.composite
def named(draw):
    """Blocks of a few tokens, so that many are equal."""
    block = st.tuples(
        st.sampled_from([ROOT, lesson_15.ONE, lesson_15.OTHER]),
        st.lists(st.integers(0, 3), min_size=2, max_size=2),
        keys_of_tenants,
    )
    return (draw(st.lists(block, min_size=1, max_size=8)),)


@st.composite
def texts_and_what_is_known(draw):
    size = draw(st.integers(1, 3))
    said = draw(st.lists(st.integers(0, 2), max_size=12))
    text = draw(st.lists(st.integers(0, 2), max_size=12))
    shared = draw(st.integers(0, 12))
    stored = lesson_15.beginnings(said, size, draw(st.permutations(range(len(said) // size))))
    kept = {k: b for k, b in stored.items() if draw(st.integers(0, 5))}
    return [said[:shared] + text], size, kept, draw(keys_of_tenants), draw(keys_of_tenants)


@st.composite
def tables(draw):
    count = draw(st.integers(1, 8))
    blocks = draw(st.lists(st.integers(0, count - 1), unique=True, max_size=count))
    extra = draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    return blocks, [(i in blocks) + extra[i] for i in range(count)]


ending = tables().map(lambda pool: ([pool[0]], pool[1]))


@st.composite
def written(draw):
    blocks, references = draw(tables())
    size = draw(st.integers(1, 4))
    start = draw(st.integers(0, len(blocks) * size))
    return blocks, references, start, draw(st.integers(1, 9)), size


@st.composite
def attended(draw):
    G, shared, size = (draw(st.integers(1, 3)) for _ in range(3))
    T, start, D = draw(st.integers(1, 4)), draw(st.integers(0, 9)), draw(st.sampled_from([2, 4]))
    count = -(-(start + T) // size)
    blocks = draw(st.permutations(range(count + 2)))[:count]
    seed = draw(st.integers(0, 2**16))
    keys, values = (drawn(seed + i, count + 2, G, size, D) for i in (1, 2))
    return drawn(seed, G * shared, T, D), keys, values, blocks, start


RANDOM = {
    "blocks_needed": st.tuples(st.integers(0, 5000), st.integers(1, 300)),
    "block_hash": Driven(named(), lesson_15.equal_names),
    "match_prefix": Driven(texts_and_what_is_known(), lesson_15.matched),
    "release": Driven(ending, lesson_15.released),
    "copy_on_write": written(),
    "attend_paged": attended(),
}
