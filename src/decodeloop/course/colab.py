"""What the first cell of a lab edition begins with, where the project has an address: it brings the
course to Colab.

Colab's kernel and its PyTorch are pinned to each other. What the kernel has loaded already must not
be replaced below it, so those packages are held at the versions that are there: pip then says what
it can't do, in the place of a kernel that dies later.
"""

from __future__ import annotations

HELD = ("ipykernel", "ipython", "jupyter-client", "tornado", "pyzmq", "numpy", "torch")
CELL = """\
# On Colab, where the course is not installed, this brings it; elsewhere it does nothing.
import importlib.util

if importlib.util.find_spec("decodeloop") is None:
    import contextlib, subprocess, sys
    from importlib.metadata import PackageNotFoundError, version
    from pathlib import Path

    folder, held = Path("decodeloop-course").resolve(), []
    for name in {held}:
        with contextlib.suppress(PackageNotFoundError):
            held.append(f"{{name}}=={{version(name)}}")
    Path("held.txt").write_text("\\n".join(held))
    subprocess.run(["git", "clone", "--quiet", "--depth=1", "{url}", folder], check=True)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "-c", "held.txt"]
    subprocess.run([*install, "-e", folder], check=True)
    sys.path.insert(0, str(folder / "src"))  # this kernel started before it was there
    importlib.invalidate_caches()
"""


def install(url: str) -> str:
    """The lines that bring the course from the address of a git repository."""
    return CELL.format(url=url, held=list(HELD)).replace("'", '"')
