"""A constraint on what a model may write: which tokens may come next, and when the text may end.

Built in lesson 25.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

from decodeloop.decode.constrained.automaton import automaton_of
from decodeloop.decode.constrained.masks import Masks
from decodeloop.decode.constrained.pattern import parse_pattern
from decodeloop.decode.constrained.pushdown import Pushdown, Stacks, pushdown_of
from decodeloop.decode.constrained.schema import rules_of
from decodeloop.decode.constrained.vocabulary import Vocabulary
from decodeloop.errors import UserError


class Constraint:
    """What a text must be, ready to be asked after each token; it serves any number of texts.

    It has no state of its own: a text's is handed in and out, beginning with `start`. Making one
    finds the tokens of every state, which takes a while; afterwards each question is a look-up.

    >>> from decodeloop.decode.constrained import Vocabulary
    >>> yes = Constraint.from_pattern("yes|no", Vocabulary([b"", b"y", b"es", b"no", b"n"]))
    >>> yes.allowed(yes.start).nonzero().flatten().tolist()
    [1, 3, 4]
    >>> yes.complete(yes.advance(yes.start, 3))
    True
    """

    def __init__(self, rules: Pushdown, vocabulary: Vocabulary) -> None:
        self.rules, self.vocabulary = rules, vocabulary
        self.start: Stacks = frozenset([(rules.start,)])
        self._masks = Masks(rules, vocabulary)

    @classmethod
    def from_pattern(cls, pattern: str, vocabulary: Vocabulary) -> Constraint:
        """A text that a regular expression matches from end to end.

        Raises:
            UserError: as `parse_pattern`; nothing matches, or it needs too many states.
        """
        return cls(pushdown_of(automaton_of(parse_pattern(pattern)), {}), vocabulary)

    @classmethod
    def from_schema(cls, schema: Any, vocabulary: Vocabulary) -> Constraint:
        """A JSON text that a JSON schema accepts, written as `rules_of` says.

        Raises:
            UserError: as `rules_of`; nothing matches, or it needs too many states.
        """
        whole, rules = rules_of(schema)
        automata = {name: automaton_of(node) for name, node in rules.items()}
        return cls(pushdown_of(automaton_of(whole), automata), vocabulary)

    def advance(self, state: Stacks, token: int) -> Stacks:
        """The state behind one more token.

        Raises:
            UserError: the token is not allowed there.
        """
        after = state
        for byte in self.vocabulary.tokens[token] if 0 <= token < len(self.vocabulary) else b"":
            after = self.rules.step(after, byte)
        if not after or after is state:
            raise UserError(
                f"token {token} is not allowed here: expected one that `allowed` has for this "
                f"state; was the text begun without the constraint?"
            )
        return after

    def allowed(self, state: Stacks) -> Tensor:
        """The tokens that may come next, boolean (V,), on the CPU. An end-of-sequence token is
        none of them: whether the text may end is asked of `complete`."""
        return torch.from_numpy(self._masks.mask(state))

    def complete(self, state: Stacks) -> bool:
        """Whether the text may end here."""
        return self.rules.complete(state)

    def finished(self, state: Stacks) -> bool:
        """Whether the text must end here, since nothing may follow."""
        return self.complete(state) and self._masks.empty(state)


def constrained_choice(
    logits: Tensor,
    allowed: Tensor,
    complete: bool,
    eos_ids: Collection[int],
    choose: Callable[[Tensor], Tensor],
) -> int:
    """The next token, out of those that are allowed; an end-of-sequence token where the text may
    end, and there alone.

    What is not allowed is removed before anything is chosen, so that top-k, top-p and min-p see
    what is left, as if the model knew no other token.

    Shapes: logits (1, V), allowed (V,) or shorter → a number; `choose` gets (1, V) and gives (1,).

    Raises:
        UserError: nothing is allowed, and the text may not end.

    >>> logits, allowed = torch.tensor([[1.0, 3.0, 2.0]]), torch.tensor([True, False, True])
    >>> constrained_choice(logits, allowed, False, [1], lambda logits: logits.argmax(-1))
    2
    """
    return int(choose(permitted(logits, allowed, complete, eos_ids)))


def permitted(logits: Tensor, allowed: Tensor, complete: bool, eos_ids: Collection[int]) -> Tensor:
    """The logits, with -inf at all that may not come next. Arguments and errors as in
    `constrained_choice`. Shapes: (1, V) → (1, V)."""
    keep = torch.zeros(logits.shape[-1], dtype=torch.bool)
    keep[: len(allowed)] = allowed
    keep[list(eos_ids)] = complete
    if not keep.any():
        raise UserError(
            "no token may come next, and the text may not end: expected a vocabulary that can "
            "spell what the pattern or schema asks for; take another model or another pattern."
        )
    return logits.masked_fill(~keep.to(logits.device), -math.inf)
