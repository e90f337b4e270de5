"""Random inputs for the exercises of lesson 07b."""

from __future__ import annotations

from decodeloop.exercises.fresh.drawing import random_ids, seeds, shaped, sizes
from decodeloop.exercises.fresh.lesson_07 import a_forecast


def a_text_so_far(rows, vocabulary, length, seed):
    logits = a_forecast(rows, vocabulary, seed)
    return logits, random_ids(seed, vocabulary + 1, rows, length), (1.3, 2.0, 0.7, 1.0)[seed % 4]


RANDOM = {
    "repetition_penalty": shaped(a_text_so_far, sizes, sizes, sizes, seeds),
}
