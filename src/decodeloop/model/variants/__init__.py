"""Leaner decoders: caches that forget, keys and values in few numbers, heads and layers shared."""

from decodeloop.model.variants.latent import (
    LatentKVCache,
    absorb,
    expand,
    expanded_attention,
    latent_attention,
    latent_factors,
    value_from,
)
from decodeloop.model.variants.latent_decoder import (
    LatentConfig,
    LatentDecoder,
    input_moments,
    latent_from,
)
from decodeloop.model.variants.ring import RingKVCache, StreamingKVCache
from decodeloop.model.variants.sharing import (
    SharingKVCache,
    keep_layers,
    mean_pool_heads,
    pool_kv_heads,
)

__all__ = [
    "LatentConfig",
    "LatentDecoder",
    "LatentKVCache",
    "RingKVCache",
    "SharingKVCache",
    "StreamingKVCache",
    "absorb",
    "expand",
    "expanded_attention",
    "input_moments",
    "keep_layers",
    "latent_attention",
    "latent_factors",
    "latent_from",
    "mean_pool_heads",
    "pool_kv_heads",
    "value_from",
]
