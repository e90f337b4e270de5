"""A lesson's text becomes two editions; what can't be built is refused by file and cell."""

from __future__ import annotations

import textwrap

import pytest

from decodeloop.course.lessons import (
    BEGIN,
    END,
    STUB,
    LessonError,
    edition,
    exercise_line,
    read_lesson,
    source_hash,
)
from decodeloop.errors import UserError
from decodeloop.exercises.finding import find

FRONT = """\
---
kernelspec:
  display_name: Python 3 (ipykernel)
  language: python
  name: python3
lesson:
  title: Small
  part: build
  minutes: 5
  needs: nothing
  builds: a thing
---
"""
SOLVED = """\
class Box:
    def double(x):
        \"\"\"Twice x.\"\"\"
        ### BEGIN SOLUTION
        y = x + x

        return y
        ### END SOLUTION

    def half(x):
        ### BEGIN SOLUTION
        return x / 2
        ### END SOLUTION"""
TEXT = (
    FRONT
    + f"""
# 07 · Small

Some prose.

```{{code-cell}} ipython3
one = 1
```

More prose.

{{{{exercise greedy}}}}

```{{code-cell}} ipython3
:tags: [exercise]

{SOLVED}
```
"""
)


@pytest.fixture
def lesson(tmp_path):
    """Read a lesson from a text; called again, from another."""

    def read(text=TEXT, name="07_small.md"):
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return read_lesson(path)

    return read


def exercise_cell(notebook):
    return next(c for c in notebook.cells if "exercise" in c.metadata.get("tags", []))


def code(source, tags=""):
    header = f":tags: [{tags}]\n\n" if tags else ""
    return f"\n```{{code-cell}} ipython3\n{header}{textwrap.dedent(source).strip()}\n```\n"


def test_the_front_matter_is_read(lesson):
    small = lesson()
    assert (small.name, small.number) == ("07_small", "07")
    assert (small.title, small.part, small.minutes, small.needs) == ("Small", "build", 5, "nothing")


def test_the_worked_edition_has_the_solution_without_its_markers(lesson):
    lines = [x for x in SOLVED.splitlines() if x.strip() not in (BEGIN, END)]
    assert exercise_cell(edition(lesson(), "worked")).source == "\n".join(lines)


def test_the_lab_edition_has_a_stub_at_the_indentation_of_each_solution(lesson):
    assert exercise_cell(edition(lesson(), "lab")).source == textwrap.dedent(
        f'''\
        class Box:
            def double(x):
                """Twice x."""
                {STUB}

            def half(x):
                {STUB}'''
    )


def test_cells_without_a_solution_are_the_same_in_both_editions(lesson):
    small = lesson()
    pairs = list(zip(edition(small, "worked").cells, edition(small, "lab").cells, strict=True))
    assert [a.source == b.source for a, b in pairs] == [False, True, True, True, False]


def test_no_edition_has_outputs_before_it_is_executed(lesson):
    for kind in ("worked", "lab"):
        code_cells = [c for c in edition(lesson(), kind).cells if c.cell_type == "code"]
        assert all(c.outputs == [] and c.execution_count is None for c in code_cells)


@pytest.mark.parametrize("kind", ["worked", "lab"])
def test_the_first_cell_says_which_lesson_it_is_and_begins_it(lesson, kind):
    first = edition(lesson(), kind).cells[0]
    assert first.cell_type == "code"
    assert first.source.splitlines()[0] == (
        f"# Lesson 07, {kind} edition, built from lessons/07_small.md"
    )
    assert first.source.splitlines()[-1] == f'begin("07_small", edition="{kind}")'


@pytest.mark.parametrize("kind", ["worked", "lab"])
def test_the_notebook_knows_its_lesson_edition_and_source(lesson, kind):
    small = lesson()
    assert edition(small, kind).metadata["decodeloop"] == {
        "lesson": "07_small",
        "edition": kind,
        "source_hash": small.source_hash,
    }


def test_an_exercise_line_is_written_from_the_data(lesson):
    prose = "\n".join(c.source for c in edition(lesson(), "lab").cells if c.cell_type != "code")
    assert exercise_line(find("greedy")) in prose
    assert "{{exercise" not in prose
    assert f"about {find('greedy').minutes} minutes" in prose
    assert 'hint("greedy")' in prose


def test_building_an_edition_leaves_the_lesson_as_it_was(lesson):
    small = lesson()
    edition(small, "lab")
    assert BEGIN in exercise_cell(small).source


UNBALANCED = {
    "no end": f"def f():\n    {BEGIN}\n    pass",
    "no beginning": f"def f():\n    pass\n    {END}",
    "two beginnings": f"def f():\n    {BEGIN}\n    pass\n    {BEGIN}\n    pass\n    {END}",
    "two ends": f"def f():\n    {BEGIN}\n    pass\n    {END}\n    {END}",
    "the wrong way round": f"def f():\n    {END}\n    pass\n    {BEGIN}",
}


@pytest.mark.parametrize("source", UNBALANCED.values(), ids=UNBALANCED.keys())
def test_unbalanced_markers_are_refused_by_file_and_cell(lesson, tmp_path, source):
    text = f"{FRONT}\n# Small\n{code('one = 1')}{code(source, 'exercise')}"
    with pytest.raises(LessonError, match=r"unbalanced|never ended") as error:
        lesson(text)
    assert str(tmp_path / "07_small.md") in str(error.value)
    assert "cell 3 (“def f():”)" in str(error.value)


