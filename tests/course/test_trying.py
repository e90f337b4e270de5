"""A candidate under guard: whatever it does, `judge` comes back, and the next is judged aright."""

import gc
import os
import random
import sys
import time

import numpy as np
import pytest
import torch

from decodeloop.course import timelimit
from decodeloop.course.judge import judge
from decodeloop.exercises.exercise import Case, Exercise, call
from decodeloop.exercises.finding import find


def twice(x):
    return x * 2


def exercise(seconds=5.0, cases=None):
    """Asks for a function that doubles a tensor."""
    usual = (
        call("one row", torch.ones(3), oracle=twice),
        call("a table", torch.eye(2), oracle=twice),
    )
    return Exercise(
        name="twice",
        lesson="00",
        library=twice,
        cases=cases or usual,
        mistakes=(),
        hints=(),
        minutes=1,
        difficulty=1,
        seconds=seconds,
    )


class Own(BaseException):
    """An exception that no `except Exception` catches."""

    def __str__(self):
        raise ValueError


class Interrupts(KeyboardInterrupt):
    """Not the learner's own interruption."""


def raises(error):
    def answer(x):
        raise error

    return answer


def recursion(x):
    return recursion(x)


class Adds:
    def __add__(self, other):
        return self + other


def deep_recursion(x):
    sys.setrecursionlimit(10**9)
    return Adds() + 1


def many_characters(x):
    raise ValueError("y" * 10**7)


RAISED = {
    "an exception of one's own": (raises(Own()), "it raised Own: a message that can't be shown"),
    "a subclass of KeyboardInterrupt": (raises(Interrupts()), "it raised Interrupts: without"),
    "GeneratorExit": (raises(GeneratorExit()), "it raised GeneratorExit: without a message"),
    "SystemExit": (raises(SystemExit(3)), "it raised SystemExit: 3"),
    "StopIteration": (raises(StopIteration()), "it raised StopIteration: without a message"),
    "MemoryError": (lambda x: bytearray(2**62), "it raised MemoryError"),
    "a message of 10 MB": (many_characters, "it raised ValueError: yyy"),
    "endless recursion": (recursion, "it raised RecursionError: "),
    "endless recursion in C, without a limit": (deep_recursion, "it raised RecursionError: "),
}


@pytest.mark.parametrize(("answer", "text"), RAISED.values(), ids=RAISED)
def test_whatever_is_raised_is_told_in_a_few_words(answer, text):
    verdict = judge(answer, exercise())
    assert verdict.state == "wrong"
    assert verdict.what.startswith(text)
    assert len(verdict.what) < 1000
    assert judge(twice, exercise()).state == "right"


def test_what_is_printed_to_either_stream_is_cut(capsys):
    def prints(x):
        print("o" * 10**6)
        print("e" * 10**6, file=sys.stderr)
        return 2 * x

    assert judge(prints, exercise()).printed == "o" * 400
    out, err = capsys.readouterr()
    assert (out, err) == ("", "e" * 400)


def endless_repr(x):
    class Endless:
        def __repr__(self):
            while True:
                pass

    return Endless()


def test_a_representation_that_never_ends_is_interrupted(monkeypatch):
    monkeypatch.setattr(timelimit, "LONGEST", 100.0)  # it computes, however busy the machine
    verdict = judge(endless_repr, exercise(seconds=0.2))
    assert "it ran for 0.2 s without coming to an end" in verdict.what


def test_what_an_answer_leaves_is_put_back_between_the_cases_and_told_once():
    def leaves(x):
        assert torch.get_default_dtype() is torch.float32
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        os.chdir("/")
        return 2 * x

    here = os.getcwd()
    verdict = judge(leaves, exercise())
    assert verdict.state == "right"
    assert verdict.left == ("the default device", "the default type", "the working folder")
    assert (torch.get_default_dtype(), os.getcwd()) == (torch.float32, here)
    assert torch.ones(1).device.type == "cpu"
    assert judge(twice, exercise()).left == ()


