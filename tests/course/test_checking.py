import errno
import functools
import json
import linecache
import os
from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch
from torch.testing import assert_close

from decodeloop import model
from decodeloop.course import begin
from decodeloop.course.checking import (
    MARK,
    WrongAnswer,
    check,
    failed_inputs,
    hint,
    is_ours,
    substitute,
)
from decodeloop.course.progress import Progress
from decodeloop.course.session import KEY, Session, current
from decodeloop.errors import UserError
from decodeloop.exercises.finding import find, numbers

RIGHT = """\
import torch

def helper(x, dim):
    return torch.softmax(x, dim).nan_to_num(0.0)

def softmax(x, dim=-1):
    return helper(x, dim)
"""
NAIVE = "def softmax(x, dim=-1):\n    return x.exp() / x.exp().sum(dim, keepdim=True)\n"
STUB = "def softmax(x, dim=-1):\n    raise NotImplementedError('write me')\n"
CASES = len(find("softmax").cases)


@pytest.fixture
def written(run_cell):
    """The softmax that some source defines."""

    def write(source, filename="/tmp/ipykernel_1/2.py"):
        namespace = {}
        run_cell(source, namespace, filename)
        return namespace["softmax"]

    return write


@pytest.fixture
def work(notebook, tmp_path):
    """A lab notebook in a work folder."""
    Progress(tmp_path).start()
    return tmp_path


