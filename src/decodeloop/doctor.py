"""Can this machine run the course? A row for each thing that must hold, each failing row with its
fix."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from decodeloop.errors import UserError

MODEL = "smollm2-135m"
MODEL_GB = 0.7  # on the disk: the file as it comes, and the copy that is memory-mapped
MEMORY_GB = 4.0


@dataclass(frozen=True)
class Row:
    """One thing that was looked at."""

    name: str
    found: str
    ok: bool
    fix: str = ""
    needed: bool = True  # a failing row that is not needed is a warning

    @property
    def word(self) -> str:
        return "ok" if self.ok else ("FAIL" if self.needed else "warn")


def examine(course_files: bool = True) -> list[Row]:
    """Look at everything; a look that fails is a failing row, never an exception.

    Args:
        course_files: also whether the notebooks are current, which only their authors mend.
    """
    rows: list[Row] = []
    for look in LOOKS if course_files else LOOKS[:-1]:
        try:
            rows.extend(look())
        except UserError as error:
            rows.append(Row(look.__name__, "unusable", False, str(error)))
        except Exception as error:
            rows.append(
                Row(
                    look.__name__, f"{type(error).__name__}: {error}", False, "run 'make lab' again"
                )
            )
    return rows


def healthy(rows: list[Row]) -> bool:
    """Whether the course can run."""
    return all(row.ok for row in rows if row.needed)


def as_json(rows: list[Row]) -> dict[str, object]:
    return {"ok": healthy(rows), "rows": [asdict(row) for row in rows]}


def doctor() -> None:
    """Print the table in a notebook; in a terminal, `decodeloop doctor` shows the same."""
    rows = examine(course_files=False)
    width = max(len(row.name) for row in rows)
    for row in rows:
        mark = {"ok": "✓", "FAIL": "✗", "warn": "○"}[row.word]
        print(f"{mark} {row.name:<{width}}  {row.found}")
        if not row.ok:
            print(f"  {'':<{width}}  → {row.fix}")
    print("The course can run here." if healthy(rows) else "Mend what is marked ✗ first.")


def python() -> Iterator[Row]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Row("python", version, sys.version_info >= (3, 11), "install Python 3.11 or newer")


def torch_build() -> Iterator[Row]:
    import torch

    major, minor = (int(x) for x in torch.__version__.split(".")[:2])
    yield Row(
        "torch",
        str(torch.__version__),
        (major, minor) >= (2, 6),
        "install torch 2.6 or newer: python -m pip install -c constraints.txt -e .",
    )


def device() -> Iterator[Row]:
    from decodeloop.devices import VARIABLE, failure, pick_device

    asked, picked = os.environ.get(VARIABLE), pick_device()
    found = f"{picked}" + (f" ({VARIABLE}={asked})" if asked else "")
    wrong = failure(picked)
    yield Row(
        "device",
        f"{found}, which can't compute: {wrong}" if wrong else found,
        wrong is None,
        f"set {VARIABLE}=cpu, or install a PyTorch build and a driver that fit this device",
    )


def threads() -> Iterator[Row]:
    import torch

    used, cores = torch.get_num_threads(), os.cpu_count() or 1
    yield Row(
        "threads",
        f"{used} of {cores} cores",
        used <= cores,
        f"unset OMP_NUM_THREADS, or set it to at most {cores}",
        needed=False,
    )


def memory() -> Iterator[Row]:
    from decodeloop.measure.room import total_memory

    total = total_memory()
    found = "unknown" if total is None else f"{total / 1e9:.1f} GB"
    yield Row(
        "memory",
        found,
        total is None or total >= MEMORY_GB * 1e9,
        f"the course needs {MEMORY_GB:.0f} GB: use a machine with more",
        needed=False,
    )


def disk() -> Iterator[Row]:
    from decodeloop.checkpoints import PINNED, cache_folder, is_fetched

    folder = cache_folder()
    standing = next(f for f in (folder, *folder.parents) if f.exists())
    free = shutil.disk_usage(standing).free / 1e9
    needed = 0.0 if is_fetched(PINNED[MODEL], folder) else MODEL_GB
    yield Row(
        "disk",
        f"{free:.1f} GB free where the model is kept",
        free >= needed,
        f"free {MODEL_GB} GB, or set XDG_CACHE_HOME to a folder on another disk",
    )


def model() -> Iterator[Row]:
    from decodeloop.checkpoints import PINNED, cache_folder, damage
    from decodeloop.loading import load

    wrong = damage(PINNED[MODEL], cache_folder())
    yield Row("model", wrong or f"{MODEL}, whole", wrong is None, "run 'decodeloop fetch'")
    if wrong is None:
        load(MODEL)  # the first one also imports and warms
        before, clock = private_mb(), time.perf_counter()
        again = load(MODEL)
        seconds, after = time.perf_counter() - clock, private_mb()
        found = f"{seconds:.2f} s for a second load"
        if before is not None and after is not None and again.device.type == "cpu":
            size = sum(p.nbytes for p in again.model.parameters()) / 1e6
            found += (
                f"; of {size:.0f} MB of weights, {max(after - before, 0):.0f} MB are not shared"
            )
        yield Row("load", found, True)


def private_mb() -> float | None:
    """Memory of this process that no other shares, where the system says (Linux)."""
    try:
        status = Path("/proc/self/status").read_text("utf-8")
    except OSError:
        return None
    lines = [line.split() for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(lines[0][1]) / 1e3 if lines else None


def kernel() -> Iterator[Row]:
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    except ImportError:
        fix = "python -m pip install -c constraints.txt -e '.[lab]'"
        yield Row("kernel", "Jupyter is not installed", False, fix)
        return
    fix = f"{sys.executable} -m ipykernel install --sys-prefix"
    try:
        spec = KernelSpecManager().get_kernel_spec("python3")
    except NoSuchKernel:
        yield Row("kernel", "Jupyter knows no kernel called python3", False, fix)
        return
    # Jupyter starts "python" as the Python that it runs on itself
    plain = spec.argv[0] in (
        "python",
        "python3",
        f"python{sys.version_info[0]}.{sys.version_info[1]}",
    )
    interpreter = sys.executable if plain else spec.argv[0]
    try:
        probe = [interpreter, "-c", "import ipykernel, decodeloop"]
        works = subprocess.run(probe, capture_output=True).returncode == 0
    except OSError:
        works = False
    same = interpreter == sys.executable
    found = "python3 starts this Python" if same else f"python3 starts {interpreter}"
    yield Row("kernel", found, works, fix)


def notebooks() -> Iterator[Row]:
    from decodeloop.course.building import lesson_paths, project_root, stale

    try:
        root = project_root()
    except UserError as error:
        yield Row("notebooks", "not in a checkout", False, str(error), needed=False)
        return
    old = stale(root)
    yield Row(
        "notebooks",
        f"{len(lesson_paths(root))} lessons" + (f", {len(old)} notebooks stale" if old else ""),
        not old,
        f"run 'make build': {', '.join(str(p.relative_to(root)) for p in old)}",
        needed=False,
    )


LOOKS: tuple[Callable[[], Iterator[Row]], ...] = (
    python,
    torch_build,
    device,
    threads,
    memory,
    disk,
    model,
    kernel,
    notebooks,
)
