"""One contender in a process of its own: what it takes of memory is then its alone.

It reads one JSON object a line, `{"ids": […], "new_tokens": n}`, and answers each with one.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import sys
from typing import Any

from decodeloop.bench.contenders import CONTENDERS
from decodeloop.errors import UserError, one_line
from decodeloop.measure.process import peak_resident_bytes, resident_bytes


def main(name: str, model: str, threads: int) -> None:
    """Load a contender, and run it as often as asked."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")  # libraries may print what they like
    os.dup2(2, 1)

    def answer(**data: Any) -> None:
        answers.write(json.dumps(data) + "\n")
        answers.flush()

    (contender,) = (p for p in CONTENDERS if p.name == name)
    try:
        for module in ("torch", "numba", "safetensors.torch", "tokenizers", contender.module):
            with contextlib.suppress(ImportError):  # who needs one that is missing will say so
                importlib.import_module(module or "json")
        before = resident_bytes()
        run = contender.load(model, threads)
        answer(ready=True)
        for line in sys.stdin:
            asked = json.loads(line)
            times = run(asked["ids"], asked["new_tokens"])
            peak = peak_resident_bytes() - before
            answer(times=times, peak=None if math.isnan(peak) else int(peak))
    except UserError as error:
        answer(error=str(error))
    except Exception as error:  # whatever an engine raises: it is told, and the others go on
        answer(error=f"{type(error).__name__}: {one_line(error)}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
