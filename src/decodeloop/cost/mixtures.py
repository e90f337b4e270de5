"""Public models with experts, typed in from their configurations.

The counts of all four are held against `transformers`' in the tests. What their papers and model
cards say of total and active parameters: Mixtral 46.7 and 12.9 billion (Mistral AI, "Mixtral of
experts", 2023); DeepSeek-V3 671 and 37 (DeepSeek-AI, 2024, arXiv:2412.19437, abstract), its module
for a second token, which it can do without, left aside; Qwen3-30B-A3B 30.5 and 3.3 (its model
card); gpt-oss-20b 20.9 and 3.6 (OpenAI, 2025, arXiv:2508.10925; the embedding is not among those).
"""

from __future__ import annotations

from decodeloop.cost.architecture import Architecture, Latent
from decodeloop.model import Experts

MIXTURES: dict[str, Architecture] = {
    "mixtral-8x7b": Architecture(
        vocabulary=32_000,
        width=4_096,
        layers=32,
        heads=32,
        kv_heads=8,
        head_dim=128,
        feed_forward=14_336,
        context=32_768,
        rope_base=1_000_000.0,
        tied=False,
        experts=Experts(number=8, active=2),
        source="mistralai/Mixtral-8x7B-v0.1, config.json",
    ),
    "qwen3-30b-a3b": Architecture(
        vocabulary=151_936,
        width=2_048,
        layers=48,
        heads=32,
        kv_heads=4,
        head_dim=128,
        feed_forward=768,
        context=40_960,
        rope_base=1_000_000.0,
        tied=False,
        qk_norm=True,
        experts=Experts(number=128, active=8),
        source="Qwen/Qwen3-30B-A3B, config.json",
    ),
    # Its feed-forward layers are clamped, and every second layer has a window of 128: neither
    # changes a count of parameters, and what the windows save is not counted.
    "gpt-oss-20b": Architecture(
        vocabulary=201_088,
        width=2_880,
        layers=24,
        heads=64,
        kv_heads=8,
        head_dim=64,
        feed_forward=2_880,
        context=131_072,
        rope_base=150_000.0,
        tied=False,
        biases="all",
        experts=Experts(number=32, active=4, biased=True),
        sinks=True,
        source="openai/gpt-oss-20b, config.json",
    ),
    "deepseek-v3": Architecture(
        vocabulary=129_280,
        width=7_168,
        layers=61,
        heads=128,
        kv_heads=128,
        head_dim=128,
        feed_forward=2_048,
        context=163_840,
        tied=False,
        experts=Experts(number=256, active=8, shared=1, dense_layers=3, dense_width=18_432),
        latent=Latent(rank=512, rotated=64, content=128, value=128, query_rank=1_536),
        source="deepseek-ai/DeepSeek-V3, config.json",
    ),
}
