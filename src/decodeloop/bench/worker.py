"""One contender in a process of its own: what it takes of memory is then its alone.

It reads one JSON object a line, `{"ids": […], "new_tokens": n, "batch": n}`, and answers each with
one. The most memory of a run among batches is that run's own; `run_peak` is what the run took
above what was held before it, and null where the system does not tell.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import sys
from typing import Any

from decodeloop.bench.contenders import CONTENDERS, TABLE
from decodeloop.errors import UserError, one_line
from decodeloop.measure.process import forget_peak, peak_resident_bytes, resident_bytes


def main(name: str, model: str, threads: int) -> None:
    """Load a contender, and run it as often as asked."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")  # libraries may print what they like
    os.dup2(2, 1)

    def answer(**data: Any) -> None:
        answers.write(json.dumps(data) + "\n")
        answers.flush()

    (contender,) = (p for p in (*CONTENDERS, TABLE) if p.name == name)
    own = [] if contender.module is None else [contender.module]
    try:
        for module in ("torch", "numba", "safetensors.torch", "tokenizers", *own):
            with contextlib.suppress(ImportError):  # who needs one that is missing will say so
                importlib.import_module(module)
        before = resident_bytes()
        run = contender.load(model, threads)
        highest = peak_resident_bytes()
        answer(ready=True)
        for line in sys.stdin:
            asked = json.loads(line)
            told, held = forget_peak(), resident_bytes()
            times = run(asked["ids"], asked["new_tokens"], asked.get("batch", 1))
            peak = peak_resident_bytes()
            highest = peak if asked.get("afresh") else max(highest, peak)
            grown = peak - held if told else math.nan
            answer(times=times, peak=whole(highest - before), run_peak=whole(grown))
    except UserError as error:
        answer(error=str(error))
    except Exception as error:  # whatever an engine raises: it is told, and the others go on
        answer(error=f"{type(error).__name__}: {one_line(error)}")


def whole(number: float) -> int | None:
    return None if math.isnan(number) else int(number)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
