"""Random inputs for the exercises of lesson 10b."""

from __future__ import annotations

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.lesson_10 import configs, forwards

RANDOM = {
    "forward_bytes": forwards().map(lambda sizes: sizes[:4]),
    "generation_flops": st.tuples(configs(), st.integers(1, 30), st.integers(1, 30), st.booleans()),
}
