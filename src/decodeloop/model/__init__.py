"""What computes: attention, heads, the block, the decoder and its cache."""

from decodeloop.model.attention import attention, attention_weights, causal_mask, softmax
from decodeloop.model.block import (
    Block,
    BlockParts,
    FeedForward,
    RMSNorm,
    SelfAttention,
    block,
    rms_norm,
    rope,
    rotary_angles,
    rotate,
    swiglu,
)
from decodeloop.model.config import SMOLLM2_135M, TINY, ModelConfig, parameter_count
from decodeloop.model.decoder import WITH_TABLE, Decoder, Parts
from decodeloop.model.experts import (
    Dispatch,
    Experts,
    Routing,
    balance_loss,
    capacity,
    combine,
    dispatch,
    expert_load,
    route,
)
from decodeloop.model.flash import (
    flash_attention,
    online_softmax,
    skip_tiles,
    split_attention,
)
from decodeloop.model.frequencies import (
    RopeScaling,
    ntk_base,
    rotary_frequencies,
    yarn_attention,
    yarn_frequencies,
)
from decodeloop.model.kv_cache import Attends, BlockTables, ContiguousKVCache, KVCache, NoCache
from decodeloop.model.mixture import ExpertLayer, mixture, sliced, through_experts
from decodeloop.model.multi_head import (
    grouped_query_attention,
    merge_heads,
    multi_head_attention,
    split_heads,
)
from decodeloop.model.window import window_mask

__all__ = [
    "SMOLLM2_135M",
    "TINY",
    "WITH_TABLE",
    "Attends",
    "Block",
    "BlockParts",
    "BlockTables",
    "ContiguousKVCache",
    "Decoder",
    "Dispatch",
    "ExpertLayer",
    "Experts",
    "FeedForward",
    "KVCache",
    "ModelConfig",
    "NoCache",
    "Parts",
    "RMSNorm",
    "RopeScaling",
    "Routing",
    "SelfAttention",
    "attention",
    "attention_weights",
    "balance_loss",
    "block",
    "capacity",
    "causal_mask",
    "combine",
    "dispatch",
    "expert_load",
    "flash_attention",
    "grouped_query_attention",
    "merge_heads",
    "mixture",
    "multi_head_attention",
    "ntk_base",
    "online_softmax",
    "parameter_count",
    "rms_norm",
    "rope",
    "rotary_angles",
    "rotary_frequencies",
    "rotate",
    "route",
    "skip_tiles",
    "sliced",
    "softmax",
    "split_attention",
    "split_heads",
    "swiglu",
    "through_experts",
    "window_mask",
    "yarn_attention",
    "yarn_frequencies",
]
