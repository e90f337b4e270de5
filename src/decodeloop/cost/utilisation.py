"""Utilisation: how much of what a machine could do, it did. Built in lesson 11."""

from __future__ import annotations

from decodeloop.cost.checks import check_positive


def mfu(flops: float, seconds: float, peak_flops: float) -> float:
    """Model FLOPs utilisation: the FLOPs that the model needs, over those that there was time for.

    Chowdhery et al. (2022), PaLM, section 4.1. What is computed twice, or for padding, counts once
    or not at all.
    """
    check_positive("mfu", flops=flops, seconds=seconds, peak_flops=peak_flops)
    return flops / (seconds * peak_flops)


def mbu(bytes_moved: float, seconds: float, bandwidth: float) -> float:
    """Model bandwidth utilisation: the bytes that must move, over those that there was time for."""
    check_positive("mbu", bytes_moved=bytes_moved, seconds=seconds, bandwidth=bandwidth)
    return bytes_moved / (seconds * bandwidth)
