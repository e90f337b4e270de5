"""Odd command lines: each must end by itself, with status 0, 1 or 2 and without a traceback, and a
refusal is a sentence of ours. What was given must not reach a terminal as control characters.

    python tests/attacks/odd_calls.py [--count N] [--seed S]

runs all of them, or so many that are drawn. Most run in a fork of this process, which has imported
what takes long; those that change what is read at an import have a process of their own.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from attacking import Report, command_line, drawn

SECONDS = 60  # a call may take
GIBIBYTES = 4  # of memory that it may ask for, besides what it begins with
NAMELESS = ["unshare", "--map-user=54321"]
MARK = "INJECTED"  # what follows a control character that is given
CONTROL = [f"\x1b[31m{MARK}", f"\x9b31m{MARK}", f"\x07{MARK}", f"\r{MARK}", f"\x7f{MARK}"]


@dataclass(frozen=True)
class Call:
    """One command line, and what it meets."""

    words: tuple[str, ...]
    stdin: bytes = b""
    environment: dict[str, str | None] = field(default_factory=dict)  # None: not there
    gone: bool = False  # whether the folder that it stands in is
    full: tuple[int, ...] = ()  # streams that take nothing
    closed: tuple[int, ...] = ()  # streams that are closed
    fresh: bool = False  # a process of its own
    nameless: bool = False  # by a user without a name

    @property
    def name(self) -> str:
        words = " ".join(w if len(w) < 40 else f"{w[:20]}…({len(w)})" for w in self.words)
        odd = {k: v for k, v in vars(self).items() if k != "words" and v not in (b"", {}, (), None)}
        return repr(words)[1:-1] + "".join(f" {k}={v!r:.60}" for k, v in odd.items() if v)


@dataclass(frozen=True)
class End:
    """How a call ended."""

    status: int  # below 0: by that signal
    out: bytes
    err: bytes
    seconds: float


def bad_end(call: Call, end: End) -> str | None:
    """What is wrong with how a call ended; None if nothing is."""
    if end.status == -signal.SIGKILL and end.seconds >= SECONDS:
        return f"did not end within {SECONDS} s"
    if end.status not in (0, 1, 2):
        return f"ended with {end.status}: {tail(end.err)}"
    if b"Traceback" in end.err + end.out:
        return f"a traceback: {tail(end.err)}"
    for text in CONTROL:
        if text.encode() in end.out + end.err:
            return f"{text!r} was printed as it is"
    unheard = {1, 2} & {*call.closed, *call.full}
    if end.status == 2 and 2 not in unheard and b"decodeloop: " not in end.err:
        return f"refused without a sentence: {tail(end.err)}"
    if 1 in unheard and end.status == 0 and call.words[:2] != ("build", "--check"):  # says nothing
        return "nobody was told that what it had to print was lost"
    return None


def tail(err: bytes) -> str:
    lines = [line for line in err.decode("utf-8", "replace").splitlines() if line.strip()]
    return " | ".join(lines[-2:])[-300:]


# what is given

NUMBERS = ["", " ", "nan", "inf", "-inf", "1e-300", "1e300", "-1", "0", "-0.0", "1e999", "9" * 400]
NUMBERS += ["9" * 5000, "0x10", "1.5", "1e-7", "999999999", "true", CONTROL[0], "\udcff", "½", "-"]
NAMES = ["", " ", ".", "..", "/dev/null", "/dev/zero", "~", "~nobody-of-this-name/x", "x" * 300]
NAMES += ["x" * 5000, "a/b--c", "a/b", "a" * 99 + "/b", "../..", *CONTROL, "\udcff\udcfe", "a\0b"]
NAMES += ["line\nbreak", "[red]x", "[/]", "%s{}%n", "🦙", "-", "@x", "x.gguf", "x.json", "é" * 200]
NAMES += ["\u202e" + MARK, "config.json", "/proc/self/mem", "smollm2-135m/"]
PROMPTS = ["", " ", "\n", "\0", "\ud800", "\udcff\udcfe", "x" * 300, "x" * 5000, "word " * 50_000]
PROMPTS += [*CONTROL, "<|im_start|>" * 9, "🦙" * 30, "\u202e\u200d", "-", "--", "-1", "@file", "%s"]

REFUSED = [n for n in NUMBERS if n not in ("1e-7", "true")]  # where what is taken takes minutes


def calls(model: str) -> Iterator[Call]:
    """Every odd call, with a tiny model that lies in a folder."""
    generate = ("generate", "hi", "--model", model, "--no-compiled", "--max-new-tokens", "3")
    draw = {"top-k", "top-p", "min-p", "seed"}
    for prompt in PROMPTS:
        yield Call(("generate", prompt, *generate[2:]))
        yield Call(("generate", *generate[2:], "--raw", "--json", "--", prompt))
    for option in ("temperature", "repetition-penalty", "beams", "max-new-tokens", *sorted(draw)):
        extra = ("--temperature", "1") if option in draw else ()
        for number in NUMBERS:
            yield Call((*generate, *extra, f"--{option}", number))
    for number in NUMBERS:
        yield Call((*generate, "--beams", "2", "--length-penalty", number))
        yield Call(("chat", "--model", model, "--context", number), b"hi\n")
        yield Call(("chat", "--model", model, "--max-new-tokens", number), b"hi\n")
        for option in ("batch", "context", "prompt", "chunk"):
            yield Call(("cost", "llama-7b", f"--{option}", number))
            yield Call(("cost", "gpt2", f"--{option}", number, "--json"))
    for number in REFUSED:
        for option in ("context", "prompt", "batch", "repeats"):
            if option != "repeats" or not number.startswith("9"):  # then it is to take long
                yield Call(("measure", "--model", model, f"--{option}", number))
        for option in ("prompt-tokens", "new-tokens", "context", "threads"):
            if (option, number) != ("threads", "0"):  # which is the default
                yield Call(("bench", "--model", model, f"--{option}", number))
    for number in NUMBERS:
        yield Call(("quality", "--model", "small", "--chunk", number))
    for name in NAMES:
        for option in ("model", "against", "texts", "dtype"):
            yield Call(("quality", "--model", "small", f"--{option}", name))
        for option in ("model", "device", "dtype", "stop"):
            yield Call((*generate, f"--{option}", name))
        yield Call((*generate, "--mine", "--work", name))
        yield Call(("chat", "--model", model, "--system", name, "--max-new-tokens", "2"), b"hi\n")
        yield Call(("chat", "--model", model, "--resume", name), b"hi\n")
        save = f"/save {name}\n".encode("utf-8", "surrogateescape")
        yield Call(("chat", "--model", model, "--max-new-tokens", "2"), save)
        yield Call(("cost", name))
        yield Call(("cost", "gpt2", "--device-name", name))
        yield Call(("cost", "gpt2", "--cache-dtype", name))
        yield Call(("fetch", name, "--from", name))
        yield Call(("fetch", "--from", name))
        yield Call(("bench", "--model", name))
        yield Call(("bench", "--model", model, "--figure", name))
        yield Call(("lab", "--no-open", "--work", name))
        yield Call(("progress", "--work", name))
        yield Call(("build", f"no lesson {name}"))
        yield Call((name,))
        yield Call(("doctor", name))
        yield Call(("generate", "hi", f"--{name}"))
        yield Call(("generate", "hi", "--model", model, name))
    for said in (b"caf\xe9\n", b"\0\n", b"\xff" * 999, b"x" * 99_999, b"\x1b[31m\n", b"/fly\n"):
        yield Call(("chat", "--model", model, "--max-new-tokens", "2"), said)
        yield Call(("chat", "--model", model), b"/" + said)
    yield from surroundings(model, generate)


def surroundings(model: str, generate: tuple[str, ...]) -> Iterator[Call]:
    """The same few calls where the machine is odd."""
    few = [generate, ("cost", "gpt2"), ("cost", "gpt2", "--json"), ("--help",), ("doctor",)]
    few += [("progress",), ("lab", "--no-open", "--work", "w"), ("fetch", "--from", "x"), ()]
    few += [("build", "--check"), ("chat", "--model", model), ("generate", "--help"), ("cost",)]
    for words in few:
        yield Call(words, b"hi\n", gone=True)
        for full in ((1,), (2,), (1, 2)):
            yield Call(words, b"hi\n", full=full)
        for closed in ((0,), (1,), (2,), (0, 1, 2)):
            yield Call(words, b"hi\n", closed=closed)
        for variable in ("HOME", "XDG_CACHE_HOME"):
            for value in ("", "/nowhere", "/dev/null", "x" * 5000, CONTROL[0], "relative"):
                cache = {"XDG_CACHE_HOME": None} if variable == "HOME" else {}
                yield Call(words, b"hi\n", {**cache, variable: value})
    alien: dict[str, str | None] = {"HOME": None, "XDG_CACHE_HOME": None, "USER": None}
    for words in few:
        yield Call(words, b"hi\n", alien | {"LOGNAME": None}, fresh=True, nameless=True)
    looks = {"COLUMNS": ["0", "-1", "x", "1", "20"], "TERM": ["", "x"], "FORCE_COLOR": ["1"]}
    looks |= {"LC_ALL": ["C", "x"], "PYTHONIOENCODING": ["ascii"], "DECODELOOP_DEVICE": NAMES[-8:]}
    for variable, values in looks.items():
        for value in values:
            if "\0" not in value:
                yield Call(("cost", "gpt2"), environment={variable: value}, fresh=True)
                yield Call(generate, environment={variable: value}, fresh=True)
    for value in ("[/]", "[red]", CONTROL[0], "cuda:x"):
        yield Call(("doctor",), environment={"DECODELOOP_DEVICE": value}, fresh=True)
    quick = tuple(word for word in generate if word != "--no-compiled")
    numba = {"NUMBA_THREADING_LAYER": ["tbb", "x"], "NUMBA_DISABLE_JIT": ["1", "x"]}
    numba |= {"NUMBA_NUM_THREADS": ["0", "-1", "x", "99999"], "NUMBA_CACHE_DIR": ["/dev/null"]}
    for variable, values in numba.items():
        for value in values:
            yield Call(quick, environment={variable: value}, fresh=True)


# how it is run


def run(call: Call, folder: Path) -> End:
    """Run a call in a folder of its own, and wait for its end."""
    here = folder / "a" / "b"
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir(parents=True)
    os.chmod(here, 0o777)
    paths = [folder / "stdin", folder / "stdout", folder / "stderr"]
    for path, content in zip(paths, (call.stdin, b"", b""), strict=True):
        path.unlink(missing_ok=True)  # the last one may have belonged to another user
        path.write_bytes(content)
        os.chmod(path, 0o666)
    start = time.monotonic()
    process = os.fork()
    if process == 0:
        status = 99
        with contextlib.suppress(BaseException):
            status = child(call, here, paths)
        os._exit(status)
    status = wait(process, start)
    return End(status, paths[1].read_bytes(), paths[2].read_bytes(), time.monotonic() - start)


def wait(process: int, start: float) -> int:
    """The exit status of a child, which is ended when its time is over."""
    while time.monotonic() - start < SECONDS:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(process, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def child(call: Call, here: Path, paths: Sequence[Path]) -> int:
    """Inside the fork: stand where the call stands, and become it."""
    os.setsid()
    os.chdir(here)
    if call.gone:
        here.rmdir()
    for name, value in call.environment.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    kinds = [os.O_RDONLY, *2 * [os.O_WRONLY | os.O_CREAT | os.O_TRUNC]]
    for number, (path, kind) in enumerate(zip(paths, kinds, strict=True)):
        target = "/dev/full" if number in call.full else str(path)
        opened = os.open(target, kind)
        os.dup2(opened, number)
        os.close(opened)
    for number in call.closed:
        os.close(number)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + (GIBIBYTES << 30)
    if not call.fresh:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    if call.fresh:
        alias = NAMELESS if call.nameless else []
        command = [*alias, sys.executable, "-m", "decodeloop", *call.words]
        os.execvp(command[0], [word.encode("utf-8", "surrogateescape") for word in command])
    from decodeloop.commands import main

    # as Python makes them when it starts
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = None
        if number not in call.closed:
            errors = ("surrogateescape", "strict", "backslashreplace")[number]
            stream = open(  # noqa: SIM115
                number,
                "r" if number == 0 else "w",
                buffering=1 if number == 2 else -1,
                encoding="utf-8",
                errors=errors,
            )
        setattr(sys, name, stream)
    sys.argv = ["decodeloop", *call.words]
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            status = 120  # as Python does, with its own complaint
    return status


def make_model(folder: Path) -> Path:
    """A tiny model in a folder, which anybody may read."""
    import torch
    from safetensors.torch import save_file
    from tiny_models import random_llama, save_tokenizer

    folder.mkdir()
    torch.set_num_threads(1)
    model = random_llama()
    model.config.save_pretrained(folder)
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    save_tokenizer(folder)
    return folder


def can_be_nameless() -> bool:
    try:
        return subprocess.run([*NAMELESS, "true"], capture_output=True).returncode == 0
    except OSError:
        return False


def get_ready() -> None:
    """Import what takes long, and nothing that reads what calls change."""
    import decodeloop.commands
    import decodeloop.course.lab
    import decodeloop.decode
    import decodeloop.loading
    import decodeloop.measure.machine  # noqa: F401


def attack(count: int | None, seed: int, report: Report) -> tuple[int, int]:
    """Run so many calls, drawn, or all; report each bad end, and give the numbers of both."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "PIP_NO_INDEX": "1", "OMP_NUM_THREADS": "1"}
    folder = Path(tempfile.mkdtemp(prefix="odd-calls-"))
    os.chmod(folder, 0o777)
    bad = 0
    try:
        model = make_model(folder / "model")
        get_ready()
        some = drawn(list(calls(str(model))), count, seed)
        for call in some:
            if call.nameless and not can_be_nameless():
                continue
            wrong = bad_end(call, run(call, folder))
            if wrong:
                bad += 1
                report(f"{call.name}\n    {wrong}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return len(some), bad


if __name__ == "__main__":
    command_line(__doc__, "odd calls", attack)
