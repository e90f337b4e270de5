"""Public models in `transformers`' own words, for the tests of what they cost."""

from __future__ import annotations

from transformers import (
    DeepseekV3Config,
    GemmaConfig,
    GPT2Config,
    GptOssConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Phi3Config,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
)

# Each model's numbers once more, under the hub's names, for `transformers`' own classes.
THEIRS: dict[str, PreTrainedConfig] = {
    "smollm2-135m": LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        intermediate_size=1536,
        tie_word_embeddings=True,
    ),
    "tinyllama-1.1b": LlamaConfig(
        vocab_size=32000,
        hidden_size=2048,
        num_hidden_layers=22,
        num_attention_heads=32,
        num_key_value_heads=4,
        intermediate_size=5632,
    ),
    "llama-7b": LlamaConfig(),  # the class's defaults are LLaMA-7B
    "llama-2-70b": LlamaConfig(
        hidden_size=8192,
        num_hidden_layers=80,
        num_attention_heads=64,
        num_key_value_heads=8,
        intermediate_size=28672,
    ),
    "llama-3-8b": LlamaConfig(vocab_size=128256, num_key_value_heads=8, intermediate_size=14336),
    "llama-3.2-1b": LlamaConfig(
        vocab_size=128256,
        hidden_size=2048,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=64,
        intermediate_size=8192,
        tie_word_embeddings=True,
    ),
    "mistral-7b": MistralConfig(),
    "phi-3-mini": Phi3Config(),
    "qwen2.5-0.5b": Qwen2Config(
        vocab_size=151936,
        hidden_size=896,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        intermediate_size=4864,
        tie_word_embeddings=True,
    ),
    "qwen3-0.6b": Qwen3Config(
        vocab_size=151936,
        hidden_size=1024,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        intermediate_size=3072,
        tie_word_embeddings=True,
    ),
    "gemma-2b": GemmaConfig(
        hidden_size=2048,
        num_hidden_layers=18,
        num_attention_heads=8,
        num_key_value_heads=1,
        head_dim=256,
        intermediate_size=16384,
    ),
    "gemma-7b": GemmaConfig(),
    "mixtral-8x7b": MixtralConfig(),
    "qwen3-30b-a3b": Qwen3MoeConfig(
        hidden_size=2048,
        num_hidden_layers=48,
        num_attention_heads=32,
        num_key_value_heads=4,
        head_dim=128,
        moe_intermediate_size=768,
        num_experts=128,
        num_experts_per_tok=8,
        norm_topk_prob=True,
    ),
    "gpt2": GPT2Config(),
    "gpt3-175b": GPT2Config(n_embd=12288, n_layer=96, n_head=96, n_positions=2048),
}
# Those whose files are not read here: what they are is known by name alone.
COUNTED: dict[str, PreTrainedConfig] = {
    "gpt-oss-20b": GptOssConfig(num_hidden_layers=24, num_local_experts=32),
    "deepseek-v3": DeepseekV3Config(),
}
