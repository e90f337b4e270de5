"""Random inputs for the exercises of lesson 03b."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import drawn, seeds, shaped, sizes
from decodeloop.exercises.fresh.lesson_03 import random_positions, small
from decodeloop.model import Block, ModelConfig


def causal(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


def random_block(B, T, G, group, half, C, seed, own):
    config = ModelConfig(11, C, 1, G * group, G, 2 * half, 2 * C + 1, 64, 300.0, 0.01)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = Block(config).requires_grad_(False)
        layer.attention_norm.weight.normal_()
        layer.feed_forward_norm.weight.normal_()
    return drawn(seed, B, T, C), layer, random_positions(seed, B, T, own), causal


RANDOM = {
    "block": shaped(random_block, *[small] * 5, sizes, seeds, st.booleans()),
}
