"""Lessons in other languages: prose of their own, the cells of their originals."""

import re
from pathlib import Path

import nbformat
import pytest

from decodeloop.course.building import build, notebook_path, pick, stale
from decodeloop.course.languages import (
    EXERCISE,
    KINDS,
    code_of,
    language_of,
    name_of,
    original_of,
    translation_paths,
)
from decodeloop.course.lessons import LessonError, edition, read_lesson, source_hash
from decodeloop.exercises.finding import all_exercises

ROOT = Path(__file__).parents[2]
TRANSLATIONS = translation_paths(ROOT)
each_translation = pytest.mark.parametrize("path", TRANSLATIONS, ids=name_of)

FRONT = """---
lesson:
  title: {title}
  part: build
  minutes: {minutes}
  needs: nothing
  builds: a thing
---
"""
ORIGINAL = """
# 07 · Small

Words.

```{code-cell} ipython3
x = 1
```

{{exercise greedy}}

```{code-cell} ipython3
---
mystnb:
  image:
    alt: five words about a figure
---
plot(x)
```

+++

The end.
"""
GERMAN = """
# 07 · Klein

Worte.

{{cell}}

{{exercise greedy}}

{{cell: fünf Worte über ein Bild}}

+++

Das Ende.
"""


@pytest.fixture
def root(tmp_path):
    """A checkout with a lesson and its translation."""
    (tmp_path / "lessons" / "de").mkdir(parents=True)
    (tmp_path / "notebooks").mkdir()
    write(tmp_path, "07_small", ORIGINAL, "Small")
    write(tmp_path, "de/07_small", GERMAN, "Klein")
    return tmp_path


def write(root, name, text, title="Klein", minutes=5):
    path = root / "lessons" / f"{name}.md"
    path.write_text(FRONT.format(title=title, minutes=minutes) + text, "utf-8")
    return path


def german(root):
    return root / "lessons" / "de" / "07_small.md"


def cells(lesson, kind):
    return [cell for cell in lesson.cells if cell.cell_type == kind]


def test_a_translation_knows_its_language_its_original_and_its_name(root):
    [path] = translation_paths(root)
    original = root / "lessons" / "07_small.md"
    assert path == german(root)
    assert (language_of(path), original_of(path), name_of(path)) == ("de", original, "de/07_small")
    assert (language_of(original), original_of(original)) == ("", original)
    assert name_of(original) == "07_small"
    assert pick([original, path], "de/07") == path
    assert pick([original, path], "07") == original


def test_prose_is_the_translations_and_cells_are_the_originals(root):
    lesson, original = read_lesson(german(root)), read_lesson(original_of(german(root)))
    assert (lesson.name, lesson.number, lesson.title) == ("de/07_small", "07", "Klein")
    assert [c.source for c in cells(lesson, "code")] == [c.source for c in cells(original, "code")]
    prose = [cell.source for cell in cells(lesson, "markdown")]
    assert prose == ["# 07 · Klein\n\nWorte.", "{{exercise greedy}}", "Das Ende."]
    assert cells(lesson, "code")[1].metadata.mystnb.image.alt == "fünf Worte über ein Bild"
    assert cells(original, "code")[1].metadata.mystnb.image.alt == "five words about a figure"


def test_its_notebook_says_where_it_comes_from_and_is_the_same_lesson(root):
    notebook = edition(read_lesson(german(root)), "lab")
    first = notebook.cells[0].source
    assert "built from lessons/de/07_small.md" in first
    assert 'begin("07_small", edition="lab")' in first
    assert notebook.metadata.decodeloop.lesson == "07_small"
    assert any(cell.source.startswith("**Aufgabe `greedy`** · Kern") for cell in notebook.cells)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("{{cell: fünf Worte über ein Bild}}\n", "", r"has 1 lines \{\{cell\}\}: expected 2"),
        ("Das Ende.", "{{cell}}", r"has 3 lines \{\{cell\}\}: expected 2"),
        (
            "{{cell: fünf Worte über ein Bild}}",
            "{{cell}}",
            r"'plot\(x\)' needs \{\{cell: words\}\}",
        ),
        ("{{cell}}", "{{cell: worüber denn}}", "'x = 1' needs no words"),
        ("minutes: 5", "minutes: 6", "says 6 minutes, its original 5"),
    ],
)
def test_what_does_not_fit_the_original_is_one_sentence(root, old, new, words):
    text = german(root).read_text("utf-8")
    german(root).write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(LessonError, match=words):
        read_lesson(german(root))


