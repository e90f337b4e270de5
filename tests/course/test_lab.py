"""The folder where a learner works: filled, and never written over."""

from __future__ import annotations

import errno
import json
import os

import pytest

from decodeloop.course.lab import prepare, put
from decodeloop.course.progress import FILE, Progress, find_work
from decodeloop.errors import UserError


def notebook(source_hash, text="stub"):
    metadata = {"decodeloop": {"source_hash": source_hash}}
    return json.dumps({"cells": [], "metadata": metadata, "text": text})


@pytest.fixture
def root(tmp_path):
    """A checkout with two lab editions."""
    lab = tmp_path / "course" / "notebooks" / "lab"
    lab.mkdir(parents=True)
    (lab / "00_first.ipynb").write_text(notebook("aaaaaaaa"))
    (lab / "01_second.ipynb").write_text(notebook("bbbbbbbb"))
    return tmp_path / "course"


@pytest.fixture
def work(tmp_path):
    return tmp_path / "some" / "work"


def contents(folder):
    return {path.name: path.read_text() for path in folder.glob("*.ipynb")}


def newer_edition(root, source_hash="cccccccc1"):
    (root / "notebooks" / "lab" / "01_second.ipynb").write_text(notebook(source_hash))


def test_what_is_missing_is_copied(root, work):
    copied = prepare(root, work)
    assert copied.new == (work / "00_first.ipynb", work / "01_second.ipynb")
    assert copied.beside == ()
    assert contents(work) == contents(root / "notebooks" / "lab")


def test_a_second_time_nothing_is_copied(root, work):
    prepare(root, work)
    again = prepare(root, work)
    assert (again.new, again.beside) == ((), ())


def test_one_that_was_deleted_comes_back_alone(root, work):
    prepare(root, work)
    (work / "00_first.ipynb").unlink()
    assert prepare(root, work).new == (work / "00_first.ipynb",)


def test_a_solved_notebook_is_left_as_it_is(root, work):
    prepare(root, work)
    solved = notebook("bbbbbbbb", text="my answer")
    (work / "01_second.ipynb").write_text(solved)
    prepare(root, work)
    assert contents(work) == {
        "00_first.ipynb": notebook("aaaaaaaa"),
        "01_second.ipynb": solved,
    }


def test_a_newer_edition_arrives_beside_and_once(root, work):
    prepare(root, work)
    solved = notebook("bbbbbbbb", text="my answer")
    (work / "01_second.ipynb").write_text(solved)
    newer_edition(root)
    beside = work / "01_second.newer-cccccc.ipynb"

    copied = prepare(root, work)
    assert (copied.new, copied.beside) == ((), (beside,))
    assert (work / "01_second.ipynb").read_text() == solved
    assert beside.read_text() == notebook("cccccccc1")

    beside.write_text("edited too")
    again = prepare(root, work)
    assert (again.new, again.beside) == ((), ())
    assert beside.read_text() == "edited too"


def test_each_newer_edition_has_a_name_of_its_own(root, work):
    prepare(root, work)
    newer_edition(root, "cccccccc")
    prepare(root, work)
    newer_edition(root, "dddddddd")
    assert prepare(root, work).beside == (work / "01_second.newer-dddddd.ipynb",)
    assert (work / "01_second.newer-cccccc.ipynb").exists()


@pytest.mark.parametrize("text", ["", "{}", "no notebook at all"])
def test_a_file_that_is_no_edition_is_not_written_over(root, work, text):
    work.mkdir(parents=True)
    (work / "00_first.ipynb").write_text(text)
    assert prepare(root, work).beside == (work / "00_first.newer-aaaaaa.ipynb",)
    assert (work / "00_first.ipynb").read_text() == text


def test_the_folder_becomes_a_work_folder_and_keeps_its_progress(root, work):
    prepare(root, work)
    assert find_work(work) == work
    assert find_work(work / "mine") == work
    Progress(work).exercise("softmax", "right", "def softmax(x): ...")
    before = (work / FILE).read_text()
    prepare(root, work)
    assert (work / FILE).read_text() == before
    assert (work / "mine" / "softmax.py").read_text() == "def softmax(x): ..."


def test_another_folder_is_no_work_folder(tmp_path):
    assert find_work(tmp_path) is None


def test_a_work_folder_that_can_not_be_made_is_named(root, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"file can't be written .*: make it writable, or choose"):
        prepare(root, tmp_path / "file")


# a disk that fails, and names that are taken


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("where", ["fsync", "link"])
def test_a_disk_that_fails_leaves_no_half_notebook(root, work, monkeypatch, where, code):
    def fails(*_):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, where, fails)
        if where == "link":
            patch.setattr(os, "replace", fails)
            work.mkdir(parents=True)
            (work / FILE).write_text("{}")
        with pytest.raises(UserError, match="can't be written"):
            prepare(root, work)
    assert contents(work) == {}
    assert not [p.name for p in work.iterdir() if p.name != FILE]
    prepare(root, work)
    assert contents(work) == contents(root / "notebooks" / "lab")


def test_where_there_are_no_links_it_is_whole_all_the_same(root, work, monkeypatch):
    def no_links(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    prepare(root, work)
    assert contents(work) == contents(root / "notebooks" / "lab")
    assert not [p.name for p in work.iterdir() if p.name.startswith(".") and "ipynb" in p.name]


@pytest.mark.parametrize("links", [True, False])
def test_a_name_that_is_taken_meanwhile_is_left_alone(tmp_path, monkeypatch, links):
    def no_links(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    (tmp_path / "00.ipynb").write_text("mine")
    assert not put(b"course", tmp_path / "00.ipynb")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("00.ipynb", "mine")]


def test_nothing_is_written_through_a_link_that_leads_nowhere(root, work, tmp_path):
    work.mkdir(parents=True)
    (work / "00_first.ipynb").symlink_to(tmp_path / "elsewhere.ipynb")
    beside = work / "00_first.newer-aaaaaa.ipynb"
    assert prepare(root, work).beside == (beside,)
    assert (work / "00_first.ipynb").is_symlink()
    assert not (tmp_path / "elsewhere.ipynb").exists()
    assert beside.read_text() == notebook("aaaaaaaa")


def test_a_folder_of_that_name_is_left_alone(root, work):
    (work / "00_first.ipynb").mkdir(parents=True)
    assert prepare(root, work).beside == (work / "00_first.newer-aaaaaa.ipynb",)
