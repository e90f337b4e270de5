"""Where tensors live: one choice for all notebooks and for the commands that load a model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from decodeloop.errors import DeviceError

if TYPE_CHECKING:
    import torch

CHOICES = ("auto", "cpu", "cuda", "mps")
VARIABLE = "DECODELOOP_DEVICE"


def pick_device(name: str | torch.device | None = None) -> torch.device:
    """The device to compute on: `name`, else ``DECODELOOP_DEVICE``, else ``auto``.

    ``auto`` takes CUDA, then MPS, then the CPU. An index such as ``cuda:1`` is accepted.

    Raises:
        DeviceError: the name is unknown, or this machine has no such device.
    """
    import torch

    asked = str(name) if name is not None else os.environ.get(VARIABLE) or "auto"
    kind = asked.split(":")[0]
    if kind not in CHOICES:
        raise DeviceError(
            f"unknown device {asked!r}: expected one of {', '.join(CHOICES)}; pass one of them, "
            f"or set {VARIABLE} to it."
        )
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind == "auto":
        return torch.device(next((k for k in ("cuda", "mps") if available[k]), "cpu"))
    if not available.get(kind, True):
        raise DeviceError(
            f"device {asked!r} was asked for, but PyTorch finds none on this machine: "
            f"use 'auto' or 'cpu', or install a PyTorch build for your GPU."
        )
    try:
        device = torch.device(asked)
    except RuntimeError:
        raise DeviceError(
            f"unknown device {asked!r}: expected a kind and an index, such as 'cuda:0'."
        ) from None
    if kind == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"device {asked!r} was asked for, but this machine has {torch.cuda.device_count()} "
            f"CUDA devices: count from 'cuda:0'."
        )
    return device


def failure(device: torch.device) -> str | None:
    """Why `device` can't compute, in a few words; None if a small product comes out right.

    A GPU that PyTorch finds may still be too old for its kernels, or its driver.
    """
    import torch

    try:
        ones = torch.ones(4, 4, device=device)
        total = float((ones @ ones).sum())
    except (RuntimeError, AssertionError) as error:  # the latter from a build without this device
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return lines[0]
    return None if total == 64 else f"the sum of a small product is {total:g} in place of 64"


def synchronize(device: torch.device) -> None:
    """Wait until `device` has finished what was queued on it, so that a clock tells the truth."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def total_memory() -> float | None:
    """Bytes of this machine's memory; None where the system does not say (Windows)."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return None
