"""Llama's relatives as transformers makes them: which type of model, with what in its config."""

from __future__ import annotations

from typing import Any

import torch

IDS = torch.tensor([[5, 40, 7, 7, 260, 1, 99, 12, 200, 33, 8, 150, 41, 2, 77, 11] * 3])  # 48
ORIGINAL = "original_max_position_embeddings"


def stretched(kind: str, **more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 300.0, "factor": 4.0, **more}}


LLAMA3 = stretched("llama3", low_freq_factor=1.0, high_freq_factor=4.0, **{ORIGINAL: 24})
WINDOW = {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 0}
MIXTRAL = ("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2})
QWEN3_MOE: tuple[str, dict[str, Any]] = (
    "qwen3_moe",
    {
        "head_dim": 32,
        "moe_intermediate_size": 32,
        "num_experts": 5,
        "num_experts_per_tok": 3,
        "norm_topk_prob": True,
    },
)
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "explicit head_dim": ("llama", {"head_dim": 24}),
    "linear": ("llama", stretched("linear")),
    "dynamic, short": ("llama", stretched("dynamic")),
    "dynamic, longer": ("llama", stretched("dynamic") | {"max_position_embeddings": 16}),
    "llama3": ("llama", LLAMA3),
    "yarn": ("llama", stretched("yarn", **{ORIGINAL: 24})),
    "yarn, all told": (
        "llama",
        stretched("yarn", **{ORIGINAL: 24}, beta_fast=4, beta_slow=2, attention_factor=1.3)
        | {"head_dim": 32},
    ),
    "yarn, two scales": (
        "llama",
        stretched("yarn", mscale=0.7, mscale_all_dim=2.0, truncate=False),
    ),
    "mistral": ("mistral", {"sliding_window": 5}),
    "mistral, window of one": ("mistral", {"sliding_window": 1, "head_dim": 24}),
    "mistral, no window": ("mistral", {"sliding_window": None}),
    "qwen2": ("qwen2", {}),
    "qwen2, window": ("qwen2", WINDOW),
    "qwen2, window of no layer": ("qwen2", WINDOW | {"max_window_layers": 2}),
    "qwen2, yarn": ("qwen2", stretched("yarn", **{ORIGINAL: 24})),
    "qwen3": ("qwen3", {"head_dim": 24}),
    "qwen3, window": ("qwen3", WINDOW | {"head_dim": 24}),
    "smollm3": ("smollm3", {"num_hidden_layers": 5, "tie_word_embeddings": False}),
    "smollm3, none": ("smollm3", {"no_rope_layers": [1, 1]}),
    "mixtral": MIXTRAL,
    "mixtral, window": ("mixtral", MIXTRAL[1] | {"sliding_window": 5, "head_dim": 24}),
    "qwen3_moe": QWEN3_MOE,
    "qwen3_moe, parts of all": ("qwen3_moe", QWEN3_MOE[1] | {"norm_topk_prob": False}),
    "smollm3, second": ("smollm3", {"num_hidden_layers": 5, "no_rope_layers": [1, 0, 1, 0, 1]}),
}
