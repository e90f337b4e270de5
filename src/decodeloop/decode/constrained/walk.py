"""The tree of tokens, walked by many states at once. Built in lesson 25."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from decodeloop.decode.constrained.automaton import DEAD
from decodeloop.decode.constrained.pushdown import Pushdown, Stacks
from decodeloop.decode.constrained.vocabulary import Vocabulary

Ints: TypeAlias = NDArray[np.signedinteger[Any]]


class Walk:
    """The tree of tokens, walked by many states at once, level by level.

    On the way a state may call rules. So what walks is a set of stacks, of which only that part is
    known which lies above the rule that it began in; each such set has a number, and those of the
    states alone are the states' own.
    """

    def __init__(self, rules: Pushdown, vocabulary: Vocabulary) -> None:
        self._rules, self._vocabulary = rules, vocabulary
        S = len(rules.table)
        self._stacks: list[Stacks] = [frozenset([(state,)]) for state in range(S)]
        self._numbers = {stacks: number for number, stacks in enumerate(self._stacks)}
        self._table = np.where(rules.table < 0, DEAD, rules.table)
        self._known = np.array([not calls for calls in rules.calls])  # whose row is filled in
        self._leaving = rules.accepting & (rules.rule != 0)  # whose rule may end
        # one byte for all those that no state tells apart
        _, self._bytes, self._byte_kind = np.unique(
            rules.table, axis=1, return_index=True, return_inverse=True
        )

    def from_all(self, begins: list[tuple[int, Ints]]) -> list[tuple[Ints, Ints]]:
        """For each state and places in the tree: the tokens that end within its rule, sorted, and
        the places where its rule may be left, sorted."""
        tree = self._vocabulary
        numbers = np.array([state for state, _ in begins])
        origin = np.repeat(np.arange(len(begins)), [len(places) for _, places in begins])
        node, walker = np.concatenate([places for _, places in begins]), numbers[origin]
        ended: list[tuple[Ints, Ints]] = []  # origins, and tokens
        left: list[tuple[Ints, Ints]] = []  # origins, and places
        while True:
            leaving = self._leaving[walker]
            left.append((origin[leaving], node[leaving]))
            parent, child = spread(tree.first_child, node)
            walker = self._step(walker[parent], tree.byte[child])
            alive = walker != DEAD
            if not alive.any():
                return list(
                    zip(grouped(ended, len(begins)), grouped(left, len(begins)), strict=True)
                )
            origin, node, walker = origin[parent[alive]], child[alive], walker[alive]
            at, which = spread(tree.first_token, node)
            ended.append((origin[at], tree.token_ids[which]))

    def _step(self, walker: Ints, byte: NDArray[np.uint8]) -> Ints:
        unknown = ~self._known[walker]
        for number in np.unique(walker[unknown]).tolist():
            self._learn(number)
        found: Ints = self._table[walker, byte]
        return found

    def _learn(self, number: int) -> None:
        """Fill in the row of a set of stacks."""
        stacks = self._stacks[number]
        to = [self._number(self._rules.step(stacks, int(byte))) for byte in self._bytes]
        self._table[number] = np.array(to)[self._byte_kind.reshape(-1)]
        self._known[number] = True

    def _number(self, stacks: Stacks) -> int:
        if not stacks:
            return DEAD
        if stacks not in self._numbers:
            number = self._numbers[stacks] = len(self._stacks)
            self._stacks.append(stacks)
            if number == len(self._table):  # room for as many again
                self._table = np.concatenate([self._table, np.full_like(self._table, DEAD)])
                self._known = np.concatenate([self._known, np.zeros_like(self._known)])
                self._leaving = np.concatenate([self._leaving, np.zeros_like(self._leaving)])
            accepting, rule = self._rules.accepting, self._rules.rule
            self._leaving[number] = any(
                rule[stack[0]] != 0 and accepting[list(stack)].all() for stack in stacks
            )
        return self._numbers[stacks]


def spread(first: Ints, at: Ints) -> tuple[Ints, Ints]:
    """Everything that lies at some places: of each thing, which of the places, and its number.

    >>> spread(np.array([0, 2, 2, 5]), np.array([0, 2]))
    (array([0, 0, 1, 1, 1]), array([0, 1, 2, 3, 4]))
    """
    counts = first[at + 1] - first[at]
    which = np.repeat(np.arange(len(at)), counts)
    before = np.cumsum(counts) - counts
    return which, np.arange(len(which)) + np.repeat(first[at] - before, counts)


def grouped(found: list[tuple[Ints, Ints]], groups: int) -> list[Ints]:
    """Pairs (group, number) as the numbers of each group, sorted."""
    group = np.concatenate([group for group, _ in found] or [np.zeros(0, np.int64)])
    number = np.concatenate([number for _, number in found] or [np.zeros(0, np.int64)])
    order = np.lexsort((number, group))
    cuts = np.searchsorted(group[order], np.arange(1, groups))
    return np.split(number[order], cuts)
