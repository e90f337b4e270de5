"""Random inputs for the exercises of lesson 21."""

from __future__ import annotations

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven
from decodeloop.exercises.lesson_21 import best, drawn, master, recovered, taught, text

seeds, temperatures = st.integers(0, 999), st.sampled_from([0.5, 1.0, 2.0, 5.0])

sizes = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(2, 9))


def logits_of(seed, sizes):
    return drawn(seed, *sizes), drawn(seed + 1000, *sizes)


def one_training(candidate, seed, temperature, hard):
    batches = [text(seed, 2, 5), text(seed + 1, 1, 8)]
    return taught(candidate, batches, {"temperature": temperature, "hard": hard}, False)


def one_recovery(candidate, seed, temperature):
    batches = [text(seed, 2, 5), text(seed + 1, 2, 5)]
    return recovered(candidate, batches, {"temperature": temperature}, 0.0, 0.0)


RANDOM = {
    "soft_targets": st.builds(lambda s, n, t: (drawn(s, *n), t), seeds, sizes, temperatures),
    "distillation_loss": st.builds(
        lambda s, n, t: (*logits_of(s, n), t), seeds, sizes, temperatures
    ),
    "train_student": Driven(
        st.tuples(seeds, temperatures, st.sampled_from([0.0, 0.5, 1.0])), one_training
    ),
    "sequence_targets": Driven(
        st.tuples(seeds, st.integers(1, 3), st.integers(1, 5), st.integers(1, 6)),
        lambda candidate, seed, B, P, n: list(candidate(master(3), text(seed, B, P), n, best)),
    ),
    "recover": Driven(st.tuples(seeds, temperatures), one_recovery),
}
