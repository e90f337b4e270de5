"""Steps over a cache in fewer bits: against the same cache in plain PyTorch."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decodeloop.compress import QuantizedKVCache, dequantize_cache, quantize_cache
from decodeloop.decode import generate
from decodeloop.errors import UserError
from decodeloop.kernels import Int8Linear, fast, tiny_decoder
from decodeloop.kernels.decoder import FastDecoder
from decodeloop.kernels.elementary import half
from decodeloop.kernels.quantized_cache import keys_between, layers_of, store_value, values_between
from decodeloop.model import TINY, Decoder
from decodeloop.model.decoder import LIBRARY_PARTS, Parts

DTYPES = ("fp32", "int8", "w8a8", "int4")


def pair_of(dtype):
    plain = tiny_decoder(dtype).eval()
    for module in plain.modules():
        if isinstance(module, Int8Linear) and dtype == "int8":
            module.products = torch.float32
    return plain, FastDecoder(plain)


PAIRS = {dtype: pair_of(dtype) for dtype in DTYPES}


def filled(bits, S, batch=2):
    g = torch.Generator().manual_seed(S)
    cache = QuantizedKVCache(TINY, batch, S + 70, bits=bits)
    k, v = (
        torch.randn(TINY.layers, batch, TINY.kv_heads, S, TINY.head_dim, generator=g)
        for _ in range(2)
    )
    for layer in range(TINY.layers):
        cache.append(layer, k[layer], v[layer])
    cache.advance(S)
    return cache


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("S", [1, 63, 64, 200])
def test_it_is_read_as_pytorch_reads_it(bits, S):
    cache = filled(bits, S)
    new = [torch.randn(2, TINY.kv_heads, 1, TINY.head_dim) for _ in range(2)]
    expected = [x[1, 1, :S] for x in cache.append(2, *new)]
    layer = layers_of(cache)[2]
    for read, numbers in zip((keys_between, values_between), expected, strict=True):
        for start in range(0, S, 128):
            found = np.empty((min(S, start + 128) - start, TINY.head_dim), np.float32)
            read(layer, 1, 1, start, start + len(found), found)
            torch.testing.assert_close(torch.from_numpy(found), numbers[start:][: len(found)])


@given(st.integers(0, 99), st.sampled_from([8, 4]), st.sampled_from([1e-3, 1, 1e3]))
def test_a_value_is_stored_as_pytorch_stores_it(seed, bits, size):
    value = size * torch.randn(10, generator=torch.Generator().manual_seed(seed))
    stored = np.empty(10 * bits // 8, np.uint8)
    found_step, found_low = map(half, store_value(value.numpy(), stored))
    whole, step, low = quantize_cache(value, bits, -1)
    assert (found_step, found_low) == (float(step), float(low))
    numbers = torch.from_numpy(stored)
    if bits == 4:
        numbers = torch.cat((numbers & 15, numbers >> 4))
    assert int((numbers.int() - whole.int()).abs().max()) <= 1  # where it is half way between two
    dequantized = dequantize_cache(numbers, step, low)
    assert float((dequantized - value).abs().max()) <= 0.52 * float(step) + 1e-3 * size


@settings(max_examples=25)
@given(
    dtype=st.sampled_from(DTYPES),
    bits=st.sampled_from([8, 4]),
    B=st.integers(1, 3),
    before=st.sampled_from([1, 60, 64, 140]),
    pieces=st.lists(st.sampled_from([1, 1, 2, 5, 70]), min_size=1, max_size=5),
)
def test_steps_are_those_of_the_plain_decoder(dtype, bits, B, before, pieces):
    """A number half way between two may be rounded to either, so logits are compared as a whole."""
    ids = torch.randint(TINY.vocabulary, (B, before + sum(pieces)))
    found = []
    for decoder in PAIRS[dtype]:
        cache = QuantizedKVCache(TINY, B, before + sum(pieces), bits=bits)
        with torch.inference_mode():
            logits = [decoder(ids[:, :before], cache)]
            for piece in ids[:, before:].split(pieces, 1):
                # the compiled one may take a long piece in several
                some = piece.split(64, 1) if dtype in ("w8a8", "int4") else [piece]
                logits += [decoder(part, cache) for part in some]
        assert cache.length == ids.shape[1]
        found.append((torch.cat(logits, 1), cache))
    (expected, plain), (logits, quick) = found
    error = float((logits - expected).norm() / expected.norm())
    assert error < (0.02 if dtype in ("fp32", "int8") else 0.05)
    n = plain.folded
    keys = [cache.keys_of(slice(None), 0, n) for cache in (plain, quick)]
    assert float((keys[0] - keys[1]).norm()) <= 0.05 * float(keys[0].norm())


def with_cache(decoder, bits):
    return decoder.with_parts(Parts(cache=partial(QuantizedKVCache, bits=bits)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_decoder_that_makes_such_caches_is_compiled(dtype):
    decoder = with_cache(PAIRS[dtype][0], 8)
    quick = fast(decoder)
    assert isinstance(quick, FastDecoder)
    assert isinstance(quick.new_cache(1, 4), QuantizedKVCache)
    ids = torch.randint(TINY.vocabulary, (1, 90))
    kept = [list(generate(model, ids, 20, eos_ids=())) for model in (decoder, quick)]
    full = list(generate(PAIRS[dtype][1], ids, 20, eos_ids=()))
    assert kept[0] == kept[1] == full  # with weights as large as these margins are clear


def test_a_cache_of_a_users_own_is_left_to_pytorch():
    class Own(QuantizedKVCache):
        pass

    quick = PAIRS["fp32"][1]
    assert quick.can_fill(QuantizedKVCache(TINY, 1, 4, bits=4))
    assert not quick.can_fill(Own(TINY, 1, 4, bits=4))
    with pytest.raises(UserError, match="functions of your own"):
        FastDecoder(Decoder(TINY, Parts(rms_norm=lambda *a: LIBRARY_PARTS.rms_norm(*a))))
