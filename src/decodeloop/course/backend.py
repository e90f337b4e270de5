"""Figures appear below the cell that draws them, whatever the environment says.

``MPLBACKEND=Agg``, usual in images of containers, would draw them into nothing; a backend with
windows would open one somewhere; one that does not exist stops matplotlib from being imported.
"""

from __future__ import annotations

import os
import sys
from typing import Any

INLINE = "module://matplotlib_inline.backend_inline"
IN_THE_NOTEBOOK = ("inline", "ipympl", "widget", "nbagg", "notebook")


def shows_in_notebook(backend: str) -> bool:
    """Whether a backend of matplotlib draws into the notebook.

    >>> shows_in_notebook(INLINE), shows_in_notebook("agg")
    (True, False)
    """
    return any(name in backend.lower() for name in IN_THE_NOTEBOOK)


def draw_in_notebook(shell: Any) -> None:
    """See to it, if `shell` is IPython's in a notebook's kernel; elsewhere nothing is changed."""
    if not hasattr(shell, "kernel"):
        return
    if not shows_in_notebook(os.environ.get("MPLBACKEND", "")):
        os.environ["MPLBACKEND"] = INLINE  # as the kernel does where nothing is said
    if "matplotlib" in sys.modules:  # it has looked already
        import matplotlib

        if not shows_in_notebook(str(matplotlib.rcParams["backend"])):
            shell.run_line_magic("matplotlib", "inline")
