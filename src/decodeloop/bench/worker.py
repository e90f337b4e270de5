"""One path in a process of its own: what it takes of memory is then its alone.

It reads one JSON object a line, `{"ids": […], "new_tokens": n}`, and answers each with one.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from decodeloop.bench.paths import PATHS
from decodeloop.errors import one_line


def memory(field: str) -> int | None:
    """Bytes of this process: `VmRSS` now, `VmHWM` at most; None where the system doesn't tell."""
    try:
        status = Path("/proc/self/status").read_text("utf-8")
    except OSError:
        return None
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else None


def main(name: str, model: str, threads: int) -> None:
    """Load a path, and run it as often as asked."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")  # libraries may print what they like
    os.dup2(2, 1)

    def answer(**data: Any) -> None:
        answers.write(json.dumps(data) + "\n")
        answers.flush()

    (path,) = (p for p in PATHS if p.name == name)
    try:
        for module in ("torch", "numba", "safetensors.torch", "tokenizers", path.module):
            if module:
                importlib.import_module(module)
        before = memory("VmRSS")
        run = path.load(model, threads)
        answer(ready=True)
        for line in sys.stdin:
            asked = json.loads(line)
            times = run(asked["ids"], asked["new_tokens"])
            most = memory("VmHWM")
            peak = None if most is None or before is None else most - before
            answer(times=times, peak=peak)
    except Exception as error:  # whatever an engine raises: it is told, and the others go on
        answer(error=f"{type(error).__name__}: {one_line(error)}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
