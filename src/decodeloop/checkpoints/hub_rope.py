"""Rotary positions in a `config.json`, which files of three ages spell in three ways."""

from __future__ import annotations

from typing import Any

from decodeloop.checkpoints.fields import Fields, naming
from decodeloop.errors import ModelFileError, UserError
from decodeloop.model import ModelConfig, RopeScaling, yarn_attention

PLACES = ("rope_parameters", "rope_scaling")  # of newer files, and of older ones
ORIGINAL = "original_max_position_embeddings"
COMMON = {"rope_theta", "rope_type", "type", "partial_rotary_factor"}
KNOWN: dict[str, set[str]] = {
    "default": set(),
    "linear": {"factor"},
    "dynamic": {"factor", ORIGINAL},
    "llama3": {"factor", ORIGINAL, "low_freq_factor", "high_freq_factor"},
    "yarn": {"factor", ORIGINAL, "attention_factor", "beta_fast", "beta_slow", "truncate"}
    | {"mscale", "mscale_all_dim"},
}


def rotary(fields: Fields, context: int) -> tuple[float, RopeScaling | None]:
    """The base of the rotary positions, and by what they are stretched.

    Raises:
        ModelFileError: they are turned in a way that is not supported; two spellings contradict
            each other.
    """
    bases: dict[str, int | float] = {}
    if fields.raw.get("rope_theta") is not None:
        bases["rope_theta"] = fields.number("rope_theta")
    part = fields.raw.get("partial_rotary_factor")
    fields.refuse({"partial_rotary_factor": part not in (None, 1)})
    scalings: dict[str, RopeScaling | None] = {}
    for place in PLACES:
        found = fields.raw.get(place)
        if found is None:
            continue
        fields.refuse({place: not isinstance(found, dict)})
        kind = kind_of(found)
        unknown = kind not in KNOWN or any(
            value is not None and key not in COMMON | KNOWN[kind] for key, value in found.items()
        )
        fields.refuse({place: unknown or found.get("partial_rotary_factor") not in (None, 1)})
        inner = Fields(found, fields.path, within=f"{place}.")
        if found.get("rope_theta") is not None:
            bases[place] = inner.number("rope_theta")
        with naming(fields.path):
            scalings[place] = scaling_of(inner, str(kind), fields, context)
    if len(set(bases.values())) > 1:
        told = ", ".join(f"{value} in {place}" for place, value in bases.items())
        raise ModelFileError(
            f"{fields.path} has several bases of the rotary positions ({told}): expected one; copy "
            f"it again."
        )
    if len(set(scalings.values())) > 1:
        told = " and ".join(f"{place} = {fields.raw[place]!r:.80}" for place in scalings)
        raise ModelFileError(f"{fields.path} has both {told}: expected one; copy it again.")
    return float(next(iter(bases.values()), 10_000.0)), next(iter(scalings.values()), None)


def kind_of(found: dict[str, Any]) -> Any:
    """Which kind of scaling an object asks for; "default" is none. What is no word, and two words
    that differ, are returned as they are, which no kind is called."""
    kinds = {repr(found[key]): found[key] for key in ("rope_type", "type") if found.get(key)}
    if len(kinds) > 1:
        return " and ".join(kinds)
    kind = next(iter(kinds.values()), "default")
    return kind if isinstance(kind, str) else repr(kind)


def scaling_of(inner: Fields, kind: str, fields: Fields, context: int) -> RopeScaling | None:
    """What an object asks for, whose keys are known."""
    if kind == "default":
        return None
    if kind == "linear":
        return RopeScaling("linear", float(inner.number("factor")))
    if kind == "dynamic":  # which counts from the context, whatever else is written
        inner.refuse({ORIGINAL: inner.whole(ORIGINAL, context) != context})
        return RopeScaling("dynamic", float(inner.number("factor")), context)
    outside = fields.raw.get(ORIGINAL) is not None  # some files have it there, and there it counts
    original = fields.whole(ORIGINAL) if outside else inner.whole(ORIGINAL, context)
    if kind == "llama3":
        low, high = (float(inner.number(f"{end}_freq_factor")) for end in ("low", "high"))
        return RopeScaling("llama3", float(inner.number("factor")), original, low=low, high=high)
    factor = float(inner.number("factor", context / original if original else 1))
    return RopeScaling(
        "yarn",
        factor,
        original,
        beta_fast=float(inner.number("beta_fast", 32)),
        beta_slow=float(inner.number("beta_slow", 1)),
        attention=yarn_attention_of(inner, factor),
        truncate=inner.truth("truncate", True),
    )


def yarn_attention_of(inner: Fields, factor: float) -> float:
    """What turned queries and keys are multiplied by: as written, or as two scales ask, or the
    paper's."""
    if inner.raw.get("attention_factor") is not None:
        return float(inner.number("attention_factor"))
    over, under = (float(inner.number(key, 0)) for key in ("mscale", "mscale_all_dim"))
    if over and under:
        more = yarn_attention(factor) - 1
        if 1 + under * more == 0:
            raise UserError(f"mscale_all_dim is {under}: expected a positive number.")
        return (1 + over * more) / (1 + under * more)
    return yarn_attention(factor)


def written_rotary(config: ModelConfig) -> dict[str, Any]:
    """As `rotary` reads it back.

    Raises:
        UserError: the scaling is one that only GGUF files can say.
    """
    scaling = config.rope_scaling
    if scaling is None:
        return {"rope_theta": config.rope_base}
    if scaling.kind == "divided":
        raise UserError(
            "rope_scaling of kind 'divided' has no place in a config.json: export a GGUF file."
        )
    told: dict[str, Any] = {"rope_theta": config.rope_base, "rope_type": scaling.kind}
    told["factor"] = scaling.factor
    if scaling.kind in ("llama3", "yarn"):
        told[ORIGINAL] = scaling.original_context
    if scaling.kind == "llama3":
        told |= {"low_freq_factor": scaling.low, "high_freq_factor": scaling.high}
    if scaling.kind == "yarn":
        told |= {"attention_factor": scaling.attention, "truncate": scaling.truncate}
        told |= {"beta_fast": scaling.beta_fast, "beta_slow": scaling.beta_slow}
    return {"rope_parameters": told}
