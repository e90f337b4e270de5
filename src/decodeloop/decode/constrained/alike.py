"""States that no token tells apart: they share what is found out about one of them.

Built in lesson 25.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decodeloop.decode.constrained.pushdown import Pushdown


def alike(rules: Pushdown, length: int) -> NDArray[np.uint64]:
    """Colours of the states: two of the same colour read the same texts of up to `length` bytes.

    A state's colour is mixed from those that its bytes lead to, `length` times over (as in Moore's
    minimization, 1956); colours are 64 bits wide, so that two different ones hardly ever agree.
    """
    seeds = np.random.default_rng(25)
    kinds: dict[object, int] = {}  # what else tells states apart: calls, and where a rule ends
    first = []
    for state, calls in enumerate(rules.calls):
        ends = bool(rules.accepting[state]) and rules.rule[state] != 0
        rule = int(rules.rule[state])
        first.append(kinds.setdefault((ends, rule, calls), len(kinds)))
    names = random_bits(seeds, len(kinds))
    table = np.unique(rules.table, axis=1)
    weights = random_bits(seeds, table.shape[1]) | np.uint64(1)
    colours = names[np.array(first)]
    before = 0
    for _ in range(length):
        if len(np.unique(colours)) == before:
            break  # no further byte will tell more of them apart
        before = len(np.unique(colours))
        reached = np.append(colours, 0).astype(np.uint64)[table]  # DEAD is 0
        colours = names[np.array(first)] ^ mixed((reached * weights).sum(-1, dtype=np.uint64))
    return colours


def mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit of the result depends on all of the number's (the end of MurmurHash3)."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        x = (x ^ (x >> np.uint64(33))) * np.uint64(factor)
    return x ^ (x >> np.uint64(33))


def random_bits(seeds: np.random.Generator, count: int) -> NDArray[np.uint64]:
    """So many random numbers of 64 bits."""
    return np.frombuffer(seeds.bytes(8 * count), np.uint64)
