from decodeloop.course.building import build, lesson_paths, stale
from decodeloop.course.contents import HEAD, PATHS_HEAD, in_runs, made, readme_path, with_table
from decodeloop.course.lessons import read_lesson
from decodeloop.course.paths import Leg


def lesson(folder, name, title, builds):
    path = folder / f"{name}.md"
    front = f"title: {title}\n  part: build\n  minutes: 5\n  needs: nothing\n  builds: {builds}"
    path.write_text(f"---\nlesson:\n  {front}\n---\n\n# {title}\n")
    return path


def test_the_table_has_a_row_for_each_lesson_and_the_rest_stays(tmp_path):
    paths = [lesson(tmp_path, "03_c", "Third", "a `c`"), lesson(tmp_path, "04_d", "Next", "a d")]
    text = f"# Title\n\n{HEAD}| old | row |\n| x | y |\n\nAfter it, a | table | of words.\n"
    assert with_table(text, paths) == (
        f"# Title\n\n{HEAD}| [03](notebooks/03_c.ipynb) | Third | 5 | a `c` |\n"
        "| [04](notebooks/04_d.ipynb) | Next | 5 | a d |\n\nAfter it, a | table | of words.\n"
    )
    assert with_table("no table", paths) == "no table"
    assert read_lesson(paths[0]).builds == "a `c`"


def test_a_readme_that_says_something_else_is_stale_and_written_again(tmp_path):
    (tmp_path / "lessons").mkdir()
    (tmp_path / "notebooks").mkdir()
    build(tmp_path)  # the cheat-sheet
    assert stale(tmp_path) == []  # nobody must have a README
    readme_path(tmp_path).write_text(f"{HEAD}| [00](notebooks/gone.ipynb) | Gone | 5 | - |\n")
    assert stale(tmp_path) == [readme_path(tmp_path)]
    assert build(tmp_path) == ["README"]
    assert readme_path(tmp_path).read_text() == HEAD
    assert stale(tmp_path) == []
    assert lesson_paths(tmp_path) == []


BLOCKS = (
    "before\n<!-- badges: made -->\nold\n<!-- end -->\n<!-- paths: made -->\n<!-- end -->\nafter\n"
)


def test_blocks_are_made_and_what_stands_around_them_stays(tmp_path):
    paths = [lesson(tmp_path, name, "Title", "a `c`") for name in ("06_a", "07_b", "08_c", "09_d")]
    text = made(BLOCKS, tmp_path, paths)
    assert text.startswith("before\n<!-- badges: made -->\n<!-- end -->\n<!-- paths: made -->\n\n|")
    assert text.endswith(" |\n\n<!-- end -->\nafter\n")
    assert PATHS_HEAD in text
    assert (
        "| **The whole build** | ½ | [06](notebooks/06_a.ipynb)–[09](notebooks/09_d.ipynb) |"
        in text
    )
    serve = "[06](notebooks/06_a.ipynb) · [09](notebooks/09_d.ipynb)"
    assert f"| **For engineers who serve** | ½ | {serve} |" in text
    assert made(text, tmp_path, paths) == text


def test_badges_come_with_the_address(tmp_path):
    assert "![" not in made(BLOCKS, tmp_path, [])
    url = '[project.urls]\nRepository = "https://github.com/some/where"\n'
    (tmp_path / "pyproject.toml").write_text(url)
    assert "](https://github.com/some/where/actions/" in made(BLOCKS, tmp_path, [])


def leg(name, to_pause=False):
    return Leg(name[:2], name, "title", 10, to_pause)


def test_three_lessons_in_a_row_are_a_run_and_a_pause_ends_one():
    names = ["00_a", "01_b", "02_c", "03_d", "04_e"]
    links = {name: f"[{name[:2]}](notebooks/{name}.ipynb)" for name in names}
    a, b, c, d, e = links.values()
    assert in_runs([leg(n) for n in names], names) == f"{a}–{e}"
    assert in_runs([leg(n) for n in names[:2]], names) == f"{a} · {b}"
    assert in_runs([leg(n) for n in ("00_a", "01_b", "03_d")], names) == f"{a} · {b} · {d}"
    paused = [leg("00_a"), leg("01_b"), leg("02_c", True), leg("03_d"), leg("04_e")]
    assert in_runs(paused, names) == f"{a} · {b} · {c} to its pause · {d} · {e}"
