"""Public models, typed in from their configurations: what they cost is known without a download."""

from __future__ import annotations

import difflib

from decodeloop.cost.architecture import Architecture
from decodeloop.cost.mixtures import MIXTURES
from decodeloop.errors import UserError
from decodeloop.model import SMOLLM2_135M
from decodeloop.model.config import Biases


def llama(
    source: str,
    *,
    vocabulary: int,
    width: int,
    layers: int,
    heads: int,
    feed_forward: int,
    context: int,
    kv_heads: int | None = None,
    head_dim: int | None = None,
    rope_base: float = 10_000.0,
    tied: bool = False,
    biases: Biases = "none",
    qk_norm: bool = False,
    window: int | None = None,
) -> Architecture:
    """A model of the Llama family, with that family's defaults."""
    return Architecture(
        vocabulary=vocabulary,
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads or heads,
        head_dim=head_dim or width // heads,
        feed_forward=feed_forward,
        context=context,
        rope_base=rope_base,
        tied=tied,
        biases=biases,
        qk_norm=qk_norm,
        window=window,
        source=source,
    )


def gpt(
    source: str, *, width: int, layers: int, heads: int, context: int, vocabulary: int = 50_257
) -> Architecture:
    """A GPT-2-like model: two feed-forward matrices, biases, LayerNorm, learned positions."""
    return Architecture(
        vocabulary=vocabulary,
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=heads,
        head_dim=width // heads,
        feed_forward=4 * width,
        context=context,
        tied=True,
        gated=False,
        biases="all",
        layer_norm=True,
        learned_positions=True,
        source=source,
    )


