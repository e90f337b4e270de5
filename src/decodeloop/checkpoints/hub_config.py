"""The `config.json` of a hub folder: sizes, and what of a model is not supported, by name."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decodeloop.checkpoints.files import is_there, read_json
from decodeloop.errors import ModelFileError, UserError
from decodeloop.model import ModelConfig

CONFIG = "config.json"
METHOD = "decodeloop"  # how folders that are exported here call their quantization


@dataclass(frozen=True)
class Fields:
    """The fields of a `config.json`, each checked when it is asked for."""

    raw: dict[str, Any]
    path: Path  # for the messages

    def number(self, key: str, default: float | None = None) -> int | float:
        """A finite number.

        Raises:
            ModelFileError: it is missing and has no default, or is no number.
        """
        value = self.raw.get(key)
        value = default if value is None else value
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e300:
            raise ModelFileError(f"{self.path} has {key} = {value!r:.80}: expected a number.")
        return value

    def whole(self, key: str, default: int | None = None) -> int:
        """A whole number; errors as for `number`."""
        value = self.number(key, default)
        if not isinstance(value, int):
            raise ModelFileError(f"{self.path} has {key} = {value!r}: expected a whole number.")
        return value

    def truth(self, key: str, default: bool = False) -> bool:
        """True or false; errors as for `number`."""
        value = self.raw.get(key)
        value = default if value is None else value
        if not isinstance(value, bool):
            raise ModelFileError(f"{self.path} has {key} = {value!r:.80}: expected true or false.")
        return value

    def refuse(self, unsupported: Mapping[str, bool], shown: Any = None) -> None:
        """Raise a `ModelFileError` for the first key whose value is one that is not supported."""
        for key, found in unsupported.items():
            if found:
                raise ModelFileError(
                    f"{self.path} asks for {key} = {self.raw.get(key, shown)!r:.200}, which is not "
                    f"supported: take a plain Llama-architecture model."
                )


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
    """The configuration of a Llama-architecture model.

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
    if raw.get("model_type") != "llama":
        raise ModelFileError(
            f"{folder} holds a model of type {raw.get('model_type')!r:.80}: expected 'llama'."
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
    with naming(path):
        return ModelConfig(
            **llama_sizes(fields),
            rope_base=rope_base(fields),
            norm_eps=float(fields.number("rms_norm_eps", 1e-6)),
            tied=fields.truth("tie_word_embeddings"),
        )


ROPE_PLACES = ("rope_parameters", "rope_scaling")  # of newer files, and of older ones
NEUTRAL = {"rope_type": "default", "type": "default", "partial_rotary_factor": 1.0}


def rope_base(fields: Fields) -> float:
    """The base of the rotary positions, wherever it is written: files of three ages spell it in
    three ways.

    Raises:
        ModelFileError: positions are scaled, or turned in any other way than the plain one; two
            spellings contradict each other.
    """
    bases: dict[str, int | float] = {}
    if fields.raw.get("rope_theta") is not None:
        bases["rope_theta"] = fields.number("rope_theta")
    part = fields.raw.get("partial_rotary_factor")
    fields.refuse({"partial_rotary_factor": part not in (None, 1)})
    for place in ROPE_PLACES:
        found = fields.raw.get(place)
        if found is None:
            continue
        plain = isinstance(found, dict) and all(
            key == "rope_theta" or value is None or value == NEUTRAL.get(key)
            for key, value in found.items()
        )
        fields.refuse({place: not plain})
        if found.get("rope_theta") is not None:
            bases[place] = Fields(found, fields.path).number("rope_theta")
    if len(set(bases.values())) > 1:
        told = ", ".join(f"{value} in {place}" for place, value in bases.items())
        raise ModelFileError(
            f"{fields.path} has several bases of the rotary positions ({told}): expected one; copy "
            f"it again."
        )
    return float(next(iter(bases.values()), 10_000.0))


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the file's name in front of what is wrong with the numbers that it holds."""
    try:
        yield
    except ModelFileError:
        raise
    except UserError as error:
        raise ModelFileError(f"{path}: {error}") from None


def write_config(
    config: ModelConfig,
    folder: Path,
    eos_ids: Sequence[int],
    quantization: dict[str, Any] | None = None,
) -> None:
    """Write `config.json`, such that `read_config` gives the same again."""
    raw = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "vocab_size": config.vocabulary,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.feed_forward,
        "max_position_embeddings": config.context,
        "rope_theta": config.rope_base,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied,
        "eos_token_id": list(eos_ids),
    }
    if quantization is not None:
        raw["quantization_config"] = quantization
    (folder / CONFIG).write_text(json.dumps(raw, indent=2), "utf-8")


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
