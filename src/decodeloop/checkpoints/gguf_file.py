"""Read a GGUF file of the Llama architecture: configuration, weights, tokenizer.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The `gguf` package does the
reading; what is ours is to check first that no length in the header points outside the file, and
to say in one sentence what is wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from decodeloop.checkpoints.weights import hub_name
from decodeloop.errors import ModelFileError, UserError, one_line
from decodeloop.model import ModelConfig

READABLE = ("F32", "F16", "Q8_0", "Q4_1")
SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # type → bytes
STRING, ARRAY = 8, 9

BLOCK_TENSORS = {
    "attn_norm": "attention_norm",
    "attn_q": "attention.query",
    "attn_k": "attention.key",
    "attn_v": "attention.value",
    "attn_output": "attention.output",
    "ffn_norm": "feed_forward_norm",
    "ffn_gate": "feed_forward.gate",
    "ffn_up": "feed_forward.up",
    "ffn_down": "feed_forward.down",
}
TOP_TENSORS = {"token_embd": "embedding", "output_norm": "norm", "output": "output"}


class GGUFFile:
    """A GGUF file, opened and checked.

    Raises:
        ModelFileError: the file is missing, damaged, of another architecture, or quantized in a
            way that is not supported.
    """

    def __init__(self, path: Path) -> None:
        from gguf import GGUFReader

        self.path = path
        check_lengths(path)
        try:
            self._reader = GGUFReader(path)
            self.fields: dict[str, Any] = {
                name: field.contents() for name, field in self._reader.fields.items()
            }
        except Exception as error:  # whatever a reader trips over in a damaged file
            raise damaged(path, f"its header can't be read ({error})") from None
        architecture = self.fields.get("general.architecture")
        if architecture != "llama":
            raise ModelFileError(
                f"{path} holds a model of architecture {architecture!r}: expected 'llama'; "
                f"take a GGUF file of a Llama-architecture model."
            )
        self.config = self._config()

    def _number(self, key: str, kind: type, default: Any = None) -> Any:
        value = self.fields.get(key, default)
        if kind is float and isinstance(value, int):
            value = float(value)
        if not isinstance(value, kind):
            raise damaged(self.path, f"its header has {key} = {value!r}, not a number")
        return value

    def _config(self) -> ModelConfig:
        scaling = self.fields.get("llama.rope.scaling.type", "none")
        if scaling != "none":
            raise ModelFileError(
                f"{self.path} scales its rotary positions ({scaling!r}): only plain ones are "
                f"supported; take a model without RoPE scaling."
            )
        heads = self._number("llama.attention.head_count", int)
        width = self._number("llama.embedding_length", int)
        names = {tensor.name for tensor in self._reader.tensors}
        embedding = next((t for t in self._reader.tensors if t.name == "token_embd.weight"), None)
        if embedding is None:
            raise damaged(self.path, "it has no tensor token_embd.weight")
        # stored as fp32: 1e-5 comes back as 9.999999747378752e-06
        epsilon = self._number("llama.attention.layer_norm_rms_epsilon", float)
        try:
            return ModelConfig(
                vocabulary=int(embedding.shape[-1]),
                width=width,
                layers=self._number("llama.block_count", int),
                heads=heads,
                kv_heads=self._number("llama.attention.head_count_kv", int, heads),
                head_dim=self._number(
                    "llama.attention.key_length", int, width // heads if heads else 0
                ),
                feed_forward=self._number("llama.feed_forward_length", int),
                context=self._number("llama.context_length", int),
                rope_base=self._number("llama.rope.freq_base", float, 10_000.0),
                norm_eps=float(str(np.float32(epsilon))),
                tied="output.weight" not in names,
            )
        except ModelFileError:
            raise
        except UserError as error:
            raise damaged(self.path, str(error)) from None

    def eos_ids(self) -> list[int]:
        """The ids that end a text."""
        eos = self.fields.get("tokenizer.ggml.eos_token_id")
        return [eos] if isinstance(eos, int) else []

    def weights(self, progress: Callable[[float], None] = lambda _: None) -> dict[str, Tensor]:
        """Every tensor, dequantized to fp32, by the names that a hub folder has for them."""
        from gguf.quants import dequantize

        state: dict[str, Tensor] = {}
        tensors = self._reader.tensors
        for number, tensor in enumerate(tensors):
            kind, shown = tensor.tensor_type.name, one_line(tensor.name)
            if kind not in READABLE:
                raise ModelFileError(
                    f"{self.path}: tensor {shown} is quantized as {kind}, which is not "
                    f"supported: expected {', '.join(READABLE)}."
                )
            name = own_name(tensor.name)
            if name is None:
                raise ModelFileError(
                    f"{self.path} has a tensor {shown} that the Llama architecture has no "
                    f"place for: take another model."
                )
            with np.errstate(all="ignore"):
                array = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
            weight = torch.from_numpy(np.array(array, order="C"))
            if not weight.isfinite().all():
                raise damaged(self.path, f"tensor {tensor.name} has values that are not numbers")
            for part, heads in (
                ("attention.query", self.config.heads),
                ("attention.key", self.config.kv_heads),
            ):
                if part in name and weight.ndim == 2 and weight.shape[0] % (2 * heads) == 0:
                    weight = unpermute(weight, heads)
            state[hub_name(name)] = weight
            progress((number + 1) / len(tensors))
        return state


def unpermute(weight: Tensor, heads: int) -> Tensor:
    """Undo llama.cpp's order of the query and key rows.

    llama.cpp rotates neighbouring channels (0, 1), (2, 3), …; the half-split form pairs channel i
    with i + D/2. The converter therefore stored each head's rows as 0, D/2, 1, D/2 + 1, …

    Shapes: (heads·D, C) → the same.
    """
    pairs = weight.reshape(heads, -1, 2, weight.shape[-1])  # (heads, D/2, 2, C)
    return pairs.transpose(1, 2).reshape(weight.shape).contiguous()


def own_name(gguf_name: str) -> str | None:
    """`blk.3.attn_q.weight` → `layers.3.attention.query.weight`; None for what has no place."""
    parts = gguf_name.removesuffix(".weight").split(".")
    if len(parts) == 3 and parts[0] == "blk" and parts[1].isdecimal() and parts[2] in BLOCK_TENSORS:
        return f"layers.{parts[1]}.{BLOCK_TENSORS[parts[2]]}.weight"
    if len(parts) == 1 and parts[0] in TOP_TENSORS:
        return f"{TOP_TENSORS[parts[0]]}.weight"
    return None


def damaged(path: Path, what: str) -> ModelFileError:
    return ModelFileError(
        f"{path} is damaged: {one_line(what)}; fetch or copy the file again (it has "
        f"{path.stat().st_size:,} bytes)."
    )


def check_lengths(path: Path) -> None:
    """Walk the header with every count held against the bytes that are left.

    A reader that trusts a flipped count loops over 2^60 entries; this walk stops at the first that
    can't be true.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ModelFileError(
                    f"{path} is no GGUF file: it does not begin with 'GGUF'; check the path, or "
                    f"copy the file again."
                )
            _Walk(path, file, size).header()
    except OSError as error:
        raise ModelFileError(
            f"{path} can't be read ({error.strerror}): check the path, or copy the file again."
        ) from None


