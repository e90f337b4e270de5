"""Random inputs for the exercises of lesson 17."""

from __future__ import annotations

import torch

from decodeloop.exercises import lesson_17
from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven, drawn, seeds
from decodeloop.model import SMOLLM2_135M, TINY, grouped_query_attention

ranks = st.integers(1, 5)


def matrix(seed, N, rows, columns, rank):
    return drawn(seed, N * rows, N * columns), rank % N, N


def heads(N, each, group, rank):
    return N * each * group, N * each, rank % N, N


def one_layer(seed, B, T, rank, N):
    N = 3 if N > 2 else 1
    x = drawn(seed, B, T, lesson_17.WHOLE.width)
    return x, lesson_17.layers_of(seed % 5, N)[1][rank % N], torch.arange(T)


def called_with_sums(candidate, x, layer, positions):
    return candidate(x, layer, positions, grouped_query_attention, lambda term: term + 1)


def rung(candidate, vectors):
    return candidate(vectors, lambda source, target, chunk: chunk.clone())


matrices = st.builds(matrix, seeds, ranks, st.integers(1, 4), st.integers(1, 4), st.integers(0, 9))

RANDOM = {
    "split_rows": matrices,
    "split_columns": matrices,
    "local_heads": st.builds(heads, ranks, ranks, ranks, st.integers(0, 9)),
    "sharded_block": Driven(
        st.builds(one_layer, seeds, st.integers(1, 2), ranks, st.integers(0, 9), ranks),
        called_with_sums,
    ),
    "ring_all_reduce": Driven(
        st.builds(lambda seed, N, n: (list(drawn(seed, N, n)),), seeds, ranks, st.integers(0, 12)),
        rung,
    ),
    "all_reduce_bytes": st.tuples(
        st.sampled_from([TINY, SMOLLM2_135M, lesson_17.ODD]),
        st.integers(0, 300),
        ranks,
        st.sampled_from([1, 2, 4]),
    ),
}
