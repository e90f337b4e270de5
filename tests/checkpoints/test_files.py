"""Small files of a model folder: whatever lies under their names, text or a sentence."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from decodeloop.checkpoints.files import (
    JSON_BYTES,
    can_be_a_path,
    check_regular,
    is_there,
    read_json,
    read_text,
)
from decodeloop.errors import ModelFileError
from decodeloop.loading import load

SIDE_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "model.safetensors",
)
DEVICES = [p for p in map(Path, ("/dev/zero", "/dev/full")) if p.is_char_device()]


@pytest.fixture(scope="module")
def whole(tiny, llama, tmp_path_factory) -> Path:
    return tiny.save_folder(tmp_path_factory.mktemp("hub") / "whole", llama)


@pytest.mark.parametrize("name", SIDE_FILES)
def test_what_is_no_regular_file_is_refused_at_once(tiny, whole, tmp_path, name):
    folder = Path(shutil.copytree(whole, tmp_path / "model"))
    path = folder / name

    def refused(kind):
        with tiny.guarded(seconds=20):
            message = tiny.refusal(lambda: load(folder, device="cpu"))
        assert message is not None, "it was loaded"
        assert f"{path} can't be read" in message
        assert kind in message
        path.rmdir() if path.is_dir() else path.unlink()

    path.unlink(missing_ok=True)
    path.mkdir()
    refused("a folder")
    if sys.platform == "win32":
        return
    os.mkfifo(path)
    refused("a pipe")
    for device in DEVICES:
        path.symlink_to(device)
        refused("a device")
    path.symlink_to(folder / "nowhere")
    refused("No such file")


@pytest.mark.skipif(sys.platform == "win32", reason="sparse files are made differently there")
@pytest.mark.parametrize("name", SIDE_FILES[:-1])
def test_a_giant_without_content_is_not_read(tiny, whole, tmp_path, name):
    folder = Path(shutil.copytree(whole, tmp_path / "model"))
    with (folder / name).open("wb") as file:
        file.truncate(1 << 38)
    with tiny.guarded(seconds=20):
        message = tiny.refusal(lambda: load(folder, device="cpu"))
    assert f"{folder / name} has 274,877,906,944 bytes: expected at most" in message


def test_a_regular_file_is_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": [{"a": 1}]}', "utf-8")
    assert check_regular(path) == 17
    assert read_json(path) == {"a": [{"a": 1}]}
    assert read_text(path) == '{"a": [{"a": 1}]}'
    path.write_bytes(bytes(JSON_BYTES + 1))
    with pytest.raises(ModelFileError, match="at most"):
        read_text(path)


def test_a_name_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"b": {"x": 1, "y": 2, "x": 3}}', "utf-8")
    with pytest.raises(ModelFileError, match="the name 'x' occurs twice"):
        read_json(path)


def test_what_can_be_a_path(tmp_path):
    assert can_be_a_path(tmp_path / "nothing")
    assert not can_be_a_path(tmp_path / ("x" * 5000))
    assert not can_be_a_path(Path("a\0b"))
    assert not is_there(tmp_path / "nothing")
    assert is_there(tmp_path)