def test_a_translation_of_nothing_or_into_an_unknown_language_is_told_so(root):
    with pytest.raises(LessonError, match="which does not exist"):
        read_lesson(write(root, "de/08_other", GERMAN))
    assert root / "notebooks" / "de" / "08_other.ipynb" in stale(root)  # and that is no error
    (root / "lessons" / "xx").mkdir()
    with pytest.raises(Exception, match="no words in this language: add them"):
        read_lesson(write(root, "xx/07_small", GERMAN))


def test_it_is_stale_when_a_cell_of_the_original_changes_and_not_when_its_prose_does(root):
    before = source_hash(german(root))
    write(root, "07_small", ORIGINAL.replace("The end.", "It ends."), "Small")
    assert source_hash(german(root)) == before
    write(root, "07_small", ORIGINAL.replace("x = 1", "x = 2"), "Small")
    changed = source_hash(german(root))
    assert changed != before
    german(root).write_text(german(root).read_text("utf-8") + "Mehr.", "utf-8")
    assert source_hash(german(root)) not in (before, changed)


def test_both_editions_are_built_and_missed(root, monkeypatch):
    from decodeloop.course import building

    monkeypatch.setattr(building, "executed", lambda lesson, *_: edition(lesson, "worked"))
    assert build(root)[:2] == ["07_small", "de/07_small"]
    assert stale(root) == []
    lab = notebook_path(root, "de/07_small", "lab")
    assert lab == root / "notebooks" / "lab" / "de" / "07_small.ipynb"
    lab.unlink()
    assert stale(root) == [lab]


# of the course itself


def test_there_is_one():
    assert [name_of(path) for path in TRANSLATIONS] == ["de/00_start_here"]


@each_translation
@pytest.mark.parametrize("kind", ["worked", "lab"])
def test_its_code_cells_are_those_of_the_original(path, kind):
    """As built: all but the first, which names the file."""
    notebooks = [
        nbformat.read(notebook_path(ROOT, name_of(p), kind), as_version=4)
        for p in (path, original_of(path))
    ]
    ours, theirs = ([c for c in n.cells if c.cell_type == "code"][1:] for n in notebooks)
    assert [c.source for c in ours] == [c.source for c in theirs]
    assert [c.metadata.get("tags") for c in ours] == [c.metadata.get("tags") for c in theirs]


@each_translation
def test_what_its_cells_print_is_what_those_of_the_original_print(path):
    notebooks = [
        nbformat.read(notebook_path(ROOT, name_of(p), "worked"), as_version=4)
        for p in (path, original_of(path))
    ]
    ours, theirs = ([c for c in n.cells if c.cell_type == "code"] for n in notebooks)
    for a, b in zip(ours, theirs, strict=True):
        if "nbval-ignore-output" not in a.metadata.get("tags", []):
            assert [o.get("text") for o in a.outputs] == [o.get("text") for o in b.outputs]


@each_translation
def test_it_has_the_sections_exercises_and_formulas_of_the_original(path):
    ours, theirs = (p.read_text("utf-8") for p in (path, original_of(path)))
    theirs = theirs.replace(code_of(theirs), "")
    for pattern in (r"^#+ ", r"^\{\{exercise \w+\}\}$", r"<details>", r"\]\(https?://\S+\)"):
        counts = [
            len(re.findall(pattern, re.sub(r"(?s)```.*?```", "", t), re.M)) for t in (ours, theirs)
        ]
        assert counts[0] == counts[1], pattern


@pytest.mark.parametrize("language", EXERCISE)
def test_every_language_has_words_for_every_kind_of_exercise(language):
    kinds = {exercise.kind for exercise in all_exercises().values()}
    assert kinds == {"core", "stretch"}
    if language:
        assert set(KINDS[language]) == kinds
    said = EXERCISE[language].format(name="f", kind="k", dots="●○○", minutes=7)
    assert "`f`" in said and "7" in said and 'hint("f")' in said
