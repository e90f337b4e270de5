"""The pages that are made: first page, paths, mistakes, glossary, README, API."""

from __future__ import annotations

import re

import pytest

from decodeloop.course import addresses
from decodeloop.course.building import lesson_paths, project_root
from decodeloop.course.paths import WAYS, legs
from decodeloop.course.site import api, bugs, places
from decodeloop.course.site.glossary import glossary_page, terms
from decodeloop.course.site.pages import (
    Lesson,
    index_page,
    lessons_page,
    link_to,
    paths_page,
    see_page,
)
from decodeloop.course.site.texts import Text
from decodeloop.errors import UserError
from decodeloop.exercises import Exercise, Mistake, all_exercises

ROOT = project_root()
PATHS = lesson_paths(ROOT)
LESSONS = [Lesson.of(path) for path in PATHS]


def test_the_first_page_has_every_lesson_and_every_path():
    made = index_page(LESSONS, PATHS, "<figure>drawn</figure>", 1234)
    assert "which of 1,234 known mistakes" in made
    assert "<figure>drawn</figure>" in made
    for lesson in LESSONS:
        assert f"| [{lesson.number}](lessons/{lesson.name}.ipynb) | {lesson.title} |" in made
    assert all(way.title in made for way in WAYS.values())


def test_the_lessons_are_in_their_order_each_in_one_tree():
    made = lessons_page(LESSONS)
    trees = re.findall(r"```\{toctree\}\n:hidden:\n:caption: .+\n((?:.+\n)+?)```", made)
    names = [name for tree in trees for name in tree.split()]
    assert names == [lesson.name for lesson in LESSONS]


def test_a_path_has_its_lessons_and_says_where_it_pauses():
    made = paths_page(PATHS)
    for way in WAYS.values():
        section = made.split(f"({way.name})=")[1].split("\n(")[0]
        for leg in legs(way, PATHS):
            assert f"[{leg.number}](lessons/{leg.name}.ipynb)" in section
        assert section.count("up to its pause") == sum(leg.to_pause for leg in legs(way, PATHS))


def test_what_can_be_touched_leads_to_its_lessons_where_they_exist():
    made = see_page(LESSONS, "<figure>a</figure>", "<figure>b</figure>")
    assert "<figure>a</figure>" in made and "<figure>b</figure>" in made
    assert made.count("](lessons/") == 2
    assert link_to([], "01") == "Lesson 01"


def exercise(name, *mistakes):
    return Exercise(name, "01_a", len, (), mistakes, (), 5, 1)


def test_every_mistake_of_the_course_stands_in_the_table():
    for exercise in all_exercises().values():
        made = bugs.lesson_page("01 · A", "../lessons/01_a", [exercise])
        assert len(re.findall(r"^\| (?!mistake|---)", made, re.MULTILINE)) == len(
            exercise.mistakes
        ), exercise.name


def test_a_mistake_is_one_row_whatever_its_hint_holds():
    made = bugs.lesson_page(
        "01 · A", "../lessons/01_a", [exercise("f", Mistake("a | b", "first\nthen `x | y`", len))]
    )
    assert "| a \\| b | first then `x \\| y` |\n" in made
    assert '<a href="../lessons/01_a.html#exercise-f">' in made
    assert "1 named mistake ·" in made


def test_the_table_of_all_counts():
    some = Mistake("m", "h", len)
    made = bugs.index_page([("01_a", "01 · A", [exercise("f", some, some), exercise("g")])])
    assert "**2 mistakes of 2 exercises.**" in made
    assert "| [01 · A](01_a.md) | 2 | `f` · `g` |" in made


def test_the_glossary_sends_each_term_to_a_lesson_that_exists():
    text = (ROOT / "tools" / "site" / "glossary.md").read_text("utf-8")
    found = terms(text)
    assert len(found) > 50
    assert len(found) == len(re.findall(r"^\*\*", text, re.MULTILINE)), "one is not as it should be"
    made = glossary_page(text, LESSONS)
    assert made.count("](lessons/") == len(found)


