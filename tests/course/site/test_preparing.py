"""Sphinx's sources, out of this checkout."""

from __future__ import annotations

import json
import re

import pytest

from decodeloop.course.building import lesson_paths, project_root
from decodeloop.course.site import prepare
from decodeloop.errors import UserError

ROOT = project_root()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "source"
    prepare(ROOT, folder)
    return folder


def test_every_lesson_has_a_page_and_its_lab_edition_to_download(source):
    for path in lesson_paths(ROOT):
        page = json.loads((source / "lessons" / f"{path.stem}.ipynb").read_text("utf-8"))
        title = page["cells"][0]["source"]
        assert f"<../lab/{path.stem}.ipynb>" in title
        lab = (source / "lab" / f"{path.stem}.ipynb").read_bytes()
        assert lab == (ROOT / "notebooks" / "lab" / f"{path.stem}.ipynb").read_bytes()


def test_outputs_are_those_that_are_stored(source):
    for path in lesson_paths(ROOT):
        shown = json.loads((source / "lessons" / f"{path.stem}.ipynb").read_text("utf-8"))
        stored = json.loads((ROOT / "notebooks" / f"{path.stem}.ipynb").read_text("utf-8"))
        outputs = [
            [c["outputs"] for c in nb["cells"] if c.get("outputs")] for nb in (shown, stored)
        ]
        assert outputs[0] == outputs[1]


def test_every_source_is_reached_from_the_first_page(source):
    """Or Sphinx would warn of it."""
    reached, queue = set(), [source / "index.md"]
    while queue:
        page = queue.pop()
        reached.add(page)
        for tree in re.findall(
            r"```\{toctree\}\n(?::.*\n)*((?:.+\n)+?)```", page.read_text("utf-8")
        ):
            for entry in tree.splitlines():  # a name, or `a title <name>`
                name = entry.split("<")[-1].rstrip(">")
                [found] = page.parent.glob(f"{name}.*")
                queue.append(found)
    pages = [p for p in source.rglob("*") if p.suffix in (".md", ".rst", ".ipynb")]
    assert {p for p in pages if "lab" not in p.parts} == reached


def test_making_them_again_leaves_nothing_of_before(source):
    (source / "lessons" / "99_gone.ipynb").write_text("{}", "utf-8")
    assert prepare(ROOT, source) == [path.stem for path in lesson_paths(ROOT)]
    assert not (source / "lessons" / "99_gone.ipynb").exists()


def test_a_folder_with_something_else_is_not_removed(tmp_path):
    (tmp_path / "letter.txt").write_text("dear", "utf-8")
    with pytest.raises(UserError, match="holds no sources of a site"):
        prepare(ROOT, tmp_path)
    assert (tmp_path / "letter.txt").exists()


def test_no_two_pages_have_one_title(source):
    pages = [page for page in source.rglob("*.md") if page.parent.name != "bugs"]
    titles = [re.match(r"# (.+)", page.read_text("utf-8"))[1] for page in pages]
    assert len(set(titles)) == len(titles) > 8
    assert "About" in titles


def test_what_the_readme_and_the_docs_show_lies_beside_them(source):
    texts = [source / "about.md", *(source / "docs").glob("*.md")]
    assert len(texts) == 1 + len(list((ROOT / "docs").glob("*.md")))
    shown = 0
    for text in texts:
        for link in re.findall(r"\]\(([^)#\s]+)", text.read_text("utf-8")):
            if "://" not in link:
                assert (text.parent / link).resolve().is_file(), (text.name, link)
                shown += "pictures/" in link
    assert shown > 2
