"""The weights of a local folder in the hub's layout: safetensors, in one file or in several."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from decodeloop.checkpoints.expert_names import from_mixtral
from decodeloop.checkpoints.files import check_regular, is_there, read_json
from decodeloop.checkpoints.weights import check_place
from decodeloop.errors import ModelFileError, one_line
from decodeloop.model import ModelConfig

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
READABLE = ("F64", "F32", "F16", "BF16")
# What older files store beside the weights, and every reader computes anew.
COMPUTED = re.compile(r"(model\.)?(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: in which file, under which name."""

    path: Path
    name: str


def weight_files(folder: Path) -> dict[Path, set[str] | None]:
    """The safetensors files of a folder, each with the tensors that its index says are in it.

    Where there are a single file and an index, the single one counts: what was merged is written
    so, beside the shards that it was merged from.

    Raises:
        ModelFileError: one is missing, or is no regular file.
    """
    if is_there(folder / ADAPTER):
        raise ModelFileError(
            f"{folder} holds an adapter ({ADAPTER}), which is not supported: merge it into its "
            f"model, and save that."
        )
    if is_there(folder / WEIGHTS) or not is_there(folder / INDEX):
        files: dict[Path, set[str] | None] = {folder / WEIGHTS: None}
    else:
        files = {folder / shard: names for shard, names in shards_of(folder / INDEX).items()}
    for path in files:
        if not is_there(path):
            raise ModelFileError(f"{folder} has no {path.name}: copy the whole model folder.")
        check_regular(path)
    return files


def shards_of(index: Path) -> dict[str, set[str]]:
    """The tensors of each shard, by the shard's name, in order.

    Raises:
        ModelFileError: the index is damaged, or names what is no file of this folder.
    """
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise ModelFileError(f"{index} has no weight_map: copy it again.")
    found: dict[str, set[str]] = {}
    for tensor, shard in shards.items():
        if not isinstance(shard, str) or not re.fullmatch(r"[^/\\\0]{1,255}", shard):
            raise ModelFileError(
                f"{index} says that a tensor lies in {shard!r:.80}: expected the name of a file "
                f"beside it; copy it again."
            )
        found.setdefault(shard, set()).add(tensor)
    return dict(sorted(found.items()))


def places(folder: Path, config: ModelConfig) -> dict[str, Place]:
    """Where each tensor lies, by its hub name, as the headers say: no number has been read yet.

    Raises:
        ModelFileError: a file is missing or damaged; a tensor is not where the index says that it
            is, has no place in the model, or is of a type that is not supported.
    """
    found: dict[str, Place] = {}
    for path, expected in weight_files(folder).items():
        with opened(path) as file:
            held = set(file.keys())
            if expected is not None:
                check_index(path, held, expected)
            names = sorted(name for name in held if not COMPUTED.fullmatch(name))
            bare = not any(name.startswith("model.") for name in names)  # saved without its head
            for name in names:
                hub = f"model.{name}" if bare and name != "lm_head.weight" else name
                hub = from_mixtral(hub)
                stored = file.get_slice(name)
                check_place(hub, tuple(stored.get_shape()), config, path, shown=name)
                if stored.get_dtype() not in READABLE:
                    raise ModelFileError(
                        f"{path}: tensor {name} is stored as {stored.get_dtype()}, which is not "
                        f"supported: expected {', '.join(READABLE)}; take a model that is not "
                        f"quantized."
                    )
                found[hub] = Place(path, name)
    return found


def check_index(path: Path, held: set[str], expected: set[str]) -> None:
    """Raise a `ModelFileError` unless a shard holds just what the index says."""
    if wrong := sorted(held ^ expected):
        name = one_line(wrong[0], limit=80)
        told = "lacks" if wrong[0] in expected else "holds"
        raise ModelFileError(
            f"{path} {told} the tensor {name}, and {INDEX} says otherwise: they do not belong "
            f"together; copy the whole model folder."
        )


def read_weights(folder: Path, config: ModelConfig) -> dict[str, Tensor]:
    """Every tensor of the folder, by its hub name, memory-mapped: pages are read when used, and
    shared by all processes that map the same file.

    Raises:
        ModelFileError: as `places`.
    """
    from safetensors.torch import load_file

    found = places(folder, config)
    files: dict[Path, dict[str, Tensor]] = {}
    for path in dict.fromkeys(place.path for place in found.values()):
        with damage_named(path):
            files[path] = load_file(path)
    return {name: files[place.path][place.name] for name, place in found.items()}


class OneByOne(Mapping[str, Tensor]):
    """The tensors of a folder by hub name, each read when it is asked for, and its memory given
    back with it: for those who make something smaller of each.

    Raises:
        ModelFileError: as `places`.
    """

    def __init__(self, folder: Path, config: ModelConfig) -> None:
        self.places = places(folder, config)

    def __getitem__(self, name: str) -> Tensor:
        place = self.places[name]
        with opened(place.path) as file:
            tensor: Tensor = file.get_tensor(place.name)
            return tensor

    def __contains__(self, name: object) -> bool:
        return name in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A safetensors file, mapped anew: what was mapped stays in memory as long as the file."""
    from safetensors import safe_open

    with damage_named(path), safe_open(path, framework="pt") as file:
        yield file


@contextlib.contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Say which file is damaged, whatever the reader raises."""
    from safetensors import SafetensorError

    try:
        yield
    except ModelFileError:
        raise
    except MemoryError:
        raise ModelFileError(
            f"{path} can't be mapped ({os.path.getsize(path):,} bytes): it is too large for this "
            f"machine's memory; take a smaller model, or copy it again."
        ) from None
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelFileError(
            f"{path} is damaged ({one_line(error)}): copy it again (it has "
            f"{os.path.getsize(path):,} bytes)."
        ) from None
