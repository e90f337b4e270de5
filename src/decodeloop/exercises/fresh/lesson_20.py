"""Random inputs for the exercises of lesson 20."""

from __future__ import annotations

import torch

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven, drawn
from decodeloop.exercises.lesson_20 import compressed, master, sparse, told_of

seeds, rows, fours = st.integers(0, 999), st.integers(1, 6), st.integers(1, 4)

shares = st.sampled_from([0.0, 0.25, 0.375, 0.5, 0.75, 1.0])

channels = st.permutations(range(12)).map(list)

RANDOM = {
    "prune_magnitude": st.builds(
        lambda s, R, C, share: (drawn(s, R, C), share), seeds, rows, rows, shares
    ),
    "wanda": st.builds(
        lambda s, R, C, N, share: (drawn(s, R, C), drawn(s + 1, N, C), share),
        seeds,
        rows,
        rows,
        rows,
        shares,
    ),
    "two_four": st.builds(
        lambda s, R, n: (drawn(s, R, 4 * n), drawn(s + 1, R, 4 * n)), seeds, rows, fours
    ),
    "drop_layers": Driven(
        st.tuples(seeds, st.sets(st.integers(0, 3), max_size=3)),
        lambda candidate, seed, layers: told_of(candidate(master(seed), sorted(layers))),
    ),
    "narrow_feed_forward": Driven(
        st.tuples(
            st.integers(1, 4), st.integers(1, 12), st.lists(channels, min_size=4, max_size=4)
        ),
        lambda candidate, seed, n, kept: told_of(
            candidate(master(seed), [torch.tensor(some[:n]) for some in kept])
        ),
    ),
    "csr_matvec": st.builds(
        lambda s, R, C: (*compressed(sparse(s, R, C)), drawn(s, C)), seeds, rows, rows
    ),
}
