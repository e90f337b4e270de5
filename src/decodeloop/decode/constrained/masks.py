"""Which tokens may come next, found for every state before the first text is made.

A token may end within the rule that the state belongs to: then it is allowed whatever lies below on
the stack. Or it reads past the end of that rule: then the rule below must read the rest. So there
is one table entry for a state and a set of places in the tree of tokens where it begins: the tokens
that end within its rule, and the places from which the rule below has to go on. The mask of a stack
is put together from such entries, mostly one or two. (XGrammar splits its tokens alike.) Built in
lesson 25.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decodeloop.decode.constrained.alike import alike
from decodeloop.decode.constrained.pushdown import Pushdown, Stacks
from decodeloop.decode.constrained.vocabulary import Vocabulary
from decodeloop.decode.constrained.walk import Ints, Walk

BATCH = 64  # entries that are made together: the more, the fewer calls and the larger arrays
ROOT = 0  # the set of places in the tree that holds its root alone
NONE = -1  # no such set


@dataclass(frozen=True, eq=False)
class Entry:
    """The tokens that end within a state's rule, and from where the rule below must read on.

    Few tokens are kept as their ids, many as a bit for each there is: what is shorter.
    """

    token_ids: Ints | None
    bits: NDArray[np.uint8] | None
    leaves: int  # the number of a set of places in the tree, or `NONE`

    @property
    def empty(self) -> bool:
        return self.token_ids is not None and not len(self.token_ids)


class Masks:
    """The tokens that may follow, of each stack of a machine.

    Args:
        rules: the machine.
        vocabulary: the tokens and their tree.
    """

    def __init__(self, rules: Pushdown, vocabulary: Vocabulary) -> None:
        self._rules, self._vocabulary = rules, vocabulary
        self._walk = Walk(rules, vocabulary)
        colours = alike(rules, vocabulary.longest)
        _, self._examples, self._kind = np.unique(colours, return_index=True, return_inverse=True)
        self._places: list[Ints] = [np.array([0])]  # sets of places, by their number
        self._numbers = {self._places[0].tobytes(): ROOT}
        self._entries: dict[tuple[int, int], Entry] = {}
        self._fill()

    def mask(self, stacks: Stacks) -> NDArray[np.bool_]:
        """The tokens that may come next, (V,)."""
        V = len(self._vocabulary)
        mask = np.zeros(V, np.bool_)
        for entry in self._of(stacks):
            if entry.bits is not None:
                mask |= np.unpackbits(entry.bits, count=V).view(np.bool_)
            else:
                mask[entry.token_ids] = True
        return mask

    def empty(self, stacks: Stacks) -> bool:
        """Whether no token may come next."""
        return all(entry.empty for entry in self._of(stacks))

    def _of(self, stacks: Stacks) -> Iterator[Entry]:
        """The entries that a mask is made of: of each stack, from the top down, as far as a token
        can read."""
        for stack in stacks:
            places = ROOT
            for state in reversed(stack):
                entry = self._entries[int(self._kind[state]), places]
                yield entry
                places = entry.leaves
                if places == NONE:
                    break

    def _fill(self) -> None:
        """Make every entry that a stack can ever ask for."""
        returns = [
            [int(self._kind[state]) for state in self._rules.returns(rule)]
            for rule in range(int(self._rules.rule.max()) + 1)
        ]
        todo = [(kind, ROOT) for kind in range(len(self._examples))]
        asked = set(todo)
        while todo:
            batch, todo = todo[:BATCH], todo[BATCH:]
            for (kind, places), entry in zip(batch, self._made(batch), strict=True):
                self._entries[kind, places] = entry
                if entry.leaves == NONE:
                    continue
                rule = int(self._rules.rule[self._examples[kind]])
                new = {(back, entry.leaves) for back in returns[rule]} - asked
                asked |= new
                todo += sorted(new)

    def _made(self, batch: list[tuple[int, int]]) -> list[Entry]:
        begins = [(int(self._examples[kind]), self._places[places]) for kind, places in batch]
        return [self._entry(tokens, left) for tokens, left in self._walk.from_all(begins)]

    def _entry(self, tokens: Ints, left: Ints) -> Entry:
        V = len(self._vocabulary)
        if 8 * tokens.nbytes <= V:
            return Entry(tokens, None, self._number(left))
        mask = np.zeros(V, np.bool_)
        mask[tokens] = True
        return Entry(None, np.packbits(mask), self._number(left))

    def _number(self, places: Ints) -> int:
        if not len(places):
            return NONE
        key = places.tobytes()
        if key not in self._numbers:
            self._numbers[key] = len(self._places)
            self._places.append(places)
        return self._numbers[key]
