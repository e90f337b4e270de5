"""A finite automaton over bytes: which texts belong to a set, decided a byte at a time.

`automaton_of` makes one of a tree: first a machine that may be in several states at once, then one
whose states are the sets of those states (Rabin and Scott, 1959). Built in lesson 25.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from decodeloop.decode.constrained.nfa import Nfa
from decodeloop.decode.constrained.syntax import Node
from decodeloop.errors import UserError

DEAD = -1  # where no text can go on
MOST_STATES = 50_000


@dataclass(frozen=True, eq=False)
class Automaton:
    """States 0, 1, …, of which 0 is the start; from each of them some text can be completed.

    Attributes:
        table: where a state goes by a byte, (S, 256); `DEAD` where it can't.
        accepting: where a text may end, (S,).
        calls: of each state, the rules that may be called there, and the state behind their text.
    """

    table: NDArray[np.int32]
    accepting: NDArray[np.bool_]
    calls: tuple[tuple[tuple[str, int], ...], ...]

    def runs(self, state: int) -> list[tuple[int, int, int]]:
        """A state's edges, by ranges of bytes: first, last, where to."""
        row = self.table[state]
        starts = [0, *(np.flatnonzero(np.diff(row)) + 1).tolist(), 256]
        return [
            (first, end - 1, int(row[first]))
            for first, end in itertools.pairwise(starts)
            if row[first] != DEAD
        ]


def step_automaton(table: NDArray[np.int32], state: int, text: bytes) -> int:
    """The state behind a text, read from a state on, or `DEAD` if it can't be read.

    >>> from decodeloop.decode.constrained.pattern import parse_pattern
    >>> table = automaton_of(parse_pattern("ab*")).table
    >>> step_automaton(table, 0, b"ab") >= 0, step_automaton(table, 0, b"ba")
    (True, -1)
    """
    for byte in text:
        if state == DEAD:  # as an index, -1 would be the last row
            return DEAD
        state = int(table[state, byte])
    return state


def automaton_of(node: Node) -> Automaton:
    """The automaton of a tree.

    Raises:
        UserError: it needs too many states.
    """
    nfa = Nfa(lambda one, other: intersection(automaton_of(one), automaton_of(other)))
    start = nfa.state()
    return determinised(nfa, start, nfa.add(node, start))


def determinised(nfa: Nfa, start: int, end: int) -> Automaton:
    """The automaton whose states are those sets of states that `nfa` can be in."""

    @cache
    def closure(state: int) -> frozenset[int]:
        found, todo = {state}, [state]
        while todo:
            more = [to for to in nfa.free[todo.pop()] if to not in found]
            found.update(more)
            todo += more
        # those that only lead on without reading make no difference
        return frozenset(s for s in found if nfa.edges[s] or nfa.calls[s] or s == end)

    def close(states: Iterable[int]) -> frozenset[int]:
        return frozenset().union(*map(closure, states))

    numbers = {close([start]): 0}
    sets = list(numbers)

    def number(states: frozenset[int]) -> int:
        if states not in numbers:
            check_size(len(sets))
            numbers[states] = len(sets)
            sets.append(states)
        return numbers[states]

    rows: list[NDArray[np.int32]] = []
    calls: list[tuple[tuple[str, int], ...]] = []
    for states in sets:  # it grows on the way
        row = np.full(256, DEAD, np.int32)
        edges = sorted({edge for state in states for edge in nfa.edges[state]})
        for first, last, targets in disjoint(edges):
            row[first : last + 1] = number(close(targets))
        rows.append(row)
        called: dict[str, list[int]] = {}
        for state in states:
            for rule, to in nfa.calls[state]:
                called.setdefault(rule, []).append(to)
        calls.append(tuple((rule, number(close(to))) for rule, to in sorted(called.items())))
    accepting = np.array([end in states for states in sets])
    return trimmed(Automaton(np.stack(rows), accepting, tuple(calls)))


def disjoint(edges: list[tuple[int, int, int]]) -> Iterator[tuple[int, int, list[int]]]:
    """Overlapping ranges of bytes as ranges that don't overlap, each with all it leads to.

    >>> list(disjoint([(1, 5, 7), (4, 9, 8)]))
    [(1, 3, [7]), (4, 5, [7, 8]), (6, 9, [8])]
    """
    cuts = sorted({first for first, _, _ in edges} | {last + 1 for _, last, _ in edges})
    for first, end in itertools.pairwise(cuts):
        if targets := [to for low, high, to in edges if low <= first <= high]:
            yield first, end - 1, targets


def intersection(one: Automaton, other: Automaton) -> Automaton:
    """What both recognise: the two side by side. Neither may call rules."""
    numbers = {(0, 0): 0}
    pairs = list(numbers)
    rows = []
    for a, b in pairs:  # it grows on the way
        row_a, row_b = one.table[a], other.table[b]
        row = np.full(256, DEAD, np.int32)
        both = (row_a != DEAD) & (row_b != DEAD)
        for key in np.unique(row_a[both].astype(np.int64) << 32 | row_b[both]).tolist():
            pair = key >> 32, key & 0xFFFFFFFF
            if pair not in numbers:
                check_size(len(pairs))
                numbers[pair] = len(pairs)
                pairs.append(pair)
            row[both & (row_a == pair[0]) & (row_b == pair[1])] = numbers[pair]
        rows.append(row)
    accepting = np.array([bool(one.accepting[a] and other.accepting[b]) for a, b in pairs])
    return trimmed(Automaton(np.stack(rows), accepting, ((),) * len(pairs)))


def trimmed(automaton: Automaton) -> Automaton:
    """Without the states from which nothing can be completed; the start stays."""
    table, calls = automaton.table, automaton.calls
    before: list[set[int]] = [set() for _ in calls]
    for state, row in enumerate(table):
        for to in {*np.unique(row).tolist(), *(back for _, back in calls[state])} - {DEAD}:
            before[to].add(state)
    todo = np.flatnonzero(automaton.accepting).tolist()
    alive = set(todo)
    while todo:
        more = before[todo.pop()] - alive
        alive |= more
        todo += more
    kept = sorted(alive | {0})
    place = np.full(len(table) + 1, DEAD, np.int32)  # the last one is where DEAD looks
    for new, old in enumerate(kept):
        if old in alive:
            place[old] = new
    return Automaton(
        place[table[kept]],
        automaton.accepting[kept],
        tuple(
            tuple((rule, int(place[back])) for rule, back in calls[old] if back in alive)
            for old in kept
        ),
    )


def check_size(states: int) -> None:
    if states >= MOST_STATES:
        raise UserError(
            f"the pattern or schema needs more than {MOST_STATES:,} states: expected smaller "
            f"counts and lengths; shorten them, or leave a length open."
        )
