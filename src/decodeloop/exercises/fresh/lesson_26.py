"""Random inputs for the exercises of lesson 26."""

from __future__ import annotations

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.lesson_26 import by_lists, chosen, drawn

seeds, few = st.integers(0, 999), st.integers(1, 6)
some_experts = st.integers(1, 6).flatmap(lambda E: st.tuples(st.just(E), st.integers(1, E)))


def combining(seed, N, experts, C):
    E, k = experts
    choices = by_lists(chosen(seed, N, E, k), E)[0]
    return drawn(seed, N * k, C), choices, drawn(seed + 1, N, k)


RANDOM = {
    "route": st.builds(
        lambda seed, N, experts: (drawn(seed, N, experts[0]), experts[1]),
        *(seeds, few, some_experts),
    ),
    "dispatch": st.builds(
        lambda seed, N, experts, more: (chosen(seed, N, *experts), experts[0] + more),
        *(seeds, few, some_experts, st.integers(0, 2)),
    ),
    "combine": st.builds(combining, seeds, st.integers(1, 5), some_experts, st.integers(1, 4)),
    "moe_flops_and_bytes": st.builds(
        lambda tokens, C, F, experts, size: (tokens, C, F, *experts, size),
        *(st.integers(1, 40), st.integers(1, 9), st.integers(1, 9), some_experts),
        st.sampled_from([0.5, 1, 2, 4]),
    ),
    "expert_load": st.builds(
        lambda seed, N, k, E, factor: (chosen(seed, N, E, min(k, E)), E, factor),
        *(seeds, st.integers(1, 9), st.integers(1, 3), st.sampled_from([1, 2, 4, 8])),
        st.sampled_from([0.5, 1.0, 1.25, 1.5, 2.0]),
    ),
}
