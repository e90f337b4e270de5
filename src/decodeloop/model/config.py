"""What makes one decoder-only model different from another: sizes, and features by name.

Built in lesson 04.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Literal, get_args

from decodeloop.errors import UserError

FP32 = (2.0**-126, (2 - 2**-23) * 2.0**127)  # the smallest and the largest normal number
Biases = Literal["none", "qkv", "all"]


@dataclass(frozen=True, repr=False)
class ModelConfig:
    """The shape of a decoder, in the notation of the course.

    The defaults are those of the Llama family, which is what `Decoder` computes; of the others the
    costs can be counted (`decodeloop.cost`).

    Raises:
        UserError: a size is not positive, the heads don't divide, or `biases` is no word for them.
    """

    vocabulary: int  # V
    width: int  # C, the width of the residual stream
    layers: int  # L
    heads: int  # H, query heads
    kv_heads: int  # G
    head_dim: int  # D, usually C / H
    feed_forward: int  # F
    context: int  # the longest sequence that the model was trained for
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5
    tied: bool = True  # the head is the embedding, transposed
    gated: bool = True  # three feed-forward matrices (gate, up, down), or two
    biases: Biases = "none"  # of the projections
    layer_norm: bool = False  # norms that also have a bias, and no RMSNorm
    qk_norm: bool = False  # a norm over D on queries and on keys
    learned_positions: bool = False  # a table of `context` rows in the place of RoPE
    window: int | None = None  # a query sees so many positions, its own included; None: all

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, bool | str | None) and not value > 0:
                raise UserError(f"ModelConfig: {name} is {value}: expected a positive number.")
        for name in ("rope_base", "norm_eps"):
            if not FP32[0] <= getattr(self, name) <= FP32[1]:
                found = getattr(self, name)
                raise UserError(f"ModelConfig: {name} is {found}: expected what fp32 can hold.")
        if self.biases not in get_args(Biases):
            raise UserError(
                f"ModelConfig: biases is {self.biases!r}: expected 'none', 'qkv' or 'all'."
            )
        if self.heads % self.kv_heads:
            raise UserError(
                f"ModelConfig: {self.heads} query heads can't share {self.kv_heads} KV heads "
                f"evenly: heads must be a multiple of kv_heads."
            )
        if self.head_dim % 2:
            raise UserError(
                f"ModelConfig: head_dim is {self.head_dim}: rotary positions turn channels in "
                f"pairs, so it must be even."
            )

    def __repr__(self) -> str:
        shown = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if field.name not in LLAMA or getattr(self, field.name) != LLAMA[field.name]
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


# What the Llama family has and has not. All else is refused by name where it can't be computed, and
# only that is shown of it.
LLAMA = {
    "gated": True,
    "biases": "none",
    "layer_norm": False,
    "qk_norm": False,
    "learned_positions": False,
    "window": None,
}


def check_llama(config: ModelConfig, who: str) -> None:
    """Raise a `UserError` that names each feature of a model outside of the Llama family."""
    beyond = {name: getattr(config, name) for name in LLAMA if getattr(config, name) != LLAMA[name]}
    if beyond:
        found = ", ".join(f"{name}={value!r}" for name, value in beyond.items())
        wanted = ", ".join(f"{name}={LLAMA[name]!r}" for name in beyond)
        raise UserError(
            f"{who} knows the Llama family alone: the configuration has {found}, expected {wanted};"
            f" decodeloop.cost counts what other families need."
        )


def parameter_count(config: ModelConfig) -> int:
    """How many numbers a `Decoder` of this shape has learned: the entries of all its weights.

    A tied head is the embedding itself, so it is counted once. There are no biases.

    Raises:
        UserError: the model is none of the Llama family; `cost.parameters_by_part` counts others.

    >>> parameter_count(SMOLLM2_135M)
    134515008
    """
    check_llama(config, "parameter_count")
    C, query_rows = config.width, config.heads * config.head_dim
    kv_rows = config.kv_heads * config.head_dim
    attention = C * (query_rows + 2 * kv_rows) + query_rows * C  # q, k and v; output
    feed_forward = 3 * C * config.feed_forward  # gate, up, down
    table = config.vocabulary * C
    head = 0 if config.tied else table
    return table + config.layers * (attention + feed_forward + 2 * C) + C + head


# Small enough for a unit test, yet with every feature of the real one: shared KV heads, a head
# dimension that is not C / H, sizes that are all different.
TINY = ModelConfig(
    vocabulary=97,
    width=48,
    layers=3,
    heads=6,
    kv_heads=2,
    head_dim=10,
    feed_forward=72,
    context=128,
)

# https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct/blob/main/config.json
SMOLLM2_135M = ModelConfig(
    vocabulary=49_152,
    width=576,
    layers=30,
    heads=9,
    kv_heads=3,
    head_dim=64,
    feed_forward=1_536,
    context=8_192,
    rope_base=100_000.0,
)
