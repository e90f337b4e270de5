"""The weights of a folder, of which a part is wanted: no more of a tensor is ever copied."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from decodeloop.checkpoints.folder import OneByOne, opened
from decodeloop.checkpoints.weights import own_part
from decodeloop.model import ModelConfig

Index = tuple[slice, ...]


class Sliced(OneByOne):
    """The tensors of a folder by hub name, each cut when it is asked for; whole ones stay mapped.

    Args:
        index_of: which entries are wanted of a part (`attention.query`) of this whole shape; None
            for all of them.

    Raises:
        ModelFileError: as `places`.
    """

    def __init__(
        self,
        folder: Path,
        config: ModelConfig,
        index_of: Callable[[str, tuple[int, ...]], Index | None],
    ) -> None:
        super().__init__(folder, config)
        self.index_of = index_of

    def __getitem__(self, name: str) -> Tensor:
        place = self.places[name]
        with opened(place.path) as file:
            stored = file.get_slice(place.name)
            index = self.index_of(own_part(name), tuple(stored.get_shape()))
            if index is None:
                whole: Tensor = file.get_tensor(place.name)
                return whole
            part: Tensor = stored[index]  # a view, which keeps the whole in memory
            return part.clone(memory_format=torch.contiguous_format)
