"""What makes one decoder-only model different from another: sizes, and features by name.

Built in lesson 04.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

from decodeloop.errors import UserError
from decodeloop.model.experts import Experts
from decodeloop.model.frequencies import RopeScaling

FP32 = (2.0**-126, (2 - 2**-23) * 2.0**127)  # the smallest and the largest normal number
Biases = Literal["none", "qkv", "all"]


@dataclass(frozen=True, repr=False)
class ModelConfig:
    """The shape of a decoder, in the notation of the course.

    The defaults are those of the Llama family. What `Decoder` computes beyond it, `COMPUTED` lists;
    of the others the costs can be counted (`decodeloop.cost`).

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
    rope_scaling: RopeScaling | None = None  # rotary positions stretched to longer texts
    no_rope_every: int | None = None  # each so manieth layer turns nothing; None: all layers turn
    experts: Experts | None = None  # in the place of each feed-forward layer, F then being theirs

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int | float) and not isinstance(value, bool) and not value > 0:
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
        if self.experts is not None and self.experts.dense_layers >= self.layers:
            raise UserError(
                f"ModelConfig: {self.experts.dense_layers} of {self.layers} layers are dense: "
                f"expected at least one with experts."
            )
        self._check_scaling()

    def _check_scaling(self) -> None:
        scaling = self.rope_scaling
        if scaling is None:
            return
        if scaling.kind == "dynamic" and self.head_dim < 4:
            raise UserError(
                f"ModelConfig: head_dim is {self.head_dim} with rope_scaling of kind 'dynamic': "
                f"expected at least 4, two pairs."
            )
        if scaling.kind == "yarn" and not self.rope_base > 1:
            raise UserError(
                f"ModelConfig: rope_base is {self.rope_base} with rope_scaling of kind 'yarn': "
                f"expected more than 1."
            )
        if scaling.kind == "divided" and 2 * len(scaling.divisors) != self.head_dim:
            raise UserError(
                f"ModelConfig: rope_scaling has {len(scaling.divisors)} divisors: expected "
                f"{self.head_dim // 2}, one for each pair of the {self.head_dim} channels."
            )

    def turns(self, layer: int) -> bool:
        """Whether the queries and keys of this layer are turned by their positions.

        >>> from dataclasses import replace
        >>> [replace(TINY, no_rope_every=2).turns(layer) for layer in range(4)]
        [True, False, True, False]
        """
        return self.no_rope_every is None or (layer + 1) % self.no_rope_every != 0

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
    "rope_scaling": None,
    "no_rope_every": None,
    "experts": None,
}
# What `Decoder` computes beyond it: that of Mistral and Mixtral, Qwen 2 and 3, Llama 3, SmolLM 3.
COMPUTED = ("qk_norm", "window", "rope_scaling", "no_rope_every", "experts")


def beyond_llama(config: ModelConfig) -> dict[str, object]:
    """The features of a model outside of the Llama family, by name.

    >>> from dataclasses import replace
    >>> beyond_llama(replace(TINY, window=4))
    {'window': 4}
    """
    found = {name: getattr(config, name) for name in LLAMA}
    return {name: value for name, value in found.items() if value != LLAMA[name]}


def check_computed(config: ModelConfig, who: str) -> None:
    """Raise a `UserError` that names each feature of a model that `Decoder` does not compute."""
    refuse(config, who, {**dict.fromkeys(COMPUTED), "biases": "qkv"})
    if config.experts is not None and not config.experts.only_routed:
        raise UserError(
            f"{who} can't compute this model: the configuration has {config.experts}, expected "
            f"experts that tokens are routed to, in all layers, without biases, and no others; "
            f"decodeloop.cost counts what other families need."
        )


def check_llama(config: ModelConfig, who: str) -> None:
    """Raise a `UserError` that names each feature of a model outside of the Llama family."""
    refuse(config, who, {})


def check_dense(config: ModelConfig, who: str) -> None:
    """Raise a `UserError` if a model has experts, and no one feed-forward layer to be worked on."""
    if config.experts is not None:
        raise UserError(
            f"{who} works on one feed-forward layer in each layer, and this model has "
            f"{config.experts.number} experts there: take a model without experts."
        )


def refuse(config: ModelConfig, who: str, known: Mapping[str, object]) -> None:
    """Raise a `UserError` that names each feature of a model outside of the Llama family, but for
    those that are known, with the value that is, or with any."""
    beyond = {
        name: value
        for name, value in beyond_llama(config).items()
        if name not in known or known[name] not in (None, value)
    }
    if beyond:
        found = ", ".join(f"{name}={value!r}" for name, value in beyond.items())
        wanted = ", ".join(f"{name}={LLAMA[name]!r}" for name in beyond)
        raise UserError(
            f"{who} can't compute this model: the configuration has {found}, expected {wanted}; "
            f"decodeloop.cost counts what other families need."
        )


def parameter_count(config: ModelConfig) -> int:
    """How many numbers a `Decoder` of this shape has learned: the entries of all its weights.

    A tied head is the embedding itself, so it is counted once.

    Raises:
        UserError: `Decoder` does not compute the model; `cost.parameters_by_part` counts others.

    >>> parameter_count(SMOLLM2_135M)
    134515008
    """
    check_computed(config, "parameter_count")
    C, query_rows = config.width, config.heads * config.head_dim
    kv_rows = config.kv_heads * config.head_dim
    attention = C * (query_rows + 2 * kv_rows) + query_rows * C  # q, k and v; output
    attention += query_rows + 2 * kv_rows if config.biases == "qkv" else 0
    attention += 2 * config.head_dim if config.qk_norm else 0
    feed_forward = 3 * C * config.feed_forward  # gate, up, down
    if config.experts is not None:
        feed_forward = config.experts.number * (feed_forward + C)  # and a row of the router
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
