"""A name or a path becomes the source of a model, before its weights are read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from decodeloop.assembling import QUANTIZED
from decodeloop.bar import progress_bar
from decodeloop.checkpoints.download import (
    cache_folder,
    converted_folder,
    damage,
    fetch,
    is_fetched,
)
from decodeloop.checkpoints.fields import naming
from decodeloop.checkpoints.files import can_be_a_path
from decodeloop.checkpoints.folder import OneByOne, read_weights
from decodeloop.checkpoints.gguf_file import GGUFFile, is_gguf
from decodeloop.checkpoints.gguf_tokenizer import tokenizer_from_gguf
from decodeloop.checkpoints.hub import hub_folder, is_hub_id, kept_folder
from decodeloop.checkpoints.hub_config import read_config, read_eos_ids, read_quantization
from decodeloop.checkpoints.pinned import PINNED
from decodeloop.checkpoints.quantized import QuantizedFolder
from decodeloop.checkpoints.shipped import SHIPPED
from decodeloop.checkpoints.tokenizer import Tokenizer
from decodeloop.checkpoints.weights import Finite
from decodeloop.cost.presets import PRESETS
from decodeloop.devices import total_memory
from decodeloop.dtypes import torch_dtype
from decodeloop.errors import ModelFileError, UserError
from decodeloop.model import ModelConfig, parameter_count

BYTES = {"int8": 1.0, "w8a8": 1.0, "int4": 4.5 / 8}  # that a quantized weight takes at least
KNOWN = (*PINNED, *SHIPPED)  # models by name


@dataclass(frozen=True)
class Source:
    """A model that was found, before its weights are read."""

    path: Path
    config: ModelConfig
    tokenizer: Tokenizer
    eos_ids: Sequence[int]
    read: Callable[[str], Mapping[str, Tensor]]  # the weights, for a decoder of this dtype
    dtype: str | None = None  # what its matrices were quantized to, if they were


def found(name_or_path: str | Path, dtype: str = "fp32") -> Source:
    """A model by its name or path.

    Args:
        dtype: what its weights will be: one that would not fit is not fetched.

    Raises:
        UserError: as `load`, and ModelFileError.
    """
    name = str(name_or_path)
    if name in PINNED or name in SHIPPED:
        return in_folder(known_folder(name), known=True)
    path = Path(name_or_path)
    with contextlib.suppress(RuntimeError):  # a home that nobody has
        path = path.expanduser()
    if not can_be_a_path(path):
        raise unknown(name)
    if path.is_dir():
        return in_folder(path)
    if is_gguf(path):
        return in_gguf(path)
    if path.exists():
        raise ModelFileError(
            f"{path} is neither a .gguf file nor a folder with config.json and safetensors."
        )
    if is_hub_id(name):
        return in_folder(hub_folder(name, lambda config: check_fits(config, name, dtype)))
    if name.lower() in PRESETS:
        return in_folder(preset_folder(name))
    raise unknown(name)


def preset_folder(name: str) -> Path:
    """The folder of a model whose costs are known by a name, if it was fetched before.

    Raises:
        UserError: it was not.
    """
    hub_id = PRESETS[name.lower()].source.partition(",")[0]
    folder = kept_folder(hub_id) if is_hub_id(hub_id) else None
    if folder is None:
        how = f"load {hub_id!r} once, which fetches it, or " if is_hub_id(hub_id) else ""
        raise UserError(
            f"of {name!r} the configuration alone is known here, for what it costs: {how}give a "
            f"folder with its config.json and safetensors."
        )
    return folder


def check_fits(config: ModelConfig, name: str, dtype: str) -> None:
    """Raise a `ModelFileError` if the weights of a model are more than this machine's memory holds:
    said before they are fetched."""
    each = BYTES[dtype] if dtype in QUANTIZED else torch_dtype(dtype).itemsize
    needed, memory = parameter_count(config) * each, total_memory()
    if memory is not None and needed > memory:
        raise ModelFileError(
            f"{name} has {needed / 1e9:,.1f} GB of weights as {dtype}, and this machine has "
            f"{memory / 1e9:,.1f} GB of memory: take a smaller model, or dtype='int8' or 'bf16'."
        )


def unknown(name: str) -> UserError:
    shown = name if len(name) <= 100 else f"{name[:100]}…"
    return UserError(
        f"unknown model {shown!r}: expected one of {', '.join(KNOWN)}, a .gguf file, a folder "
        f"with config.json and safetensors, or a hub id (owner/name); nothing lies at that path."
    )


def known_folder(name: str) -> Path:
    """The folder of a model that the course knows; fetched, with a bar, if it is not there yet."""
    if name in SHIPPED:
        return SHIPPED[name]
    pinned, cache = PINNED[name], cache_folder()
    if not is_fetched(pinned, cache):
        with progress_bar() as show:
            return fetch(pinned, cache, progress=show)
    wrong = damage(pinned, cache)
    if wrong:
        raise ModelFileError(f"the model {name} is damaged: {wrong}; run 'decodeloop fetch'.")
    return converted_folder(pinned, cache)


def in_folder(folder: Path, known: bool = False) -> Source:
    """A folder in the hub's layout; of a known one every byte is as it was written."""
    config, eos_ids = read_config(folder), read_eos_ids(folder)
    tokenizer, quantized = Tokenizer.from_folder(folder), read_quantization(folder)
    if not known:
        check_vocabulary(tokenizer, config, eos_ids, folder)

    def read(dtype: str) -> Mapping[str, Tensor]:
        if quantized is not None:
            return Finite(QuantizedFolder(folder, config), folder)
        tensors = (OneByOne if dtype in QUANTIZED else read_weights)(folder, config)
        return tensors if known else Finite(tensors, folder)

    return Source(folder, config, tokenizer, eos_ids, read, quantized)


def in_gguf(path: Path) -> Source:
    """A GGUF file as it is, dequantized each time."""
    file = GGUFFile(path)
    tokenizer = tokenizer_from_gguf(file.fields, path)
    check_vocabulary(tokenizer, file.config, file.eos_ids(), path)
    return Source(path, file.config, tokenizer, file.eos_ids(), lambda _: file.weights())


def check_vocabulary(
    tokenizer: Tokenizer, config: ModelConfig, eos_ids: Sequence[int], source: Path
) -> None:
    """Ids beyond the embedding belong to another model: it can neither read nor make them."""
    with naming(source):
        vocabulary = tokenizer.vocabulary
    if vocabulary > config.vocabulary:
        raise ModelFileError(
            f"{source}: the tokenizer has {vocabulary} tokens, the model {config.vocabulary}: they "
            f"do not belong together; copy the model again."
        )
    if beyond := [token for token in eos_ids if not 0 <= token < config.vocabulary]:
        raise ModelFileError(
            f"{source}: the token {beyond[0]} is to end a text, and the model has "
            f"{config.vocabulary} tokens, from 0 up: it would never end one; copy the model again."
        )
