"""The process in which an answer runs: under bubblewrap, or plain where the lecturer trusts it.

Under bubblewrap it sees Python, its packages and nothing else: no network, no file of the
lecturer's, no process but its own; what it writes goes to small memory disks that vanish with it.
The package itself is not there, but for what reads and answers (`inside`).
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from decodeloop.course.grade.inside.pipe import Pipe
from decodeloop.errors import UserError, one_line

Kind = Literal["bubblewrap", "plain"]
PACKAGE = Path(__file__).resolve().parents[2]
CARRIED = ("__init__.py", "errors.py", "course/statements.py", "course/grade/inside/*.py")
EMPTY = ("course/__init__.py", "course/grade/__init__.py")
COMPILING = "prange = range  # Numba's in a notebook\n"
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
PATIENCE_S = 10.0  # until processes that were ended have gone
FIRST_UID = 1_000_000_000  # of those who are nobody, where the grader is root
MANY_UIDS = 1_000_000_000
FEW_UIDS = 60_000  # in a namespace that has no others
CAN_GRADE = hasattr(os, "fork")
CANT_GRADE = "grading forks processes, as Linux and macOS can"
FIX = (
    "Install it ('apt install bubblewrap', 'dnf install bubblewrap'); Ubuntu 24.04 and later also "
    "need a profile that lets it make namespaces: a file /etc/apparmor.d/bwrap with 'abi "
    "<abi/4.0>, include <tunables/global> profile bwrap /usr/bin/bwrap flags=(unconfined) { "
    "userns, }', then 'systemctl reload apparmor'. macOS and Windows have none: grade in a Linux "
    "machine or container there. With --trust what students wrote runs as you, with your files."
)


@dataclass(frozen=True)
class Limits:
    """What one sandbox may use."""

    memory: int = 3 << 30  # bytes of data, by each process
    file: int = 16 << 20  # bytes of one file
    disk: int = 64 << 20  # bytes of all files
    processes: int = 48  # and threads
    open_files: int = 256
    reply: int = 64 << 20  # bytes of one message
    start_s: float = 90.0
    times: float = 2.0  # the seconds of an exercise, by the clock


def demand_a_system() -> None:
    """Raise a `UserError` where not even plain processes can be driven."""
    if not CAN_GRADE:
        raise UserError(f"{CANT_GRADE}: run it there, or in the Windows Subsystem for Linux.")


def probe() -> str:
    """Why bubblewrap can't contain anything here; nothing if it can."""
    program = shutil.which("bwrap")
    if program is None:
        return "bubblewrap is not installed"
    if os.geteuid() == 0 and not is_known(FEW_UIDS):
        return "this is root in a namespace of its own (unshare -r), and can't become another user"
    try:
        command = [program, *namespaces(), "--die-with-parent", "--ro-bind", "/", "/", "true"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap can't be run ({one_line(error)})"
    return one_line(result.stderr) or "bubblewrap fails" if result.returncode else ""


def is_known(uid: int) -> bool:
    """Whether a process can become this user: in a namespace of users only those that are mapped.

    The file has lines of three numbers: the first user here, who that is outside, and how many
    follow (user_namespaces(7)).
    """
    try:
        lines = Path("/proc/self/uid_map").read_text("ascii").splitlines()
    except OSError:  # a system without such namespaces
        return True
    spans = [(int(first), int(count)) for first, _, count in map(str.split, lines)]
    return any(first <= uid < first + count for first, count in spans)


def nobody(slot: int) -> int:
    """A user for one sandbox alone: the kernel keeps keys, and counts processes, by user."""
    drawn = FIRST_UID + secrets.randbelow(MANY_UIDS)
    return drawn if is_known(drawn) else FEW_UIDS + slot


def namespaces() -> list[str]:
    """The options that cut a sandbox off.

    Root needs no namespace of users, and becomes another user inside; who is in such a namespace
    makes no further ones, where bubblewrap knows how.
    """
    options = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    if os.geteuid() == 0:
        return options
    further = ["--disable-userns"] if "--disable-userns" in help_of_bubblewrap() else []
    return [*options, "--unshare-user", *further]


@functools.cache
def help_of_bubblewrap() -> str:
    return subprocess.run(["bwrap", "--help"], capture_output=True, text=True, timeout=20).stdout


def demand_containment() -> None:
    """Raise a `UserError` with the fix unless bubblewrap works."""
    if why := probe():
        raise UserError(f"submissions can't be contained on this machine: {why}. {FIX}")


@contextlib.contextmanager
def carried() -> Iterator[Path]:
    """A folder with what the sandbox has of the package."""
    with TemporaryDirectory(prefix="grading-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        top = folder / "decodeloop"
        for pattern in CARRIED:
            for path in PACKAGE.glob(pattern):
                target = top / path.relative_to(PACKAGE)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        for empty in EMPTY:
            (top / empty).touch()
        (top / "course" / "compiling.py").write_text(COMPILING, "utf-8")
        yield folder


@functools.cache
def installed() -> tuple[str, ...]:
    """The folders of Python and of its packages."""
    paths = sysconfig.get_paths()
    found = {sys.prefix, sys.base_prefix, paths["stdlib"], paths["purelib"], paths["platlib"]}
    for name in ("torch", "numpy", "safetensors"):
        spec = __import__("importlib.util").util.find_spec(name)
        if spec is not None and spec.origin:
            found.add(str(Path(spec.origin).resolve().parents[1]))
    return tuple(sorted({str(Path(p)) for p in found}, key=len))


def parents(paths: Sequence[str]) -> list[str]:
    """The folders above some, from the root on."""
    above = {str(folder) for path in paths for folder in Path(path).parents}
    return sorted(above - {"/", *SYSTEM}, key=len)


def bubblewrapped(folder: Path, limits: Limits) -> list[str]:
    """The words before the command."""
    binds = list[str]()
    for path in SYSTEM:
        if os.path.islink(path):
            binds += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            binds += ["--ro-bind", path, path]
    for path in parents(installed()):  # bubblewrap makes them for root alone
        binds += ["--perms", "0755", "--dir", path]
    for path in installed():
        binds += ["--ro-bind", path, path]
    if any(PACKAGE.is_relative_to(path) for path in installed()):
        binds += ["--tmpfs", str(PACKAGE), "--remount-ro", str(PACKAGE)]  # no answers are there
    binds += ["--ro-bind", str(folder), "/grading"]
    small = ["--size", str(limits.disk)]
    root = os.geteuid() == 0
    return [
        *("bwrap", *namespaces()),
        *("--die-with-parent", "--new-session", "--cap-drop", "ALL"),
        *(("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID") if root else ()),
        *("--clearenv", "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", "/tmp"),
        *("--setenv", "LANG", "C.UTF-8", "--setenv", "OMP_NUM_THREADS", "1"),
        *("--hostname", "grading", "--proc", "/proc", "--dev", "/dev"),
        *(*small, "--perms", "1777", "--tmpfs", "/tmp"),
        *("--size", "1048576", "--tmpfs", "/dev/shm", "--remount-ro", "/dev"),
        *binds,
        *("--remount-ro", "/", "--chdir", "/tmp"),
    ]


class Sandbox:
    """One process, from its start to its end."""

    def __init__(self, kind: Kind, folder: Path, limits: Limits, slot: int = 0) -> None:
        """`slot` tells those that run at the same time apart.

        Raises:
            Broken: it did not start.
        """
        replies, writing = os.pipe()
        self.control, controlling = os.pipe()
        contained = kind == "bubblewrap"
        settings = {
            "reply": writing,
            "control": controlling,
            "limits": rlimits(limits, contained),
            "contained": contained,
            "uid": nobody(slot) if contained and os.geteuid() == 0 else 0,
        }
        where = "/grading" if contained else str(folder)
        child = f"{where}/decodeloop/course/grade/inside/child.py"
        command = [sys.executable, "-I", "-B", child, where, json.dumps(settings)]
        if contained:
            command = bubblewrapped(folder, limits) + command
        environment = {"PATH": os.environ.get("PATH", ""), "OMP_NUM_THREADS": "1"}
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=None if "GRADE_DEBUG" in os.environ else subprocess.DEVNULL,
                pass_fds=(writing, controlling),
                start_new_session=True,
                env=environment,
                cwd="/",
            )
        finally:
            os.close(writing)
            os.close(controlling)
        assert self.process.stdin is not None
        os.set_blocking(self.process.stdin.fileno(), False)
        self.warm = False  # whether it has imported PyTorch
        self.pipe = Pipe(replies, self.process.stdin.fileno(), limits.reply)
        self.pipe.patience = limits.start_s
        try:
            self.pipe.receive()
        except BaseException:
            self.close()
            raise

    def warm_up(self, limits: Limits) -> None:
        """Have it import PyTorch.

        Raises:
            Broken: it can't.
        """
        self.pipe.patience = limits.start_s
        self.pipe.send({"do": "warm"})
        self.pipe.receive()
        self.warm = True

    def await_cleared(self) -> None:
        """Until the process itself, not the task, says that all of the task has gone.

        Raises:
            Broken: it does not.
        """
        self.pipe.wait([self.control], [])
        if not os.read(self.control, 1):
            raise self.pipe.broke("end")

    def close(self) -> None:
        """End it, and whatever it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait()
        self.until_all_ended()
        os.close(self.pipe.reading)
        os.close(self.control)

    def until_all_ended(self) -> None:
        """Until nobody holds the pipe any more: the next to start must not be counted with them."""
        until = time.monotonic() + PATIENCE_S
        while (left := until - time.monotonic()) > 0:
            if not select.select([self.pipe.reading], [], [], left)[0]:
                return
            if not os.read(self.pipe.reading, 1 << 20):
                return


def rlimits(limits: Limits, contained: bool) -> dict[str, int]:
    """By the names of `resource`; processes are counted by user, so only where that is another."""
    found = {
        "RLIMIT_DATA": limits.memory,
        "RLIMIT_FSIZE": limits.file,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_CORE": 0,
    }
    of_linux = {"RLIMIT_NPROC": limits.processes, "RLIMIT_MSGQUEUE": 0}
    return found | (of_linux if contained else {})


__all__ = ["Kind", "Limits", "Sandbox", "carried", "demand_containment", "probe"]
