"""`export`: a model becomes a GGUF file for llama.cpp, or a folder in the hub's layout."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from decodeloop.assembling import QUANTIZED, decoder_from
from decodeloop.bar import Progress, silent
from decodeloop.checkpoints.expert_names import to_mixtral
from decodeloop.checkpoints.folder import WEIGHTS
from decodeloop.checkpoints.gguf_file import is_gguf
from decodeloop.checkpoints.gguf_writing import FORMATS, check_format, write_gguf
from decodeloop.checkpoints.hub_config import family_of, write_config
from decodeloop.checkpoints.quantized import PACKED, SCALE, pack_groups, quantization_of
from decodeloop.checkpoints.tokenizer import Tokenizer
from decodeloop.checkpoints.weights import OF_THE_MODEL, hub_name
from decodeloop.compress import shuffled
from decodeloop.dtypes import dtype_name, torch_dtype
from decodeloop.errors import UserError
from decodeloop.finding import found
from decodeloop.kernels import quantize
from decodeloop.kernels.int4 import quantize_groups
from decodeloop.model import Decoder, ModelConfig

FOLDER_DTYPES = ("fp32", "bf16", "fp16", "int8", "int4")
NEAREST = {"q8_0": "int8", "q4_0": "int4"}  # how large a file's formats are, by our names
TABLES = {hub_name(f"{part}.weight") for part in OF_THE_MODEL}  # in 8 bits where others have 4
ROUTER = ".mlp.gate.weight"  # which no quantization rounds


def export(
    model: str | Path,
    out: Path,
    dtype: str | None = None,
    progress: Progress = silent,
    *,
    reordered: bool = False,
) -> Path:
    """Write a model that `load` would load: to a `.gguf` file, or else to a folder.

    Args:
        out: what is made; there must be nothing of this name yet.
        dtype: of a file `gguf_writing.FORMATS`, of a folder `FOLDER_DTYPES`; fp32 if not given.
        reordered: with its channels in another order (`compress.shuffled`): the same function,
            and no trace of groups in which its weights were quantized before.

    Raises:
        UserError: the type is unknown, something is there already, or the disk refuses; as `load`.
    """
    as_file = is_gguf(out)
    kind = dtype_name(dtype or "fp32", FORMATS if as_file else FOLDER_DTYPES, "--dtype")
    check_free(out)
    source = found(model, NEAREST.get(kind, kind))
    if as_file:
        check_format(source.config, kind)
    weights, parts = source.read("int8"), (source.config, source.tokenizer, source.eos_ids)
    if reordered:
        plain = decoder_from(
            weights, source.config, source.path, torch.device("cpu"), torch.float32
        )
        weights = hub_weights(shuffled(plain))
    with tempfile.TemporaryDirectory(prefix=".export-", dir=out.parent) as staging:
        made = Path(staging) / out.name
        if as_file:
            config, tokenizer, eos_ids = parts
            write_gguf(
                made, config, weights, tokenizer, eos_ids, kind, lambda x: progress("write", x)
            )
        else:
            write_folder(made, weights, *parts, dtype=kind)
        check_free(out)  # which may have come meanwhile
        os.replace(made, out) if as_file else shutil.move(made, out)
    return out


def check_free(out: Path) -> None:
    """Raise a `UserError` if there is something of this name, or no folder to put it in."""
    if os.path.lexists(out):
        raise UserError(f"{out} is there already: remove it, or take another name.")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent} is no folder: make it first, or take another name.")


def hub_weights(decoder: Decoder) -> dict[str, Tensor]:
    """A decoder's weights by hub name; a tied head is the embedding, and not among them.

    >>> from decodeloop.model import TINY
    >>> len(hub_weights(Decoder(TINY))) == 2 + 9 * TINY.layers
    True
    """
    tied = decoder.config.tied
    return {
        hub_name(name): tensor.detach()
        for name, tensor in decoder.state_dict().items()
        if not (tied and name == "output.weight")
    }


def write_folder(
    folder: Path,
    weights: Mapping[str, Tensor],
    config: ModelConfig,
    tokenizer: Tokenizer,
    eos_ids: Sequence[int],
    dtype: str = "fp32",
) -> None:
    """Write a folder that `load` reads: `config.json`, the tokenizer's files, safetensors.

    Args:
        folder: it is made.
        weights: by hub name, in fp32: of a source, or `hub_weights(decoder)`.
        dtype: what matrices are written as. With int4 the embedding and the head have 8 bits.
    """
    from safetensors.torch import save_file

    folder.mkdir()
    quantization = quantization_of(dtype) if dtype in QUANTIZED else None
    write_config(config, folder, eos_ids, quantization)
    tokenizer.save(folder)
    named = to_mixtral if family_of(config)[0] == "mixtral" else str
    stored = {
        named(name): tensor.contiguous()
        for hub, weight in weights.items()
        for name, tensor in written(hub, weight, dtype)
    }
    save_file(stored, folder / WEIGHTS, metadata={"format": "pt"})


def written(name: str, weight: Tensor, dtype: str) -> Iterator[tuple[str, Tensor]]:
    """What is written of one tensor: itself, or whole numbers and their scales."""
    weight = weight.cpu()
    if dtype not in QUANTIZED:
        yield name, weight.to(torch_dtype(dtype)).clone()
    elif weight.ndim == 1 or name.endswith(ROUTER):
        yield name, weight.float().clone()
    elif dtype == "int8" or name in TABLES:
        quantized, scale = quantize(weight.float())
        yield name, quantized
        yield name + SCALE, scale[:, None]
    else:
        groups, steps = quantize_groups(weight.float())
        yield name + PACKED, pack_groups(groups)
        yield name + SCALE, steps
