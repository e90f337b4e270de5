"""What a picture of the course left behind, for tests that look at it."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt


def drawn(_: object) -> Any:
    """The axes of the figure that was drawn last, or the only one."""
    axes = plt.gcf().axes
    return axes[0] if len(axes) == 1 else axes
