"""Read a GGUF file of the Llama architecture: configuration, weights, what ends a text.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The `gguf` package does the
reading, once `gguf_header` has walked the header.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from decodeloop.checkpoints.files import is_there
from decodeloop.checkpoints.gguf_header import check_header, damaged
from decodeloop.checkpoints.weights import check_finite, check_place, hub_name
from decodeloop.errors import ModelFileError, UserError, one_line
from decodeloop.model import ModelConfig

READABLE = ("F32", "F16", "Q8_0", "Q4_1", "Q4_0")
PART = re.compile(r"(.*)-(\d{5})-of-(\d{5})(\.gguf)", re.IGNORECASE | re.DOTALL)

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

READ = {
    f"llama.{key}"
    for key in (
        "block_count",
        "context_length",
        "embedding_length",
        "feed_forward_length",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.layer_norm_rms_epsilon",
        "rope.freq_base",
    )
}
# What a header may say of the architecture beside the sizes, and what it then must say.
NEUTRAL: dict[str, tuple[object, ...]] = {
    "rope.scaling.type": ("none",),
    "rope.scaling.factor": (0.0, 1.0),
    "rope.scaling.attn_factor": (1.0,),
    "rope.scale_linear": (0.0, 1.0),
    "expert_count": (0,),
    "expert_used_count": (0,),
    "attention.causal": (True,),
    "attention.sliding_window": (0,),
    "use_parallel_residual": (False,),
    "logit_scale": (0.0, 1.0),
    "residual_scale": (0.0, 1.0),
    "embedding_scale": (0.0, 1.0),
    "tensor_data_layout": ("Meta AI original pth",),
}
WITHOUT_EFFECT = ("rope.scaling.original_context_length", "rope.scaling.finetuned")
ENDS = ("eos", "eot", "eom")  # of the text, of a turn, of a message


def is_gguf(path: Path) -> bool:
    """Whether a file is called like one of this format."""
    return path.suffix.lower() == ".gguf"


class GGUFFile:
    """A GGUF file, opened and checked; of a split one, any part stands for all that lie beside it.

    Raises:
        ModelFileError: the file or a part is missing, damaged, of another architecture, or
            quantized in a way that is not supported.
    """

    def __init__(self, path: Path) -> None:
        self.path = part_of(path, 1)
        self.fields, tensors = read_part(self.path)
        self._tensors = [(self.path, tensor) for tensor in tensors]
        self._read_other_parts()
        architecture = self.fields.get("general.architecture")
        if architecture != "llama":
            raise ModelFileError(
                f"{self.path} holds a model of architecture {architecture!r:.80}: expected "
                f"'llama'; take a GGUF file of a Llama-architecture model."
            )
        self.config = self._config()
        self._refuse_the_unknown()

    def _read_other_parts(self) -> None:
        count = self._number("split.count", int, 1)
        name = PART.fullmatch(self.path.name)
        if count < 2 and name is None:
            return
        if name is None or int(name[3]) != count or self._number("split.no", int) != 0:
            raise damaged(
                self.path,
                f"it is split into {count} parts, the first of which is called "
                f"…-00001-of-{count:05}.gguf",
            )
        for number in range(2, count + 1):
            path = part_of(self.path, number)
            if not is_there(path):
                raise ModelFileError(
                    f"{self.path} is the first of {count} parts, and {path.name} is not beside it: "
                    f"copy all parts into one folder."
                )
            fields, tensors = read_part(path)
            if (fields.get("split.no"), fields.get("split.count")) != (number - 1, count):
                raise damaged(path, f"it is not part {number} of {count}")
            self._tensors += [(path, tensor) for tensor in tensors]
        if len(self._tensors) != self._number("split.tensors.count", int, len(self._tensors)):
            raise damaged(self.path, f"its {count} parts hold {len(self._tensors)} tensors")

    def _number(self, key: str, kind: type, default: Any = None) -> Any:
        value = self.fields.get(key, default)
        if type(value) is not kind:  # not isinstance: True is no number
            raise damaged(self.path, f"its header has {key} = {value!r:.80}, not a number")
        return value

    def _config(self) -> ModelConfig:
        heads = self._number("llama.attention.head_count", int)
        width = self._number("llama.embedding_length", int)
        tensors = {tensor.name: tensor for _, tensor in self._tensors}
        embedding = tensors.get("token_embd.weight")
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
                tied="output.weight" not in tensors,
            )
        except ModelFileError:
            raise
        except UserError as error:
            raise damaged(self.path, str(error)) from None

    def _refuse_the_unknown(self) -> None:
        """A key of the architecture that nobody reads would be another model, without a word."""
        sizes = (
            ("llama.vocab_size", self.config.vocabulary),
            ("llama.rope.dimension_count", self.config.head_dim),
            ("llama.attention.value_length", self.config.head_dim),
        )
        for key, expected in sizes:
            if self._number(key, int, expected) != expected:
                raise ModelFileError(
                    f"{self.path} has {key} = {self.fields[key]!r}, and its other sizes ask for "
                    f"{expected}: take a plain Llama-architecture model, or copy the file again."
                )
        known = {key for key, _ in sizes} | READ | {f"llama.{key}" for key in WITHOUT_EFFECT}
        for key, value in self.fields.items():
            if not key.startswith("llama.") or key in known:
                continue
            if not any(value == wanted for wanted in NEUTRAL.get(key.removeprefix("llama."), ())):
                raise ModelFileError(
                    f"{self.path} asks for {one_line(key, 80)} = {value!r:.80}, which is not "
                    f"supported: take a plain Llama-architecture model (without RoPE scaling)."
                )

    def eos_ids(self) -> list[int]:
        """The ids that end a text: of chat models, the end of a turn is another token."""
        keys = [f"tokenizer.ggml.{end}_token_id" for end in ENDS]
        ids = [self._number(key, int) for key in keys if key in self.fields]
        return list(dict.fromkeys(ids))

    def weights(self, progress: Callable[[float], None] = lambda _: None) -> dict[str, Tensor]:
        """Every tensor, dequantized to fp32, by the names that a hub folder has for them."""
        from gguf.quants import dequantize

        state: dict[str, Tensor] = {}
        for number, (path, tensor) in enumerate(self._tensors):
            kind, shown = tensor.tensor_type.name, one_line(tensor.name, limit=80)
            if kind not in READABLE:
                raise ModelFileError(
                    f"{path}: tensor {shown} is quantized as {kind}, which is not supported: "
                    f"expected {', '.join(READABLE)}."
                )
            own = own_name(tensor.name)
            name = hub_name(own) if own else ""
            if name in state:
                raise damaged(path, f"another part has the tensor {shown} too")
            shape = tuple(int(length) for length in reversed(tensor.shape))
            check_place(name, shape, self.config, path, shown=f"{shown} ({name})" if own else shown)
            with np.errstate(all="ignore"):
                array = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
            weight = torch.from_numpy(np.array(array, order="C"))
            check_finite(shown, weight, path)
            if name.endswith("self_attn.q_proj.weight"):
                weight = unpermute(weight, self.config.heads)
            if name.endswith("self_attn.k_proj.weight"):
                weight = unpermute(weight, self.config.kv_heads)
            state[name] = weight
            progress((number + 1) / len(self._tensors))
        return state


def part_of(path: Path, number: int) -> Path:
    """The part of this number of a split file; the file itself where it isn't called like one.

    >>> part_of(Path("model-00002-of-00003.gguf"), 1).name
    'model-00001-of-00003.gguf'
    """
    name = PART.fullmatch(path.name)
    return path.with_name(f"{name[1]}-{number:05}-of-{name[3]}{name[4]}") if name else path


def read_part(path: Path) -> tuple[dict[str, Any], list[Any]]:
    """The fields of a file, and its tensors, none of them read yet.

    Raises:
        ModelFileError: it is missing, or damaged.
    """
    from gguf import GGUFReader

    check_header(path)
    try:
        reader = GGUFReader(path)
        return {name: field.contents() for name, field in reader.fields.items()}, reader.tensors
    except Exception as error:  # whatever a reader trips over in a damaged file
        raise damaged(path, f"its header can't be read ({error})") from None


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
    layer = re.fullmatch(r"blk\.(0|[1-9][0-9]*)\.(\w+)\.weight", gguf_name)
    if layer and layer[2] in BLOCK_TENSORS:
        return f"layers.{layer[1]}.{BLOCK_TENSORS[layer[2]]}.weight"
    if gguf_name.removesuffix(".weight") in TOP_TENSORS and gguf_name.endswith(".weight"):
        return f"{TOP_TENSORS[gguf_name.removesuffix('.weight')]}.weight"
    return None
