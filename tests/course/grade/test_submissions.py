"""Notebooks are found, and whose they are, in folders and zips of all kinds."""

from __future__ import annotations

import json
import zipfile

import pytest
from hostile_submissions import RIGHT, notebook

from decodeloop.course.grade.submissions import student_of, submissions
from decodeloop.errors import UserError


@pytest.mark.parametrize(
    ("place", "student"),
    [
        ("doejane_LATE_1234_56789_11_metrics-1.ipynb", "doejane"),
        ("doejane_1234_56789_11_metrics.ipynb", "doejane"),
        ("all.zip/doejane_1234_56789_11_metrics.ipynb", "doejane"),
        ("Jane Doe_1234_assignsubmission_file_/11_metrics.ipynb", "Jane Doe"),
        ("all.zip/Jane Doe_1234_assignsubmission_file/11_metrics.ipynb", "Jane Doe"),
        ("jane/11_metrics.ipynb", "jane"),
        ("jane/work/11_metrics.ipynb", "jane"),
        ("jane.ipynb", "jane"),
        ("jane_11_metrics.ipynb", "jane"),
        ("11_metrics jane.ipynb", "jane"),
        ("jane_06b_cache_costs.ipynb", "jane"),
        ("11_metrics.ipynb", "11_metrics"),
        ("jane.zip/11_metrics.ipynb", "jane"),
        ("../../jane/11_metrics.ipynb", "jane"),
    ],
)
def test_a_name_says_whose_it_is(place, student):
    assert student_of(place) == student


def test_a_zip_of_a_platform_is_read_without_being_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "moodle.zip", "w") as file:
        for name in ("Ann Ä_1_assignsubmission_file_", "Bob_2_assignsubmission_file_"):
            file.writestr(f"{name}/11_metrics.ipynb", notebook(RIGHT))
        file.writestr("__MACOSX/._11_metrics.ipynb", "x")
        file.writestr("Bob_2_assignsubmission_file_/.ipynb_checkpoints/a.ipynb", "x")
        file.writestr("Bob_2_assignsubmission_file_/notes.txt", "x")
    found = submissions([tmp_path / "moodle.zip"])
    assert [(x.student, x.lesson, x.refused) for x in found] == [
        ("Ann Ä", "11", ""),
        ("Bob", "11", ""),
    ]
    assert found[0].cells == (RIGHT,)
    assert [p.name for p in tmp_path.iterdir()] == ["moodle.zip"]


def zip_of(path, *names):
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, notebook(RIGHT))


def test_what_lies_in_a_students_zip_is_theirs_whatever_names_it_has(tmp_path):
    zip_of(tmp_path / "ann.zip", "bob/11_metrics.ipynb", "work/11_metrics.ipynb")
    zip_of(tmp_path / "doejane_12_34_hw.zip", "bob/11_metrics.ipynb")
    zip_of(tmp_path / "eve.zip", "Bob_2_assignsubmission_file_/11_metrics.ipynb")
    found = submissions([tmp_path])
    assert [(x.student, x.number, bool(x.refused)) for x in found] == [
        ("ann", "", False),
        ("ann", "", False),
        ("doejane", "12", False),
        ("eve", "", True),
    ]
    assert "give that zip itself" in found[3].refused
    assert [x.student for x in submissions([tmp_path / "eve.zip"])] == ["Bob"]


def test_the_lesson_is_told_by_the_notebook_the_name_or_the_option(tmp_path):
    plain = json.dumps({"cells": []})
    plain_ones = {"b_01_attention": plain, "c": plain, "d_06b_cache_costs": plain}
    for name, text in {"a": notebook(), **plain_ones}.items():
        (tmp_path / f"{name}.ipynb").write_text(text)
    found = {x.student: (x.lesson, x.refused) for x in submissions([tmp_path])}
    assert found["a"] == ("11", "")
    assert found["b"] == ("01", "")
    assert found["d"] == ("06b", "")
    assert "give --lesson" in found["c"][1]
    assert {x.lesson for x in submissions([tmp_path], "06")} == {"06"}


@pytest.mark.parametrize("lesson", ["99", "../01", ""])
def test_an_unknown_lesson_is_one_sentence(tmp_path, lesson):
    (tmp_path / "a.ipynb").write_text(notebook())
    with pytest.raises(UserError, match=r"^--lesson is .*: expected the number of one"):
        submissions([tmp_path], lesson)


def test_no_notebook_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="there is no notebook in"):
        submissions([tmp_path])
    with pytest.raises(UserError, match=r"there is no .*gone: expected a folder"):
        submissions([tmp_path / "gone"])


def test_names_of_platforms_are_believed_at_the_top_alone(tmp_path):
    """What lies deeper has its name from a student, who could write another's."""
    for place in (
        "Mallory_7_assignsubmission_file_/zzz_1001_6_11_metrics.ipynb",
        "Mallory_7_assignsubmission_file_/Bob Miller_1002_assignsubmission_file_/11_x.ipynb",
    ):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(notebook(RIGHT), "utf-8")
    found = submissions([tmp_path], "11")
    assert {(one.student, one.number) for one in found} == {("Mallory", "7")}


def test_a_zip_of_thousands_is_refused_under_its_own_name_and_nobody_elses(tmp_path):
    (tmp_path / "ann.ipynb").write_text(notebook(RIGHT), "utf-8")
    with zipfile.ZipFile(tmp_path / "mallory.zip", "w") as archive:
        for number in range(5001):
            archive.writestr(f"{number}.ipynb", "")
    found = {one.student: one.refused for one in submissions([tmp_path], "11")}
    assert found == {"ann": "", "mallory": "a zip with more than 5,000 files: hand in fewer"}


def test_one_student_has_at_most_twenty_notebooks(tmp_path):
    (tmp_path / "mallory").mkdir()
    for number in range(30):
        (tmp_path / "mallory" / f"{number}.ipynb").write_text(notebook(RIGHT), "utf-8")
    (tmp_path / "ann.ipynb").write_text(notebook(RIGHT), "utf-8")
    found = submissions([tmp_path], "11")
    assert [one.refused for one in found if one.student == "ann"] == [""]
    mine = [one.refused for one in found if one.student == "mallory"]
    assert mine[:20] == [""] * 20
    assert len(mine) == 21 and mine[20].startswith("more than 20 notebooks")
