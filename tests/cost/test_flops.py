"""FLOPs against PyTorch's own counter on a decoder written with `@` and `F.linear`; bytes against
the tensors of real modules."""

import inspect
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from decodeloop.cost import (
    PRESETS,
    Architecture,
    attention_overtakes,
    decode_bytes,
    decode_flops,
    forward_bytes,
    forward_flops,
    generation_flops,
    linear_shapes,
    masked_flops,
    matmul_flops,
    prefill_bytes,
    prefill_flops,
    preset,
)
from decodeloop.errors import UserError
from decodeloop.model import SMOLLM2_135M, TINY, Decoder, ModelConfig

DENSE = [name for name, config in PRESETS.items() if config.experts is None]
META = torch.device("meta")  # shapes without values: the counter looks at nothing else


def reference_decoder(config, batch, T, S, logits):
    """The products of a plain decoder: the S - T old positions stand in a cache."""
    shapes = linear_shapes(config)
    H, G, D, C = config.heads, config.kv_heads, config.head_dim, config.width

    def linear(x, name):
        return F.linear(x, torch.empty(shapes[name], device=META))

    def heads(x, count):
        return x.view(batch, T, count, D).transpose(1, 2)

    x = torch.empty(batch, T, C, device=META)
    for _ in range(config.layers):
        old = torch.empty(batch, G, S - T, D, device=META)
        q, k, v = heads(linear(x, "query"), H), *(heads(linear(x, n), G) for n in ("key", "value"))
        k, v = (torch.cat((old, y), 2).repeat_interleave(H // G, 1) for y in (k, v))
        scores = (q @ k.mT / math.sqrt(D)).masked_fill(
            ~torch.ones(T, S, dtype=torch.bool, device=META).tril(S - T), -math.inf
        )
        x = x + linear((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, T, H * D), "output")
        up = linear(x, "up")
        inner = F.silu(linear(x, "gate")) * up if "gate" in shapes else F.gelu(up)
        x = x + linear(inner, "down")
    if logits:
        F.linear(x[:, -logits:].contiguous(), torch.empty(config.vocabulary, C, device=META))


def counted(function, *args):
    with FlopCounterMode(display=False) as counter:
        function(*args)
    return counter.get_total_flops(), counter.get_flop_counts()["Global"]


@st.composite
def configs(draw):
    G = draw(st.integers(1, 4))
    tied = draw(st.booleans())
    return Architecture(
        vocabulary=draw(st.integers(2, 60)),
        width=draw(st.integers(2, 40)),
        layers=draw(st.integers(1, 3)),
        heads=G * draw(st.integers(1, 4)),
        kv_heads=G,
        head_dim=2 * draw(st.integers(1, 8)),
        feed_forward=draw(st.integers(1, 50)),
        context=64,
        tied=tied,
        gated=draw(st.booleans()),
        biases=draw(st.sampled_from(["none", "qkv", "all"])),
        layer_norm=draw(st.booleans()),
        qk_norm=draw(st.booleans()),
        learned_positions=draw(st.booleans()),
    )


@st.composite
def forwards(draw):
    batch, T = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    return batch, T, T + draw(st.integers(0, 9)), draw(st.integers(0, T))


# FLOPs


@settings(max_examples=150, deadline=None)
@given(config=configs(), sizes=forwards())
def test_flops_are_those_that_pytorchs_counter_counts(config, sizes):
    batch, T, S, logits = sizes
    flops = forward_flops(config, batch, T, S, logits)
    total, _ = counted(reference_decoder, config, *sizes)
    assert total == sum(flops.values())
    assert all(type(n) is int for n in flops.values())


@settings(max_examples=50, deadline=None)
@given(config=configs(), batch=st.integers(1, 3), T=st.integers(2, 9), old=st.integers(0, 9))
def test_attention_is_what_the_counter_finds_in_batched_products(config, batch, T, old):
    flops = forward_flops(config, batch, T, old + T)
    _, by_operator = counted(reference_decoder, config, batch, T, old + T, 0)
    assert by_operator[torch.ops.aten.bmm] == flops["scores"] + flops["weighted_sum"]


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize(("batch", "T", "S"), [(1, 100, 100), (3, 1, 50), (2, 7, 20)])
def test_flops_of_public_models_are_those_that_the_counter_counts(name, batch, T, S):
    config = replace(preset(name), layers=2)
    total, _ = counted(reference_decoder, config, batch, T, S, 1)
    assert total == sum(forward_flops(config, batch, T, S).values())


def test_flops_are_those_of_our_own_decoder():
    model = Decoder(TINY)
    cache = model.new_cache(2, 30)

    def run(T):
        return counted(lambda: model(torch.zeros(2, T, dtype=torch.long), cache))[0]

    with torch.inference_mode():
        assert run(9) == sum(forward_flops(TINY, 2, 9, 9, logits=9).values())
        assert run(4) == sum(forward_flops(TINY, 2, 4, 13, logits=4).values())
        assert run(1) == decode_flops(TINY, 2, 14)


def test_a_plain_configuration_and_its_preset_cost_the_same():
    assert forward_flops(SMOLLM2_135M, 2, 5, 9) == forward_flops(preset("smollm2-135m"), 2, 5, 9)
    assert forward_bytes(SMOLLM2_135M, 2, 5, 9) == forward_bytes(preset("smollm2-135m"), 2, 5, 9)


def test_a_matrix_product_has_two_flops_for_each_multiply_add():
    total, _ = counted(lambda: torch.empty(3, 5, device=META) @ torch.empty(5, 7, device=META))
    assert total == matmul_flops(3, 5, 7) == 210


def test_a_product_without_rows_is_no_work_and_one_without_columns_no_product():
    assert matmul_flops(0, 5, 7) == 0
    for wrong in ({"rows": -1}, {"inner": 0}, {"columns": 0}, {"rows": 1.5}):
        with pytest.raises(UserError, match=f"matmul_flops: {next(iter(wrong))} is"):
            matmul_flops(**{"rows": 1, "inner": 1, "columns": 1} | wrong)


def test_heads_make_no_difference_where_the_width_stays():
    """T²·C, and not T²·H·C: H heads of D = C / H."""
    base = replace(SMOLLM2_135M, heads=9, kv_heads=9, head_dim=64)
    for H in (1, 3, 18, 36, 288):
        other = replace(base, heads=H, kv_heads=H, head_dim=576 // H)
        assert forward_flops(other, 1, 200, 200) == forward_flops(base, 1, 200, 200)


def test_tied_or_not_the_head_is_computed():
    untied = replace(TINY, tied=not TINY.tied)
    assert forward_flops(untied, 1, 4, 4) == forward_flops(TINY, 1, 4, 4)


@given(batch=st.integers(1, 3), T=st.integers(1, 40))
def test_what_the_mask_throws_away_is_what_one_token_at_a_time_never_computes(batch, T):
    singly = sum(decode_flops(SMOLLM2_135M, batch, s) for s in range(1, T + 1))
    heads = (T - 1) * 2 * batch * SMOLLM2_135M.width * SMOLLM2_135M.vocabulary
    together = prefill_flops(SMOLLM2_135M, batch, T)
    assert together - masked_flops(SMOLLM2_135M, batch, T) == singly - heads


@settings(max_examples=50, deadline=None)
@given(config=configs(), batch=st.integers(1, 5), T=st.integers(1, 50))
def test_prefill_and_decode_are_two_forwards(config, batch, T):
    assert prefill_flops(config, batch, T) == sum(forward_flops(config, batch, T, T).values())
    assert decode_flops(config, batch, T) == sum(forward_flops(config, batch, 1, T).values())
    assert prefill_flops(config, batch, 1) == decode_flops(config, batch, 1)
    assert prefill_flops(config, batch, T) == batch * prefill_flops(config, 1, T)


# what the counter does not see


def test_the_counter_misses_the_fused_attention_of_the_cpu_and_products_with_a_vector():
    q = torch.ones(1, 2, 8, 16)
    assert counted(F.scaled_dot_product_attention, q, q, q)[0] == 0
    assert counted(torch.mv, torch.ones(4, 5), torch.ones(5))[0] == 0
    assert counted(torch.softmax, q, -1)[0] == 0


# generation


@settings(max_examples=40, deadline=None)
@given(config=configs(), prompt=st.integers(1, 12), new_tokens=st.integers(1, 12))
def test_a_generation_is_its_forwards(config, prompt, new_tokens):
    steps = [decode_flops(config, 1, prompt + i) for i in range(1, new_tokens)]
    assert generation_flops(config, prompt, new_tokens) == prefill_flops(config, 1, prompt) + sum(
        steps
    )
    again = [prefill_flops(config, 1, prompt + i) for i in range(new_tokens)]
    assert generation_flops(config, prompt, new_tokens, cached=False) == sum(again)


def test_one_token_needs_no_cache():
    assert generation_flops(TINY, 7, 1) == generation_flops(TINY, 7, 1, cached=False)


# where attention overtakes


@settings(max_examples=60, deadline=None)
@given(config=configs())
def test_attention_overtakes_where_both_cost_the_same(config):
    T = attention_overtakes(config)

    def attention_is_dearer(length):
        flops = forward_flops(config, 1, length, length)
        attention = flops["scores"] + flops["weighted_sum"]
        linear = flops["projections"] + flops["feed_forward"]
        return attention > linear, attention == linear

    assert attention_is_dearer(math.floor(T) + 1)[0]
    assert T < 2 or not attention_is_dearer(math.ceil(T) - 1)[0]
    assert int(T) != T or attention_is_dearer(int(T))[1]


# bytes


def nbytes(parameters):
    return sum(p.numel() for p in parameters) * 4


@pytest.mark.parametrize("config", [TINY, replace(TINY, tied=False), SMOLLM2_135M])
def test_bytes_are_those_of_the_models_own_tensors(config):
    with META:
        model = Decoder(config)
    read = forward_bytes(config, 1, 1, 1)
    assert read["weights"] == nbytes(model.layers.parameters()) + nbytes(model.norm.parameters())
    assert read["head"] == nbytes(model.output.parameters())
    assert read["embedding_rows"] == 4 * config.width


class WeighingCache:
    """Adds up what a forward writes into a cache, and what it reads of older positions."""

    def __init__(self, cache):
        self.cache, self.read, self.written = cache, 0, 0

    @property
    def length(self):
        return self.cache.length

    def attend(self, layer, q, k, v, mask=None):
        self.written += k.nbytes + v.nbytes
        old = self.cache.keys[layer, :, :, : self.length]
        self.read += 2 * old.nbytes
        return self.cache.attend(layer, q, k, v, mask)

    def advance(self, T):
        self.cache.advance(T)


@pytest.mark.parametrize(("batch", "old", "T"), [(1, 0, 6), (3, 7, 1), (2, 5, 4)])
def test_bytes_of_the_cache_are_those_that_a_forward_moves(batch, old, T):
    model = Decoder(TINY)
    cache = model.new_cache(batch, 20)
    with torch.inference_mode():
        if old:
            model.hidden(torch.zeros(batch, old, dtype=torch.long), cache)
        weighing = WeighingCache(cache)
        model.hidden(torch.zeros(batch, T, dtype=torch.long), weighing)
    moved = forward_bytes(TINY, batch, T, old + T)
    assert (moved["kv_read"], moved["kv_write"]) == (weighing.read, weighing.written)


@settings(max_examples=60, deadline=None)
@given(config=configs(), sizes=forwards())
def test_each_byte_has_its_size(config, sizes):
    batch, T, S, logits = sizes
    ones = forward_bytes(
        config, batch, T, S, weight_bytes_per_number=1, cache_bytes_per_number=1, logits=logits
    )
    mixed = forward_bytes(
        config, batch, T, S, weight_bytes_per_number=2, cache_bytes_per_number=0.5, logits=logits
    )
    for part, n in ones.items():
        assert mixed[part] == (math.ceil(n / 2) if part.startswith("kv") else 2 * n)
        assert type(mixed[part]) is int
    assert (ones["head"] == 0) == (logits == 0)


@settings(max_examples=30, deadline=None)
@given(config=configs(), sizes=forwards())
def test_weights_are_read_once_for_a_whole_batch(config, sizes):
    batch, T, S, _ = sizes
    one, all_of_them = forward_bytes(config, 1, T, S), forward_bytes(config, batch, T, S)
    for part in ("weights", "head"):
        assert all_of_them[part] == one[part]
    for part in ("kv_read", "kv_write"):
        assert all_of_them[part] == batch * one[part]


def test_prefill_and_decode_bytes_are_two_forwards():
    sizes = {"weight_bytes_per_number": 2, "cache_bytes_per_number": 1}
    assert prefill_bytes(TINY, 3, 8, **sizes) == sum(forward_bytes(TINY, 3, 8, 8, **sizes).values())
    assert decode_bytes(TINY, 3, 8, **sizes) == sum(forward_bytes(TINY, 3, 1, 8, **sizes).values())


def test_learned_positions_are_read_once_for_each_position():
    moved = forward_bytes(preset("gpt2"), 3, 5, 5)
    assert moved["embedding_rows"] == 4 * 768 * (15 + 5)


# what is no forward pass


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((0, 1, 1), "batch is 0"),
        ((1, 0, 1), "T is 0"),
        ((1, 2.5, 3), "T is 2.5"),
        ((1, 1, -1), "S is -1"),
        ((True, 1, 1), "batch is True"),
        ((1, 3, 2), "T = 3 new positions and S = 2 keys"),
        ((1, 3, 3, 4), "logits = 4"),
        ((1, 3, 3, -1), "logits is -1"),
    ],
)
def test_sizes_that_make_no_sense_are_told_so(sizes, words):
    with pytest.raises(UserError, match=words):
        forward_flops(TINY, *sizes)
    batch, T, S, *logits = sizes
    with pytest.raises(UserError, match=words):
        forward_bytes(TINY, batch, T, S, logits=logits[0] if logits else 1)


@pytest.mark.parametrize("size", [0, -2, "bf16"])
def test_a_size_of_a_number_must_be_positive(size):
    with pytest.raises(UserError, match="weight_bytes_per_number"):
        forward_bytes(TINY, 1, 1, 1, weight_bytes_per_number=size)
    with pytest.raises(UserError, match="cache_bytes_per_number"):
        forward_bytes(TINY, 1, 1, 1, cache_bytes_per_number=size)


def test_a_generation_needs_a_prompt_and_a_token():
    with pytest.raises(UserError, match="prompt is 0"):
        generation_flops(TINY, 0, 5)
    with pytest.raises(UserError, match="new_tokens is 0"):
        generation_flops(TINY, 5, 0)


def test_the_order_of_the_terms_is_that_of_the_contract():
    assert list(forward_flops(TINY, 1, 1, 1)) == [
        "projections",
        "scores",
        "weighted_sum",
        "feed_forward",
        "head",
    ]
    assert list(forward_bytes(TINY, 1, 1, 1)) == [
        "weights",
        "head",
        "embedding_rows",
        "kv_read",
        "kv_write",
    ]
    assert list(inspect.signature(forward_flops).parameters) == [
        "config",
        "batch",
        "T",
        "S",
        "logits",
    ]
    assert isinstance(SMOLLM2_135M, ModelConfig)
