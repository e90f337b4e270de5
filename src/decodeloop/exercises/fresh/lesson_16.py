"""Random inputs for the exercises of lesson 16."""

from __future__ import annotations

import math

import torch

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven

sizes = st.integers(1, 12)


@st.composite
def streams(draw):
    widths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    scores = 4 * torch.randn(3, sum(widths), generator=generator)
    scores[0, : widths[0]] = -math.inf
    return (list(scores.split(widths, -1)),)


@st.composite
def parts(draw):
    T, D = draw(sizes), draw(sizes)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))

    def part():
        peak = 5 * torch.randn(T, 1, generator=generator)
        total = 1 + torch.rand(T, 1, generator=generator)
        return peak, total, torch.randn(T, D, generator=generator)

    return part(), part()


@st.composite
def attending(draw):
    B, G, share, T, D = (draw(st.integers(1, n)) for n in (2, 3, 3, 12, 6))
    S = T + draw(st.integers(0, 9))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    q = torch.randn(B, G * share, T, D, generator=generator)
    k, v = (torch.randn(B, G, S, D, generator=generator) for _ in range(2))
    return q, k, v, draw(st.booleans()), draw(sizes), draw(sizes)


def with_tiles(candidate, q, k, v, causal, rows, columns):
    return candidate(q, k, v, causal=causal, rows=rows, columns=columns)


triangles = st.tuples(sizes, st.integers(0, 12), sizes, sizes)

RANDOM = {
    "online_softmax": Driven(streams(), lambda candidate, tiles: list(candidate(iter(tiles)))),
    "merge": Driven(parts(), lambda candidate, *pair: list(candidate(*pair))),
    "skip_tiles": triangles.map(lambda n: (n[0], n[0] + n[1], n[2], n[3])),
    "flash_attention": Driven(attending(), with_tiles),
    "traffic": st.tuples(triangles, sizes).map(
        lambda n: (n[0][0], n[0][0] + n[0][1], n[1], n[0][2], n[0][3])
    ),
}
