import re

import pytest

from decodeloop.course.addresses import badges, binder, colab, repository


def project(folder, url):
    (folder / "pyproject.toml").write_text(f'[project]\n[project.urls]\nRepository = "{url}"\n')
    return folder


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/some-body/the.course",
        "https://github.com/some-body/the.course/",
        "https://github.com/some-body/the.course.git",
    ],
)
def test_the_address_is_said_once_and_read_from_there(tmp_path, url):
    assert repository(project(tmp_path, url)) == "some-body/the.course"


@pytest.mark.parametrize("url", ["https://example.org/a/b", "https://github.com/a", "", "a/b"])
def test_where_colab_and_binder_find_nothing_there_are_no_badges(tmp_path, url):
    assert repository(project(tmp_path, url)) is None
    assert badges(tmp_path) == ""


def test_without_an_address_there_are_none(tmp_path):
    assert badges(tmp_path) == ""
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert badges(tmp_path) == ""


def test_each_badge_has_words_and_leads_somewhere(tmp_path):
    row = badges(project(tmp_path, "https://github.com/a/b"))
    found = re.findall(r"^\[!\[([^\]]+)\]\((https://[^)]+)\)\]\(([^)]+)\)$", row, re.MULTILINE)
    assert len(found) == len(row.splitlines()) == 5
    assert [leads_to for _, _, leads_to in found] == [
        "https://github.com/a/b/actions/workflows/tests.yml",
        "https://github.com/a/b#two-commands",
        "LICENSE",
        colab("a/b", "00_start_here"),
        binder("a/b", "00_start_here"),
    ]


def test_a_lesson_opens_in_its_lab_edition():
    address = colab("a/b", "06_kv_cache")
    assert address.endswith("/github/a/b/blob/main/notebooks/lab/06_kv_cache.ipynb")
    assert binder("a/b", "06_kv_cache").endswith(
        "/gh/a/b/HEAD?urlpath=lab/tree/work/06_kv_cache.ipynb"
    )
