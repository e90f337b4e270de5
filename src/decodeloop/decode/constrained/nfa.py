"""A tree as a machine that may be in several states at once (Thompson, 1968).

Built in lesson 25.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from decodeloop.decode.constrained.characters import utf8_spans
from decodeloop.decode.constrained.syntax import Both, Call, Chars, Either, Node, Repeat, Then
from decodeloop.errors import UserError

if TYPE_CHECKING:
    from decodeloop.decode.constrained.automaton import Automaton

MOST_STATES = 200_000


class Intersect(Protocol):
    """What makes an automaton of two trees: of what is a text of both."""

    def __call__(self, one: Node, other: Node, /) -> Automaton: ...


class Nfa:
    """States with edges for ranges of bytes, for calls of a rule, and for nothing at all."""

    def __init__(self, intersect: Intersect) -> None:
        self.free: list[list[int]] = []  # of each state: where it may go without reading
        self.edges: list[list[tuple[int, int, int]]] = []  # first byte, last byte, where to
        self.calls: list[list[tuple[str, int]]] = []  # a rule, and where to behind its text
        self._intersect = intersect

    def state(self) -> int:
        if len(self.free) >= MOST_STATES:
            raise UserError(
                f"the pattern or schema needs more than {MOST_STATES:,} states: expected smaller "
                f"counts and lengths; shorten them, or leave a length open."
            )
        self.free.append([])
        self.edges.append([])
        self.calls.append([])
        return len(self.free) - 1

    def add(self, node: Node, start: int) -> int:
        """Read a node's texts from a state on; the state that is reached behind them.

        What is added leads out of `start`, never back into it.
        """
        match node:
            case Chars(ranges):
                return self._characters(ranges, start)
            case Then(parts):
                for part in parts:
                    start = self.add(part, start)
                return start
            case Either(options):
                end = self.state()
                for option in options:
                    self.free[self.add(option, start)].append(end)
                return end
            case Repeat(part, least, most):
                return self._repeat(part, least, most, start)
            case Both(one, other):
                return self._automaton(self._intersect(one, other), start)
            case Call(rule):
                end = self.state()
                self.calls[start].append((rule, end))
                return end

    def _characters(self, ranges: tuple[tuple[int, int], ...], start: int) -> int:
        end = self.state()
        before: dict[tuple[tuple[int, int], ...], int] = {(): end}  # where so many bytes are left
        for first, last in ranges:
            for spans in utf8_spans(first, last):
                for left in (spans[n:] for n in reversed(range(1, len(spans)))):
                    if left not in before:
                        before[left] = self.state()
                        self.edges[before[left]].append((*left[0], before[left[1:]]))
                self.edges[start].append((*spans[0], before[spans[1:]]))
        return end

    def _repeat(self, part: Node, least: int, most: int | None, start: int) -> int:
        for _ in range(least):
            start = self.add(part, start)
        if most is None:
            loop = self.state()
            self.free[start].append(loop)
            self.free[self.add(part, loop)].append(loop)
            end = self.state()  # what follows must not lead out of the loop's own state
            self.free[loop].append(end)
            return end
        end = self.state()
        for _ in range(most - least):
            self.free[start].append(end)
            start = self.add(part, start)
        self.free[start].append(end)
        return end

    def _automaton(self, automaton: Automaton, start: int) -> int:
        """A machine that is there already, its states copied."""
        places = [self.state() for _ in automaton.accepting]
        end = self.state()
        self.free[start].append(places[0])
        for state, place in enumerate(places):
            self.edges[place] += [(a, b, places[to]) for a, b, to in automaton.runs(state)]
            if automaton.accepting[state]:
                self.free[place].append(end)
        return end
