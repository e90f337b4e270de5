"""Write a model as a GGUF file, the format of llama.cpp: the way out of here.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The `gguf` package does the
writing and the rounding to its formats.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from decodeloop.checkpoints.gguf_file import BLOCK_TENSORS, ENDS, TOP_TENSORS
from decodeloop.checkpoints.gguf_tokenizer import CONTROL, LLAMA3, USER_DEFINED, cutter
from decodeloop.checkpoints.tokenizer import Tokenizer
from decodeloop.checkpoints.weights import hub_name
from decodeloop.errors import UserError
from decodeloop.model import ModelConfig

FORMATS = ("fp32", "q8_0", "q4_0")  # what matrices can be written as
BLOCK = 32  # numbers of a row that share a scale
KINDS = {"fp32": "F32", "q8_0": "Q8_0", "q4_0": "Q4_0"}  # as the package calls them
FILE_TYPES = {"fp32": 0, "q8_0": 7, "q4_0": 2}  # llama.h: LLAMA_FTYPE_…
NORMAL, UNUSED = 1, 5  # GGUF token types
PIECES = ("smollm", "gpt-2", LLAMA3)  # the names of ways to cut text that are written


def write_gguf(
    path: Path,
    config: ModelConfig,
    weights: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    eos_ids: Sequence[int],
    dtype: str = "fp32",
    progress: Callable[[float], None] = lambda _: None,
) -> None:
    """Write a model.

    With q4_0 the embedding and the head are written as Q8_0, as llama.cpp does it where they are
    one, and as our own int4 has them. Norms stay fp32.

    Args:
        weights: by hub name.
        dtype: one of `FORMATS`.

    Raises:
        UserError: there is no such format, rows can't be cut into its blocks, or the tokenizer is
            of a kind that has no name in the format.
    """
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quantize

    check_format(config, dtype)
    told = dict(tokenizer_fields(tokenizer, config.vocabulary, eos_ids))
    writer = GGUFWriter(path, "llama")
    writer.add_name(path.stem)
    writer.add_file_type(FILE_TYPES[dtype])
    add_sizes(writer, config)
    for add, value in told.items():
        getattr(writer, f"add_{add}")(value)
    places = list(tensor_names(config))
    for number, (name, ours) in enumerate(places):
        array = weights[hub_name(ours)].detach().cpu().float().numpy()
        kind = "F32" if array.ndim == 1 else kind_of(ours, dtype)
        heads = {"query": config.heads, "key": config.kv_heads}.get(ours.split(".")[-2])
        if heads is not None:
            array = permuted(array, heads)
        stored = GGMLQuantizationType[kind]
        writer.add_tensor(name, quantize(np.ascontiguousarray(array), stored), raw_dtype=stored)
        progress((number + 1) / len(places))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def check_format(config: ModelConfig, dtype: str) -> None:
    """Raise a `UserError` unless there is this format, and rows of this model fall into its
    blocks."""
    if dtype not in FORMATS:
        raise UserError(f"a GGUF file of {dtype!r:.40}: expected one of {', '.join(FORMATS)}.")
    rows = {
        "width": config.width,
        "feed-forward width": config.feed_forward,
        "heads times head dimension": config.heads * config.head_dim,
    }
    wrong = [f"its {name} is {size}" for name, size in rows.items() if size % BLOCK]
    if dtype != "fp32" and wrong:
        raise UserError(
            f"{dtype} has a scale for each {BLOCK} numbers of a row, and of this model "
            f"{', '.join(wrong)}: expected a multiple of {BLOCK}; export fp32."
        )


def kind_of(name: str, dtype: str) -> str:
    """What a matrix is written as."""
    table = name in ("embedding.weight", "output.weight")
    return "Q8_0" if dtype == "q4_0" and table else KINDS[dtype]


def tensor_names(config: ModelConfig) -> Iterator[tuple[str, str]]:
    """Each tensor's name in the file, and ours."""
    for theirs, ours in TOP_TENSORS.items():
        if not (ours == "output" and config.tied):
            yield f"{theirs}.weight", f"{ours}.weight"
    for layer in range(config.layers):
        for theirs, ours in BLOCK_TENSORS.items():
            yield f"blk.{layer}.{theirs}.weight", f"layers.{layer}.{ours}.weight"


def permuted(rows: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """llama.cpp's order of the query and key rows: what `gguf_file.unpermute` takes back."""
    halves = rows.reshape(heads, 2, -1, rows.shape[-1])  # (heads, 2, D/2, C)
    return halves.swapaxes(1, 2).reshape(rows.shape)


def add_sizes(writer: Any, config: ModelConfig) -> None:
    writer.add_vocab_size(config.vocabulary)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.feed_forward)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_layer_norm_rms_eps(config.norm_eps)


def tokenizer_fields(
    tokenizer: Tokenizer, vocabulary: int, eos_ids: Sequence[int]
) -> Iterator[tuple[str, Any]]:
    """What the writer is to be told of the tokenizer.

    Raises:
        UserError: it is none of byte-level byte pairs, or cuts text in a way that has no name here.
    """
    raw = tokenizer.as_dict()
    model = raw["model"]
    if model["type"] != "BPE" or raw.get("normalizer"):
        raise UserError(
            f"the tokenizer is of kind {model['type']}"
            f"{' with a normalizer' if raw.get('normalizer') else ''}: a GGUF file written here "
            f"has byte-level byte-pair encoding alone."
        )
    tokens = [f"[PAD{number}]" for number in range(vocabulary)]
    kinds = [UNUSED] * vocabulary
    for token, number in model["vocab"].items():
        tokens[number], kinds[number] = token, NORMAL
    for added in raw["added_tokens"]:
        tokens[added["id"]] = added["content"]
        kinds[added["id"]] = CONTROL if added["special"] else USER_DEFINED
    merges = [" ".join(m) if isinstance(m, list) else m for m in model["merges"]]
    yield "tokenizer_model", "gpt2"
    yield "tokenizer_pre", pieces_name(raw["pre_tokenizer"])
    yield "token_list", tokens
    yield "token_types", kinds
    yield "token_merges", merges
    first = tokenizer.special_id("bos_token")
    if first is not None:
        yield "bos_token_id", first
    yield "add_bos_token", bool(tokenizer.encode("a", beginning=True)[:1] == [first])
    for end, number in zip(ENDS, eos_ids, strict=False):
        yield f"{end}_token_id", number
    if tokenizer.chat_template is not None:
        yield "chat_template", tokenizer.chat_template


def pieces_name(pre_tokenizer: Any) -> str:
    """What GGUF calls a way to cut text.

    Raises:
        UserError: nothing that is known here.
    """
    for name in PIECES:
        known: Any = cutter(name)
        if same_pieces(json.loads(known.__getstate__()), pre_tokenizer):
            return name
    raise UserError(
        f"the tokenizer cuts text in a way that has no name here: a GGUF file is written of those "
        f"that cut like {', '.join(PIECES)}."
    )


def same_pieces(one: Any, other: Any) -> bool:
    """Whether two ways to cut text are the same; offsets, which nobody asks for here, aside."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = (set(one) | set(other)) - {"trim_offsets"}
        return all(same_pieces(one.get(key), other.get(key)) for key in keys)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_pieces, one, other))
    return bool(one == other)
