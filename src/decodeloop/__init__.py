"""LLM inference from scratch: one decoder, built, measured and made fast.

`decodeloop.load("smollm2-135m")` gives a real language model; the rooms are `decodeloop.model`
(what computes), `decodeloop.decode` (what drives it), `decodeloop.checkpoints` (where weights come
from) and `decodeloop.course` (what makes it a course). Importing `decodeloop` alone does not
import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decodeloop.loading import load as load

__version__ = "0.1.0"
__all__ = ["load"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from decodeloop.loading import load

        return load
    raise AttributeError(f"module 'decodeloop' has no attribute {name!r}")
