"""All that inference with one model costs, from its configuration alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from decodeloop.cost.accelerators import Accelerator
from decodeloop.cost.architecture import BYTES, active_parameters, parameters_by_part
from decodeloop.cost.checks import check_whole
from decodeloop.cost.flops import forward_bytes, forward_flops
from decodeloop.cost.memory import Memory, max_batch, memory
from decodeloop.cost.roofline import Prediction, predict_phases
from decodeloop.dtypes import dtype_name
from decodeloop.errors import UserError
from decodeloop.model import ModelConfig

# The types that products of these weights are computed in, best first. Types of 8 bits and fewer
# are taken for storage: the weights are widened on their way, unless the part has no wider type.
COMPUTED_IN = {
    "fp32": ("fp32",),
    "bf16": ("bf16", "fp16", "fp32"),
    "fp16": ("fp16", "bf16", "fp32"),
    "fp8": ("bf16", "fp16", "fp32"),
    "int8": ("bf16", "fp16", "fp32", "int8"),
    "int4": ("bf16", "fp16", "fp32", "int8"),
}


@dataclass(frozen=True)
class Costs:
    """What one model costs in one setting: counts are exact, times are the roofline's bounds.

    A prefill reads a prompt of `prompt` tokens in each of `batch` rows; the decode step has
    `context` positions in the cache, its own included. FLOPs are those of matrix products, bytes
    those that must be moved at least. Activations are those of the plain decoder, whose tables of
    attention a fused kernel would not hold.
    """

    config: ModelConfig = field(repr=False)
    accelerator: Accelerator = field(repr=False)
    batch: int
    prompt: int
    context: int
    dtype: str  # of the weights
    cache_dtype: str  # of the cache, and of the activations
    compute_dtype: str  # of the products
    parameters: Mapping[str, int]  # by part
    memory: Memory
    prefill_flops: Mapping[str, int]
    decode_flops: Mapping[str, int]
    prefill_bytes: Mapping[str, int]
    decode_bytes: Mapping[str, int]
    times: Prediction

    @property
    def active_parameters(self) -> int:
        """How many of the parameters one token meets: all of them, if there are no experts."""
        return sum(active_parameters(self.config).values())

    @property
    def fits(self) -> bool:
        """Whether weights, cache and activations fit into the memory of the part."""
        return self.memory.total <= self.accelerator.memory

    @property
    def max_batch(self) -> int:
        """How many rows of this context fit beside the weights and what else is held now."""
        return max_batch(
            self.config,
            self.accelerator.memory,
            self.context,
            weight_bytes_per_number=BYTES[self.dtype],
            cache_bytes_per_number=BYTES[self.cache_dtype],
        )

    def as_dict(self) -> dict[str, Any]:
        """Everything, for `--json`: plain numbers and words."""
        return {
            "parameters": sum(self.parameters.values()),
            "active_parameters": self.active_parameters,
            "parameters_by_part": dict(self.parameters),
            "batch": self.batch,
            "prompt": self.prompt,
            "context": self.context,
            "dtype": self.dtype,
            "cache_dtype": self.cache_dtype,
            "compute_dtype": self.compute_dtype,
            "weight_bytes": self.memory.weights,
            "kv_cache_bytes": self.memory.kv_cache,
            "activation_bytes": self.memory.activations,
            "total_bytes": self.memory.total,
            "prefill_flops": sum(self.prefill_flops.values()),
            "decode_flops": sum(self.decode_flops.values()),
            "prefill_bytes": sum(self.prefill_bytes.values()),
            "decode_bytes": sum(self.decode_bytes.values()),
            "by_term": {
                "prefill_flops": dict(self.prefill_flops),
                "decode_flops": dict(self.decode_flops),
                "prefill_bytes": dict(self.prefill_bytes),
                "decode_bytes": dict(self.decode_bytes),
            },
            "device_name": self.accelerator.key,
            "device_memory_bytes": self.accelerator.memory,
            "fits": self.fits,
            "max_batch": self.max_batch,
            "ttft_s": self.times.ttft_s,
            "itl_s": self.times.itl_s,
            "tokens_per_s": self.times.tokens_per_second,
            "intensity": {
                "prefill": self.times.prefill.intensity,
                "decode": self.times.decode.intensity,
            },
            "bound": {"prefill": self.times.prefill.bound, "decode": self.times.decode.bound},
        }


def costs(
    config: ModelConfig,
    accelerator: Accelerator,
    *,
    batch: int = 1,
    prompt: int | None = None,
    context: int | None = None,
    dtype: str = "bf16",
    cache_dtype: str | None = None,
    chunk: int | None = None,
) -> Costs:
    """What a model costs on a part.

    Args:
        prompt: tokens of each row's prompt; as many as the context if not given.
        context: positions in the cache at the decode step, its own included; 2,048 if not given,
            or what the model was trained for, if that is less.
        dtype: of the weights, one of `BYTES`, or PyTorch's name for it.
        cache_dtype: of the cache; that of the weights if not given, but at least 2 bytes.
        chunk: positions that the prefill reads at a time; all of them if not given.

    Raises:
        UserError: a type is unknown or the part can't compute in any that would do, a size is not
            positive, or the prompt is longer than the context.

    >>> from decodeloop.cost import accelerator, preset
    >>> costs(preset("llama-7b"), accelerator("a100-80gb-sxm")).memory.kv_cache
    1073741824
    """
    positions = min(2048, config.context) if context is None else context
    tokens = positions if prompt is None else prompt
    dtype = dtype_name(dtype, BYTES)
    cache = cache_dtype or (dtype if BYTES[dtype] >= 2 else "bf16")
    cache = dtype_name(cache, BYTES, "cache_dtype")
    check_whole("costs", batch=batch, context=positions, prompt=tokens)
    check_whole("costs", **{"batch times context": batch * positions})
    if tokens > positions:
        raise UserError(
            f"a prompt of {tokens} tokens is longer than the context of {positions}: give a "
            f"context of at least {tokens}."
        )
    compute = compute_type(accelerator, dtype)
    sizes: dict[str, Any] = {
        "weight_bytes_per_number": BYTES[dtype],
        "cache_bytes_per_number": BYTES[cache],
    }
    held = memory(
        config, batch, positions, activation_bytes_per_number=BYTES[cache], chunk=chunk, **sizes
    )
    return Costs(
        config=config,
        accelerator=accelerator,
        batch=batch,
        prompt=tokens,
        context=positions,
        dtype=dtype,
        cache_dtype=cache,
        compute_dtype=compute,
        parameters=parameters_by_part(config),
        memory=held,
        prefill_flops=forward_flops(config, batch, tokens, tokens),
        decode_flops=forward_flops(config, batch, 1, positions),
        prefill_bytes=forward_bytes(config, batch, tokens, tokens, **sizes),
        decode_bytes=forward_bytes(config, batch, 1, positions, **sizes),
        times=predict_phases(
            config,
            accelerator,
            batch=batch,
            prompt=tokens,
            context=positions,
            dtype=compute,
            **sizes,
        ),
    )


def compute_type(accelerator: Accelerator, dtype: str) -> str:
    """The type that a part multiplies in, for weights stored as `dtype`.

    Raises:
        UserError: the part has no peak in any that would do.
    """
    for kind in COMPUTED_IN[dtype]:
        if kind in accelerator.flops:
            return kind
    raise UserError(
        f"{accelerator.name} has no peak for {dtype} weights: it computes in "
        f"{', '.join(accelerator.flops)}; choose another part or another dtype."
    )
