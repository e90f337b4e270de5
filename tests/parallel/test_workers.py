"""Real processes: they add up, a dead one is named, and none is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from rank_programs import adding, misbehaving

from decodeloop.errors import UserError
from decodeloop.parallel import LostPeer, WorkerError, Workers
from decodeloop.parallel.worker import told
from decodeloop.parallel.workers import cause, last_words

SOON_S = 5.0


def alive(pid):
    """Whether a process runs; one that is dead and not yet fetched by its parent does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except OSError:  # no such file: another system
        return True
    return state != "Z"


def gone(pids, within=SOON_S):
    deadline = time.monotonic() + within
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(alive, pids))


@pytest.fixture
def two(monkeypatch):
    """Two ranks, on a machine where the usual port is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        monkeypatch.setenv("MASTER_PORT", str(taken.getsockname()[1]))
        with Workers(adding, 2, threads=1) as workers:
            assert len(workers.processes) == 2
            yield workers
        assert gone(workers.processes)


def test_they_answer_as_often_as_asked_and_a_killed_one_is_named_within_seconds(two):
    assert two.ask("add", None, 1) == [(0, 3.0), (1, 3.0)]
    assert two.ask("add", None, 10) == [(0, 30.0), (1, 30.0)]
    threading.Timer(0.2, os.kill, (two.processes[1], signal.SIGKILL)).start()
    clock = time.monotonic()
    with pytest.raises(WorkerError, match=r"rank 1 of 2 died \(by SIGKILL\)"):
        two.ask("sleep", 1, 1)  # the other waits for it
    assert time.monotonic() - clock < SOON_S
    assert gone(two.processes)
    with pytest.raises(WorkerError, match=r"rank 1 of 2 died.*start them again"):
        two.ask("add", None, 1)


@pytest.fixture
def heard():
    """An interrupt is heard, also where the shell has told its background jobs to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_an_interrupt_in_the_middle_of_a_request_ends_them_all(two):
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    clock = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        two.ask("sleep", 0, 1)
    assert time.monotonic() - clock < SOON_S
    assert gone(two.processes)
    with pytest.raises(WorkerError, match="a request was interrupted; start them again"):
        two.ask("add", None, 1)


def test_what_one_raises_is_told_and_not_what_the_others_make_of_it(two):
    with pytest.raises(WorkerError, match=r"rank 0 of 2 failed \(ArithmeticError: no sum today"):
        two.ask("raise", 0, 1)


def test_one_that_does_not_answer_is_not_waited_for_longer_than_asked():
    with (
        Workers(adding, 1, threads=1, misbehave=misbehaving) as one,  # imported by name, too
        pytest.raises(WorkerError, match="rank 0 of 1 has not answered within 1 s"),
    ):
        one.ask("sleep", 0, 1, seconds=1)


def test_the_cause_is_told_and_not_what_follows_from_it():
    lost, failed, died = (0, "lost", "no peer"), (2, "failed", "a sum"), (1, "died", None)
    assert cause([lost, failed, died]) == died
    assert cause([lost, failed]) == failed
    assert cause([(1, "lost", ""), lost, (2, "answer", 5)]) == lost


def test_how_a_process_ended_and_what_it_printed_last(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"first\nso long \xff\n\n")
    assert last_words(-9, log) == "by SIGKILL; it said: so long \ufffd"
    log.write_text("")
    assert last_words(7, log) == "with status 7"
    assert last_words(-1000, log) == "with status -1000"


def test_what_a_worker_tells_of_an_error():
    assert told(UserError("take another")) == ("refused", "take another")
    assert told(LostPeer("gone")) == ("lost", "gone")
    with pytest.raises(ZeroDivisionError) as error:
        1 / 0
    kind, text = told(error.value)
    assert kind == "failed"
    assert text.startswith("ZeroDivisionError: division by zero (test_workers.py, line ")


def test_none_outlives_a_parent_that_is_killed(tmp_path):
    program = textwrap.dedent(
        """
        from rank_programs import adding
        from decodeloop.parallel import Workers
        workers = Workers(adding, 1, threads=1)
        print(*workers.processes, flush=True)
        workers.ask("sleep", 0, 1)
        """
    )
    tests = str(Path(__file__).parents[1])
    paths = os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": paths, "TMPDIR": str(tmp_path)},
        text=True,
    )
    assert parent.stdout
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert len(pids) == 1
    assert gone(pids)


def test_a_function_of_a_cell_is_refused_before_anything_is_started():
    def local(group):
        return lambda: None

    for function in (local, lambda group: local):
        with pytest.raises(UserError, match=r"can't import .* write it into a \.py file"):
            Workers(function, 2)


@pytest.mark.parametrize("ranks", [0, -1, 1.5])
def test_a_senseless_number_of_ranks_is_refused(ranks):
    with pytest.raises(UserError, match="ranks"):
        Workers(adding, ranks)