def test_an_answer_that_replaces_what_outputs_are_compared_by_gains_nothing():
    def cheats(x):
        for home, name in ((torch, "allclose"), (torch, "isclose"), (torch.Tensor, "item")):
            setattr(home, name, lambda *_, **__: True)
        return 3 * x

    before = torch.isclose, torch.allclose, torch.Tensor.item
    verdict = judge(cheats, exercise())
    assert verdict.state == "wrong"
    assert set(verdict.left) == {"torch.allclose", "torch.isclose", "Tensor.item"}
    assert (torch.isclose, torch.allclose, torch.Tensor.item) == before


def test_what_was_replaced_before_the_check_fools_nobody_either(monkeypatch):
    for name in ("allclose", "isclose", "all", "equal"):
        monkeypatch.setattr(torch, name, lambda *_, **__: torch.tensor(True))
    assert judge(lambda x: 3 * x, exercise()).state == "wrong"


def test_draws_of_python_and_numpy_go_on_too():
    random.seed(3)
    np.random.seed(3)
    expected = random.random(), np.random.rand()
    random.seed(3)
    np.random.seed(3)
    judge(lambda x: x * random.random() * np.random.rand(), exercise())
    assert (random.random(), np.random.rand()) == expected


def test_one_thread_computes_and_there_are_as_many_as_before_afterwards():
    torch.set_num_threads(2)
    threads = []
    try:
        judge(lambda x: threads.append(torch.get_num_threads()), exercise())
        assert threads == [1, 1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_time_in_which_it_does_not_compute_counts_for_less():
    def waits(x):
        time.sleep(0.4)
        return 2 * x

    assert judge(waits, exercise(seconds=0.4)).state == "right"


def test_an_answer_that_only_waits_is_interrupted_and_told_so():
    verdict = judge(lambda x: time.sleep(60), exercise(seconds=0.2))
    assert verdict.what.startswith("it had not come to an end after 0.8 s, most of which it waited")


def test_a_call_that_does_not_listen_is_spoken_of(monkeypatch, capsys):
    monkeypatch.setattr(timelimit, "PATIENCE", 0.2)
    monkeypatch.setattr(timelimit, "LONGEST", 100.0)  # it computes, however busy the machine
    square = torch.ones(2500, 2500)

    def multiplies(x):
        out = torch.empty_like(square)
        began = time.monotonic()
        torch.linalg.multi_dot([square] * 16, out=out)  # one call
        return time.monotonic() - began

    while_inside = judge(multiplies, exercise(seconds=0.1, cases=exercise().cases[:1]))
    assert "it ran for 0.1 s without coming to an end" in while_inside.what
    out = capsys.readouterr().out
    assert out.count("multiplies is inside one call that Python can't interrupt") == 1
    assert "restart the kernel" in out


def test_a_bell_that_is_taken_away_is_replaced():
    signal = pytest.importorskip("signal")
    if not hasattr(signal, "setitimer"):
        pytest.skip("this system has no SIGALRM")

    def deaf(x):
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        while True:
            pass

    verdict = judge(deaf, exercise(seconds=0.2))
    assert "without coming to an end" in verdict.what
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert judge(twice, exercise()).state == "right"


def test_expected_is_computed_before_the_answer_can_change_anything():
    kept = [1.0, 2.0]

    def spoils(x):
        kept.clear()
        return 0.0

    case = Case("a list of the case's own", lambda answer: answer(kept), lambda: sum(kept))
    one = exercise(cases=(case,))
    verdict = judge(spoils, one)
    assert verdict.what == "expected 3, got 0"
    assert kept == [1.0, 2.0]
    assert judge(sum, one).state == "right"


def cpu_seconds(job):
    started = time.process_time()
    job()
    return time.process_time() - started


def test_a_check_is_hardly_slower_for_it():
    """It looks at less than the garbage collector does, which looks at everything."""
    greedy = find("greedy")
    judge(greedy.library, greedy)
    everything = cpu_seconds(gc.collect)
    gc.disable()  # or it would look at everything in the middle of a check
    try:
        checks = sorted(cpu_seconds(lambda: judge(greedy.library, greedy)) for _ in range(5))
    finally:
        gc.enable()
    assert checks[2] < everything
