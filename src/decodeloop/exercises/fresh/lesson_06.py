"""Random inputs for the exercises of lesson 06."""

from __future__ import annotations

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven, random_ids, seeds, shaped
from decodeloop.exercises.lesson_06 import (
    DEEPER,
    SMALL,
    decoded,
    drive,
    fed,
    prefilled,
)

configs = st.sampled_from([SMALL, DEEPER])


@st.composite
def operations(draw):
    """A trace of up to six operations on a cache that has room for all of them."""
    batch, length, steps = draw(st.integers(1, 3)), 0, []
    rows = batch
    for _ in range(draw(st.integers(1, 6))):
        name = draw(st.sampled_from(["append", "attend", "attend", "truncate", "select"]))
        if name == "truncate":
            length = draw(st.integers(0, length))
            steps.append((name, length))
        elif name == "select":
            chosen = draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=3))
            rows = len(chosen)
            steps.append((name, chosen))
        else:
            T = draw(st.integers(1, 4))
            length += T
            steps.append((name, T))
    return draw(configs), batch, 24, tuple(steps)


@st.composite
def texts(draw):
    """Up to two texts, each in parts."""
    config, parts = draw(configs), []
    for _ in range(draw(st.integers(1, 2))):
        lengths = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
        B = draw(st.integers(1, 2))
        parts.append((random_ids(draw(seeds), config.vocabulary, B, sum(lengths)), lengths))
    return config, tuple(parts)


def a_text(config, seed, B, T, *more):
    return (config, random_ids(seed, config.vocabulary, B, T), *more)


rows, tokens = st.integers(1, 3), st.integers(1, 7)

RANDOM = {
    "ContiguousKVCache": Driven(operations(), drive),
    "hidden_with_cache": Driven(texts(), fed),
    "prefill": Driven(shaped(a_text, configs, seeds, rows, tokens), prefilled),
    "decode_step": Driven(shaped(a_text, configs, seeds, rows, st.integers(3, 7)), decoded),
}
