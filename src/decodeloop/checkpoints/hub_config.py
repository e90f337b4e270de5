"""The `config.json` of a hub folder: sizes, features, and what is not supported, by name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from decodeloop.checkpoints.fields import Fields, naming
from decodeloop.checkpoints.files import is_there, read_json
from decodeloop.checkpoints.hub_rope import rotary, written_rotary
from decodeloop.errors import ModelFileError, UserError
from decodeloop.model import Experts, ModelConfig
from decodeloop.model.config import beyond_llama

CONFIG = "config.json"
METHOD = "decodeloop"  # how folders that are exported here call their quantization


@dataclass(frozen=True)
class Family:
    """What a type of model adds to the Llama family, and what its files may leave out."""

    features: Mapping[str, Any] = field(default_factory=dict)
    tied: bool = False  # if the file is silent
    # what the file must say, since the family's default is not Llama's
    must_say: tuple[str, ...] = ("num_key_value_heads", "max_position_embeddings")


FAMILIES = {
    "llama": Family(must_say=()),
    "mistral": Family(),
    "qwen2": Family({"biases": "qkv"}),
    "qwen3": Family({"qk_norm": True}, must_say=("num_key_value_heads", "head_dim")),
    "smollm3": Family(tied=True),
    "mixtral": Family(),
    "qwen3_moe": Family(
        {"qk_norm": True}, must_say=("num_key_value_heads", "head_dim", "moe_intermediate_size")
    ),
}


def llama_sizes(fields: Fields) -> dict[str, Any]:
    """The sizes of a `ModelConfig`, under the names that the hub gives them."""
    heads, width = fields.whole("num_attention_heads"), fields.whole("hidden_size")
    return {
        "vocabulary": fields.whole("vocab_size"),
        "width": width,
        "layers": fields.whole("num_hidden_layers"),
        "heads": heads,
        "kv_heads": fields.whole("num_key_value_heads", heads),
        "head_dim": fields.whole("head_dim", width // heads if heads else 0),
        "feed_forward": fields.whole("intermediate_size"),
        "context": fields.whole("max_position_embeddings", 2048),
    }


def quantized(raw: dict[str, Any]) -> str | None:
    """What the matrices of a folder that was exported here are: int8, int4, or as they were."""
    told = raw.get("quantization_config")
    if not isinstance(told, dict) or told.get("quant_method") != METHOD:
        return None
    bits = told.get("bits")
    return {8: "int8", 4: "int4"}.get(bits) if type(bits) is int else None


def read_quantization(folder: Path) -> str | None:
    """The same, of a folder."""
    return quantized(read_json(folder / CONFIG))


def read_config(folder: Path) -> ModelConfig:
    """The configuration of a model of one of the `FAMILIES`.

    Raises:
        ModelFileError: it is of another architecture, asks for something that is not supported,
            or lacks a number.
    """
    path = folder / CONFIG
    if not is_there(path):
        raise ModelFileError(
            f"{folder} is no model folder: it has no {CONFIG}; give the folder that holds {CONFIG} "
            f"and safetensors."
        )
    raw = read_json(path)
    kind = str(raw.get("model_type"))
    family = FAMILIES.get(kind)
    if family is None:
        raise ModelFileError(
            f"{folder} holds a model of type {raw.get('model_type')!r:.80}: expected "
            f"{', '.join(map(repr, FAMILIES))}."
        )
    fields = Fields(raw, path)
    fields.refuse(
        {
            "hidden_act": raw.get("hidden_act", "silu") != "silu",
            "attention_bias": fields.truth("attention_bias"),
            "mlp_bias": fields.truth("mlp_bias"),
            # numbers that stand for others: a scale beside them, or several of them in one byte
            "quantization_config": bool(raw.get("quantization_config")) and not quantized(raw),
            "compression_config": bool(raw.get("compression_config")),
        }
    )
    for key in family.must_say:
        fields.whole(key)
    sizes = llama_sizes(fields)
    base, scaling = rotary(fields, sizes["context"])
    with naming(path):
        if kind in EXPERTS_OF:
            sizes |= experts_of(fields, kind)
        return ModelConfig(
            **sizes,
            **family.features,
            rope_base=base,
            rope_scaling=scaling,
            window=window_of(fields, kind, sizes["layers"]),
            no_rope_every=no_rope_every(fields, sizes["layers"]) if kind == "smollm3" else None,
            norm_eps=float(fields.number("rms_norm_eps", 1e-6)),
            tied=fields.truth("tie_word_embeddings", family.tied),
        )


EXPERTS_OF = ("mixtral", "qwen3_moe")


def experts_of(fields: Fields, kind: str) -> dict[str, Any]:
    """The experts of a model, and how wide each of them is.

    Raises:
        ModelFileError: some of its layers have none; a number is missing, or impossible.
    """
    raw = fields.raw
    key = "num_local_experts" if "num_local_experts" in raw else "num_experts"
    number, active = fields.whole(key), fields.whole("num_experts_per_tok")
    if kind == "mixtral":
        return {"experts": Experts(number, active)}
    fields.refuse(
        {
            "decoder_sparse_step": fields.whole("decoder_sparse_step", 1) != 1,
            "mlp_only_layers": bool(raw.get("mlp_only_layers")),
        }
    )
    return {
        "experts": Experts(number, active, normalised=fields.truth("norm_topk_prob")),
        "feed_forward": fields.whole("moe_intermediate_size"),
    }


FULL, SLIDING = "full_attention", "sliding_attention"


def window_of(fields: Fields, kind: str, layers: int) -> int | None:
    """The sliding window of all layers; None where all of them see everything.

    Raises:
        ModelFileError: some layers have a window and others have none.
    """
    raw = fields.raw
    if kind == "mistral":
        first = 0
        used = "sliding_window" not in raw or raw["sliding_window"] is not None
    elif kind == "mixtral":
        first, used = 0, raw.get("sliding_window") is not None
    elif kind in ("qwen2", "qwen3"):
        first = fields.whole("max_window_layers", 28)
        used = fields.truth("use_sliding_window") and raw.get("sliding_window", 4096) is not None
    else:
        used = fields.truth("use_sliding_window")
        fields.refuse({"use_sliding_window": used})
        fields.refuse({"sliding_window": raw.get("sliding_window") is not None and kind == "llama"})
        return None
    types = raw.get("layer_types")
    if not used:
        return None
    if types is None:
        types = [SLIDING if layer >= first else FULL for layer in range(max(0, min(layers, 10**4)))]
        fields.refuse({"max_window_layers": len(set(types)) > 1}, shown=first)
    fields.refuse({"layer_types": types not in ([FULL] * len(types), [SLIDING] * len(types))})
    return fields.whole("sliding_window", 4096) if SLIDING in types else None


def no_rope_every(fields: Fields, layers: int) -> int | None:
    """Each so manieth layer turns nothing; None where all layers turn.

    Raises:
        ModelFileError: the layers that turn nothing come in another order.
    """
    told = fields.raw.get("no_rope_layers")  # 1 for those that do turn, whatever it is called
    if told is None:
        interval = fields.whole("no_rope_layer_interval", 4)
        fields.refuse({"no_rope_layer_interval": interval < 1})
        return interval if interval <= layers else None
    fields.refuse({"no_rope_layers": not isinstance(told, list) or len(told) < layers})
    turned = [bool(one) for one in told[:layers]]
    if all(turned):
        return None
    every = turned.index(False) + 1
    fields.refuse({"no_rope_layers": turned != [(i + 1) % every != 0 for i in range(layers)]})
    return every


def write_config(
    config: ModelConfig,
    folder: Path,
    eos_ids: Sequence[int],
    quantization: dict[str, Any] | None = None,
) -> None:
    """Write `config.json`, such that `read_config` gives the same again.

    Raises:
        UserError: none of the `FAMILIES` is like that.
    """
    kind, more = family_of(config)
    raw = {
        "model_type": kind,
        "hidden_act": "silu",
        "vocab_size": config.vocabulary,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.feed_forward,
        "max_position_embeddings": config.context,
        **written_rotary(config),
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied,
        "eos_token_id": list(eos_ids),
        "pad_token_id": None,  # else transformers takes the family's, which may be none of ours
    }
    if quantization is not None:
        more = {**more, "quantization_config": quantization}
    named = {"architectures": [CLASSES[kind]]}
    (folder / CONFIG).write_text(json.dumps(named | raw | more, indent=2), "utf-8")


CLASSES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "smollm3": "SmolLM3ForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
}


def family_of(config: ModelConfig) -> tuple[str, dict[str, Any]]:
    """The type of model that has the features of a configuration, and how its files say so."""
    beyond = beyond_llama(config)
    beyond.pop("rope_scaling", None)
    window = beyond.pop("window", None)
    sliding: dict[str, Any] = {"sliding_window": window}
    if (experts := config.experts) is not None and experts.only_routed:
        del beyond["experts"]
        told = {"num_local_experts": experts.number, "num_experts_per_tok": experts.active}
        if not beyond and experts.normalised:
            return "mixtral", sliding | told
        if beyond == {"qk_norm": True} and window is None:
            return "qwen3_moe", told | {
                "num_experts": experts.number,
                "norm_topk_prob": experts.normalised,
                "moe_intermediate_size": config.feed_forward,
            }
    if beyond in ({"biases": "qkv"}, {"qk_norm": True}):
        if window is not None:
            sliding |= {"use_sliding_window": True, "max_window_layers": 0}
        return ("qwen2" if "biases" in beyond else "qwen3"), sliding
    if window is not None and not beyond:
        return "mistral", sliding
    if window is None and set(beyond) <= {"no_rope_every"}:
        return ("smollm3" if beyond else "llama"), (
            {"no_rope_layer_interval": config.no_rope_every} if beyond else {}
        )
    raise UserError(
        f"no family of models has the features of {config}: expected those of one of "
        f"{', '.join(FAMILIES)}."
    )


def read_eos_ids(folder: Path) -> list[int]:
    """The ids that end a text, from generation_config.json or config.json."""
    for name in ("generation_config.json", CONFIG):
        if not is_there(folder / name):
            continue
        ids = read_json(folder / name).get("eos_token_id")
        if ids is None:
            continue
        ids = ids if isinstance(ids, list) else [ids]
        if not all(type(i) is int for i in ids):  # not isinstance: True is no token
            raise ModelFileError(
                f"{folder / name} has eos_token_id = {ids!r:.80}: expected a token id, or several."
            )
        return ids
    return []
