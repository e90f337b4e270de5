"""The process inside the sandbox: it reads cells, defines an answer, and is asked for its outputs.

    python -I -B child.py FOLDER SETTINGS

FOLDER is where `decodeloop` is, as far as it is here; SETTINGS are JSON: ``reply``, the number of
the pipe; ``control``, of another one, which no task has; ``limits``, by the names of `resource`;
``uid``, who to become; ``contained``, whether the processes and files that it sees are all its own.

Each task runs in a fork of this process, which thereby stays as it was: what an answer does to
PyTorch, or to Python, ends with it, and so do its processes and files. That it has ended is told on
the control pipe, where no answer can say so. What it gives is judged elsewhere, by what is not
here.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import json
import linecache
import os
import signal
import sys
import types
from typing import Any

FILE = "<answer>"
WRITABLE = ("/tmp", "/dev/shm", "/dev/mqueue")
PR_SET_DUMPABLE = 4  # prctl(2)


def main() -> None:
    folder, settings = sys.argv[1], json.loads(sys.argv[2])
    sys.path.insert(0, folder)
    confine(settings)
    from decodeloop.course.grade.inside.pipe import Broken, Pipe

    pipe = Pipe(0, settings["reply"])
    before = written() if settings["contained"] else set[str]()
    pipe.send({"value": None})  # it stands
    while True:
        try:
            message, _ = pipe.receive()
        except Broken:
            return
        if message["do"] == "warm":
            import torch

            torch.set_num_threads(1)
            import safetensors.torch  # noqa: F401

            pipe.send({"value": None})
            continue
        task = os.fork()
        if not task:
            try:
                os.close(settings["control"])
                serve(pipe)
            finally:
                os._exit(1)
        _, status = os.waitpid(task, 0)
        if settings["contained"]:
            with contextlib.suppress(OSError):
                os.kill(-1, signal.SIGKILL)  # whatever it has left running; this process is spared
        if status or (settings["contained"] and not cleared(before)):
            os._exit(1)
        os.write(settings["control"], b".")


def confine(settings: dict[str, Any]) -> None:
    """Limits, and another user, before anything foreign is read."""
    import resource

    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # where memory ends, this ends first
    for name, value in settings["limits"].items():
        hard = resource.getrlimit(getattr(resource, name))[1]
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(getattr(resource, name), (least, least))
    if settings.get("uid"):
        os.setgroups([])
        os.setresgid(*[settings["uid"]] * 3)
        os.setresuid(*[settings["uid"]] * 3)
    if settings["contained"]:  # no task may look into this process, nor at its pipes
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0)


def written() -> set[str]:
    """The paths of all that lies where tasks can write; what is mounted there, such as Python, is
    not looked into."""
    found = set[str]()
    for top in WRITABLE:
        for place, folders, files in os.walk(top):
            paths = [os.path.join(place, name) for name in (*folders, *files)]
            found.update(paths)
            device = os.lstat(place).st_dev
            folders[:] = [x for x in folders if on_device(os.path.join(place, x), device)]
    return found


def on_device(path: str, device: int) -> bool:
    """Whether a folder lies on a device; it is made readable, since one that is not hides its
    contents."""
    if os.lstat(path).st_dev != device or os.path.islink(path):
        return False
    with contextlib.suppress(OSError):
        os.chmod(path, 0o700)
    return True


def cleared(before: set[str]) -> bool:
    """Take away what a task has left in files, but for what was there before; whether nothing of
    it is left, in memory that processes share neither."""
    for path in sorted(written() - before, key=len, reverse=True):
        with contextlib.suppress(OSError):
            os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    shared = ("/proc/sysvipc/shm", "/proc/sysvipc/sem", "/proc/sysvipc/msg")
    return written() <= before and all(
        len(open(path).readlines()) <= 1 for path in shared if os.path.exists(path)
    )


def serve(pipe: Any) -> None:
    """One task: answer what is asked until the end of it is told."""
    from decodeloop.course.grade.inside import reading
    from decodeloop.course.grade.inside.peer import Peer
    from decodeloop.course.grade.inside.values import Writer

    Writer.by_name = (type,)

    class Inside(Peer):
        def describe_error(self, error: BaseException) -> dict[str, Any]:
            return described(error)

    peer = Inside(pipe)
    sys.meta_path.append(OnDemand(peer))

    def seed() -> None:
        if "torch" in sys.modules:
            sys.modules["torch"].default_generator.manual_seed(0)

    peer.handlers = {"read": reading.answers, "define": defined, "beside": beside, "seed": seed}
    while True:
        message, tensors = pipe.receive()
        if message.get("do") == "end":
            os._exit(0)
        peer.answer(message, tensors)


def defined(name: str, source: str, links: dict[str, Any]) -> Any:
    """The function or class that a source defines, with the library's own of other exercises."""
    module = types.ModuleType("answer")
    sys.modules["answer"] = module  # dataclasses look there for the module of a class
    linecache.cache[FILE] = (len(source), None, source.splitlines(keepends=True), FILE)
    namespace: dict[str, Any] = vars(module)
    namespace.update(links)
    exec(compile(source, FILE, "exec"), namespace)
    answer = namespace.get(name)
    if not callable(answer):
        raise TypeError(f"{name} is no function and no class, but {type(answer).__name__}")
    return answer


def beside(name: str, source: str) -> Any:
    """A function of an exercise that looks on while the answer computes."""
    module = types.ModuleType("beside")
    sys.modules["beside"] = module
    exec(compile(source, "<beside>", "exec"), vars(module))
    return vars(module)[name]


def described(error: BaseException) -> dict[str, Any]:
    """Where in the answer an exception arose, and whether it says that nothing was attempted."""
    lines, innermost, at = [], None, error.__traceback__
    while at is not None:
        innermost = at.tb_frame.f_code.co_filename
        if innermost == FILE:
            lines.append(at.tb_lineno)
        at = at.tb_next
    pytorchs = ("not implemented for", "Could not run")
    own = isinstance(error, NotImplementedError) and innermost == FILE
    stub = own and not any(words in str(error) for words in pytorchs)
    line = linecache.getline(FILE, lines[-1]).strip()[:200] if lines else ""
    return {"line": line, "stub": stub}


class OnDemand(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules of the package, whose sources are asked for as an answer imports them."""

    def __init__(self, peer: Any) -> None:
        self.peer, self.sources = peer, dict[str, str]()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if not name.startswith("decodeloop."):
            return None
        told = self.peer.ask("source", args=(name,))
        if told is None:
            return None
        self.sources[name] = told["source"]
        return importlib.machinery.ModuleSpec(
            name, self, origin=f"<{name}>", is_package=told["package"]
        )

    def exec_module(self, module: types.ModuleType) -> None:
        name = module.__name__
        module.__file__ = filename = f"<{name}>"
        source = self.sources.pop(name)
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        exec(compile(source, filename, "exec"), vars(module))


if __name__ == "__main__":
    main()
