"""Read a GGUF file: configuration, weights, what ends a text.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The `gguf` package does the
reading, once `gguf_header` has walked the header; `gguf_config` makes sense of its keys.
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
from decodeloop.checkpoints.gguf_config import PERMUTED, config_of, number_of
from decodeloop.checkpoints.gguf_header import check_header, damaged
from decodeloop.checkpoints.weights import check_finite, check_place, hub_name
from decodeloop.errors import ModelFileError, one_line

ROPE_DIVISORS = "rope_freqs.weight"
READABLE = ("F32", "F16", "Q8_0", "Q4_1", "Q4_0")
PART = re.compile(r"(.*)-(\d{5})-of-(\d{5})(\.gguf)", re.IGNORECASE | re.DOTALL)

BLOCK_TENSORS = {
    "attn_norm": "attention_norm",
    "attn_q": "attention.query",
    "attn_k": "attention.key",
    "attn_v": "attention.value",
    "attn_output": "attention.output",
    "attn_q_norm": "attention.query_norm",
    "attn_k_norm": "attention.key_norm",
    "ffn_norm": "feed_forward_norm",
    "ffn_gate": "feed_forward.gate",
    "ffn_up": "feed_forward.up",
    "ffn_down": "feed_forward.down",
}
TOP_TENSORS = {"token_embd": "embedding", "output_norm": "norm", "output": "output"}

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
        shapes = {t.name: tuple(map(int, reversed(t.shape))) for _, t in self._tensors}
        self.config = config_of(self.fields, shapes, self._divisors(), self.path)

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
        return number_of(self.fields, self.path, key, kind, default)

    def _divisors(self) -> tuple[float, ...]:
        """By what each pair of channels turns more slowly, if a tensor says so: Llama 3.1's."""
        found = [tensor for _, tensor in self._tensors if tensor.name == ROPE_DIVISORS]
        if not found:
            return ()
        if found[0].tensor_type.name != "F32":
            raise damaged(self.path, f"its tensor {ROPE_DIVISORS} is not F32")
        return tuple(float(value) for value in found[0].data.reshape(-1))

    def eos_ids(self) -> list[int]:
        """The ids that end a text: of chat models, the end of a turn is another token."""
        keys = [f"tokenizer.ggml.{end}_token_id" for end in ENDS]
        ids = [self._number(key, int) for key in keys if key in self.fields]
        return list(dict.fromkeys(ids))

    def weights(self, progress: Callable[[float], None] = lambda _: None) -> dict[str, Tensor]:
        """Every tensor, dequantized to fp32, by the names that a hub folder has for them."""
        from gguf.quants import dequantize

        state: dict[str, Tensor] = {}
        permuted = self.fields["general.architecture"] in PERMUTED
        for done, (path, tensor) in enumerate(self._tensors):
            kind, shown = tensor.tensor_type.name, one_line(tensor.name, limit=80)
            if tensor.name == ROPE_DIVISORS:
                continue
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
            if permuted and name.endswith("self_attn.q_proj.weight"):
                weight = unpermute(weight, self.config.heads)
            if permuted and name.endswith("self_attn.k_proj.weight"):
                weight = unpermute(weight, self.config.kv_heads)
            state[name] = weight
            progress((done + 1) / len(self._tensors))
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
    layer = re.fullmatch(r"blk\.(0|[1-9][0-9]*)\.(\w+)\.(weight|bias)", gguf_name)
    if layer and layer[2] in BLOCK_TENSORS:
        return f"layers.{layer[1]}.{BLOCK_TENSORS[layer[2]]}.{layer[3]}"
    if gguf_name.removesuffix(".weight") in TOP_TENSORS and gguf_name.endswith(".weight"):
        return f"{TOP_TENSORS[gguf_name.removesuffix('.weight')]}.weight"
    return None
