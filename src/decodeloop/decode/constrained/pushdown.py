"""A pushdown automaton: automata that call one another, and a stack of where each goes on.

A finite automaton counts to as many brackets as it has states. With a stack, one of fifty states
reads them to any depth. Built in lesson 25.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from decodeloop.decode.constrained.automaton import DEAD, Automaton
from decodeloop.errors import UserError

Stack: TypeAlias = tuple[int, ...]  # states: where each open rule goes on, the innermost last
Stacks: TypeAlias = frozenset[Stack]  # all that the text so far may mean


class Rules(Protocol):
    """What `push_and_pop` asks of a machine; of each state, what is under its number."""

    @property
    def table(self) -> NDArray[np.int32]: ...
    @property
    def accepting(self) -> NDArray[np.bool_]: ...
    @property
    def calls(self) -> tuple[tuple[tuple[int, int], ...], ...]: ...


def push_and_pop(rules: Rules, stack: Stack, byte: int) -> Stacks:
    """Every stack that a stack can become by one more byte; none, if it can't be read.

    The state on top may read the byte; or it calls a rule, which must read it; or its own rule has
    ended, and then the state below goes on with it.
    """
    *below, state = stack
    found: set[Stack] = set()
    if rules.table[state, byte] != DEAD:
        found.add((*below, int(rules.table[state, byte])))
    for start, back in rules.calls[state]:  # push: the rule first, then on from `back`
        found |= push_and_pop(rules, (*below, back, start), byte)
    if below and rules.accepting[state]:  # pop
        found |= push_and_pop(rules, tuple(below), byte)
    return frozenset(found)


@dataclass(frozen=True, eq=False)
class Pushdown:
    """All rules in one table, their states numbered through.

    Attributes:
        table: where a state goes by a byte, (S, 256); `DEAD` where it can't.
        accepting: where its rule may end, (S,).
        calls: of each state, where the rules start that it may call, and where each comes back to.
        rule: which rule a state belongs to, (S,); 0 is the whole text's, which nobody calls.
        start: where a text starts.
    """

    table: NDArray[np.int32]
    accepting: NDArray[np.bool_]
    calls: tuple[tuple[tuple[int, int], ...], ...]
    rule: NDArray[np.int32]
    start: int = 0

    def step(self, stacks: Stacks, byte: int) -> Stacks:
        """All that one more byte can make of these stacks."""
        return frozenset().union(*(push_and_pop(self, stack, byte) for stack in stacks))

    def complete(self, stacks: Stacks) -> bool:
        """Whether a text may end here: on some stack every rule may."""
        return any(all(self.accepting[state] for state in stack) for stack in stacks)

    def returns(self, rule: int) -> list[int]:
        """Where a rule may come back to."""
        starts = set(np.flatnonzero(self.rule == rule)[:1].tolist())
        return sorted({back for calls in self.calls for start, back in calls if start in starts})


def pushdown_of(whole: Automaton, rules: Mapping[str, Automaton]) -> Pushdown:
    """One machine of an automaton for the whole text and those that it calls by name.

    Raises:
        UserError: a rule is not there, can never end, or calls itself before it reads anything.
    """
    automata = [whole, *rules.values()]
    firsts = np.cumsum([0, *(len(a.accepting) for a in automata)])
    starts = dict(zip(rules, firsts[1:].tolist(), strict=False))
    for name, automaton in rules.items():
        check_rule(name, automaton, rules)
    if not ends(whole, endable(rules)):
        raise UserError(
            "no text at all can be made: expected a pattern or schema that something matches; look "
            "for parts that exclude each other."
        )
    table = [
        np.where(a.table == DEAD, DEAD, a.table + first)
        for a, first in zip(automata, firsts, strict=False)
    ]
    return Pushdown(
        np.concatenate(table).astype(np.int32),
        np.concatenate([a.accepting for a in automata]),
        tuple(
            tuple((starts[name], back + int(first)) for name, back in calls)
            for a, first in zip(automata, firsts, strict=False)
            for calls in a.calls
        ),
        np.repeat(np.arange(len(automata), dtype=np.int32), np.diff(firsts)),
    )


def check_rule(name: str, automaton: Automaton, rules: Mapping[str, Automaton]) -> None:
    """Raise a `UserError` unless a rule reads something before it calls itself, and can end."""
    seen: set[str] = set()
    todo = [name]
    while todo:
        called = {rule for rule, _ in rules[todo.pop()].calls[0]}
        if name in called:
            raise UserError(
                f"{name} refers to itself before it asks for anything else: expected an object or "
                f"an array around the reference."
            )
        todo += called - seen
        seen |= called
    if name not in endable(rules):
        raise UserError(
            f"{name} can never end, since it must always hold another of itself: expected a part "
            f"that may be left out, such as a property that is not required."
        )


def endable(rules: Mapping[str, Automaton]) -> set[str]:
    """The rules that some finite text follows."""
    found: set[str] = set()
    while more := {name for name, a in rules.items() if name not in found and ends(a, found)}:
        found |= more
    return found


def ends(automaton: Automaton, endable: set[str]) -> bool:
    """Whether an end can be reached by bytes and by calls of these rules alone."""
    seen, todo = {0}, [0]
    while todo:
        state = todo.pop()
        backs = {back for rule, back in automaton.calls[state] if rule in endable}
        more = ({*np.unique(automaton.table[state]).tolist()} | backs) - {DEAD} - seen
        seen |= more
        todo += more
    return bool(automaton.accepting[list(seen)].any())
