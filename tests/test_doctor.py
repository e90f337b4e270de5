"""The doctor looks at everything, and nothing that it meets is an exception."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from decodeloop import devices, doctor
from decodeloop.doctor import Row, as_json, examine, healthy
from decodeloop.errors import UserError
from decodeloop.measure import room


@pytest.fixture
def looks(monkeypatch):
    """Let the doctor look at these only."""

    def only(*functions):
        monkeypatch.setattr(doctor, "LOOKS", functions)

    return only


def fine():
    yield Row("fine", "all of it", True)


def surplus():
    yield Row("surplus", "too little", False, "add some", needed=False)


def rows_of(look):
    return {row.name: row for row in look()}


def test_the_words_of_a_row():
    assert Row("a", "b", True).word == "ok"
    assert Row("a", "b", False).word == "FAIL"
    assert Row("a", "b", False, needed=False).word == "warn"


def test_a_look_that_fails_is_a_failing_row_and_the_others_go_on(looks):
    def broken():
        yield Row("half", "seen", True)
        raise RuntimeError("the lamp is out")

    looks(broken, fine)
    half, failed, last = examine()
    assert (half.name, last.name) == ("half", "fine")
    assert (failed.name, failed.found, failed.ok) == (
        "broken",
        "RuntimeError: the lamp is out",
        False,
    )
    assert "make lab" in failed.fix
    assert not healthy([half, failed, last])


def test_what_a_user_error_says_is_the_fix(looks):
    def refused():
        raise UserError("no lamp: bring one.")
        yield

    looks(refused)
    [row] = examine()
    assert (row.name, row.ok, row.fix) == ("refused", False, "no lamp: bring one.")


def test_a_warning_does_not_make_the_machine_unfit():
    assert healthy([*fine(), *surplus()])
    assert not healthy([*fine(), Row("a", "b", False)])


def test_as_json_is_plain_data(looks):
    looks(fine, surplus)
    report = as_json(examine())
    assert json.loads(json.dumps(report)) == report
    assert report["ok"] is True
    assert report["rows"][1] == {
        "name": "surplus",
        "found": "too little",
        "ok": False,
        "fix": "add some",
        "needed": False,
    }


def test_in_a_notebook_each_failing_row_has_its_fix_below(looks, capsys):
    looks(fine, lambda: iter([Row("broken", "a lamp", False, "mend it")]), surplus, fine)
    doctor.doctor()
    lines = capsys.readouterr().out.splitlines()
    assert [line[0] for line in lines] == ["✓", "✗", " ", "○", " ", "M"]
    assert lines[2].strip() == "→ mend it"
    assert lines[4].strip() == "→ add some"
    assert lines[-1] == "Mend what is marked ✗ first."


def test_in_a_notebook_a_fit_machine_is_told_so(looks, capsys):
    looks(fine, fine)
    doctor.doctor()
    assert capsys.readouterr().out.splitlines()[-1] == "The course can run here."


def test_the_last_look_is_at_the_course_files_which_learners_are_spared(looks):
    assert doctor.LOOKS[-1] is doctor.notebooks
    looks(fine, surplus)
    assert [row.name for row in examine(course_files=False)] == ["fine"]


def test_an_old_python_or_torch_fails(monkeypatch):
    assert all(row.ok for row in [*doctor.python(), *doctor.torch_build()])
    monkeypatch.setattr(sys, "version_info", (3, 10, 4, "final", 0))
    monkeypatch.setattr(torch, "__version__", "2.5.1+cu118")
    old_python, old_torch = *doctor.python(), *doctor.torch_build()
    assert (old_python.found, old_python.ok, old_python.word) == ("3.10.4", False, "FAIL")
    assert (old_torch.found, old_torch.ok, old_torch.word) == ("2.5.1+cu118", False, "FAIL")
    assert "2.6" in old_torch.fix


def test_the_device_that_was_asked_for_is_shown(monkeypatch):
    monkeypatch.setenv("DECODELOOP_DEVICE", "cpu")
    assert rows_of(doctor.device)["device"].found == "cpu (DECODELOOP_DEVICE=cpu)"


def test_a_device_that_cannot_compute_is_a_failing_row(monkeypatch):
    monkeypatch.setattr(devices, "failure", lambda device: "CUDA error: no kernel image")
    row = rows_of(doctor.device)["device"]
    assert (row.word, "can't compute: CUDA error: no kernel image" in row.found) == ("FAIL", True)
    assert "DECODELOOP_DEVICE=cpu" in row.fix


def test_an_unknown_device_is_a_failing_row(looks, monkeypatch):
    looks(doctor.device)
    monkeypatch.setenv("DECODELOOP_DEVICE", "abacus")
    [row] = examine()
    assert (row.name, row.word) == ("device", "FAIL")
    assert "unknown device 'abacus'" in row.fix


def test_more_threads_than_cores_are_a_warning(monkeypatch):
    monkeypatch.setattr(doctor.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert rows_of(doctor.threads)["threads"].word == "warn"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert rows_of(doctor.threads)["threads"].word == "ok"


@pytest.mark.parametrize(("gigabytes", "word"), [(2.0, "warn"), (8.0, "ok"), (None, "ok")])
def test_little_memory_is_a_warning_and_unknown_memory_none(monkeypatch, gigabytes, word):
    monkeypatch.setattr(room, "total_memory", lambda: gigabytes and gigabytes * 1e9)
    assert rows_of(doctor.memory)["memory"].word == word


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "not" / "yet"))


def test_room_is_needed_only_until_the_model_is_there(monkeypatch, request):
    usage = doctor.shutil.disk_usage("/")._replace(free=100_000_000)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage)
    assert rows_of(doctor.disk)["disk"].word == "ok"
    request.getfixturevalue("empty_cache")
    row = rows_of(doctor.disk)["disk"]
    assert (row.word, row.found[:6]) == ("FAIL", "0.1 GB")
    assert "XDG_CACHE_HOME" in row.fix


def test_a_missing_model_fails_with_what_to_run(empty_cache):
    [row] = doctor.model()
    assert (row.name, row.word, row.fix) == ("model", "FAIL", "run 'decodeloop fetch'")
    assert row.found == "smollm2-135m is not on this machine"


def test_the_model_is_loaded_and_timed():
    found = rows_of(doctor.model)
    assert all(row.ok for row in found.values())
    assert " s for a second load" in found["load"].found


def test_a_kernel_that_jupyter_does_not_know_fails_with_how_to_install_it(monkeypatch):
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    def unknown(self, name):
        raise NoSuchKernel(name)

    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", unknown)
    [row] = doctor.kernel()
    assert (row.name, row.ok) == ("kernel", False)
    assert row.fix == f"{sys.executable} -m ipykernel install --sys-prefix"


def test_without_jupyter_the_kernel_fails_with_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "jupyter_client.kernelspec", None)
    [row] = doctor.kernel()
    assert (row.name, row.ok, row.found) == ("kernel", False, "Jupyter is not installed")
    assert row.fix.endswith("'.[lab]'")


@pytest.mark.parametrize("interpreter", ["/no/such/python", "false"])
def test_a_kernel_of_another_python_without_the_course_fails(monkeypatch, interpreter):
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

    spec = KernelSpec(argv=[interpreter, "-m", "ipykernel_launcher"])
    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", lambda self, name: spec)
    [row] = doctor.kernel()
    assert (row.ok, row.found) == (False, f"python3 starts {interpreter}")


def test_outside_of_a_checkout_the_course_files_are_a_warning(monkeypatch):
    from decodeloop.course import building

    def nowhere():
        raise UserError("no checkout.")

    monkeypatch.setattr(building, "project_root", nowhere)
    [row] = doctor.notebooks()
    assert (row.word, row.found, row.fix) == ("warn", "not in a checkout", "no checkout.")


def test_stale_notebooks_are_named(monkeypatch, tmp_path):
    from decodeloop.course import building, cheatsheet

    (tmp_path / "lessons").mkdir()
    (tmp_path / "notebooks").mkdir()
    cheatsheet.write_cheat_sheet(tmp_path)
    (tmp_path / "lessons" / "07_small.md").write_text("text")
    monkeypatch.setattr(building, "project_root", lambda: tmp_path)
    [row] = doctor.notebooks()
    assert (row.word, row.found) == ("warn", "1 lessons, 2 notebooks stale")
    assert "make build" in row.fix
    assert "07_small.ipynb" in row.fix
