"""`decodeloop bundle`, with a network that the test plays."""

from __future__ import annotations

from importlib import import_module

import pytest
from one_sentence import assert_one_sentence

from decodeloop.course import building, bundling
from decodeloop.course.bundling import Wheel


@pytest.fixture
def played(tmp_path, monkeypatch):
    """A course of one file, and an index of one wheel."""
    root, index = tmp_path / "root", tmp_path / "index"
    (root / "lessons").mkdir(parents=True)
    (root / "notebooks").mkdir()
    index.mkdir()
    (index / "thing-1.0-py3-none-any.whl").write_bytes(b"0" * 2_000_000)
    digest = bundling.digest_of(index / "thing-1.0-py3-none-any.whl")
    wheel = Wheel(
        "thing-1.0-py3-none-any.whl",
        (index / "thing-1.0-py3-none-any.whl").as_uri(),
        digest,
        2_000_000,
    )
    model = tmp_path / "model" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    model.parent.mkdir()
    model.write_bytes(b"weights")

    def lock(target, root, folder):
        (folder / f"{target.name}.txt").write_text("thing==1.0\n")
        return folder / f"{target.name}.txt"

    monkeypatch.setattr(building, "project_root", lambda: root)
    monkeypatch.setattr(bundling, "make_lock", lock)
    monkeypatch.setattr(bundling, "wheels", lambda *_: [wheel])
    monkeypatch.setattr(bundling, "resolves", lambda *_: "")
    command_module = import_module("decodeloop.commands.bundle")
    monkeypatch.setattr(command_module, "own_wheel", lambda root, folder: None)
    monkeypatch.setattr("decodeloop.checkpoints.fetch", lambda *_, **__: model.parent)
    return tmp_path / "stick"


def test_a_stick_is_filled_and_another_run_downloads_nothing(command, played, monkeypatch):
    words = ("bundle", "--out", played, "--platform", "linux,windows", "--python", "3.11", "--yes")
    status, out, _ = command(*words)
    assert status == 0
    assert "linux-3.11        1 wheels, 2 MB; to be downloaded: 2 MB" in out
    assert "windows-3.11: every requirement has its wheel" in out
    names = "SHA256SUMS START.md course install.ps1 install.sh locks model wheels"
    assert sorted(path.name for path in played.iterdir()) == names.split()
    assert (played / "model" / "SmolLM2-135M-Instruct.Q4_1.gguf").read_bytes() == b"weights"
    monkeypatch.setattr(bundling, "download", None)
    assert "to be downloaded: 0 MB" in command(*words)[1]


def test_nothing_is_downloaded_without_a_yes(command, played, monkeypatch):
    monkeypatch.setattr("typer.confirm", lambda text: False)
    status, out, _ = command("bundle", "--out", played, "--platform", "linux")
    assert status == 0
    assert "to be downloaded: 2 MB" in out
    assert not (played / "wheels").exists()


def test_a_system_that_is_unknown_is_one_sentence(command, played):
    status, _, err = command("bundle", "--out", played, "--platform", "beos")
    assert status == 2
    assert_one_sentence(err, "beos", "linux, windows, macos")