class _Walk:
    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self.path, self.file, self.size = path, file, size

    def header(self) -> None:
        version = self._unpack("<I")
        if version not in (2, 3):
            raise damaged(self.path, f"its version is {version}, expected 2 or 3")
        tensors, fields = self._unpack("<Q"), self._unpack("<Q")
        self._room(tensors, 24, "tensors")
        self._room(fields, 13, "fields")
        alignment = 32
        for _ in range(fields):
            key = self._string()
            kind = self._unpack("<I")
            if key == b"general.alignment" and kind == 4:
                alignment = self._unpack("<I")
                if alignment < 8 or alignment & (alignment - 1):
                    raise damaged(self.path, f"its alignment is {alignment}, not a power of two")
            else:
                self._skip_value(kind, depth=0)
        ends = [self._tensor_end() for _ in range(tensors)]
        data = -(-self.file.tell() // alignment) * alignment
        if data + max(ends, default=0) > self.size:
            raise damaged(self.path, "it is shorter than its header says, so it was cut off")

    def _tensor_end(self) -> int:
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

        name = one_line(self._string().decode("utf-8", "replace"), limit=64)
        axes = self._unpack("<I")
        if not 1 <= axes <= 4:
            raise damaged(self.path, f"tensor {name} has {axes} axes, expected 1 to 4")
        elements = 1
        for _ in range(axes):
            elements *= self._unpack("<Q")
        kind, offset = self._unpack("<I"), self._unpack("<Q")
        try:
            block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        except (KeyError, ValueError):
            raise damaged(self.path, f"tensor {name} has the unknown type {kind}") from None
        if elements == 0 or elements % block:
            raise damaged(self.path, f"tensor {name} has {elements} elements, no blocks of {block}")
        return offset + elements // block * block_bytes

    def _skip_value(self, kind: int, depth: int) -> None:
        if kind in SCALARS:
            self._skip(SCALARS[kind])
        elif kind == STRING:
            self._string()
        elif kind == ARRAY and depth == 0:
            item, count = self._unpack("<I"), self._unpack("<Q")
            if item in SCALARS:
                self._skip(SCALARS[item] * count)
            else:
                self._room(count, 8, "array entries")
                for _ in range(count):
                    self._skip_value(item, depth + 1)
        else:
            raise damaged(self.path, f"its header has a value of the unknown type {kind}")

    def _string(self) -> bytes:
        length = self._unpack("<Q")
        self._room(length, 1, "characters")
        return self.file.read(length)

    def _unpack(self, form: str) -> int:
        raw = self.file.read(struct.calcsize(form))
        if len(raw) < struct.calcsize(form):
            raise damaged(self.path, "it ends inside its header, so it was cut off")
        return struct.unpack(form, raw)[0]

    def _skip(self, length: int) -> None:
        self._room(length, 1, "bytes")
        self.file.seek(length, 1)

    def _room(self, count: int, bytes_each: int, what: str) -> None:
        left = self.size - self.file.tell()
        if count * bytes_each > left:
            raise damaged(self.path, f"its header promises {count} {what}, with {left} bytes left")
