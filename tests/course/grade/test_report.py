"""Pages for students: by a strict parser of HTML, and by what must not stand in them."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from decodeloop.course.grade.grading import Grade
from decodeloop.course.grade.report import write_report
from decodeloop.course.grade.table import Row
from decodeloop.errors import UserError

VOID = {"meta", "link", "br", "img"}
EVIL = "<script>alert(1)</script>"


class Strict(HTMLParser):
    """Every element that is begun is ended, in order."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.text = [], set(), []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parsed(path):
    parser = Strict()
    parser.feed(path.read_text("utf-8"))
    parser.close()
    assert parser.open == []
    assert "script" not in parser.seen
    return " ".join(parser.text)


ROWS = [
    Row(EVIL, "01", Grade("softmax", "wrong", "no shift", what="first on “a”", hint="Subtract.")),
    Row(EVIL, "01", Grade("attention", "right", points=2)),
    Row("../../bob", "01", Grade("softmax", "syntax error", what=f"line 1: {EVIL}")),
]


def test_each_student_has_a_page_and_the_teacher_a_table(tmp_path):
    write_report(tmp_path / "pages", ROWS, trust=False)
    names = sorted(path.name for path in (tmp_path / "pages").iterdir())
    assert names == ["001-script-alert-1-script.html", "002-bob.html", "index.html"]
    one, two, table = (parsed(tmp_path / "pages" / name) for name in names)
    assert "Subtract." in one
    assert "2 of" in one
    assert "bob" not in one
    assert EVIL in two
    assert "no shift" in table
    assert "not whose work it is" in one


def test_without_a_sandbox_every_page_says_so(tmp_path):
    write_report(tmp_path, ROWS, trust=True)
    for path in tmp_path.iterdir():
        assert "made without a sandbox" in parsed(path)


def test_a_folder_that_cant_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="the report can't be written into"):
        write_report(tmp_path / "file", ROWS, trust=False)
