"""The pinned texts: what they were, where they come from, and apart from each other."""

from __future__ import annotations

import pytest

from decodeloop.errors import ModelFileError, UserError
from decodeloop.quality import pinned_texts
from decodeloop.quality.pinned_texts import FOLDER, SHA256, calibration, held_out, read_pinned


@pytest.mark.parametrize("name", SHA256)
def test_every_file_is_pinned_and_says_where_it_comes_from(name):
    head, parts = read_pinned(name)  # which compares the checksum
    assert "Licence: " in head
    assert "Source: " in head or "made for this course" in head
    assert len(parts) > 10
    assert all(part.strip() for part in parts)


def test_no_other_file_lies_beside_them_and_they_are_small():
    assert {path.name for path in FOLDER.iterdir()} == set(SHA256)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 100_000


@pytest.mark.parametrize("kind", ["plain", "plays"])
def test_what_is_tuned_with_is_apart_from_what_is_judged_by(kind):
    tuned = "\n".join(calibration(kind))
    for passage in held_out(kind):
        for line in passage.splitlines():
            assert len(line) < 40 or line not in tuned


def test_passages_keep_their_line_breaks():
    assert any("\n\n" in passage for passage in held_out("plain"))
    assert not any(passage != passage.strip("\n") for passage in held_out("plays"))


@pytest.mark.parametrize("ask", [held_out, calibration])
def test_an_unknown_kind_is_one_sentence(ask):
    with pytest.raises(UserError, match="kind 'verse': expected one of plain, plays"):
        ask("verse")


def test_other_line_ends_are_the_same_text(tmp_path, monkeypatch):
    monkeypatch.setattr(pinned_texts, "FOLDER", tmp_path)
    data = (FOLDER / "questions.txt").read_bytes()
    (tmp_path / "questions.txt").write_bytes(data.replace(b"\n", b"\r\n"))
    assert read_pinned.__wrapped__("questions.txt") == read_pinned("questions.txt")


@pytest.mark.parametrize("damage", [lambda data: data + b" ", lambda data: b"\xff" + data])
def test_a_changed_text_is_refused(tmp_path, monkeypatch, damage):
    monkeypatch.setattr(pinned_texts, "FOLDER", tmp_path)
    path = tmp_path / "plain_test.txt"
    path.write_bytes(damage((FOLDER / "plain_test.txt").read_bytes()))
    with pytest.raises(ModelFileError, match="not as it was pinned: install decodeloop again"):
        read_pinned.__wrapped__("plain_test.txt")
