"""For tests and notebooks alike: what the terminal of whoever runs them prefers is left out, and
kernels that start at the same time do not take each other's ports."""

import functools
import os

import nbval.kernel
from jupyter_client.manager import KernelManager

from decodeloop.course.kernels import apart

for name in ("FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "COLUMNS", "LINES"):
    os.environ.pop(name, None)

nbval.kernel.KernelManager = functools.partial(apart, KernelManager)
