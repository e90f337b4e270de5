"""Many submissions: what was graded is kept, whatever happens to the grader."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hostile_submissions import RIGHT, notebook

from decodeloop.bar import silent
from decodeloop.course.grade import expected
from decodeloop.course.grade import session as sessions
from decodeloop.course.grade.grading import Grade
from decodeloop.course.grade.running import Record
from decodeloop.course.grade.sandbox import CAN_GRADE, CANT_GRADE, probe
from decodeloop.course.grade.session import Asked, session
from decodeloop.course.grade.submissions import Submission
from decodeloop.errors import UserError

pytestmark = pytest.mark.skipif(not CAN_GRADE, reason=CANT_GRADE)
TRUST = bool(probe())
WRONG = RIGHT.replace("rank - 1", "rank - 2")


@pytest.fixture
def handed_in(tmp_path):
    folder = tmp_path / "handed in, Übung"
    folder.mkdir()
    for name, source in {"ann": RIGHT, "bob": WRONG, "cem": RIGHT, "dan": "x = 1"}.items():
        (folder / f"{name}.ipynb").write_text(notebook(source), "utf-8")
    return folder


def grades(folder, **options):
    rows = session(Asked([folder], jobs=2, trust=TRUST, **options), silent)
    return {r.student: r.grade.verdict for r in rows if r.grade.exercise == "percentile"}


WANTED = {"ann": "right", "bob": "wrong", "cem": "right", "dan": "not attempted"}


def test_what_was_graded_is_not_graded_again(handed_in, monkeypatch):
    assert grades(handed_in) == WANTED
    record = handed_in.with_name("handed in, Übung.grades.jsonl")
    before = record.read_text("utf-8")
    assert len(before.splitlines()) == 4
    asked = list[str]()

    def noted(todo, *arguments):
        asked.extend(one.student for one in todo)
        return iter(())

    with monkeypatch.context() as patch:
        patch.setattr(sessions, "graded", noted)
        assert grades(handed_in) == WANTED
        assert (asked, record.read_text("utf-8")) == ([], before)
        (handed_in / "bob.ipynb").write_text(notebook(RIGHT + "\n"), "utf-8")
        grades(handed_in)
        assert asked == ["bob"]
    assert grades(handed_in) == WANTED | {"bob": "right"}


def test_another_seed_is_another_grading(handed_in):
    grades(handed_in)
    assert grades(handed_in, seed=5) == WANTED
    record = handed_in.with_name("handed in, Übung.grades.jsonl")
    assert len({json.loads(x)["way"] for x in record.read_text("utf-8").splitlines()}) == 2


def test_a_record_that_somebody_else_has_made_is_not_believed(handed_in, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(expected, "own_key", lambda: b"what is known to students")
        grades(handed_in)
    record = handed_in.with_name("handed in, Übung.grades.jsonl")
    record.write_text(record.read_text("utf-8").replace('"wrong"', '"right"'), "utf-8")
    assert grades(handed_in) == WANTED


def test_a_key_is_made_once_and_is_for_its_owner_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    key = expected.own_key()
    assert key == expected.own_key()
    [path] = tmp_path.rglob("grading.key")
    assert path.read_bytes() == key
    assert path.stat().st_mode & 0o077 == 0
    path.write_bytes(b"")
    assert expected.own_key() != expected.own_key()  # one that was cut off is none
    monkeypatch.setenv("XDG_CACHE_HOME", str(path))  # no folder can be made there
    assert len(expected.own_key()) == len(key)


def test_the_same_syntax_is_named(handed_in):
    rows = session(Asked([handed_in], jobs=2, trust=TRUST), silent)
    same = {r.student: r.same_as for r in rows if r.grade.exercise == "percentile"}
    assert "cem" in same["ann"]
    assert "ann" in same["cem"]
    assert same["bob"] == same["dan"] == ()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="what is left is found in /proc")
def test_killed_at_any_moment_it_goes_on(handed_in):
    code = (
        "import sys\nfrom pathlib import Path\nfrom decodeloop.bar import silent\n"
        "from decodeloop.course.grade.session import Asked, session\n"
        f"session(Asked([Path(sys.argv[1])], jobs=1, trust={TRUST}), silent)"
    )
    record = handed_in.with_name("handed in, Übung.grades.jsonl")
    process = subprocess.Popen([sys.executable, "-c", code, str(handed_in)])
    until = time.monotonic() + 120
    while not record.exists() and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.3)
    assert not children_of(handed_in)
    with record.open("a") as file:
        file.write('{"way": "cut of')
    assert grades(handed_in) == WANTED
    assert grades(handed_in) == WANTED


def children_of(folder):
    """Processes that still speak of a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in command:
            found.append(command)
    return found


def test_a_record_that_cant_be_written_is_one_sentence(handed_in, tmp_path):
    with pytest.raises(UserError, match=r"can't be kept in .*--record"):
        grades(handed_in, record=tmp_path / "no such folder" / "record.jsonl")


def test_a_line_of_a_record_that_says_nothing_is_passed_over(tmp_path):
    path = tmp_path / "record.jsonl"
    path.write_text('[]\n{"way": "w"}\n{"way": "w", "submission": "1 a", "grades": [{"x": 1}]}\n{')
    record = Record(path, "w", b"key")
    one = Submission("ann", "ann.ipynb", "11", digest="d")
    assert record.grades(one) is None
    record.add(one, [Grade("percentile", "right", points=1)])
    assert Record(path, "w", b"key").grades(one) == [Grade("percentile", "right", points=1)]
    assert Record(path, "another way", b"key").grades(one) is None


def test_a_line_that_was_written_or_changed_without_the_key_is_not_believed(tmp_path):
    path = tmp_path / "record.jsonl"
    one = Submission("ann", "ann.ipynb", "11", digest="d")
    Record(path, "w", b"key").add(one, [Grade("percentile", "wrong")])
    path.write_text(path.read_text().replace('"wrong"', '"right"'))
    assert Record(path, "w", b"key").grades(one) is None
    Record(path, "w", b"another").add(one, [Grade("percentile", "right", points=9)])
    assert Record(path, "w", b"key").grades(one) is None


def test_who_was_late_beside_others_is_tried_once_more_alone(handed_in, monkeypatch):
    """Another's processes may have taken the cores."""
    calls = []

    def crowded(todo, lessons, kind, folder, limits, jobs):
        calls.append(([one.student for one in todo], jobs))
        for one in todo:
            late = jobs > 1 and one.student == "cem"
            yield one, [Grade("percentile", "timed out" if late else "right", points=1 - late)]

    monkeypatch.setattr(sessions, "graded", crowded)
    assert grades(handed_in) == dict.fromkeys(WANTED, "right")
    assert calls == [(["ann", "bob", "cem", "dan"], 2), (["cem"], 1)]
