"""A hub folder whose matrices are quantized: whole numbers, and beside them their scales.

A matrix in 8 bits is `….weight` (R, C) int8, with `….weight_scale` (R, 1) fp32; one in 4 bits is
`….weight_packed` (R, groups · 16) uint8, with `….weight_scale` (R, groups) fp16: in each group of
32 columns byte j holds column j in its lower half and j + 16 in its upper one, 8 added to both.
`config.json` says so in its `quantization_config`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from decodeloop.checkpoints.expert_names import from_mixtral
from decodeloop.checkpoints.folder import opened, weight_files
from decodeloop.checkpoints.hub_config import METHOD
from decodeloop.checkpoints.weights import check_place, misshapen, shape_of_hub
from decodeloop.errors import ModelFileError, one_line
from decodeloop.model import ModelConfig

GROUP = 32
SCALE, PACKED = "_scale", "_packed"


def quantization_of(dtype: str) -> dict[str, Any]:
    """What `config.json` says of such a folder, whose matrices are int8 or int4."""
    return {"quant_method": METHOD, "bits": {"int8": 8, "int4": 4}[dtype], "group_size": GROUP}


def pack_groups(quantized: Tensor) -> Tensor:
    """Numbers from -8 to 7, two in a byte. Shapes: (R, groups, 32) int8 → (R, groups · 16)."""
    low, high = (quantized + 8).to(torch.uint8).chunk(2, -1)
    return (low | high << 4).flatten(1)


def unpacked(packed: Tensor, scale: Tensor) -> Tensor:
    """The matrix that was packed, filled up to whole groups. Shapes: (R, groups · 16) uint8,
    (R, groups) → (R, groups · 32) fp32."""
    groups = packed.unflatten(1, (-1, GROUP // 2))
    whole = torch.cat((groups & 15, groups >> 4), -1).float() - 8
    return (whole * scale.float()[..., None]).flatten(1)


class QuantizedFolder(Mapping[str, Tensor]):
    """The tensors of such a folder by hub name, each made fp32 again when it is asked for.

    Raises:
        ModelFileError: a file is missing or damaged; a tensor has no place, or another shape or
            type; a scale is missing, or is no number.
    """

    def __init__(self, folder: Path, config: ModelConfig) -> None:
        self.folder, self.config = folder, config
        self.files: dict[str, Path] = {}
        self.stored: dict[str, str] = {}  # what the file calls a tensor, by its hub name
        for path in weight_files(folder):
            with opened(path) as file:
                here = {from_mixtral(name): name for name in list(file.keys())}
            self.stored |= here
            self.files |= dict.fromkeys(here, path)
        self.names = sorted(
            name.removesuffix(PACKED) for name in self.files if not name.endswith(SCALE)
        )
        for name in self.names:
            # whether it has that shape is seen when it is read
            check_place(name, shape_of_hub(name, config), config, folder, shown=name)

    def read(self, name: str) -> Tensor:
        with opened(self.files[name]) as file:
            tensor: Tensor = file.get_tensor(self.stored[name])
            return tensor

    def __getitem__(self, name: str) -> Tensor:
        expected = shape_of_hub(name, self.config)
        packed = name + PACKED in self.files
        stored = self.read(name + PACKED if packed else name)
        groups = -(-expected[-1] // GROUP)
        wanted = (expected[0], groups * GROUP // 2) if packed else expected
        if tuple(stored.shape) != wanted:
            raise misshapen(name, tuple(stored.shape), wanted, self.folder)
        if packed:
            return unpacked(stored, self.scale(name, groups))[:, : expected[-1]]
        return stored * self.scale(name, 1) if stored.dtype == torch.int8 else stored

    def scale(self, name: str, groups: int) -> Tensor:
        """The scales of a quantized matrix. Shapes: → (R, groups)."""
        shown = one_line(name, limit=80)
        if name + SCALE not in self.files:
            raise ModelFileError(
                f"{self.folder} has no scales for the tensor {shown} ({shown}{SCALE}): copy the "
                f"whole model folder, or export it again."
            )
        scale = self.read(name + SCALE).float()
        if not bool(scale.isfinite().all()):
            raise ModelFileError(
                f"{self.folder}: the scales of the tensor {shown} are not all numbers: copy the "
                f"model again, or export it again."
            )
        wanted = (shape_of_hub(name, self.config)[0], groups)
        if tuple(scale.shape) != wanted:
            raise misshapen(name + SCALE, tuple(scale.shape), wanted, self.folder)
        return scale

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
