"""Submissions that want to harm the grader, or to be called right."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
import time
from pathlib import Path

import hostile_submissions
import pytest

from decodeloop.bar import silent
from decodeloop.course.grade.sandbox import FIRST_UID, MANY_UIDS, Limits, probe
from decodeloop.course.grade.session import Asked, session

pytestmark = pytest.mark.skipif(bool(probe()), reason=f"nothing can be contained here: {probe()}")
SHORT = Limits(memory=1 << 30, times=0.3)  # 3 s for an exercise


@pytest.fixture(scope="module")
def after(tmp_path_factory):
    """What was graded, and what was left behind."""
    folder, victim = tmp_path_factory.mktemp("handed in"), tmp_path_factory.mktemp("victim")
    (victim / "precious").write_text("as it was")
    victim.chmod(0o777)
    verdicts = hostile_submissions.write(folder, victim)
    calls = list[bytes]()
    with socket.create_server(("127.0.0.1", hostile_submissions.PORT)) as listening:
        threading.Thread(target=listen, args=(listening, calls), daemon=True).start()
        with pytest.MonkeyPatch.context() as patch:
            # of its own: others grade on this machine, and who is killed leaves something behind
            patch.setattr(tempfile, "tempdir", tempfile.mkdtemp(prefix="hostile-"))
            Path(tempfile.tempdir).chmod(0o755)
            asked = Asked([folder], lesson="11", jobs=2, limits=SHORT, seed=271_828_182)
            rows = session(asked, silent)
            made = os.listdir(tempfile.tempdir)
            shutil.rmtree(tempfile.tempdir)
    found = {r.student: r.grade for r in rows if r.grade.exercise == "percentile"}
    return {
        "verdicts": verdicts,
        "found": found,
        "victim": {p.name: p.read_text() for p in victim.iterdir()},
        "made": [*made, *Path(tempfile.gettempdir()).glob("big")],
        "calls": calls,
    }


def listen(listening, calls):
    try:
        while True:
            connection, _ = listening.accept()
            calls.append(connection.recv(100))
    except OSError:
        return  # it was closed


NAMES = [*hostile_submissions.ANSWERS]


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_answer_gets_its_verdict(after, name):
    wanted = after["verdicts"][name]
    got = after["found"][name]
    assert got.verdict in ((wanted,) if isinstance(wanted, str) else wanted), got.what
    assert (got.points > 0) == (got.verdict == "right")


def test_a_hostile_file_gets_its_verdict(after):
    others = {n: v for n, v in after["verdicts"].items() if n not in NAMES}
    assert len(others) > 10
    assert {n: after["found"][n].verdict for n in others} == others


def test_every_submission_is_in_the_table_once(after):
    assert sorted(after["found"]) == sorted(after["verdicts"])


def test_nothing_was_written_deleted_or_sent(after):
    assert after["victim"] == {"precious": "as it was"}
    assert after["made"] == []
    assert after["calls"] == []


def test_no_process_is_left(after):
    """Whoever else grades on this machine has come to an end after a while."""
    left, until = sandboxed(), time.monotonic() + 60
    while left and time.monotonic() < until:
        time.sleep(0.2)
        left = {process: command for process, command in sandboxed().items() if process in left}
    assert left == {}


def sandboxed():
    """The processes of sandboxes, by number: what they run."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command, uid = (path / "cmdline").read_bytes(), path.stat().st_uid
        except OSError:
            continue
        if FIRST_UID <= uid < FIRST_UID + MANY_UIDS or b"inside/child.py" in command:
            found[path.name] = command
    return found
