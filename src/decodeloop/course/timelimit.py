"""Interrupt a function that never ends, in a way that it can't swallow by accident."""

from __future__ import annotations

import ctypes
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

Result = TypeVar("Result")

LONGEST = 4.0  # times the limit, by the clock on the wall
PATIENCE = 3.0  # seconds until a call that does not listen is spoken of


class TimedOut(BaseException):
    """Not an `Exception`, so that an ``except Exception`` in a loop does not catch it."""


def limited(
    function: Callable[[], Result],
    seconds: float,
    deaf: Callable[[], None] = lambda: None,
) -> Result:
    """Call `function`; if it computes longer than `seconds`, raise `TimedOut` inside it.

    Counted is the time that its thread computes, so that a busy machine makes nothing late; but
    after `LONGEST` times as long by the clock it is interrupted even where it only waits.

    In the main thread of a system with ``SIGALRM`` the signal interrupts everything, ``sleep``
    included, and rings again where a bare ``except`` swallowed the first. Elsewhere an asynchronous
    exception does, which a blocking C call delays and a bare ``except`` around one defeats.

    One call of a library that computes on and on is interrupted by neither: Python listens only
    between two steps of its own. `deaf` is called, once and from another thread, when that is so.
    It can't be where the call keeps Python's lock for itself, as ``sum(range(10**12))`` does.
    """
    limit = Limit(seconds)
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        return _by_signal(function, limit, deaf)
    return _by_thread(function, limit)


class Limit:
    """How long one thread, the one that makes this, may go on."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.longest = seconds, LONGEST * seconds
        self.thread = threading.get_ident()
        if hasattr(time, "pthread_getcpuclockid"):
            clock = time.pthread_getcpuclockid(self.thread)
            self.computed: Callable[[], float] = lambda: time.clock_gettime(clock)
        else:
            self.computed = time.process_time  # that of all threads: the others wait, mostly
        self.began, self.began_computing = time.monotonic(), self.computed()
        self.due = self.began + seconds  # when it is to be looked at again

    def left(self) -> float:
        """Seconds until it can be over at the earliest; none if it is."""
        now = time.monotonic()
        computing = self.seconds - (self.computed() - self.began_computing)
        waiting = self.longest - (now - self.began)
        left = min(computing, waiting)
        self.due = now + max(left, 0.0)
        return left


def _by_signal(function: Callable[[], Result], limit: Limit, deaf: Callable[[], None]) -> Result:
    rings = 0

    def at_next_line(frame: FrameType, event: str, argument: object) -> Callable:
        if event == "line":
            # A raising tracer is switched off. Where a second `except` lies around the first, the
            # next ring must come at once, and at random, until it meets that one's clause.
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 1e-4), 0.1)
            raise TimedOut
        return at_next_line

    def ring(signum: int, frame: FrameType | None) -> None:
        nonlocal rings
        if frame is None or frame.f_code.co_filename == __file__:
            return  # the function has just ended: nothing may be raised into the clearing up
        if (left := limit.left()) > 0:
            signal.setitimer(signal.ITIMER_REAL, max(left, 0.01), 0.1)
            return
        rings += 1
        if rings > 1:
            # `while True: try: sleep(1) except: pass` swallows every exception that arrives inside
            # the try. So another is raised at the next line, which is in the except clause.
            sys.settrace(at_next_line)
            while frame is not None and frame.f_code.co_filename != __file__:
                frame.f_trace = at_next_line
                frame = frame.f_back
        raise TimedOut

    tracing = sys.gettrace()  # a debugger's, or a coverage tool's
    previous = signal.signal(signal.SIGALRM, ring)
    setitimer, over = signal.setitimer, Over()
    setitimer(signal.ITIMER_REAL, limit.seconds, 0.1)

    def look_after() -> None:
        """Speak of a call that does not listen; take the place of a bell that was taken away."""
        while not over.after(0.5):
            if time.monotonic() < limit.due + PATIENCE:
                continue
            if signal.getsignal(signal.SIGALRM) is ring and signal.getitimer(signal.ITIMER_REAL)[1]:
                deaf()
                return
            if limit.left() <= 0:
                over.unless(lambda: raise_in(limit.thread))

    threading.Thread(target=look_after, daemon=True).start()
    try:
        return function()
    finally:
        setitimer(signal.ITIMER_REAL, 0)  # first: what rings in a frame of another file raises
        if rings:
            sys.settrace(tracing)
        signal.signal(signal.SIGALRM, previous)
        over.come()


def _by_thread(function: Callable[[], Result], limit: Limit) -> Result:
    over = Over()

    def watch() -> None:
        wait = limit.seconds
        while not over.after(wait):
            left = limit.left()
            wait = max(left, 0.1)
            if left <= 0:
                over.unless(lambda: raise_in(limit.thread))

    threading.Thread(target=watch, daemon=True).start()
    try:
        return function()
    finally:
        over.come()


class Over:
    """That a function has ended, told to a thread that would interrupt it."""

    def __init__(self) -> None:
        self._come, self._event = False, threading.Event()
        self._lock = threading.Lock()  # held while raising, so that none arrives after the end

    def come(self) -> None:
        """It has ended: what was raised on the last stretch goes no further than here."""
        self._come = True
        for _ in range(2):
            try:
                self._event.set()
                with self._lock:
                    return
            except TimedOut:
                continue

    def after(self, seconds: float) -> bool:
        """Wait so long, or until it has ended, and say whether it has."""
        return self._event.wait(seconds)

    def unless(self, interrupt: Callable[[], None]) -> None:
        with self._lock:
            if not self._come:
                interrupt()


def raise_in(thread: int) -> None:
    """Raise `TimedOut` in another thread, when it comes to its next step."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(TimedOut))
