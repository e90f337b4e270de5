"""`load`: a name or a path becomes a language model."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from decodeloop.checkpoints.bar import progress_bar
from decodeloop.checkpoints.download import (
    cache_folder,
    converted_folder,
    damage,
    fetch,
    is_fetched,
)
from decodeloop.checkpoints.folder import OneByOne, read_config, read_eos_ids, read_weights
from decodeloop.checkpoints.gguf_file import GGUFFile
from decodeloop.checkpoints.pinned import PINNED
from decodeloop.checkpoints.tokenizer import Tokenizer, tokenizer_from_gguf
from decodeloop.checkpoints.weights import decoder_from, int8_decoder_from
from decodeloop.devices import pick_device
from decodeloop.errors import ModelFileError, UserError
from decodeloop.kernels import fast
from decodeloop.model import Decoder, ModelConfig

Weights = Literal["plain", "fp32", "int8"]
WEIGHTS = ("plain", "fp32", "int8")


@dataclass(frozen=True)
class LanguageModel:
    """A decoder with its tokenizer: what is needed to turn text into text."""

    name: str
    config: ModelConfig
    tokenizer: Tokenizer
    model: Decoder
    eos_ids: tuple[int, ...]  # any of these ends a text

    @property
    def device(self) -> torch.device:
        return self.model.device

    def prompt_ids(self, prompt: str, raw: bool = False) -> list[int]:
        """The token ids of a prompt, as a chat message, or `raw`, as text to be continued.

        Raises:
            UserError: the prompt is empty.
        """
        if not prompt:
            raise UserError("the prompt is empty: expected at least one character.")
        text = prompt if raw else self.tokenizer.chat([{"role": "user", "content": prompt}])
        return self.tokenizer.encode(text)


def load(
    name_or_path: str | Path = "smollm2-135m",
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    weights: Weights | None = None,
) -> LanguageModel:
    """Load a language model.

    Args:
        name_or_path: a name that the course knows (``smollm2-135m``, fetched at first use); a
            ``.gguf`` file of the Llama architecture (F32, F16, Q8_0, Q4_1); or a folder with
            ``config.json`` and safetensors of that architecture.
        device: where to; ``DECODELOOP_DEVICE``, else the best there is, if not given.
        dtype: of the weights; fp32 if not given.
        weights: ``plain`` computes in PyTorch alone; ``fp32`` by kernels that are compiled (see
            `decodeloop.kernels`), with the same tokens, several times as fast; ``int8`` by kernels,
            with weights that are quantized to 8 bits. If not given it is fp32 where there are
            kernels, on the CPU and in fp32, else plain. They need Numba; without it the plain path
            computes, and says so once.

    Raises:
        UserError: the name is unknown, or a fetch fails.
        ModelFileError: the file or folder is missing, damaged or not supported.
    """
    where, name, kind = pick_device(device), str(name_or_path), dtype or torch.float32
    check_weights(weights, kind)
    if name in PINNED:
        return from_folder(pinned_folder(name), name, where, kind, weights)
    path = Path(name_or_path)
    with contextlib.suppress(RuntimeError):  # a home that nobody has
        path = path.expanduser()
    if not can_be_a_path(path):
        raise unknown(name)
    if path.is_dir():
        return from_folder(path, name, where, kind, weights)
    if path.suffix == ".gguf":
        return from_gguf(path, name, where, kind, weights)
    if path.exists():
        raise ModelFileError(
            f"{path} is neither a .gguf file nor a folder with config.json and safetensors."
        )
    raise unknown(name)


def can_be_a_path(path: Path) -> bool:
    """Whether the system would let a file have this name: not if it is too long, say."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return True
    except (OSError, ValueError):
        return False
    return True


def unknown(name: str) -> UserError:
    shown = name if len(name) <= 100 else f"{name[:100]}…"
    return UserError(
        f"unknown model {shown!r}: expected one of {', '.join(PINNED)}, a .gguf file, or a folder "
        f"with config.json and safetensors; nothing lies at that path."
    )


def pinned_folder(name: str) -> Path:
    """The converted folder of a pinned model; fetched, with a bar, if it is not there yet."""
    pinned, cache = PINNED[name], cache_folder()
    if not is_fetched(pinned, cache):
        with progress_bar() as show:
            return fetch(pinned, cache, progress=show)
    wrong = damage(pinned, cache)
    if wrong:
        raise ModelFileError(f"the model {name} is damaged: {wrong}; run 'decodeloop fetch'.")
    return converted_folder(pinned, cache)


def check_weights(weights: str | None, dtype: torch.dtype) -> None:
    """Raise a `UserError` unless `weights` is a way of decoding, and fits the type."""
    if weights is not None and weights not in WEIGHTS:
        raise UserError(
            f"weights is {weights!r}: expected one of {', '.join(WEIGHTS)}, or None for the "
            f"fastest of those that are exact."
        )
    if weights in ("fp32", "int8") and dtype != torch.float32:
        raise UserError(
            f"weights={weights!r} computes in fp32: leave out dtype={dtype}, or weights."
        )


def from_folder(
    folder: Path,
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    weights: Weights | None = None,
) -> LanguageModel:
    """Load a folder in the hub's layout."""
    config = read_config(folder)
    tokenizer = Tokenizer.from_folder(folder)
    check_vocabulary(tokenizer, config, folder)
    tensors = OneByOne(folder) if weights == "int8" else read_weights(folder)
    model = build(tensors, config, folder, device, dtype, weights)
    return LanguageModel(name, config, tokenizer, model, tuple(read_eos_ids(folder)))


def from_gguf(
    path: Path,
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    weights: Weights | None = None,
) -> LanguageModel:
    """Load a GGUF file as it is, dequantizing it each time."""
    file = GGUFFile(path)
    tokenizer = tokenizer_from_gguf(file.fields, path)
    check_vocabulary(tokenizer, file.config, path)
    model = build(file.weights(), file.config, path, device, dtype, weights)
    return LanguageModel(name, file.config, tokenizer, model, tuple(file.eos_ids()))


def build(
    tensors: Mapping[str, torch.Tensor],
    config: ModelConfig,
    source: Path,
    device: torch.device,
    dtype: torch.dtype,
    weights: Weights | None,
) -> Decoder:
    """The decoder that was asked for, of these tensors."""
    if weights == "int8":
        return fast(int8_decoder_from(tensors, config, source, device))
    decoder = decoder_from(tensors, config, source, device, dtype)
    nobody_asked = weights is None and (device.type != "cpu" or dtype != torch.float32)
    return decoder if weights == "plain" or nobody_asked else fast(decoder)


def check_vocabulary(tokenizer: Tokenizer, config: ModelConfig, source: Path) -> None:
    """A tokenizer that makes ids beyond the embedding belongs to another model."""
    if tokenizer.vocabulary > config.vocabulary:
        raise ModelFileError(
            f"{source}: the tokenizer has {tokenizer.vocabulary} tokens, the model "
            f"{config.vocabulary}: they do not belong together; copy the model again."
        )
