"""The course on a stick: what is asked for, what is missing, and what lies there in the end."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from itertools import pairwise

import pytest

from decodeloop.course import bundling
from decodeloop.course.bundle_texts import SHELL, start_page
from decodeloop.course.bundling import Target, Wheel, targets
from decodeloop.errors import UserError

LINUX = Target("linux", f"3.{sys.version_info.minor}")


def test_all_pairs_of_systems_and_pythons():
    made = targets("linux, macos", "3.11,3.12")
    assert [x.name for x in made] == ["linux-3.11", "linux-3.12", "macos-3.11", "macos-3.12"]


@pytest.mark.parametrize(
    ("platforms", "pythons", "said"),
    [
        ("beos", "3.11", "--platform names 'beos'"),
        ("linux", "3.10", "--python names '3.10'"),
        ("linux", "2.7", "--python names '2.7'"),
        ("linux", "new", "--python names 'new'"),
        (",", "3.11", "names nothing"),
    ],
)
def test_what_is_unknown_is_one_sentence(platforms, pythons, said):
    with pytest.raises(UserError, match=said):
        targets(platforms, pythons)


def test_a_lock_is_without_cuda(tmp_path, monkeypatch):
    asked = list[str]()

    def compile_(command, **options):
        asked.extend(command)
        lines = "numpy==2.0\nnvidia-cublas==13.1\ntorch==2.13.0\ntriton==3.9\n"
        (tmp_path / "linux-3.12.txt").write_text(lines)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(bundling, "uv_command", lambda: ["uv"])
    monkeypatch.setattr(bundling.subprocess, "run", compile_)
    lock = bundling.make_lock(Target("linux", "3.12"), tmp_path, tmp_path)
    words = bundling.lock_command(Target("linux", "3.12"), tmp_path, lock)
    extras = [after for word, after in pairwise(words) if word == "--extra"]
    assert extras == ["lab", "serve"]  # JupyterLab is on the stick, and what lesson 24 imports
    assert lock.read_text() == "numpy==2.0\ntorch==2.13.0\n"
    assert asked[asked.index("--python-platform") + 1] == "linux"
    assert asked[asked.index("--python-version") + 1] == "3.12.9"
    assert str(tmp_path / "constraints.txt") in asked


def test_without_uv_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(bundling.sys, "executable", shutil.which("false"))
    monkeypatch.setattr(bundling.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="pip install uv"):
        bundling.uv_command()


def test_a_file_is_brought_whole_or_not_at_all(tmp_path):
    (tmp_path / "source").mkdir()
    source, folder = tmp_path / "source" / "a-1.whl", tmp_path / "wheels"
    folder.mkdir()
    source.write_bytes(b"content")
    digest = hashlib.sha256(b"content").hexdigest()
    wheel = bundling.with_size(Wheel("a-1.whl", source.as_uri(), digest))
    assert wheel.bytes == len(b"content")
    assert bundling.missing([wheel], folder) == [wheel]
    bundling.download(wheel, folder)
    assert bundling.missing([wheel], folder) == []
    (folder / "a-1.whl").write_bytes(b"cut of")
    assert bundling.missing([wheel], folder) == [wheel]
    with pytest.raises(UserError, match="did not come as it should"):
        bundling.download(Wheel("b.whl", source.as_uri(), "0" * 64), folder)
    with pytest.raises(UserError, match="can't be downloaded"):
        bundling.download(Wheel("c.whl", (tmp_path / "gone").as_uri(), ""), folder)
    assert sorted(path.name for path in folder.iterdir()) == ["a-1.whl"]


def test_sizes_count_a_file_once():
    one, two = Wheel("a", "", "", 3), Wheel("b", "", "", 4)
    assert bundling.total([one, two, one]) == 7


def tiny_wheel(folder, name):
    """A package with nothing in it."""
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as file:
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


def test_a_folder_is_tried_by_itself(tmp_path):
    lock, scratch = tmp_path / "lock.txt", tmp_path / "scratch"
    tiny_wheel(tmp_path, "first_thing")
    lock.write_text("first-thing==1.0\n")
    assert bundling.resolves(LINUX, lock, tmp_path, scratch) == ""
    assert bundling.resolves(Target("windows", "3.13"), lock, tmp_path, scratch) == ""
    lock.write_text("first-thing==1.0\nsecond-thing==1.0\n")
    assert "second-thing" in bundling.resolves(LINUX, lock, tmp_path, scratch)


def test_the_course_and_its_checksums(tmp_path):
    root, out = tmp_path / "root", tmp_path / "out"
    (root / "lessons").mkdir(parents=True)
    (root / "notebooks" / "lab").mkdir(parents=True)
    (root / "notebooks" / ".ipynb_checkpoints").mkdir()
    (root / "lessons" / "01_attention.md").write_text("# Attention")
    (root / "notebooks" / "lab" / "01_attention.ipynb").write_text("{}")
    (root / "README.md").write_text("read me")
    bundling.copy_course(root, out)
    bundling.copy_course(root, out)  # it goes on where it stopped
    found = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
    assert found == [
        "course/README.md",
        "course/lessons/01_attention.md",
        "course/notebooks/lab/01_attention.ipynb",
    ]
    lines = bundling.checksums(out).splitlines()
    assert lines[0] == f"{hashlib.sha256(b'read me').hexdigest()}  course/README.md"
    assert len(lines) == 3


def test_the_page_names_what_is_there():
    page = start_page([LINUX, Target("windows", "3.12")], 700_000_000)
    assert "700 MB" in page
    assert "- windows, Python 3.12" in page
    assert "install.ps1" in page


@pytest.mark.skipif(shutil.which("sh") is None, reason="no shell here")
def test_the_script_refuses_a_python_that_is_not_there(tmp_path):
    (tmp_path / "install.sh").write_text(SHELL)
    (tmp_path / "wheels" / "linux-2.6").mkdir(parents=True)
    result = subprocess.run(
        ["sh", str(tmp_path / "install.sh"), str(tmp_path / "where")],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable},
    )
    assert result.returncode == 1
    assert "this stick has nothing for" in result.stderr
    assert "linux-2.6" in result.stderr
    assert not (tmp_path / "where").exists()
