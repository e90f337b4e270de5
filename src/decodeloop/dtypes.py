"""Types of numbers by name: the field's short names, and PyTorch's for the same types."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from decodeloop.errors import UserError

if TYPE_CHECKING:
    import torch

TORCH_NAMES = {  # as PyTorch spells them, and its short forms
    "float32": "fp32",
    "float": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8",
}


def dtype_name(asked: object, known: Collection[str], option: str = "dtype") -> str:
    """The short name of a type that is given by any of its names, or as a `torch.dtype`.

    Args:
        known: the short names that may be asked for.
        option: what to call it in the error.

    >>> dtype_name("torch.float16", ("fp32", "fp16")), dtype_name("half", ("fp32", "fp16"))
    ('fp16', 'fp16')

    Raises:
        UserError: it is none of them.
    """
    name = str(asked).strip().lower().removeprefix("torch.")
    name = TORCH_NAMES.get(name, name)
    if name not in known:
        shown = str(asked) if str(asked).startswith("torch.") else repr(asked)
        raise UserError(
            f"{option} is {shown}: expected one of {', '.join(known)}; PyTorch's names, such as "
            f"float16 or torch.bfloat16, are understood too."
        )
    return name


def torch_dtype(name: str) -> torch.dtype:
    """The type in which a decoder of this short name computes.

    >>> torch_dtype("bf16")
    torch.bfloat16
    """
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