def test_a_solution_in_a_cell_without_the_tag_is_refused_by_file_and_cell(lesson, tmp_path):
    source = f"def f():\n    {BEGIN}\n    pass\n    {END}"
    with pytest.raises(LessonError, match="not the tag 'exercise'") as error:
        lesson(f"{FRONT}\n# Small\n{code(source)}")
    assert f"{tmp_path / '07_small.md'}, cell 2 (“def f():”)" in str(error.value)


def test_an_unknown_exercise_is_refused_by_file_and_cell(lesson, tmp_path):
    unknown = lesson(f"{FRONT}\n# Small\n{code('one = 1')}\nDo this:\n\n{{{{exercise juggle}}}}\n")
    for kind in ("worked", "lab"):
        with pytest.raises(LessonError, match="no exercise called 'juggle'") as error:
            edition(unknown, kind)
        assert f"{tmp_path / '07_small.md'}, cell 3 (“Do this:”)" in str(error.value)


@pytest.mark.parametrize(
    ("prose", "count"), [("No heading.", 0), ("# One\n\n# Two", 2), ("# One\n\n+++\n\n# Two", 2)]
)
def test_not_exactly_one_top_heading_is_refused(lesson, tmp_path, prose, count):
    with pytest.raises(LessonError, match=f"has {count} top headings") as error:
        lesson(f"{FRONT}\n{prose}\n")
    assert str(tmp_path / "07_small.md") in str(error.value)


def test_a_comment_in_a_fenced_block_or_in_code_is_no_heading(lesson):
    lesson(f"{FRONT}\n# One\n\n```bash\n# a comment\n```\n\n~~~\n# more\n~~~\n{code('# code')}")


@pytest.mark.parametrize("key", ["title", "part", "minutes", "needs"])
def test_a_missing_entry_of_the_front_matter_is_refused_by_file_and_name(lesson, tmp_path, key):
    lines = [line for line in TEXT.splitlines() if not line.startswith(f"  {key}:")]
    with pytest.raises(LessonError, match=f"lesson: {key}: None") as error:
        lesson("\n".join(lines))
    assert str(tmp_path / "07_small.md") in str(error.value)


def test_an_entry_of_the_wrong_type_is_refused_with_what_was_expected(lesson):
    with pytest.raises(LessonError, match="minutes: 'some': expected int"):
        lesson(TEXT.replace("minutes: 5", "minutes: some"))


@pytest.mark.parametrize("front", ["", "---\n---\n", "---\nlesson: text\n---\n", "---\n- 1\n---\n"])
def test_a_lesson_without_front_matter_is_refused(lesson, front):
    with pytest.raises(LessonError, match="front matter"):
        lesson(f"{front}\n# Small\n")


def test_front_matter_that_is_no_yaml_is_refused_by_file(lesson, tmp_path):
    with pytest.raises(LessonError, match="front matter is no YAML: mapping values") as error:
        lesson(TEXT.replace("title: Small", "title: Small: and bad"))
    assert str(tmp_path / "07_small.md") in str(error.value)


def test_a_lesson_error_is_addressed_to_the_user():
    assert issubclass(LessonError, UserError)


def ids(notebook):
    return [cell.id for cell in notebook.cells]


@pytest.mark.parametrize("kind", ["worked", "lab"])
@pytest.mark.parametrize("added", ["two = 2", "one = 1"], ids=["new", "a copy"])
def test_inserting_a_cell_adds_one_id_and_changes_none(lesson, kind, added):
    before = ids(edition(lesson(), kind))
    changed = lesson(TEXT.replace("\nMore prose.", f"{code(added)}\nMore prose."))
    after = ids(edition(changed, kind))
    assert len(set(after) - set(before)) == 1
    assert [i for i in after if i in before] == before


def test_editing_a_cell_changes_its_id_alone(lesson):
    before = ids(edition(lesson(), "lab"))
    after = ids(edition(lesson(TEXT.replace("one = 1", "one = 11")), "lab"))
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False, True, True]


def test_ids_are_unique_though_cells_are_equal(lesson):
    twins = lesson(f"{FRONT}\n# Small\n{code('one = 1') * 3}")
    assert len(set(ids(edition(twins, "lab")))) == 5


def test_the_source_hash_ignores_how_lines_end(tmp_path):
    unix, windows = tmp_path / "unix.md", tmp_path / "windows.md"
    unix.write_bytes(TEXT.encode())
    windows.write_bytes(TEXT.replace("\n", "\r\n").encode())
    assert source_hash(unix) == source_hash(windows)


def test_the_source_hash_sees_every_change_of_the_text(tmp_path):
    one, other = tmp_path / "one.md", tmp_path / "other.md"
    one.write_text(TEXT, "utf-8")
    other.write_text(TEXT + "\n", "utf-8")
    assert source_hash(one) != source_hash(other)


def test_line_ends_do_not_change_the_editions(tmp_path):
    built = []
    for name, text in (("unix", TEXT), ("windows", TEXT.replace("\n", "\r\n"))):
        path = tmp_path / name / "07_small.md"
        path.parent.mkdir()
        path.write_bytes(text.encode())
        built.append(edition(read_lesson(path), "lab"))
    assert built[0] == built[1]
