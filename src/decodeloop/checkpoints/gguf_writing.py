"""Write a model as a GGUF file, the format of llama.cpp: the way out of here.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The `gguf` package does the
writing and the rounding to its formats.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from decodeloop.checkpoints.gguf_config import ARCHITECTURES, PERMUTED
from decodeloop.checkpoints.gguf_file import BLOCK_TENSORS, ENDS, ROPE_DIVISORS, TOP_TENSORS
from decodeloop.checkpoints.gguf_tokenizer import CONTROL, LLAMA3, QWEN2, USER_DEFINED, cutter
from decodeloop.checkpoints.tokenizer import Tokenizer
from decodeloop.checkpoints.weights import hub_name, shape_of
from decodeloop.errors import UserError
from decodeloop.model import ModelConfig, RopeScaling, rotary_frequencies, yarn_attention
from decodeloop.model.config import beyond_llama
from decodeloop.model.frequencies import stretched_frequencies

FORMATS = ("fp32", "q8_0", "q4_0")  # what matrices can be written as
BLOCK = 32  # numbers of a row that share a scale
KINDS = {"fp32": "F32", "q8_0": "Q8_0", "q4_0": "Q4_0"}  # as the package calls them
FILE_TYPES = {"fp32": 0, "q8_0": 7, "q4_0": 2}  # llama.h: LLAMA_FTYPE_…
NORMAL, UNUSED = 1, 5  # GGUF token types
PIECES = ("smollm", "gpt-2", LLAMA3, QWEN2)  # the names of ways to cut text that are written


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
        UserError: there is no such format, it can't say what the model is, rows can't be cut into
            its blocks, or the tokenizer is of a kind that has no name in the format.
    """
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quantize

    check_format(config, dtype)
    architecture = architecture_of(config)
    told = dict(tokenizer_fields(tokenizer, config.vocabulary, eos_ids))
    writer = GGUFWriter(path, architecture)
    writer.add_name(path.stem)
    writer.add_file_type(FILE_TYPES[dtype])
    add_sizes(writer, config)
    if (divisors := add_scaling(writer, config)) is not None:
        writer.add_tensor(ROPE_DIVISORS, divisors)
    for add, value in told.items():
        getattr(writer, f"add_{add}")(value)
    places = list(tensor_names(config))
    for number, (name, ours) in enumerate(places):
        array = weights[hub_name(ours)].detach().cpu().float().numpy()
        kind = "F32" if array.ndim == 1 else kind_of(ours, dtype)
        heads = {"query": config.heads, "key": config.kv_heads}.get(ours.split(".")[-2])
        if heads is not None and architecture in PERMUTED:
            array = permuted(array, heads)
        stored = GGMLQuantizationType[kind]
        writer.add_tensor(name, quantize(np.ascontiguousarray(array), stored), raw_dtype=stored)
        progress((number + 1) / len(places))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def check_format(config: ModelConfig, dtype: str) -> None:
    """Raise a `UserError` unless there is this format, it can say what the model is, and the
    model's rows fall into its blocks."""
    if dtype not in FORMATS:
        raise UserError(f"a GGUF file of {dtype!r:.40}: expected one of {', '.join(FORMATS)}.")
    architecture_of(config)
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


def architecture_of(config: ModelConfig) -> str:
    """What llama.cpp calls models that have the features of this one.

    Raises:
        UserError: nothing; or rotary positions are stretched in a way that it does not know.
    """
    beyond, scaling = beyond_llama(config), config.rope_scaling
    if config.experts is not None:
        raise UserError(
            f"a model with experts={config.experts}: llama.cpp stores all experts of a layer as "
            f"one tensor, which is not written here; export a folder."
        )
    beyond.pop("rope_scaling", None)
    named = {name: features for name, features in ARCHITECTURES.items() if features == beyond}
    if named and scaling is not None:
        kinds = ["linear", *([] if unusual(scaling) else ["yarn"])]
        kinds += ["llama3", "divided"] if "llama" in named else []
        if scaling.kind not in kinds:
            beyond["rope_scaling"], named = scaling, {}
    if not named:
        told = ", ".join(f"{name}={value!r}" for name, value in beyond.items())
        raise UserError(
            f"a GGUF file can't be written of a model with {told}: llama.cpp computes none like it "
            f"and would read another model; export a folder."
        )
    return next(iter(named))


def unusual(scaling: RopeScaling) -> bool:
    """Whether YaRN's numbers differ from those that the format takes for granted."""
    return not scaling.truncate or not math.isclose(
        scaling.attention, yarn_attention(scaling.factor), rel_tol=1e-6
    )


def add_scaling(writer: Any, config: ModelConfig) -> np.ndarray[Any, Any] | None:
    """Say how rotary positions are stretched; what only a tensor can say is returned, (D/2,)."""
    from gguf import RopeScalingType

    scaling = config.rope_scaling
    if scaling is None:
        return None
    if scaling.kind in ("llama3", "divided"):
        D, base = config.head_dim, config.rope_base
        return (rotary_frequencies(D, base) / stretched_frequencies(D, base, scaling)).numpy()
    writer.add_rope_scaling_type(RopeScalingType(scaling.kind))
    writer.add_rope_scaling_factor(scaling.factor)
    if scaling.kind == "yarn":
        writer.add_rope_scaling_orig_ctx_len(scaling.original_context)
        writer.add_rope_scaling_yarn_beta_fast(scaling.beta_fast)
        writer.add_rope_scaling_yarn_beta_slow(scaling.beta_slow)
    return None


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
        for (theirs, ours), kind in product(BLOCK_TENSORS.items(), ("weight", "bias")):
            if shape_of(ours, kind, config) is not None:
                yield f"blk.{layer}.{theirs}.{kind}", f"layers.{layer}.{ours}.{kind}"


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
    model, normal = raw["model"], raw.get("normalizer")
    pieces = pieces_name(raw["pre_tokenizer"])
    usual = {"type": "NFC"} if pieces == QWEN2 else None
    if model["type"] != "BPE" or normal != usual:
        raise UserError(
            f"the tokenizer is of kind {model['type']} with the normalizer {normal!r:.80}: a GGUF "
            f"file written here has byte-level byte-pair encoding alone, and of those that cut "
            f"like {pieces} the normalizer {usual!r}."
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
    yield "tokenizer_pre", pieces
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
