"""The keys of a GGUF header that say what a model is: sizes, features, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from decodeloop.checkpoints.gguf_header import damaged
from decodeloop.errors import ModelFileError, UserError, one_line
from decodeloop.model import ModelConfig, RopeScaling, yarn_attention

# What an architecture adds to the Llama family, by the name that GGUF gives it.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {"biases": "qkv"},
    "qwen3": {"qk_norm": True},
    "smollm3": {"no_rope_every": 4},
}
PERMUTED = ("llama", "smollm3")  # the rows of their queries and keys: see `unpermute`

READ = (
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "rope.freq_base",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.finetuned",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
)
# What a header may say beside these, and what it then must say.
NEUTRAL: dict[str, tuple[object, ...]] = {
    "rope.scaling.attn_factor": (1.0,),
    "rope.scale_linear": (0.0, 1.0),
    "rope.scaling.yarn_ext_factor": (-1.0, 1.0),
    "rope.scaling.yarn_attn_factor": (1.0,),
    "expert_count": (0,),
    "expert_used_count": (0,),
    "attention.causal": (True,),
    "use_parallel_residual": (False,),
    "logit_scale": (0.0, 1.0),
    "residual_scale": (0.0, 1.0),
    "embedding_scale": (0.0, 1.0),
    "tensor_data_layout": ("Meta AI original pth",),
}


def number_of(
    fields: Mapping[str, Any], path: Path, key: str, kind: type, default: Any = None
) -> Any:
    """A number of the header, of this type.

    Raises:
        ModelFileError: it is missing and has no default, or is of another type.
    """
    value = fields.get(key, default)
    if type(value) is not kind:  # not isinstance: True is no number
        raise damaged(path, f"its header has {key} = {value!r:.80}, not a number")
    return value


def config_of(
    fields: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    divisors: tuple[float, ...],
    path: Path,
) -> ModelConfig:
    """The configuration of a model, by its header.

    Args:
        shapes: of its tensors, by name.
        divisors: by what each pair of channels turns more slowly, if the file has them.

    Raises:
        ModelFileError: it is of another architecture, asks for something that is not supported, or
            lacks a number.
    """
    architecture = fields.get("general.architecture")
    features = ARCHITECTURES.get(architecture) if isinstance(architecture, str) else None
    if features is None:
        raise ModelFileError(
            f"{path} holds a model of architecture {architecture!r:.80}: expected "
            f"{', '.join(map(repr, ARCHITECTURES))}; take another GGUF file."
        )

    def read(key: str, kind: type, default: Any = None) -> Any:
        return number_of(fields, path, f"{architecture}.{key}", kind, default)

    heads, width = read("attention.head_count", int), read("embedding_length", int)
    if "token_embd.weight" not in shapes:
        raise damaged(path, "it has no tensor token_embd.weight")
    # stored as fp32: 1e-5 comes back as 9.999999747378752e-06
    epsilon = float(str(np.float32(read("attention.layer_norm_rms_epsilon", float))))
    context = read("context_length", int)
    try:
        config = ModelConfig(
            vocabulary=shapes["token_embd.weight"][0],
            width=width,
            layers=read("block_count", int),
            heads=heads,
            kv_heads=read("attention.head_count_kv", int, heads),
            head_dim=read("attention.key_length", int, width // heads if heads else 0),
            feed_forward=read("feed_forward_length", int),
            context=context,
            rope_base=read("rope.freq_base", float, 10_000.0),
            rope_scaling=scaling_of(read, divisors, context, path),
            window=read("attention.sliding_window", int, 0) or None,
            norm_eps=epsilon,
            tied="output.weight" not in shapes,
            **features,
        )
    except ModelFileError:
        raise
    except UserError as error:
        raise damaged(path, str(error)) from None
    refuse_the_unknown(fields, f"{architecture}.", config, path)
    return config


def scaling_of(
    read: Any, divisors: tuple[float, ...], context: int, path: Path
) -> RopeScaling | None:
    """By what rotary positions are stretched: as keys say, or a tensor."""
    kind = read("rope.scaling.type", str, "none")
    factor = read("rope.scaling.factor", float, 0.0) or 1.0
    if kind not in ("none", "linear", "yarn") or (kind != "none" and divisors):
        raise ModelFileError(
            f"{path} asks for rope.scaling.type = {kind!r:.80}"
            f"{' and for divisors of its own' if divisors else ''}, which is not supported: "
            f"expected 'none', 'linear' or 'yarn'; take another model."
        )
    if kind == "none" and factor != 1:
        raise ModelFileError(
            f"{path} asks for rope.scaling.factor = {factor} without a type, which is not "
            f"supported: expected rope.scaling.type beside it; take another model."
        )
    if kind == "linear":
        return RopeScaling("linear", factor)
    if kind == "yarn":
        return RopeScaling(
            "yarn",
            factor,
            read("rope.scaling.original_context_length", int, context),
            beta_fast=read("rope.scaling.yarn_beta_fast", float, 32.0),
            beta_slow=read("rope.scaling.yarn_beta_slow", float, 1.0),
            attention=yarn_attention(factor),
        )
    return RopeScaling("divided", divisors=divisors) if divisors else None


def refuse_the_unknown(
    fields: Mapping[str, Any], prefix: str, config: ModelConfig, path: Path
) -> None:
    """A key of the architecture that nobody reads would be another model, without a word."""
    sizes = {
        "vocab_size": config.vocabulary,
        "rope.dimension_count": config.head_dim,
        "attention.value_length": config.head_dim,
    }
    for key, value in fields.items():
        name = key.removeprefix(prefix)
        if not key.startswith(prefix) or name in READ:
            continue
        if name in sizes:
            if number_of(fields, path, key, int) != sizes[name]:
                raise ModelFileError(
                    f"{path} has {key} = {value!r}, and its other sizes ask for {sizes[name]}: "
                    f"take another model, or copy the file again."
                )
        elif not any(value == wanted for wanted in NEUTRAL.get(name, ())):
            raise ModelFileError(
                f"{path} asks for {one_line(key, 80)} = {value!r:.80}, which is not supported: "
                f"take another model."
            )
