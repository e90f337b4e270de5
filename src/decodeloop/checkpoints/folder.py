"""Read a local folder in the hub's layout: config.json, safetensors, tokenizer.json."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from decodeloop.errors import ModelFileError, UserError, one_line
from decodeloop.model import ModelConfig

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        ModelFileError: it is missing, or no JSON object.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ModelFileError(
            f"{path.parent} is no model folder: it has no {path.name}; give the folder that holds "
            f"config.json and {WEIGHTS}."
        ) from None
    except OSError as error:
        raise ModelFileError(f"{path} can't be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise ModelFileError(
            f"{path} is no readable JSON ({one_line(error)}): copy it again."
        ) from None
    if not isinstance(value, dict):
        raise ModelFileError(f"{path} holds {type(value).__name__}, expected a JSON object.")
    return value


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
            raise ModelFileError(f"{self.path} has {key} = {value!r}: expected a number.")
        return value

    def whole(self, key: str, default: int | None = None) -> int:
        """A whole number; errors as for `number`."""
        value = self.number(key, default)
        if not isinstance(value, int):
            raise ModelFileError(f"{self.path} has {key} = {value!r}: expected a whole number.")
        return value

    def refuse(self, unsupported: Mapping[str, bool], shown: Any = None) -> None:
        """Raise a `ModelFileError` for the first key whose value is one that is not supported."""
        for key, found in unsupported.items():
            if found:
                raise ModelFileError(
                    f"{self.path} asks for {key} = {self.raw.get(key, shown)!r}, which is not "
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


def read_config(folder: Path) -> ModelConfig:
    """The configuration of a Llama-architecture model.

    Both spellings of the RoPE base are read: `rope_theta`, and `rope_parameters` of newer files.

    Raises:
        ModelFileError: it is of another architecture, asks for something that is not supported,
            or lacks a number.
    """
    path = folder / "config.json"
    raw = read_json(path)
    if raw.get("model_type") != "llama":
        raise ModelFileError(
            f"{folder} holds a model of type {raw.get('model_type')!r}: expected 'llama'."
        )
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    if isinstance(rope, dict) and "rope_theta" in rope:
        raw["rope_theta"] = rope["rope_theta"]
    fields = Fields(raw, path)
    fields.refuse(
        {
            "hidden_act": raw.get("hidden_act", "silu") != "silu",
            "attention_bias": bool(raw.get("attention_bias")),
            "mlp_bias": bool(raw.get("mlp_bias")),
            "rope type": not isinstance(rope, dict)
            or rope.get("rope_type", rope.get("type", "default")) != "default",
        },
        shown=rope,
    )
    with naming(path):
        return ModelConfig(
            **llama_sizes(fields),
            rope_base=float(fields.number("rope_theta", 10_000.0)),
            norm_eps=fields.number("rms_norm_eps", 1e-6),
            tied=bool(raw.get("tie_word_embeddings", False)),
        )


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the file's name in front of what is wrong with the numbers that it holds."""
    try:
        yield
    except ModelFileError:
        raise
    except UserError as error:
        raise ModelFileError(f"{path}: {error}") from None


def write_config(config: ModelConfig, folder: Path, eos_ids: list[int]) -> None:
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
        "eos_token_id": eos_ids,
    }
    (folder / "config.json").write_text(json.dumps(raw, indent=2), "utf-8")


def weight_paths(folder: Path) -> list[Path]:
    """The safetensors files of a folder.

    Raises:
        ModelFileError: one is missing.
    """
    names = [WEIGHTS]
    if (folder / INDEX).is_file():
        shards = read_json(folder / INDEX).get("weight_map")
        if not isinstance(shards, dict):
            raise ModelFileError(f"{folder / INDEX} has no weight_map: copy it again.")
        names = sorted({str(name) for name in shards.values()})
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise ModelFileError(f"{folder} has no {name}: copy the whole model folder.")
    return [folder / name for name in names]


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Every tensor of the folder, by its hub name, memory-mapped: pages are read when used, and
    shared by all processes that map the same file.

    Raises:
        ModelFileError: a file is missing, truncated or damaged.
    """
    from safetensors.torch import load_file

    weights: dict[str, Tensor] = {}
    for path in weight_paths(folder):
        with damage_named(path):
            weights.update(load_file(path))
    return weights


class OneByOne(Mapping[str, Tensor]):
    """The tensors of a folder by hub name, each read when it is asked for, and its memory given
    back with it: for those who make something smaller of each.

    Raises:
        ModelFileError: as `read_weights`.
    """

    def __init__(self, folder: Path) -> None:
        self.paths: dict[str, Path] = {}
        for path in weight_paths(folder):
            with opened(path) as file:
                self.paths.update(dict.fromkeys(file.keys(), path))

    def __getitem__(self, name: str) -> Tensor:
        with opened(self.paths[name]) as file:
            tensor: Tensor = file.get_tensor(name)
            return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A safetensors file, mapped anew: what was mapped stays in memory as long as the file."""
    from safetensors import safe_open

    with damage_named(path), safe_open(path, framework="pt") as file:
        yield file


@contextlib.contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Say which file is damaged, whatever the reader raises."""
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelFileError(
            f"{path} is damaged ({one_line(error)}): copy it again (it has "
            f"{path.stat().st_size:,} bytes)."
        ) from None


def read_eos_ids(folder: Path) -> list[int]:
    """The ids that end a text, from generation_config.json or config.json."""
    for name in ("generation_config.json", "config.json"):
        if (folder / name).is_file():
            ids = read_json(folder / name).get("eos_token_id")
            if ids is None:
                continue
            ids = ids if isinstance(ids, list) else [ids]
            if not all(isinstance(i, int) for i in ids):
                raise ModelFileError(
                    f"{folder / name} has eos_token_id = {ids!r}: expected a token id, or several."
                )
            return ids
    return []
