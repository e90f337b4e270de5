"""LLM inference from scratch: one decoder, built, measured and made fast.

`decodeloop.load("smollm2-135m")` gives a real language model. The rooms are `decodeloop.model`
(what computes), `decode` (what drives it), `kernels` (the fast path), `checkpoints` (where weights
come from), `cost` and `measure` (what it costs, by arithmetic and by the clock), `bench` (beside
other engines), `exercises` and `course` (what makes it a course), and `commands`. Importing
`decodeloop` alone does not import torch.
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
