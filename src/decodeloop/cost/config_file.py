"""The architecture of a model from its `config.json`: of a local folder, or of a hub id.

Only the configuration is read: the cost of a model can be known without its weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from decodeloop.checkpoints.fields import Fields, naming
from decodeloop.checkpoints.files import can_be_a_path, is_there, read_json
from decodeloop.checkpoints.hub import hub_config, is_hub_id
from decodeloop.checkpoints.hub_config import CONFIG, EXPERTS_OF, experts_of, llama_sizes
from decodeloop.cost.presets import PRESETS, Architecture, preset
from decodeloop.errors import ModelFileError

# What each type adds to the Llama family's sizes, and whether its head is tied if the file is
# silent: the defaults of `transformers`' configuration classes.
LLAMA_LIKE: dict[str, dict[str, Any]] = {
    "llama": {"tied": False},
    "mistral": {"tied": False},
    "phi3": {"tied": False},
    "qwen2": {"tied": False, "biases": "qkv"},
    "qwen3": {"tied": False, "qk_norm": True},
    "gemma": {"tied": True},
    "smollm3": {"tied": True},
    "mixtral": {"tied": False},
    "qwen3_moe": {"tied": False, "qk_norm": True},
}
OWN_DEFAULTS = {
    "mistral": ("num_key_value_heads",),
    "qwen2": ("num_key_value_heads",),
    "qwen3": ("num_key_value_heads", "head_dim"),
    "gemma": ("num_key_value_heads", "head_dim"),
    "smollm3": ("num_key_value_heads",),
    "mixtral": ("num_key_value_heads",),
    "qwen3_moe": ("num_key_value_heads", "head_dim"),
}


def find_architecture(name_or_path: str) -> Architecture:
    """The architecture of a preset, a local folder (or its `config.json`), or a hub id.

    A local folder comes first, then a preset; what looks like ``owner/name`` is asked of the hub,
    whose answer is kept, so that it is there without a network afterwards.

    Raises:
        UserError: there is nothing of this name.
        ModelFileError: the file is damaged, or of an architecture that is not known.
    """
    path = Path(name_or_path)
    if can_be_a_path(path):
        if path.is_dir():
            return read_architecture(path / CONFIG)
        if path.suffix == ".json" and path.is_file():
            return read_architecture(path)
    if name_or_path.lower() in PRESETS or not is_hub_id(name_or_path):
        return preset(name_or_path)
    path = hub_config(name_or_path, f"a folder with its {CONFIG}, or one of {', '.join(PRESETS)}")
    return read_architecture(path, source=f"{name_or_path}, {CONFIG}")


def read_architecture(path: Path, source: str = "") -> Architecture:
    """The architecture that a `config.json` describes.

    Raises:
        ModelFileError: it is missing, damaged, impossible, or of a type that is not known.
    """
    if not is_there(path):
        raise ModelFileError(f"{path.parent} has no {path.name}: give the folder that holds it.")
    raw = read_json(path)
    kind, source = raw.get("model_type"), source or str(path)
    with naming(path):
        if kind == "gpt2":
            return gpt2(Fields(raw, path), source)
        if kind not in LLAMA_LIKE:
            raise ModelFileError(
                f"{path} describes a model of type {kind!r}: expected one of "
                f"{', '.join([*LLAMA_LIKE, 'gpt2'])}."
            )
        return llama_like(Fields(raw, path), kind, source)


def llama_like(fields: Fields, kind: str, source: str) -> Architecture:
    raw, extra = fields.raw, dict(LLAMA_LIKE[kind])
    fields.refuse({key: bool(raw.get(key)) for key in ("attention_bias", "mlp_bias")})
    for key in OWN_DEFAULTS.get(kind, ()):
        fields.whole(key)  # or a sentence: the family's default is not Llama's
    off = ("qwen2", "qwen3", "smollm3", "qwen3_moe")  # where the file is silent
    used = raw.get("use_sliding_window", kind not in off)
    if raw.get("sliding_window") is not None and used:
        extra["window"] = fields.whole("sliding_window")
    extra["tied"] = fields.truth("tie_word_embeddings", extra["tied"])
    if kind in EXPERTS_OF:
        extra |= experts_of(fields, kind)
    return Architecture(**(llama_sizes(fields) | extra), source=source)


def gpt2(fields: Fields, source: str) -> Architecture:
    width, heads = fields.whole("n_embd"), fields.whole("n_head")
    return Architecture(
        vocabulary=fields.whole("vocab_size"),
        width=width,
        layers=fields.whole("n_layer"),
        heads=heads,
        kv_heads=heads,
        head_dim=width // heads if heads else 0,
        feed_forward=fields.whole("n_inner", 4 * width),
        context=fields.whole("n_positions"),
        tied=fields.truth("tie_word_embeddings", True),
        gated=False,
        biases="all",
        layer_norm=True,
        learned_positions=True,
        source=source,
    )
