"""Interrupt a function that never ends, in a way that it can't swallow by accident."""

from __future__ import annotations

import ctypes
import random
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

Result = TypeVar("Result")


class TimedOut(BaseException):
    """Not an `Exception`, so that an ``except Exception`` in a loop does not catch it."""


def limited(function: Callable[[], Result], seconds: float) -> Result:
    """Call `function`; if it runs longer than `seconds`, raise `TimedOut` inside it.

    In the main thread of a system with ``SIGALRM`` the signal interrupts everything, ``sleep``
    included, and rings again where a bare ``except`` swallowed the first. Elsewhere an asynchronous
    exception does, which a blocking C call delays and a bare ``except`` around one defeats.
    """
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        return _by_signal(function, seconds)
    return _by_thread(function, seconds)


def _by_signal(function: Callable[[], Result], seconds: float) -> Result:
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
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)
    try:
        return function()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if rings:
            sys.settrace(tracing)
        signal.signal(signal.SIGALRM, previous)


def _by_thread(function: Callable[[], Result], seconds: float) -> Result:
    target, over = threading.get_ident(), threading.Event()
    lock = threading.Lock()  # held while raising, so that none arrives after the end

    def watch() -> None:
        wait = seconds
        while not over.wait(wait):
            wait = 0.1
            with lock:
                if not over.is_set():
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(target), ctypes.py_object(TimedOut)
                    )

    threading.Thread(target=watch, daemon=True).start()
    try:
        return function()
    finally:
        with lock:
            over.set()
