"""Lessons become executed notebooks; what must not be stored is refused, and nothing is written.

Most of these need no kernel: a stand-in for nbclient gives each cell the outputs of a script.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import nbformat
import psutil
import pytest

from decodeloop.course import building
from decodeloop.course.building import build, check_outputs, project_root, stale
from decodeloop.course.cheatsheet import write_cheat_sheet
from decodeloop.course.lessons import BEGIN, END, STUB, LessonError
from decodeloop.errors import UserError
from decodeloop.exercises.finding import all_exercises

FRONT = """\
---
lesson:
  title: Small
  part: build
  minutes: 5
  needs: nothing
  builds: a thing
---

# Small
"""
ALT = "A straight line that rises from zero to one."
OUTPUTS = f"""
```{{code-cell}} ipython3
---
mystnb:
  image:
    alt: {ALT}
---
import matplotlib.pyplot as plt

plt.plot([0, 1])
plt.show()
```

```{{code-cell}} ipython3
import inspect
print(object())
print(inspect.currentframe().f_code.co_filename)
```

```{{code-cell}} ipython3
:tags: [exercise]

def greedy(logits):
    {BEGIN}
    return logits.argmax(dim=-1)
    {END}
```
"""


def cell(source, tags=""):
    header = f":tags: [{tags}]\n\n" if tags else ""
    return f"\n```{{code-cell}} ipython3\n{header}{source}\n```\n"


@pytest.fixture
def root(tmp_path):
    """A checkout with two lessons."""
    return checkout(tmp_path)


def checkout(root):
    (root / "lessons").mkdir()
    (root / "notebooks").mkdir()
    write_cheat_sheet(root)
    write(root, "07_small", cell("one = 1"))
    write(root, "08_other", cell("two = 2"))
    return root


def write(root, name, text):
    (root / "lessons" / f"{name}.md").write_text(FRONT + text, "utf-8")


def notebooks(root):
    found = (root / "notebooks").rglob("*[!d]")  # without the cheat-sheet
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in found if p.is_file()}


@pytest.fixture
def no_kernel(monkeypatch):
    """Stand in for nbclient: every cell runs, and has the outputs that the script gives it."""
    script = {}

    class Client:
        def __init__(self, notebook, on_cell_execute, on_cell_complete, **options):
            self.notebook, self.completed = notebook, on_cell_complete

        def execute(self, cleanup_kc):
            count = 0
            for index, each in enumerate(self.notebook.cells):
                if each.cell_type == "code":
                    count += 1
                    each.execution_count = count
                    each.outputs = script.get(each.source, [])
                    each.metadata["execution"] = {"started": "now"}
                self.completed(cell=each, cell_index=index)

    monkeypatch.setattr("nbclient.NotebookClient", Client)
    return script


HERE = Path(__file__).parent  # a working folder that has a name: pytest may be started in /


def printed(text):
    return nbformat.v4.new_output("stream", name="stdout", text=text)


def drawn(**data):
    return nbformat.v4.new_output("display_data", data={"image/png": "iVBORw0=", **data})


@pytest.fixture(scope="module")
def built_twice(tmp_path_factory):
    """A lesson built by two kernels: the checkout, and the notebooks after each."""
    root = checkout(tmp_path_factory.mktemp("checkout"))
    (root / "lessons" / "08_other.md").unlink()
    write(root, "07_small", OUTPUTS)
    assert build(root) == ["07_small"]
    first = notebooks(root)
    assert build(root, everything=True) == ["07_small"]
    return root, first, notebooks(root)


def test_no_kernel_stays_behind(built_twice):
    running = psutil.Process().children(recursive=True)
    assert not [one for one in running if "ipykernel_launcher" in " ".join(one.cmdline())]


def test_both_editions_are_written_and_nothing_else(built_twice):
    assert set(built_twice[1]) == {"notebooks/07_small.ipynb", "notebooks/lab/07_small.ipynb"}


def test_building_twice_gives_the_same_bytes_a_figure_included(built_twice):
    _, first, second = built_twice
    assert b"image/png" in first["notebooks/07_small.ipynb"]
    assert first == second


def test_the_worked_edition_is_executed_and_the_lab_edition_is_not(built_twice):
    worked, lab = (
        nbformat.reads(built_twice[1][f"notebooks/{name}"].decode(), as_version=4)
        for name in ("07_small.ipynb", "lab/07_small.ipynb")
    )
    code = [c for c in worked.cells if c.cell_type == "code"]
    assert [c.execution_count for c in code] == [1, 2, 3, 4]
    assert "image/png" in code[1].outputs[0].data
    assert "argmax" in code[3].source
    untouched = [c for c in lab.cells if c.cell_type == "code"]
    assert all(c.execution_count is None and c.outputs == [] for c in untouched)
    assert untouched[3].source == f"def greedy(logits):\n    {STUB}"


def test_addresses_and_temporary_files_are_scrubbed(built_twice):
    worked = json.loads(built_twice[1]["notebooks/07_small.ipynb"])
    text = "".join(worked["cells"][3]["outputs"][0]["text"])
    assert text == "<object object at 0x…>\n<cell>\n"


def test_what_was_built_is_not_stale(built_twice):
    assert stale(built_twice[0]) == []
    assert build(built_twice[0]) == []


@pytest.mark.parametrize(
    ("source", "reason"),
    [("int('seven')", "invalid literal"), ("import os; os._exit(1)", "died")],
    ids=["an exception", "a kernel that dies"],
)
def test_a_failing_cell_is_named_and_nothing_is_written(root, source, reason):
    allowed = cell("int('six')", "raises-exception")
    write(root, "07_small", allowed + cell(f"number = 7\n{source}") + cell("never = 1"))
    with pytest.raises(LessonError, match=r"cell 3 \(“number = 7”\) fails") as error:
        build(root, ["07"])
    assert reason in str(error.value)
    assert str(root / "lessons" / "07_small.md") in str(error.value)
    assert notebooks(root) == {}


def test_only_lessons_that_changed_are_built(root, no_kernel):
    assert build(root) == ["07_small", "08_other"]
    assert build(root) == []
    before = notebooks(root)
    write(root, "08_other", cell("two = 22"))
    assert build(root) == ["08_other"]
    changed = {name for name, data in notebooks(root).items() if data != before[name]}
    assert changed == {"notebooks/08_other.ipynb", "notebooks/lab/08_other.ipynb"}


@pytest.mark.parametrize("name", ["07", "07_small"])
def test_a_lesson_that_is_named_is_built_though_it_is_current(root, no_kernel, name):
    build(root)
    assert build(root, [name]) == ["07_small"]


def test_an_unknown_lesson_is_refused_with_the_known_ones(root):
    with pytest.raises(UserError, match=r"'9': expected .* 07_small, 08_other"):
        build(root, ["9"])


def test_progress_is_reported_up_to_one_under_the_name_of_the_lesson(root, no_kernel):
    reports = []
    build(root, report=lambda name, fraction: reports.append((name, fraction)))
    assert [f for name, f in reports if name == "07_small"] == pytest.approx([1 / 3, 2 / 3, 1])
    assert reports[-1] == ("08_other", 1.0)


def test_no_timestamps_are_stored(root, no_kernel):
    build(root)
    assert not any(b"started" in data for data in notebooks(root).values())


def test_an_edited_lesson_makes_both_editions_stale(root, no_kernel):
    build(root)
    assert stale(root) == []
    write(root, "07_small", cell("one = 11"))
    folder = root / "notebooks"
    assert stale(root) == [folder / "07_small.ipynb", folder / "lab" / "07_small.ipynb"]


@pytest.mark.parametrize("name", ["07_small.ipynb", "lab/07_small.ipynb"])
@pytest.mark.parametrize("harm", [os.remove, lambda path: path.write_text("{}")])
def test_a_missing_or_foreign_notebook_is_stale_and_built_again(root, no_kernel, name, harm):
    build(root)
    whole = notebooks(root)
    harm(root / "notebooks" / name)
    assert stale(root) == [root / "notebooks" / name]
    assert build(root) == ["07_small"]
    assert notebooks(root) == whole


@pytest.mark.parametrize("folder", ["notebooks", "notebooks/lab"])
def test_a_notebook_without_a_lesson_is_stale(root, no_kernel, folder):
    build(root)
    orphan = root / folder / "09_gone.ipynb"
    orphan.write_text("{}")
    (root / folder / ".ipynb_checkpoints").mkdir()
    (root / folder / ".ipynb_checkpoints" / "07_small-checkpoint.ipynb").write_text("{}")
    assert stale(root) == [orphan]


def test_lessons_come_in_the_order_of_the_course_appendices_last(root):
    for name in ("P0_before", "A1_primer", "00_start", "10_later"):
        write(root, name, "")
    (root / "lessons" / "README.md").write_text("no lesson")
    names = [path.stem for path in building.lesson_paths(root)]
    assert names == ["00_start", "07_small", "08_other", "10_later", "A1_primer", "P0_before"]


@pytest.mark.parametrize("name", ["A2", "a2", "A2_encoders"])
def test_an_appendix_is_built_by_its_number(root, no_kernel, name):
    write(root, "A2_encoders", cell("three = 3"))
    assert build(root, [name]) == ["A2_encoders"]
    assert notebooks(root)


def test_the_exercises_of_an_appendix_come_after_those_of_the_numbered_lessons():
    lessons = [exercise.lesson for exercise in all_exercises().values()]
    appendices = [lesson.startswith("A") for lesson in lessons]
    assert any(appendices)
    assert appendices == sorted(appendices)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (drawn(), "draws a figure without alt text"),
        (printed(f"saved to {Path.home() / 'figure.png'}"), "names the machine"),
        (printed(f"in {HERE}"), "names the machine"),
        (printed(tempfile.gettempdir()), "names the machine"),
        (
            nbformat.v4.new_output("execute_result", data={"text/plain": str(HERE)}),
            "names the machine",
        ),
    ],
    ids=["figure", "home", "working folder", "temporary folder", "a result"],
)
def test_what_must_not_be_stored_is_refused_by_cell_and_nothing_is_written(
    root, no_kernel, monkeypatch, output, reason
):
    monkeypatch.chdir(HERE)
    no_kernel["one = 1"] = [output]
    with pytest.raises(LessonError, match=reason) as error:
        build(root)
    assert f"{root / 'lessons' / '07_small.md'}, cell 2 (“one = 1”)" in str(error.value)
    assert notebooks(root) == {}


def test_what_names_a_machine_is_taken_from_it_and_common_words_are_not(monkeypatch):
    monkeypatch.setattr(building.os, "getcwd", lambda: "/srv/course")
    monkeypatch.setattr(building.tempfile, "gettempdir", lambda: "/scratch")
    monkeypatch.setattr(building.socket, "gethostname", lambda: "lectern")
    monkeypatch.setattr(building.getpass, "getuser", lambda: "lovelace")
    names = building.machine_names()
    assert {"/srv/course", "/scratch", "lectern", "lovelace"} <= names
    monkeypatch.setattr(building.os, "getcwd", lambda: "/")
    monkeypatch.setattr(building.socket, "gethostname", lambda: "localhost")
    monkeypatch.setattr(building.getpass, "getuser", lambda: "root")
    assert building.machine_names() & {"/", "localhost", "root"} == set()


def test_a_failing_build_leaves_the_notebooks_of_before(root, no_kernel, monkeypatch):
    monkeypatch.chdir(HERE)
    build(root)
    before = notebooks(root)
    write(root, "07_small", cell("one = 11"))
    no_kernel["one = 11"] = [printed(str(HERE))]
    with pytest.raises(LessonError):
        build(root)
    assert notebooks(root) == before


@pytest.mark.parametrize("alt", ["", "A plot"])
def test_alt_text_of_a_word_or_two_is_none(alt):
    figure = nbformat.v4.new_code_cell("draw()", outputs=[drawn()])
    figure.metadata["mystnb"] = nbformat.from_dict({"image": {"alt": alt}})
    with pytest.raises(LessonError, match="without alt text"):
        check_outputs(figure, "here")
    figure.metadata.mystnb.image.alt = ALT
    check_outputs(figure, "here")


def test_a_tag_that_ignores_no_output_is_refused():
    silent = nbformat.v4.new_code_cell("one = 1")
    silent.metadata["tags"] = ["nbval-ignore-output"]
    with pytest.raises(LessonError, match="prints nothing"):
        check_outputs(silent, "here")


def test_the_checkout_is_found_from_any_folder_in_it(root):
    (root / "notebooks" / "lab").mkdir()
    assert project_root(root / "notebooks" / "lab") == root.resolve()


def test_outside_of_a_checkout_the_one_of_this_package_is_found(tmp_path):
    assert (project_root(tmp_path) / "lessons" / "00_start_here.md").is_file()


def test_without_any_checkout_it_is_said_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(building, "__file__", str(tmp_path / "site-packages" / "building.py"))
    with pytest.raises(UserError, match=r"no checkout .* holds lessons/ and notebooks/"):
        project_root(tmp_path)
