"""Rows and the CSV of them."""

import csv

from decodeloop.course.grade.grading import Grade
from decodeloop.course.grade.submissions import Submission
from decodeloop.course.grade.table import COLUMNS, rows, write_csv


def graded(student, *grades):
    return Submission(student, f"{student}.ipynb", "01"), list(grades)


def test_the_csv_has_its_columns_and_no_formulas(tmp_path):
    evil = "=HYPERLINK(1)"
    made = rows(
        [
            graded(evil, Grade("softmax", "right", points=1, seconds=1.234, shape="a")),
            graded("bob, B.", Grade("softmax", "wrong", "no shift", seconds=0.1, shape="a")),
            graded("cem", Grade("softmax", "not attempted")),
        ],
        {("softmax", "a"): "the worked edition"},
    )
    write_csv(tmp_path / "out.csv", made)
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.reader(file))
    assert tuple(table[0]) == COLUMNS
    assert table[1] == [
        *("'" + evil, "01", "softmax", "right", "", "1", "1.23"),
        "the worked edition; bob, B.",
    ]
    assert table[2][3:6] == ["wrong", "no shift", "0"]
    assert table[3][7] == ""


def test_one_student_alone_is_the_same_as_nobody():
    grade = Grade("softmax", "right", shape="b")
    made = rows([graded("ann", grade), graded("ann", grade)], {})
    assert [row.same_as for row in made] == [(), ()]
