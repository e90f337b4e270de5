"""What an answer leaves in the process is put back, and named."""

import builtins
import gc
import locale
import logging
import math
import os
import random
import signal
import statistics
import sys
import time
import warnings

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from decodeloop.course.surroundings import DEEPEST, SETTINGS, Surroundings, shallow, undisturbed
from decodeloop.exercises.finding import find

LEFT = {
    "the default device": lambda: torch.set_default_device("meta"),
    "a mode of PyTorch": lambda: torch.device("meta").__enter__(),
    "the default type": lambda: torch.set_default_dtype(torch.float64),
    "whether gradients are kept": lambda: torch.set_grad_enabled(False),
    "the number of threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "the deterministic algorithms": lambda: torch.use_deterministic_algorithms(True),
    "the precision of products": lambda: torch.set_float32_matmul_precision("medium"),
    "autocast": lambda: torch.set_autocast_enabled("cpu", True),
    "the detection of anomalies": lambda: torch.autograd.set_detect_anomaly(True),
    "how tensors are printed": lambda: torch.set_printoptions(precision=1),
    "how arrays are printed": lambda: np.set_printoptions(precision=1),
    "NumPy's warnings": lambda: np.seterr(all="raise"),
    "the working folder": lambda: os.chdir("/"),
    "the environment": lambda: os.environ.update(OMP_NUM_THREADS="7", NEW="1"),
    "the signal handlers": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "the recursion limit": lambda: sys.setrecursionlimit(4000),
    "the switch interval": lambda: sys.setswitchinterval(0.5),
    "the longest whole number": lambda: sys.set_int_max_str_digits(10_000),
    "the trace function": lambda: sys.settrace(lambda *_: None),
    "the profile function": lambda: sys.setprofile(lambda *_: None),
    "sys.path": lambda: sys.path.clear(),
    "the filters of warnings": lambda: warnings.simplefilter("error"),
    "sys.stdout": lambda: setattr(sys, "stdout", None),
    "sys.stderr": lambda: setattr(sys, "stderr", None),
    "sys.stdin": lambda: setattr(sys, "stdin", None),
    "the garbage collection": lambda: gc.disable(),
    "logging": lambda: logging.disable(logging.CRITICAL),
    "the decimal precision": lambda: setattr(__import__("decimal").getcontext(), "prec", 3),
    "the locale": lambda: locale.setlocale(locale.LC_ALL, other_locale()),
    "torch.allclose": lambda: setattr(torch, "allclose", lambda *_, **__: True),
    "torch.nn.functional.softmax": lambda: setattr(torch.nn.functional, "softmax", None),
    "Tensor.__eq__": lambda: setattr(torch.Tensor, "__eq__", lambda *_: True),
    "Tensor.sum": lambda: setattr(torch.Tensor, "sum", lambda *_: 0),
    "Module.__call__": lambda: setattr(torch.nn.Module, "__call__", lambda *_: 0),
    "math.pi": lambda: setattr(math, "pi", 3.0),
    "math.sqrt": lambda: delattr(math, "sqrt"),
    "sum": lambda: setattr(builtins, "sum", lambda *_: 0),
    "isinstance": lambda: setattr(builtins, "isinstance", lambda *_: True),
    "__import__": lambda: setattr(builtins, "__import__", None),
    "time.sleep": lambda: setattr(time, "sleep", lambda *_: None),
    "numpy.mean": lambda: setattr(np, "mean", lambda *_: 0),
    "decodeloop.model.softmax": lambda: setattr(sys.modules["decodeloop.model"], "softmax", None),
    "Decoder.head": lambda: setattr(sys.modules["decodeloop.model"].Decoder, "head", None),
    "the module torch": lambda: sys.modules.update(torch=None),
}


def other_locale():
    return "C" if locale.setlocale(locale.LC_ALL) != "C" else "C.UTF-8"


@pytest.mark.parametrize("name", LEFT)
def test_what_is_left_is_put_back_and_named(name):
    find("softmax")
    before = Surroundings()
    expected = [setting.get() for setting in SETTINGS]
    LEFT[name]()
    names = before.put_back()
    assert name in names
    assert set(names) <= {name, "the default device"}  # which is such a mode
    assert [setting.get() for setting in SETTINGS] == expected
    assert before.put_back() == []


def test_a_mode_of_pytorchs_own_is_left_too():
    FakeTensorMode().__enter__()
    torch._C._pop_torch_dispatch_stack(torch._C._TorchDispatchModeKey.FAKE)  # it has imported much
    before = Surroundings()
    FakeTensorMode().__enter__()
    assert before.put_back() == ["a mode of PyTorch"]
    assert type(torch.ones(1)) is torch.Tensor


def test_every_setting_is_tried():
    assert {setting.name for setting in SETTINGS} <= set(LEFT)


def test_nothing_is_said_where_nothing_was_changed():
    before = Surroundings()
    import colorsys  # noqa: F401  (a module that nobody has imported is no mess)

    random.random()
    np.random.rand()
    assert before.put_back() == []


def test_draws_go_on_as_if_there_had_been_none():
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.rand()
    random.seed(1)
    np.random.seed(1)
    with undisturbed():
        random.random()
        np.random.rand()
        random.seed(5)
    assert (random.random(), np.random.rand()) == expected


def test_a_folder_that_is_gone_is_left_for_the_one_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gone = tmp_path / "gone"
    gone.mkdir()
    before = Surroundings()
    os.chdir(gone)
    gone.rmdir()
    assert before.put_back() == ["the working folder"]
    assert os.getcwd() == str(tmp_path)


def test_who_has_no_folder_may_have_one_and_then_none_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    before = Surroundings()
    assert before.put_back() == []
    os.chdir("/")
    assert before.put_back() == ["the working folder"]


def test_calls_inside_calls_end_before_the_stack_does():
    limit = sys.getrecursionlimit()
    with shallow():
        sys.setrecursionlimit(10**6)
        assert sys.getrecursionlimit() == DEEPEST
        sys.setrecursionlimit(2000)
        assert sys.getrecursionlimit() == 2000
    assert sys.getrecursionlimit() == limit
    sys.setrecursionlimit(limit)


def test_it_costs_a_few_times_the_reading_of_what_it_notes():
    noted = Surroundings()
    homes = [home for home, *_ in noted.homes + noted.ours]

    def note():
        Surroundings().put_back()

    def read():
        return dict(sys.modules), [dict(vars(home)) for home in homes]

    seconds = {note: [], read: []}
    for _ in range(25):
        for call, taken in seconds.items():
            started = time.process_time()
            call()
            taken.append(time.process_time() - started)
    assert statistics.median(seconds[note]) < 25 * statistics.median(seconds[read])
