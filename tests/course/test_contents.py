from decodeloop.course.building import build, lesson_paths, stale
from decodeloop.course.contents import HEAD, readme_path, with_table
from decodeloop.course.lessons import read_lesson


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
