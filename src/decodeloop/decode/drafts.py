"""Who guesses the next tokens: the text itself, a quicker model, or a script. Built in lesson 22.

A guess costs little and may be wrong; what it says changes how fast a text comes, and never what it
says (`decode.speculative`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from collections.abc import Sequence as Numbers
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from decodeloop.decode.loop import Model
from decodeloop.decode.sequence import Sequence
from decodeloop.errors import UserError
from decodeloop.model import KVCache

LONGEST = 3  # tokens at the end of a text that are looked for in it


@dataclass(frozen=True)
class Proposal:
    """Tokens that may come next, and what each was drawn from.

    `probabilities` (k, V) is None where the draft is sure of each token. Proposals of one `kind`
    are right about equally often.
    """

    tokens: list[int]
    probabilities: Tensor | None = None
    kind: Hashable = None


class Draft(Protocol):
    """What guesses. One text at a time: `begin`, then `propose` and `keep` in turn."""

    @property
    def cost(self) -> float:
        """What one drafted token costs, in decode steps of the model that it is drafted for."""

    def begin(self, sequence: Sequence) -> None:
        """A new text begins, of which the prompt is there."""

    def propose(self, sequence: Sequence, most: int) -> Proposal:
        """At most so many tokens that may follow on what is there of the text; or none."""

    def keep(self, n: int) -> None:
        """The first n tokens of the text stay as they were read or drafted: forget all others."""


def lookup(tokens: Numbers[int], k: int, longest: int = LONGEST) -> list[int]:
    """Prompt lookup: what followed when the last tokens stood in the text before.

    The last `longest` tokens are looked for, then one fewer, down to the last alone. Of several
    places the latest counts. k tokens are copied from there, past the end of the text what was
    copied itself; none where even the last token is new.

    Saxena, "Prompt Lookup Decoding" (2023); `PromptLookup` finds the same without a search.

    >>> lookup([1, 2, 3, 9, 1, 2], k=3), lookup([5, 5], k=3)
    ([3, 9, 1], [5, 5, 5])
    """
    if k < 0 or longest < 1:
        raise UserError(
            f"lookup was given k = {k} and longest = {longest}: expected at least 0 and 1 tokens."
        )
    tokens = list(tokens)
    for n in range(min(longest, len(tokens) - 1), 0, -1):
        last = tokens[-n:]
        for start in range(len(tokens) - n - 1, -1, -1):
            if tokens[start : start + n] == last:
                return copied(tokens, start + n, k)
    return []


def copied(tokens: list[int], place: int, k: int) -> list[int]:
    """k tokens from a place on; past the end it goes on with what was copied.

    >>> copied([7, 8, 9], place=1, k=5)
    [8, 9, 8, 9, 8]
    """
    found = tokens[place : place + k]
    while len(found) < k:
        found.append(found[len(found) - (len(tokens) - place)])
    return found


class PromptLookup:
    """`lookup` as a draft: where each group of tokens was last followed by another is remembered.

    A proposal's kind is the length of what was found.

    >>> draft, text = PromptLookup(), Sequence(torch.tensor([[1, 2, 3, 9, 1, 2]]), budget=9)
    >>> draft.begin(text)
    >>> draft.propose(text, 3)
    Proposal(tokens=[3, 9, 1], probabilities=None, kind=2)
    """

    cost = 0.0

    def __init__(self, longest: int = LONGEST) -> None:
        if longest < 1:
            raise UserError(f"longest is {longest}: expected at least 1 token to look for.")
        self.longest = longest
        self.follows: dict[tuple[int, ...], int] = {}  # where what followed stands
        self.text: list[int] = []

    def begin(self, sequence: Sequence) -> None:
        self.follows, self.text = {}, []

    def propose(self, sequence: Sequence, most: int) -> Proposal:
        for token in sequence.unread(len(self.text))[0].tolist():
            end = len(self.text)
            for n in range(1, min(self.longest, end) + 1):
                self.follows[tuple(self.text[end - n :])] = end
            self.text.append(token)
        for n in range(min(self.longest, len(self.text) - 1), 0, -1):
            place = self.follows.get(tuple(self.text[-n:]))
            if place is not None:
                return Proposal(copied(self.text, place, most), kind=n)
        return Proposal([])

    def keep(self, n: int) -> None:
        pass  # what is remembered is the text alone, and no guess


class ModelDraft:
    """A quicker model as the draft, with a cache of its own.

    It chooses as the text's sampling says, from its own probabilities; so these are what each of
    its tokens was drawn from.

    Args:
        model: one with the vocabulary of the model that it drafts for.
        cost: what one of its steps costs, in steps of that model.
    """

    def __init__(self, model: Model, cost: float = 0.3) -> None:
        if cost < 0:
            raise UserError(f"a draft's cost is {cost} steps: expected at least 0.")
        self.model, self.cost = model, cost
        self.cache: KVCache | None = None

    def begin(self, sequence: Sequence) -> None:
        room = min(sequence.positions_needed, self.model.config.context)
        self.cache = self.model.new_cache(1, room)

    @torch.inference_mode()
    def propose(self, sequence: Sequence, most: int) -> Proposal:
        if self.cache is None:
            self.begin(sequence)
        assert self.cache is not None
        sampling, text, prompt = sequence.sampling, sequence.token_ids, sequence.prompt.shape[1]
        most = min(most, self.model.config.context - text.shape[1] + 1)
        tokens: list[int] = []
        drawn_from: list[Tensor] = []
        for _ in range(most):
            # what it has not read: at first the prompt, later the tokens that came in another's
            # place, and after a round in which all stayed the last two
            hidden = self.model.hidden(text[:, self.cache.length :], self.cache)
            logits = self.model.head(hidden[:, -1])
            token = sampling.choose(logits, text, sequence.generator, prompt)
            if sampling.temperature:
                drawn_from.append(sampling.process(logits, text, prompt).softmax(-1)[0].cpu())
            tokens.append(int(token))
            text = torch.cat((text, token[:, None]), dim=1)
        return Proposal(tokens, torch.stack(drawn_from) if drawn_from else None)

    def keep(self, n: int) -> None:
        if self.cache is not None and self.cache.length > n:
            self.cache.truncate(n)


class ScriptedDraft:
    """A draft that proposes what a function says: of the text so far, and how many at most.

    It is sure of each token. For tests and lessons: one that is always right, or never.

    >>> draft = ScriptedDraft(lambda tokens, most: [tokens[-1] + 1] * most)
    >>> draft.propose(Sequence(torch.tensor([[4, 5]]), budget=9), 2).tokens
    [6, 6]
    """

    def __init__(
        self, propose: Callable[[list[int], int], Numbers[int]], cost: float = 0.0
    ) -> None:
        self.says, self.cost = propose, cost

    def begin(self, sequence: Sequence) -> None:
        pass  # it is told the whole text each time

    def propose(self, sequence: Sequence, most: int) -> Proposal:
        tokens = self.says(sequence.token_ids[0].tolist(), most)
        return Proposal([int(token) for token in tokens][:most])

    def keep(self, n: int) -> None:
        pass