# Typed in from each model's public config.json (the hub id is the source), or from its paper.
# LLaMA's own weights were never on the hub: Touvron et al., 2023, arXiv:2302.13971, table 2, and
# the inner width from the released params.json. GPT-3: Brown et al., 2020, arXiv:2005.14165, table
# 2.1; vocabulary, tied head and biases as in GPT-2, whose architecture it says it takes.
PRESETS: dict[str, Architecture] = {
    "smollm2-135m": Architecture(
        **vars(SMOLLM2_135M), source="HuggingFaceTB/SmolLM2-135M-Instruct, config.json"
    ),
    "smollm2-360m": llama(
        "HuggingFaceTB/SmolLM2-360M, config.json",
        vocabulary=49_152,
        width=960,
        layers=32,
        heads=15,
        kv_heads=5,
        feed_forward=2_560,
        context=8_192,
        rope_base=100_000.0,
        tied=True,
    ),
    "smollm2-1.7b": llama(
        "HuggingFaceTB/SmolLM2-1.7B, config.json",
        vocabulary=49_152,
        width=2_048,
        layers=24,
        heads=32,
        feed_forward=8_192,
        context=8_192,
        rope_base=130_000.0,
        tied=True,
    ),
    "tinyllama-1.1b": llama(
        "TinyLlama/TinyLlama-1.1B-Chat-v1.0, config.json",
        vocabulary=32_000,
        width=2_048,
        layers=22,
        heads=32,
        kv_heads=4,
        feed_forward=5_632,
        context=2_048,
    ),
    "llama-7b": llama(
        "Touvron et al., 2023, arXiv:2302.13971, table 2",
        vocabulary=32_000,
        width=4_096,
        layers=32,
        heads=32,
        feed_forward=11_008,
        context=2_048,
    ),
    "llama-2-7b": llama(
        "meta-llama/Llama-2-7b-hf, config.json",
        vocabulary=32_000,
        width=4_096,
        layers=32,
        heads=32,
        feed_forward=11_008,
        context=4_096,
    ),
    "llama-2-13b": llama(
        "meta-llama/Llama-2-13b-hf, config.json",
        vocabulary=32_000,
        width=5_120,
        layers=40,
        heads=40,
        feed_forward=13_824,
        context=4_096,
    ),
    "llama-2-70b": llama(
        "meta-llama/Llama-2-70b-hf, config.json",
        vocabulary=32_000,
        width=8_192,
        layers=80,
        heads=64,
        kv_heads=8,
        feed_forward=28_672,
        context=4_096,
    ),
    "llama-3-8b": llama(
        "meta-llama/Meta-Llama-3-8B, config.json",
        vocabulary=128_256,
        width=4_096,
        layers=32,
        heads=32,
        kv_heads=8,
        feed_forward=14_336,
        context=8_192,
        rope_base=500_000.0,
    ),
    "llama-3-70b": llama(
        "meta-llama/Meta-Llama-3-70B, config.json",
        vocabulary=128_256,
        width=8_192,
        layers=80,
        heads=64,
        kv_heads=8,
        feed_forward=28_672,
        context=8_192,
        rope_base=500_000.0,
    ),
    "llama-3.1-405b": llama(
        "meta-llama/Llama-3.1-405B, config.json",
        vocabulary=128_256,
        width=16_384,
        layers=126,
        heads=128,
        kv_heads=8,
        feed_forward=53_248,
        context=131_072,
        rope_base=500_000.0,
    ),
    "llama-3.2-1b": llama(
        "meta-llama/Llama-3.2-1B, config.json",
        vocabulary=128_256,
        width=2_048,
        layers=16,
        heads=32,
        kv_heads=8,
        feed_forward=8_192,
        context=131_072,
        rope_base=500_000.0,
        tied=True,
    ),
    "mistral-7b": llama(
        "mistralai/Mistral-7B-v0.1, config.json",
        vocabulary=32_000,
        width=4_096,
        layers=32,
        heads=32,
        kv_heads=8,
        feed_forward=14_336,
        context=32_768,
        window=4_096,
    ),
    "phi-3-mini": llama(
        "microsoft/Phi-3-mini-4k-instruct, config.json",
        vocabulary=32_064,
        width=3_072,
        layers=32,
        heads=32,
        feed_forward=8_192,
        context=4_096,
    ),
    "qwen2.5-0.5b": llama(
        "Qwen/Qwen2.5-0.5B, config.json",
        vocabulary=151_936,
        width=896,
        layers=24,
        heads=14,
        kv_heads=2,
        feed_forward=4_864,
        context=32_768,
        rope_base=1_000_000.0,
        tied=True,
        biases="qkv",
    ),
    "qwen2.5-7b": llama(
        "Qwen/Qwen2.5-7B, config.json",
        vocabulary=152_064,
        width=3_584,
        layers=28,
        heads=28,
        kv_heads=4,
        feed_forward=18_944,
        context=131_072,
        rope_base=1_000_000.0,
        biases="qkv",
    ),
    "qwen3-0.6b": llama(
        "Qwen/Qwen3-0.6B, config.json",
        vocabulary=151_936,
        width=1_024,
        layers=28,
        heads=16,
        kv_heads=8,
        head_dim=128,
        feed_forward=3_072,
        context=40_960,
        rope_base=1_000_000.0,
        tied=True,
        qk_norm=True,
    ),
    "qwen3-8b": llama(
        "Qwen/Qwen3-8B, config.json",
        vocabulary=151_936,
        width=4_096,
        layers=36,
        heads=32,
        kv_heads=8,
        head_dim=128,
        feed_forward=12_288,
        context=40_960,
        rope_base=1_000_000.0,
        qk_norm=True,
    ),
    "gemma-2b": llama(
        "google/gemma-2b, config.json",
        vocabulary=256_000,
        width=2_048,
        layers=18,
        heads=8,
        kv_heads=1,
        head_dim=256,
        feed_forward=16_384,
        context=8_192,
        tied=True,
    ),
    "gemma-7b": llama(
        "google/gemma-7b, config.json",
        vocabulary=256_000,
        width=3_072,
        layers=28,
        heads=16,
        head_dim=256,
        feed_forward=24_576,
        context=8_192,
        tied=True,
    ),
    **MIXTURES,
    "gpt2": gpt(
        "openai-community/gpt2, config.json", width=768, layers=12, heads=12, context=1_024
    ),
    "gpt2-xl": gpt(
        "openai-community/gpt2-xl, config.json", width=1_600, layers=48, heads=25, context=1_024
    ),
    "gpt3-175b": gpt(
        "Brown et al., 2020, arXiv:2005.14165, table 2.1; the rest as in GPT-2",
        width=12_288,
        layers=96,
        heads=96,
        context=2_048,
    ),
}


def preset(name: str) -> Architecture:
    """A public model by its name, as in ``PRESETS``; capitals don't matter.

    Raises:
        UserError: there is none of this name; the message lists those that there are.
    """
    key = name.lower()
    if key not in PRESETS:
        near = difflib.get_close_matches(key, PRESETS, n=1)
        raise UserError(
            f"unknown model {name!r:.100}{f': did you mean {near[0]}' if near else ''}? "
            f"Known are {', '.join(PRESETS)}."
        )
    return PRESETS[key]
