import errno
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from filelock import FileLock

from decodeloop.course.progress import Progress, find_work, replace_text
from decodeloop.errors import UserError


@pytest.fixture
def progress(tmp_path):
    made = Progress(tmp_path / "work")
    made.start()
    return made


def test_a_progress_file_makes_a_folder_a_work_folder(tmp_path):
    work = tmp_path / "a" / "work"
    assert find_work(work) is None
    Progress(work).start()
    assert Progress(work).read() == {}
    assert find_work(work) == work
    assert find_work(work / "deep" / "er") == work
    assert find_work(tmp_path) is None


def test_starting_again_forgets_nothing(progress):
    progress.record("loop", 3.5, "tokens/s")
    progress.start()
    assert progress.read()["records"] == {"loop": [3.5, "tokens/s"]}


def test_attempts_are_counted_and_a_right_answer_stays_right(progress):
    seen = []
    for state in ("not attempted", "wrong", "right", "wrong", "not attempted"):
        progress.exercise("softmax", state)
        seen.append(progress.read()["exercises"]["softmax"]["state"])
    assert seen == ["not attempted", "wrong", "right", "right", "right"]
    assert progress.read()["exercises"]["softmax"]["attempts"] == 5


def test_a_source_is_kept_under_the_name_of_its_exercise(progress):
    progress.exercise("softmax", "right", "def softmax(x): ...  # √\n")
    kept = (progress.work / "mine" / "softmax.py").read_text("utf-8")
    assert kept == "def softmax(x): ...  # √\n"


def test_without_a_source_nothing_is_kept(progress):
    progress.exercise("softmax", "wrong")
    assert not (progress.work / "mine").exists()


def test_exercises_and_records_do_not_disturb_each_other(progress):
    progress.exercise("softmax", "right")
    progress.record("loop", 1.0, "s")
    progress.exercise("attention", "wrong")
    progress.record("loop", 2.0, "s")
    progress.record("cache", 3.0, "s")
    data = progress.read()
    assert {name: e["state"] for name, e in data["exercises"].items()} == {
        "softmax": "right",
        "attention": "wrong",
    }
    assert data["records"] == {"loop": [2.0, "s"], "cache": [3.0, "s"]}


@pytest.mark.parametrize("content", [b"{", b"", b"[" * 100_000, b'{"exercises": '])
def test_a_damaged_file_is_named_and_stays_as_it_is(progress, content):
    path = progress.work / "progress.json"
    path.write_bytes(content)
    for act in (
        progress.read,
        lambda: progress.exercise("softmax", "right"),
        lambda: progress.record("loop", 1.0, "s"),
    ):
        with pytest.raises(UserError) as error:
            act()
        message = str(error.value)
        assert message.startswith(f"{path} is no readable JSON: put it right, or delete it")
        assert str(progress.work / "mine") in message
    assert path.read_bytes() == content


ODD = [
    [1, 2],
    "text",
    {"exercises": [1]},
    {"exercises": {"softmax": 7}},
    {"exercises": {"softmax": {"state": "right"}}},
    {"exercises": {"softmax": {"state": [], "attempts": 1}}},
    {"exercises": {"softmax": {"state": "right", "attempts": "many"}}},
    {"records": 3},
    {"records": {"loop": 3}},
    {"records": {"loop": ["fast", "tokens/s"]}},
    {"records": {"loop": [1.0, 2]}},
]


@pytest.mark.parametrize("data", ODD, ids=json.dumps)
def test_what_somebody_else_wrote_is_named_and_left_as_it_is(progress, data):
    path = progress.work / "progress.json"
    path.write_text(json.dumps(data))
    for act in (progress.read, lambda: progress.exercise("attention", "right", "x = 1\n")):
        with pytest.raises(UserError, match=r"is not as the course wrote it .* delete it") as error:
            act()
        assert "\n" not in str(error.value)
    assert json.loads(path.read_text()) == data
    assert (progress.work / "mine" / "attention.py").read_text() == "x = 1\n"


def unreadable(path):
    path.unlink()
    path.mkdir()


def endless(path):
    path.unlink()
    os.mkfifo(path)


SPOILT = {
    "no UTF-8": (lambda path: path.write_bytes(b"\xff\xfe"), "is no UTF-8"),
    "a folder": (unreadable, "is no file of text"),
    "a pipe": (endless, "is no file of text"),
    "huge": (lambda path: path.write_bytes(b" " * 2**23), "has 8,388,608 bytes"),
}


@pytest.mark.parametrize(("spoil", "said"), SPOILT.values(), ids=SPOILT)
def test_a_file_that_can_not_be_read_is_named(progress, spoil, said):
    path = progress.work / "progress.json"
    spoil(path)
    assert find_work(progress.work) == progress.work
    for act in (progress.read, lambda: progress.record("loop", 1.0, "s")):
        with pytest.raises(UserError, match=said) as error:
            act()
        assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_refuses_is_one_sentence_and_leaves_no_half_file(progress, monkeypatch, code):
    progress.exercise("softmax", "wrong", "before = 1\n")
    before = {p: p.read_bytes() for p in progress.work.rglob("*") if p.is_file()}

    def refuses(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "replace", refuses)
    for act in (
        lambda: progress.exercise("softmax", "right", "after = 1\n"),
        lambda: progress.record("loop", 1.0, "s"),
    ):
        with pytest.raises(UserError, match=f"can't be written: {os.strerror(code)}"):
            act()
    assert {p: p.read_bytes() for p in progress.work.rglob("*") if p.is_file()} == before


def test_another_program_that_keeps_the_file_is_not_waited_for_without_end(progress, monkeypatch):
    monkeypatch.setattr("decodeloop.course.progress.LONGEST_WAIT", 0.1)
    with FileLock(progress.work / ".progress.json.lock"), ThreadPoolExecutor() as another:
        noted = another.submit(progress.record, "loop", 1.0, "s")
        assert "another program holds it" in str(noted.exception())


def test_two_processes_that_write_at_once_lose_nothing(progress):
    rounds = 40
    script = (
        "import sys; from pathlib import Path\n"
        "from decodeloop.course.progress import Progress\n"
        "p = Progress(Path(sys.argv[1]))\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        f"for i in range({rounds}):\n"
        "    p.exercise('softmax', 'wrong'); p.record(f'{sys.argv[2]} {i}', i, 's')\n"
    )
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(progress.work), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    data = progress.read()
    assert data["exercises"]["softmax"]["attempts"] == 2 * rounds
    assert len(data["records"]) == 2 * rounds


def test_a_text_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    replace_text(path, "before")

    def fails(*args):
        raise OSError("no space left")

    monkeypatch.setattr("decodeloop.course.progress.os.replace", fails)
    with pytest.raises(OSError, match="no space left"):
        replace_text(path, "after")
    assert path.read_text() == "before"


def test_no_other_file_is_left_behind(progress):
    progress.exercise("softmax", "right", "x = 1\n")
    names = {p.name for p in progress.work.rglob("*") if p.is_file()}
    assert names - {".progress.json.lock"} == {"progress.json", "softmax.py"}
    json.loads((progress.work / "progress.json").read_text("utf-8"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
def test_what_is_no_file_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"  # stands for /dev/null, which is not put at risk here
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="no regular file"):
        replace_text(pipe, "text")
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]
