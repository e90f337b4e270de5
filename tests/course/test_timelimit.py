import hashlib
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from decodeloop.course import timelimit
from decodeloop.course.timelimit import TimedOut, limited

AMPLE = 20  # seconds: nothing here takes one, but the machine may be busy

has_alarm = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="this system has no SIGALRM"
)

ENDLESS = {
    "a loop that passes": """
        while True:
            pass
        """,
    "a long sleep": """
        time.sleep(60)
        """,
    "an except Exception in the loop": """
        while True:
            try:
                sum(range(1000))
            except Exception:
                pass
        """,
    "a bare except in the loop": """
        while True:
            try:
                time.sleep(1)
            except:
                pass
        """,
    "a bare except around work": """
        while True:
            try:
                sum(range(1000))
            except:
                continue
        """,
    "a bare except in a bare except": """
        while True:
            try:
                try:
                    time.sleep(1)
                except:
                    time.sleep(1)
            except:
                pass
        """,
    "three bare excepts": """
        while True:
            try:
                try:
                    try:
                        sum(range(1000))
                    except:
                        pass
                except:
                    pass
            except:
                pass
        """,
    "a bare except in a function that is called": """
        def step():
            try:
                time.sleep(1)
            except:
                pass
        while True:
            step()
        """,
    "a finally that goes round again": """
        while True:
            try:
                time.sleep(1)
            finally:
                continue
        """,
}
BY_SIGNAL_ONLY = "a long sleep"  # a blocking C call delays an asynchronous exception

SCRIPT = """
import importlib.util, threading, time, warnings
warnings.simplefilter("ignore")
spec = importlib.util.spec_from_file_location("timelimit", {path!r})
timelimit = importlib.util.module_from_spec(spec)
spec.loader.exec_module(timelimit)
def endless():
{body}
def attempt():
    try:
        timelimit.limited(endless, 0.1)
    except timelimit.TimedOut:
        print("interrupted", flush=True)
{start}
"""
STARTS = {
    "the main thread": "attempt()",
    "another thread": "t = threading.Thread(target=attempt, daemon=True); t.start(); t.join()",
}


def interrupted(body, start):
    """Whether an endless function is ended; in a process of its own, in case it is not."""
    lines = [" " * 4 + line.removeprefix(" " * 8) for line in body.strip("\n").splitlines()]
    script = SCRIPT.format(path=timelimit.__file__, body="\n".join(lines), start=STARTS[start])
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=AMPLE
    )
    assert done.returncode == 0, done.stderr
    return done.stdout == "interrupted\n"


@has_alarm
@pytest.mark.parametrize("body", ENDLESS.values(), ids=ENDLESS)
def test_what_never_ends_is_interrupted(body):
    assert interrupted(body, "the main thread")


@pytest.mark.parametrize(
    "name", ["a loop that passes", "an except Exception in the loop", "a long loop of sleeps"]
)
def test_what_never_ends_is_interrupted_outside_the_main_thread(name):
    sleeps = "while True:\n            time.sleep(0.01)\n"
    assert interrupted(ENDLESS.get(name, sleeps), "another thread")


def test_where_there_is_no_alarm_an_asynchronous_exception_ends_it(monkeypatch):
    monkeypatch.delattr(signal, "setitimer", raising=False)
    until = time.monotonic() + AMPLE

    def loops():
        while time.monotonic() < until:
            pass

    with pytest.raises(TimedOut):
        limited(loops, 0.1)


@pytest.fixture(params=["by signal", "by thread"])
def way(request, monkeypatch):
    if request.param == "by thread":
        monkeypatch.delattr(signal, "setitimer", raising=False)
    elif not hasattr(signal, "setitimer"):
        pytest.skip("this system has no SIGALRM")
    return request.param


def test_the_result_is_returned(way):
    assert limited(lambda: {"a": 1}, 5.0) == {"a": 1}


def test_an_exception_of_the_function_goes_on(way):
    with pytest.raises(ZeroDivisionError):
        limited(lambda: 1 / 0, 5.0)


def test_nothing_is_raised_after_a_quick_function(way):
    for _ in range(3):
        assert limited(lambda: 1, 0.05) == 1
    until = time.monotonic() + 0.4  # long after the limit
    while time.monotonic() < until:
        pass


def test_nothing_is_raised_after_an_interruption(way):
    def loops():
        until = time.monotonic() + AMPLE
        while time.monotonic() < until:
            pass

    with pytest.raises(TimedOut):
        limited(loops, 0.05)
    until = time.monotonic() + 0.4
    while time.monotonic() < until:
        pass


def test_no_thread_keeps_waiting_after_a_quick_function(monkeypatch):
    monkeypatch.delattr(signal, "setitimer", raising=False)
    before = set(threading.enumerate())
    limited(lambda: 1, 60.0)
    for thread in set(threading.enumerate()) - before:
        thread.join(AMPLE)
        assert not thread.is_alive()


def rings_twice():
    """What needs the second ring, which traces."""
    first = True
    until = time.monotonic() + AMPLE
    while time.monotonic() < until:
        try:
            time.sleep(1)
        except TimedOut:
            if not first:
                raise
            first = False


@has_alarm
@pytest.mark.parametrize("function", [lambda: None, rings_twice, lambda: 1 / 0])
def test_alarm_and_trace_function_are_as_they_were(function):
    def mine(signum, frame): ...

    def tracer(frame, event, argument): ...

    handler, tracing = signal.signal(signal.SIGALRM, mine), sys.gettrace()
    sys.settrace(tracer)
    try:
        with suppress(TimedOut, ZeroDivisionError):
            limited(function, 0.1)
        found = signal.getsignal(signal.SIGALRM), sys.gettrace(), signal.getitimer(0)
    finally:
        sys.settrace(tracing)
        signal.signal(signal.SIGALRM, handler)
    assert found == (mine, tracer, (0.0, 0.0))


def test_an_interruption_is_not_an_exception_that_a_loop_would_catch():
    assert not issubclass(TimedOut, Exception)


def test_on_a_busy_machine_the_time_counts_that_it_computes():
    """As long by the clock as if three others had the processor."""
    began = time.monotonic()

    def waits_and_computes():
        while time.monotonic() - began < 0.6:
            time.sleep(0.01)
        return "done"

    assert limited(waits_and_computes, 0.2) == "done"


def test_a_limit_by_the_clock_holds_all_the_same(way):
    began = time.monotonic()

    def waits():
        while True:
            time.sleep(0.01)

    with pytest.raises(TimedOut):
        limited(waits, 0.1)
    assert 0.35 < time.monotonic() - began < AMPLE


def test_a_call_that_does_not_listen_is_spoken_of_once(way, monkeypatch):
    monkeypatch.setattr(timelimit, "PATIENCE", 0.2)
    spoken = []

    def inside_one_call():
        while not spoken:  # a second or so, of which Python sees nothing
            hashlib.pbkdf2_hmac("sha256", b"", b"", 4_000_000)
        while True:
            pass

    with pytest.raises(TimedOut):
        limited(inside_one_call, 0.1, lambda: spoken.append(threading.current_thread()))
    assert len(spoken) == 1
    assert spoken[0] is not threading.current_thread()