def test_a_term_of_no_lesson_and_one_that_stands_twice_are_refused():
    with pytest.raises(UserError, match="'A' to lesson 99, which does not exist"):
        glossary_page("**A** · 99\nText.\n", LESSONS)
    with pytest.raises(UserError, match="'a' twice"):
        glossary_page("**A** · 01\nText.\n\n**a** · 01\nText.\n", LESSONS)


PAGES = {
    "notebooks/00_a.ipynb": "lessons/00_a.ipynb",
    "notebooks/cheat-sheet.md": "cheat-sheet.md",
    "README.md": "about.md",
    "docs/using.md": "docs/using.md",
}


def shown(text, path="README.md", hosted=None):
    made = Text(path, PAGES[path], PAGES, lambda file: places.file_address(hosted, file))
    return made.shown(text), made.pictures


def test_the_readme_leads_to_pages_of_the_site():
    text = (
        "[00](notebooks/00_a.ipynb#here) [sheet](notebooks/cheat-sheet.md) [own](#place) "
        "[out](https://example.com) [more](docs/using.md)"
    )
    assert shown(text)[0] == (
        "[00](lessons/00_a.ipynb#here) [sheet](cheat-sheet.md) [own](#place) "
        "[out](https://example.com) [more](docs/using.md)"
    )


def test_a_text_in_a_folder_leads_out_of_it():
    text = "[00](../notebooks/00_a.ipynb) [home](../README.md) ![Bars](../notebooks/bars.png)"
    made, pictures = shown(text, "docs/using.md")
    assert made == "[00](../lessons/00_a.ipynb) [home](../about.md) ![Bars](../pictures/bars.png)"
    assert pictures == ["notebooks/bars.png"]


def test_other_files_are_in_the_repository_or_plain_words():
    text = "[a card](src/card.md), [the licence](LICENSE)"
    made, _ = shown(text, hosted="someone/decodeloop")
    assert "[a card](https://github.com/someone/decodeloop/blob/main/src/card.md)" in made
    assert shown(text)[0] == "a card, the licence"


def test_pictures_come_along_and_those_of_other_servers_do_not():
    text = (
        "[![CI](https://example.com/ci.svg)](https://example.com) ![x](https://example.com/y.png)\n"
        '<img src="https://example.com/z.png"> <img alt="A bug" src="docs/bug.gif">\n'
        "![Bars](notebooks/bars.png) ![The root of q.shape[-2].](notebooks/root.svg)"
    )
    made, pictures = shown(text)
    assert "example.com" not in made
    assert '<img alt="A bug" src="pictures/bug.gif">' in made
    assert "![Bars](pictures/bars.png)" in made
    assert "![The root of q.shape[-2].](pictures/root.svg)" in made
    assert sorted(pictures) == ["docs/bug.gif", "notebooks/bars.png", "notebooks/root.svg"]


def test_hosted_places_appear_where_the_project_is_hosted():
    links = places.lesson_links("01_a", "someone/decodeloop", exercises=True)
    assert f"[Open in Colab]({addresses.colab('someone/decodeloop', '01_a')})" in links
    assert f"[Open in Binder]({addresses.binder('someone/decodeloop', '01_a')})" in links
    assert "(../bugs/01_a.md)" in links
    elsewhere = places.lesson_links("01_a", None, exercises=False)
    assert elsewhere.startswith("{download}`")
    assert "http" not in elsewhere
    assert "bugs" not in elsewhere


def test_every_room_with_public_names_has_a_page():
    rooms = api.rooms()
    for room in ("decodeloop", "decodeloop.model", "decodeloop.serve", "decodeloop.course"):
        assert room in rooms
        assert f".. automodule:: {room}\n" in api.room_page(room)
        assert f"({api.page_name(room)}.rst)" in api.index_page()
    assert "decodeloop.commands" not in rooms
