"""How many threads to take, by what pieces of work took: on a busy machine fewer are faster.

Threads that share a piece wait for the last of them. If another program holds a core, the last one
may come a whole time slice of the operating system late, and a step has a region to wait in for
every ten thousandth of a second that it takes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable

PATIENCE = 0.01  # seconds that may be lost before a number of threads is given up, or one piece's
REFERENCE_AGE = 0.25  # seconds, after which it is measured again what fewer threads take
FIRST_WAIT, LONGEST_WAIT = 0.02, 0.8  # seconds until more threads are tried again
SPARING_WAIT = 5.0  # the same, for pieces that are few and long
USUAL = 1.25  # times the quickest piece is what pieces usually take
LONG_SPELL = 0.1  # seconds; who has held out so long was given up for something short


def ladder(most: int) -> list[int]:
    """The numbers of threads that are tried: all, all but one, and from there two a doubling.

    >>> ladder(2), ladder(8), ladder(24)
    ([1, 2], [1, 2, 3, 4, 6, 7, 8], [1, 2, 3, 4, 6, 8, 12, 16, 23, 24])
    """
    doubling = {n for k in range(most.bit_length()) for n in (2**k, 3 * 2**k)}
    return sorted({n for n in doubling if n < most} | {max(1, most - 1), most})


class Pace:
    """Chooses the number of threads for each piece of work from how long pieces took.

    It takes as many as it may. From time to time one piece gets the next smaller number, as a
    reference; when the time lost against it exceeds `PATIENCE`, the smaller number stays. More are
    tried again soon, then after longer and longer waits, `LONGEST_WAIT` at most.

    Pieces are compared with those of the same kind alone, which should take equally long, such as
    the layers of one decoder with as many tokens.

    >>> pace = Pace()
    >>> for _ in range(99):
    ...     threads = pace.threads("layer", most=2)
    ...     pace.tell("layer", threads, seconds={1: 0.001, 2: 0.009}[threads])
    >>> pace.best(most=2)
    1
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.take(1)

    def take(self, most: int) -> None:
        """Begin anew, with at most so many threads."""
        self.rungs, self.wait = ladder(most), FIRST_WAIT
        self.rung, self.lost = len(self.rungs) - 1, 0.0
        self.since = self.clock()  # when this rung was taken
        self.forget_pieces()

    def forget_pieces(self) -> None:
        # of each kind: what the last pieces took a rung below, and when that was looked at; of
        # kinds that are compared sparingly, the quickest piece, and whether others took longer
        self.references: dict[Hashable, deque[float]] = {}
        self.looked: dict[Hashable, float] = {}
        self.quickest: dict[Hashable, float] = {}
        self.late: set[Hashable] = set()

    def best(self, most: int) -> int:
        """The number of threads that seems best: at least 1, and at most `most`."""
        if most != self.rungs[-1]:
            self.take(most)
        return self.rungs[self.rung]

    def threads(self, kind: Hashable, most: int, sparing: bool = False) -> int:
        """How many threads the next piece of this kind should take: the best number, one that may
        be better, or one that is looked at for comparison.

        Where that would cost much, because pieces are few and long, be `sparing`: comparisons wait
        until pieces take longer than the quickest of them, and more threads are tried seldom.
        """
        best, now = self.best(most), self.clock()
        if best < most and now - self.since >= (SPARING_WAIT if sparing else self.wait):
            self.go_to(self.rung + 1)
        known = self.references.get(kind, ())
        old = len(known) < 2 or now - self.looked[kind] >= REFERENCE_AGE
        look = old and self.rung > 0 and (not sparing or kind in self.late)
        return self.rungs[self.rung - look]

    def tell(self, kind: Hashable, threads: int, seconds: float) -> None:
        """A piece of this kind took so many seconds with so many threads."""
        if self.rung and threads == self.rungs[self.rung - 1]:
            self.references.setdefault(kind, deque(maxlen=3)).append(seconds)
            self.looked[kind] = self.clock()
        elif self.rung and threads == self.rungs[self.rung]:
            if kind in self.references:  # the least of them: one alone may have met something else
                reference = min(self.references[kind])
            else:
                self.quickest[kind] = min(seconds, self.quickest.get(kind, seconds))
                reference = USUAL * self.quickest[kind]
            self.lost = max(0.0, self.lost + seconds - reference)
            if self.lost > max(PATIENCE, reference):
                self.give_up(kind)

    def give_up(self, kind: Hashable) -> None:
        """Take fewer threads; or compare first, if that was not done."""
        if kind not in self.references:
            self.late.add(kind)
            self.lost = 0.0
            return
        long = self.clock() - self.since > LONG_SPELL
        self.wait = FIRST_WAIT if long else min(2 * self.wait, LONGEST_WAIT)
        self.go_to(self.rung - 1)

    def forget(self, kind: Hashable) -> None:
        """Pieces of this kind will take another time from now on."""
        for known in (self.references, self.looked, self.quickest):
            known.pop(kind, None)
        self.late.discard(kind)

    def go_to(self, rung: int) -> None:
        self.rung, self.lost, self.since = rung, 0.0, self.clock()
        self.forget_pieces()
