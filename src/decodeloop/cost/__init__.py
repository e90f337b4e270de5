"""What inference costs: parameters, memory, FLOPs, bytes, waiting, and the roofline."""

from decodeloop.cost.architecture import (
    BYTES,
    PRESETS,
    Architecture,
    linear_shapes,
    parameters_by_part,
    preset,
)
from decodeloop.cost.config_file import find_architecture, read_architecture

__all__ = [
    "BYTES",
    "PRESETS",
    "Architecture",
    "find_architecture",
    "linear_shapes",
    "parameters_by_part",
    "preset",
    "read_architecture",
]