def tree(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def entry(work):
    return json.loads((work / "progress.json").read_text())["exercises"]["softmax"]


# what check returns


def test_a_right_answer_is_what_the_notebook_goes_on_with(notebook, written, capsys):
    softmax = written(RIGHT)
    assert check(softmax) is softmax
    assert capsys.readouterr().out == f"\033[32m✓ softmax: right\033[0m ({CASES} cases)\n"


@pytest.mark.parametrize("source", [NAIVE, STUB])
def test_otherwise_it_goes_on_with_the_librarys_marked(notebook, written, source):
    answer = written(source)
    got = check(answer)
    assert got is not answer
    assert hasattr(got, MARK)
    assert not hasattr(model.softmax, MARK)
    assert got.__name__ == "softmax"
    x = torch.tensor([[1000.0, 1001.0], [0.0, 1.0]])
    assert_close(got(x, dim=0), torch.softmax(x, 0))


def test_a_wrong_answer_is_told_what_came_and_the_hint_of_its_mistake(notebook, written, capsys):
    check(written(NAIVE))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"\033[31m✗ softmax: wrong\033[0m on 6 of {CASES} cases"
    assert lines[1].startswith("  first on “scores around 1,000”: the shape (3, 3) is right, ")
    assert lines[1].endswith("got nan")
    assert lines[2].startswith("  → Right for small scores, but e^89 no longer fits")
    assert lines[3].startswith("  → from decodeloop.course import failed_inputs; failed_inputs(")
    assert lines[3].endswith('("softmax") gives the inputs of that case, to try by hand')
    assert lines[4] == "  going on with the library's, so that the cells below work"
    assert len(lines) == 5


def test_a_wrong_answer_that_nobody_named_is_pointed_to_the_hints(notebook, written, capsys):
    check(written("def softmax(x, dim=-1):\n    return x / 'a'\n"))
    lines = capsys.readouterr().out.splitlines()
    assert f"on {CASES} of {CASES} cases" in lines[0]
    assert lines[1].startswith("  first on “scores (3, 3)”: it raised ")
    assert lines[2] == "  at line 2 of your cell:  return x / 'a'"
    assert lines[3] == '  → stuck? hint("softmax") gives one hint at a time'


def test_a_stub_is_not_attempted(notebook, written, capsys):
    check(written(STUB))
    out = capsys.readouterr().out
    assert out == "\033[33m○ softmax: not attempted\033[0m: going on with the library's\n"


@pytest.mark.parametrize(
    "disguise",
    [
        lambda: model.softmax,
        lambda: substitute(find("softmax")),
        lambda: functools.wraps(model.softmax)(lambda x, dim=-1: model.softmax(x, dim)),
    ],
    ids=["the library's", "a substitute", "the library's, wrapped"],
)
def test_what_is_ours_is_never_green(notebook, capsys, disguise):
    got = check(disguise())
    out = capsys.readouterr().out
    assert "○ softmax: this is the library's function, not yours" in out
    assert "✓" not in out
    assert hasattr(got, MARK)


def test_running_the_check_cell_again_after_a_wrong_answer_counts_for_nothing(
    work, written, capsys
):
    softmax = check(written(NAIVE))
    for _ in range(2):
        softmax = check(softmax)
    assert "✓" not in capsys.readouterr().out
    assert entry(work) == {"state": "wrong", "attempts": 1}


def test_a_substitute_for_a_class_is_a_marked_class(notebook):
    class Cache:
        """Keeps."""

        def __init__(self, size):
            self.size = size

    asked = replace(find("softmax"), name="Cache", library=Cache)
    stand_in = substitute(asked)
    assert stand_in.__name__ == "Cache"
    assert stand_in.__doc__ == "Keeps."
    assert stand_in(3).size == 3
    assert isinstance(stand_in(3), Cache)
    assert is_ours(stand_in, asked)
    assert is_ours(Cache, asked)
    assert not hasattr(Cache, MARK)
    assert not is_ours(type("Cache", (), {}), asked)


# worked and lab


def test_in_a_worked_edition_a_wrong_answer_is_an_error(notebook, written, capsys):
    notebook[KEY] = Session("01_attention", "worked")
    for source, state in ((NAIVE, "wrong"), (STUB, "not attempted")):
        with pytest.raises(WrongAnswer, match=f"softmax: the worked edition's own .* is {state}"):
            check(written(source))
    assert "✗ softmax: wrong" in capsys.readouterr().out
    with pytest.raises(WrongAnswer, match="checks the library's own function"):
        check(model.softmax)
    softmax = written(RIGHT)
    assert check(softmax) is softmax


def test_in_a_lab_edition_it_is_none(notebook, written):
    notebook[KEY] = Session("01_attention", "lab")
    assert hasattr(check(written(NAIVE)), MARK)


def test_begin_makes_the_session_of_the_notebook_that_calls_it(work):
    begin("01_attention", "worked")
    assert current().strict
    assert current().work is None
    begin("01_attention", "lab")
    assert not current().strict
    assert current().work == work
    assert current().lesson == "01_attention"


def test_a_lab_notebook_outside_of_a_work_folder_says_that_nothing_is_kept(notebook, capsys):
    begin("01_attention", "worked")
    assert capsys.readouterr().out == ""
    begin("01_attention", "lab")
    out = capsys.readouterr().out
    assert out.startswith("This notebook lies in no work folder: answers are checked, but not kept")
    assert out.count("\n") == 1
    assert "make lab" in out


def test_in_a_work_folder_it_says_nothing(work, capsys):
    begin("01_attention", "lab")
    assert capsys.readouterr().out == ""


def test_a_folder_that_is_gone_is_no_work_folder(notebook, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    begin("01_attention", "lab")
    assert current().work is None


def test_an_edition_that_there_is_not_is_refused(notebook):
    with pytest.raises(UserError, match="the edition is 'solved': expected 'worked' or 'lab'"):
        begin("01_attention", "solved")


# what failed and what was printed


def test_the_inputs_of_the_first_failed_case_can_be_looked_at(notebook, written):
    check(written(NAIVE))
    (x,) = failed_inputs("softmax")
    assert not torch.isfinite(x.exp()).any()
    x.zero_()
    assert failed_inputs("softmax")[0].all()  # the learner's change reached a copy


def test_what_is_said_of_them_runs_in_this_notebook(notebook, written, capsys, monkeypatch):
    check(written(NAIVE))
    call = capsys.readouterr().out.splitlines()[3].removeprefix("  → ").split(" gives")[0]
    namespace = {}
    exec(call.replace("; ", "; x, = "), namespace)
    assert not torch.isfinite(namespace["x"].exp()).any()
    monkeypatch.setattr("__main__.failed_inputs", failed_inputs, raising=False)
    check(written(NAIVE))
    assert '\n  → failed_inputs("softmax") gives' in capsys.readouterr().out


def test_a_right_answer_leaves_no_failed_inputs(notebook, written):
    check(written(NAIVE))
    check(written(RIGHT))
    with pytest.raises(UserError, match="no failed case of 'softmax' is known in this notebook"):
        failed_inputs("softmax")


@pytest.mark.parametrize("source", [RIGHT, NAIVE])
def test_what_an_answer_printed_is_shown_once_and_cut(notebook, written, capsys, source):
    check(written(source.replace("    return ", "    print('here', 'z' * 150)\n    return ")))
    out = capsys.readouterr().out
    assert out.count("it printed: here zzz") == 1
    assert 300 < out.count("z") < 420


# what is kept


def test_the_whole_cell_of_an_accepted_answer_is_kept(work, written):
    check(written(RIGHT))
    assert (work / "mine" / "softmax.py").read_text() == RIGHT
    assert entry(work) == {"state": "right", "attempts": 1}


@pytest.mark.parametrize(("source", "state"), [(NAIVE, "wrong"), (STUB, "not attempted")])
def test_another_is_noted_but_not_kept(work, written, source, state):
    check(written(source))
    assert entry(work) == {"state": state, "attempts": 1}
    assert not (work / "mine").exists()


@pytest.mark.parametrize("later", [NAIVE, STUB])
def test_an_accepted_answer_is_never_taken_away(work, written, later):
    check(written(RIGHT))
    check(written(later))
    assert (work / "mine" / "softmax.py").read_text() == RIGHT
    assert entry(work) == {"state": "right", "attempts": 2}


def test_a_better_answer_takes_the_place_of_the_one_before(work, written):
    check(written(NAIVE))
    check(written(RIGHT))
    assert entry(work) == {"state": "right", "attempts": 2}
    better = RIGHT + "\n# the same, later\n"
    check(written(better, "/tmp/ipykernel_1/3.py"))
    assert (work / "mine" / "softmax.py").read_text() == better


def test_the_cell_is_kept_and_not_the_file_of_a_decorator(work, written):
    source = RIGHT.replace("def softmax", "@torch.no_grad()\ndef softmax")
    softmax = written(source)
    assert check(softmax) is softmax
    assert (work / "mine" / "softmax.py").read_text() == source


def test_a_right_answer_whose_source_is_nowhere_is_right_all_the_same(work, written):
    softmax = written(RIGHT)
    linecache.cache.pop("/tmp/ipykernel_1/2.py")
    assert check(softmax) is softmax
    assert entry(work)["state"] == "right"
    assert not (work / "mine").exists()


def test_a_folder_inside_the_work_folder_belongs_to_it(work, written, monkeypatch):
    inside = work / "scratch"
    inside.mkdir()
    monkeypatch.chdir(inside)
    check(written(RIGHT))
    assert entry(work)["state"] == "right"
    assert not list(inside.iterdir())


@pytest.mark.parametrize("source", [RIGHT, NAIVE, STUB])
def test_without_a_work_folder_nothing_is_written(notebook, tmp_path, written, source):
    (tmp_path / "notes.txt").write_text("mine")
    before = tree(tmp_path)
    check(written(source))
    hint("softmax")
    assert tree(tmp_path) == before


def test_a_worked_edition_writes_nothing_in_a_work_folder_either(work, written):
    begin("01_attention", "worked")
    before = tree(work)
    check(written(RIGHT))
    assert tree(work) == before


def test_outside_a_notebook_check_works_and_writes_nothing(work, written, monkeypatch):
    monkeypatch.setattr("decodeloop.course.session.notebook_namespace", lambda: None)
    before = tree(work)
    softmax = written(RIGHT)
    assert check(softmax) is softmax
    assert tree(work) == before


TERMS = "def softmax(x, dim=-1):\n    import torch\n    a = 0\n    return (" + "a + " * 900
TERMS += "torch.softmax(x, dim).nan_to_num(0.0))\n"


def test_an_answer_of_a_thousand_terms_is_kept(work, written, capsys):
    softmax = written(TERMS)
    assert check(softmax) is softmax
    assert capsys.readouterr().out.count("\n") == 1
    assert (work / "mine" / "softmax.py").read_text() == TERMS


def test_whatever_hinders_the_keeping_the_answer_is_right_and_it_is_one_sentence(
    work, written, capsys, monkeypatch
):
    def fails(*_):
        raise RecursionError("maximum recursion depth exceeded")

    monkeypatch.setattr("decodeloop.course.checking.standalone", fails)
    softmax = written(RIGHT)
    assert check(softmax) is softmax
    first, second = capsys.readouterr().out.splitlines()
    assert "✓ softmax: right" in first
    assert second == (
        "  its source can't be kept with it (RecursionError: maximum recursion depth exceeded)"
    )
    assert entry(work)["state"] == "right"


SPOILT = {
    "no JSON": lambda work: (work / "progress.json").write_text("{"),
    "odd": lambda work: (work / "progress.json").write_text('{"exercises": {"softmax": 3}}'),
    "a folder for a file": lambda work: (work / "mine" / "softmax.py").mkdir(parents=True),
    "a file for a folder": lambda work: (work / "mine").write_text(""),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
@pytest.mark.parametrize("source", [RIGHT, NAIVE, STUB], ids=["right", "wrong", "stub"])
def test_a_spoilt_work_folder_is_one_sentence_and_check_judges_all_the_same(
    work, written, capsys, spoil, source
):
    spoil(work)
    before = tree(work)
    answer = written(source)
    assert (check(answer) is answer) == (source == RIGHT)
    lines = capsys.readouterr().out.splitlines()
    if source != RIGHT and (work / "mine").exists():
        assert str(work) not in lines[-1]
        return
    assert lines[0].split(": ")[1][:5] in ("right", "wrong", "not a")
    assert str(work) in lines[-1]
    assert not [p for p in tree(work) if p.name.startswith(".softmax")]
    assert before.items() <= tree(work).items()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_refuses_takes_nothing_from_a_right_answer(
    work, written, capsys, monkeypatch, code
):
    def refuses(*_):
        raise OSError(code, os.strerror(code))

    before = tree(work)
    monkeypatch.setattr(os, "replace", refuses)
    softmax = written(RIGHT)
    assert check(softmax) is softmax
    first, second = capsys.readouterr().out.splitlines()
    assert "✓ softmax: right" in first
    assert f"softmax.py can't be written: {os.strerror(code)}" in second
    assert tree(work) == before
    assert current().accepted["softmax"] == RIGHT


# what it leaves


def test_what_an_answer_changed_in_the_process_is_said_in_one_line(notebook, written, capsys):
    changes = RIGHT.replace(
        "    return helper", "    torch.set_grad_enabled(False)\n    return helper"
    )
    check(written(changes))
    first, second = capsys.readouterr().out.splitlines()
    assert "✓ softmax: right" in first
    assert second == "  it changed whether gradients are kept, and left it so: put back as it was"
    assert torch.is_grad_enabled()


# bad calls


def test_an_unknown_name_is_answered_with_those_that_there_are(notebook):
    def my_softmax(x, dim=-1):
        return x

    with pytest.raises(UserError) as error:
        check(my_softmax)
    message = str(error.value)
    assert message.startswith("there is no exercise called 'my_softmax': expected one of ")
    for name in numbers():
        assert name in message
    assert "\n" not in message


def test_a_function_without_a_name_of_its_own_is_told_so(notebook):
    with pytest.raises(UserError, match="there is no exercise called '<lambda>'"):
        check(lambda x: x)


class Refuses:
    """Has no attribute that can be asked for."""

    def __getattr__(self, name):
        raise ZeroDivisionError

    def __call__(self, *_):
        return self


def test_an_object_that_refuses_to_be_asked_is_told_so_too(notebook):
    with pytest.raises(UserError, match="check was given Refuses: expected the function"):
        check(Refuses())


@pytest.mark.parametrize("what", [torch.ones(2), None, 3, "softmax", Mock()])
def test_what_is_no_function_is_told_so(notebook, what):
    with pytest.raises(UserError) as error:
        check(what)
    message = str(error.value)
    assert message.startswith(f"check was given {type(what).__name__}: expected the function")
    assert "check(softmax)" in message


def test_a_user_error_shows_no_traceback_in_a_notebook(notebook):
    error = WrongAnswer("one sentence")
    assert error._render_traceback_() == ["WrongAnswer: one sentence"]


# hint


def test_a_hint_comes_one_at_a_time_and_after_the_last_they_begin_again(notebook, capsys):
    hints = find("attention").hints
    for _ in range(2):
        for number, text in enumerate(hints, start=1):
            hint("attention")
            out = capsys.readouterr().out
            assert out == f"Hint {number} of {len(hints)} for attention: {text}\n"
        hint("attention")
        out = capsys.readouterr().out
        assert f"all {len(hints)} hints for attention" in out
        assert "notebooks/01_attention.ipynb" in out


def test_each_exercise_counts_its_own_hints(notebook, capsys):
    hint("softmax")
    hint("attention")
    hint("softmax")
    firsts = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert firsts == [
        f"Hint 1 of {len(find('softmax').hints)} for softmax",
        f"Hint 1 of {len(find('attention').hints)} for attention",
        f"Hint 2 of {len(find('softmax').hints)} for softmax",
    ]


def test_a_hint_may_be_asked_for_by_the_function_itself(notebook, written, capsys):
    hint(written(STUB))
    assert "for softmax" in capsys.readouterr().out


def test_a_hint_for_what_is_unknown_lists_the_exercises(notebook):
    with pytest.raises(UserError, match="no exercise called 'softmaxx': expected one of greedy, "):
        hint("softmaxx")


# in IPython itself


def test_in_ipython_the_cell_is_kept_as_it_was_typed(tmp_path, monkeypatch, capsys):
    shells = pytest.importorskip("IPython.core.interactiveshell")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setattr("IPython.core.history.HistoryManager.enabled", False)
    folder = tmp_path / "work"
    Progress(folder).start()
    monkeypatch.chdir(folder)
    shell = shells.InteractiveShell.instance()
    try:
        shell.run_cell(RIGHT).raise_error()
        shell.run_cell("from decodeloop.course import check").raise_error()
        shell.run_cell("softmax = check(softmax)").raise_error()
        assert (folder / "mine" / "softmax.py").read_text() == RIGHT
        assert entry(folder)["state"] == "right"
        assert shell.user_ns["softmax"].__code__.co_name == "softmax"
        assert KEY in shell.user_ns
        capsys.readouterr()
        (folder / "mine" / "softmax.py").unlink()
        shell.run_cell(f"%%time\n{RIGHT}", store_history=True).raise_error()
        shell.run_cell("softmax = check(softmax)", store_history=True).raise_error()
        assert (folder / "mine" / "softmax.py").read_text() == RIGHT
        capsys.readouterr()
        result = shell.run_cell("check(3)")
        assert isinstance(result.error_in_exec, UserError)
        out = capsys.readouterr().out
        assert "UserError: check was given int" in out
        assert "checking.py" not in out
    finally:
        shells.InteractiveShell.clear_instance()
