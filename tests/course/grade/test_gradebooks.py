"""Gradebooks as the platforms export them, filled; their own documentation gives the formats."""

from __future__ import annotations

import csv
import io

import pytest

from decodeloop.course.grade.gradebooks import Total, filled, write_filled
from decodeloop.course.grade.grading import Grade
from decodeloop.course.grade.table import Row
from decodeloop.errors import UserError

CANVAS = (
    "Student,ID,SIS User ID,SIS Login ID,Section,Lesson 01: attention (4711),Lesson 06 (4712),"
    "Quizzes Current Score\r\n"
    "    Points Possible,,,,,20.0,10.0,(read only)\r\n"
    '"Doe, Jane",1001,S1,jane,Spring,,5.0,90.0\r\n'
    '"Ångström, Bo Eva",1002,S2,bo,Spring,1.0,,\r\n'
    '"Miller, Ann",1003,S3,ann,Spring,,,\r\n'
    '"Student, Test",,,,Spring,,,\r\n'
)
MOODLE = (
    "\ufeffIdentifier,Full name,Email address,Status,Grade,Maximum Grade,Grade can be changed,"
    "Last modified (submission),Last modified (grade),Feedback comments\n"
    'Participant 71,Jane Doe,j@x.org,"Submitted for grading - , ",,"50,00",Yes,"Friday, 1",-,\n'
    "Participant 72,Bo Eva Ångström,b@x.org,No submission,,50.00,Yes,-,-,\n"
)


def table(text):
    """A strict reader of comma-separated values: every row has the columns of the first."""
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert len({len(row) for row in rows}) == 1
    return rows


@pytest.fixture
def canvas(tmp_path):
    path = tmp_path / "2026 grades.csv"
    path.write_text(CANVAS, "utf-8", newline="")
    return path


def test_canvas_is_filled_by_number_or_name_and_nothing_else_is_changed(canvas):
    totals = [
        Total("doejane", "1001", 6, 12, "softmax: right"),
        Total("ångströmboeva", "", 12, 12, ""),
        Total("stranger", "9", 1, 12, ""),
    ]
    made = filled(canvas, "01_attention", totals)
    assert (made.found, made.missing) == (2, ("stranger",))
    before, after = table(CANVAS), table(made.text)
    assert [row[5] for row in after[1:]] == ["20.0", "10.00", "20.00", "", ""]
    assert [row[:5] + row[6:] for row in after] == [row[:5] + row[6:] for row in before]
    assert made.text.count("\r\n") == CANVAS.count("\r\n")


def test_moodle_is_filled_with_grade_and_feedback(tmp_path):
    path = tmp_path / "sheet.csv"
    path.write_text(MOODLE, "utf-8", newline="")
    totals = [
        Total("Jane Doe", "71", 3, 12, "softmax: right"),
        Total("Bo Eva Ångström", "", 12, 12, ""),
    ]
    made = filled(path, "01_attention", totals)
    assert (made.found, made.missing) == (2, ())
    before, after = table(MOODLE.removeprefix("\ufeff")), table(made.text)
    assert [row[4] for row in after[1:]] == ["12.50", "50.00"]
    assert after[1][9] == "softmax: right"
    assert [row[:4] + row[5:9] for row in after] == [row[:4] + row[5:9] for row in before]


def test_the_copy_stands_beside_with_the_best_of_several_attempts(canvas):
    def row(student, points, number="", name="softmax"):
        verdict = "right" if points else "wrong"
        return Row(student, "01", Grade(name, verdict, points=points), (), number)

    rows = [
        row("doejane", 0, "1001"),
        row("doejane", 1, "1001"),
        row("Ann Miller", 2, name="attention"),
    ]
    target, made = write_filled(canvas, rows)
    assert target.name == "2026 grades.filled.csv"
    assert made.missing == ()
    found = {x[1]: x[5] for x in table(target.read_text("utf-8-sig"))}
    assert float(found["1001"]) > 0
    assert float(found["1003"]) == pytest.approx(2 * float(found["1001"]), abs=0.02)
    assert canvas.read_text("utf-8") == CANVAS.replace("\r\n", "\n")
    with pytest.raises(UserError, match="these are of 01, 06: say which with --lesson"):
        write_filled(canvas, [*rows, Row("a", "06", Grade("prefill", "right"))])


@pytest.mark.parametrize(
    ("text", "lesson", "said"),
    [
        (CANVAS, "02_multi_head", "has no assignment that is lesson 02 alone, but Lesson 01"),
        ("name,points\nann,1\n", "01_attention", "has the columns name, points: expected Canvas'"),
        ("", "01_attention", "has the columns of nothing"),
        ('Student,ID\n"cut off', "01_attention", "can't be read as a gradebook"),
    ],
)
def test_what_is_no_gradebook_is_one_sentence(tmp_path, text, lesson, said):
    path = tmp_path / "file.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(UserError) as error:
        filled(path, lesson, [])
    assert said in str(error.value)


def test_two_of_one_name_have_their_own_points_and_a_third_has_none(canvas):
    text = CANVAS.replace('"Miller, Ann"', '"Doe, Jane"').replace('"Student, Test"', '"Doe, Jane"')
    canvas.write_text(text, "utf-8", newline="")
    totals = [Total("doejane", "1001", 6, 12, ""), Total("doejane", "1003", 12, 12, "")]
    after = table(filled(canvas, "01_attention", totals).text)
    assert [row[5] for row in after[2:]] == ["10.00", "1.0", "20.00", ""]


def test_a_name_that_two_have_and_no_number_is_nobodys(canvas):
    totals = [Total("doejane", "", 6, 12, ""), Total("Doe Jane", "", 12, 12, "")]
    assert filled(canvas, "01_attention", totals).found == 0


def test_one_number_of_two_is_one_sentence(canvas):
    totals = [Total("mallory", "1001", 0, 12, ""), Total("doejane", "1001", 12, 12, "")]
    with pytest.raises(UserError, match=r"'mallory' and 'doejane' have the number 1001"):
        filled(canvas, "01_attention", totals)
