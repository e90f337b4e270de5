"""Questions with four answers to choose from: what a model still knows.

A model chooses the answer that it finds most probable after the question, as in Brown et al.,
"Language Models are Few-Shot Learners" (2020), section 2.4. All answers of a question are of one
kind and about as long, so nothing is divided by a length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from decodeloop.decode.loop import Model
from decodeloop.errors import UserError
from decodeloop.quality.forecasts import Encodes, check_texts, hidden_states, log_probabilities
from decodeloop.quality.intervals import Interval, ratio_of_sums
from decodeloop.quality.pinned_texts import read_pinned

CHOICES = 4


@dataclass(frozen=True)
class Question:
    """The beginning of a sentence, and four ends of it, of which the first is right."""

    beginning: str
    choices: tuple[str, ...]


def questions() -> tuple[Question, ...]:
    """The questions of the package.

    >>> first = questions()[0]
    >>> first.beginning, first.choices
    ('The capital of France is', (' Paris', ' Berlin', ' Rome', ' Madrid'))
    """
    _, tables = read_pinned("questions.txt")
    return tuple(question for table in tables for question in questions_of(table))


def questions_of(table: str) -> list[Question]:
    """The questions of one table; the wrong answers of each are the next three others.

    >>> for question in questions_of("{} and\\na | b\\nc | d\\ne | f\\ng | h\\ni | b"):
    ...     print(question.beginning, *question.choices)
    a and  b  d  f  h
    c and  d  f  h  b
    e and  f  h  b  d
    g and  h  b  d  f
    i and  b  d  f  h
    """
    form, *lines = table.splitlines()
    pairs = [line.split(" | ") for line in lines]
    answers = list(dict.fromkeys(right for _, right in pairs))
    found = []
    for asked, right in pairs:
        first = answers.index(right)
        chosen = [answers[(first + step) % len(answers)] for step in range(CHOICES)]
        choices = tuple(f" {answer}" for answer in chosen)
        found.append(Question(form.format(asked), choices))
    return found


@dataclass(frozen=True)
class Answers:
    """What a model answered: which choice of each question, 0 being the right one."""

    chosen: tuple[int, ...]

    @property
    def accuracy(self) -> Interval:
        """The share that is right."""
        return ratio_of_sums([choice == 0 for choice in self.chosen], [1.0] * len(self.chosen))

    def accuracy_less(self, other: Answers) -> Interval:
        """This accuracy less another's, on the same questions, drawn in pairs.

        Raises:
            UserError: the other one answered another number of questions.
        """
        if len(self.chosen) != len(other.chosen):
            raise UserError(
                f"{len(self.chosen)} answers and {len(other.chosen)}: expected both to the same "
                f"questions."
            )
        more = [
            (mine == 0) - (theirs == 0)
            for mine, theirs in zip(self.chosen, other.chosen, strict=True)
        ]
        return ratio_of_sums(more, [1.0] * len(more))


@torch.inference_mode()
def answer(model: Model, tokenizer: Encodes, asked: Sequence[Question]) -> Answers:
    """Let a model choose.

    A choice of one token is read off the forecast after the beginning, so where all are, the
    beginning is read once; what several rows begin with is read once only if it is all of a row.

    Raises:
        UserError: there is no question.
    """
    rows: dict[tuple[int, ...], int] = {}  # what is read, all but the last token of a choice
    places = []  # for each choice of each question: its row, where its tokens begin, its tokens
    for question in asked:
        beginning = tokenizer.encode(question.beginning)
        for choice in question.choices:
            tokens = tokenizer.encode(choice)
            read = (*beginning, *tokens[:-1])
            row = rows.setdefault(read, len(rows))
            places.append((row, len(beginning) - 1, tokens))
    texts = [torch.tensor(row) for row in rows]
    check_texts(texts)
    wanted: dict[int, list[int]] = {}
    for place, (row, _, _) in enumerate(places):
        wanted.setdefault(row, []).append(place)
    scores = [0.0] * len(places)
    for number, hidden in hidden_states(model, texts):
        first = min(places[place][1] for place in wanted[number])
        forecast = log_probabilities(model, hidden[first:])  # (T - first, V)
        for place in wanted[number]:
            _, start, tokens = places[place]
            scores[place] = log_probability(forecast[start - first :], tokens)
    table = torch.tensor(scores).view(len(asked), -1)
    return Answers(tuple(table.argmax(-1).tolist()))


def log_probability(forecast: Tensor, tokens: Sequence[int]) -> float:
    """Of tokens one after the other. Shapes: forecast at least (len(tokens), V)."""
    ids = torch.tensor(tokens)[:, None]
    return float(forecast[: len(tokens)].gather(-1, ids).sum())
