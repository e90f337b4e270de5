"""The cache in 8 bits and 4, in plain PyTorch: what it keeps, and that it can go back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decodeloop.compress import (
    QuantizedKVCache,
    dequantize_cache,
    pack_nibbles,
    quantize_cache,
    unpack_nibbles,
)
from decodeloop.compress.cache import GROUP
from decodeloop.errors import ShapeError, UserError
from decodeloop.model import TINY, ContiguousKVCache

L, G, D = TINY.layers, TINY.kv_heads, TINY.head_dim


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 99), st.sampled_from([8, 4, 2]), st.sampled_from([-1, -2]))
def test_it_is_pytorchs_own_quantization(seed, bits, dim):
    x = 5 * drawn(3, 6, 8, seed=seed) + seed
    whole, step, low = quantize_cache(x, bits, dim)
    assert whole.dtype == torch.uint8 and step.dtype == low.dtype == torch.float16
    assert step.shape == low.shape == x.amin(dim, keepdim=True).shape
    most = 2**bits - 1
    assert int(whole.max()) == most and int(whole.min()) == 0
    for rows, s, z in zip(
        x.movedim(dim, -1).flatten(0, -2), step.flatten(), low.flatten(), strict=True
    ):
        shifted = rows - z.float()  # so that the zero point is 0
        expected = torch.fake_quantize_per_tensor_affine(shifted, float(s), 0, 0, most)
        found = dequantize_cache(whole, step, low).movedim(dim, -1).flatten(0, -2)
        assert bool(((found - expected - z.float()).abs().amax(-1) < 1e-3 * (1 + seed)).any())


def test_what_is_alike_and_what_is_large():
    alike = torch.full((2, 4), 3.0)
    assert torch.equal(dequantize_cache(*quantize_cache(alike, 4, -1)), alike)
    large = torch.tensor([[1e9, 0.0]])
    assert dequantize_cache(*quantize_cache(large, 8, -1)).isfinite().all()
    for bits in (1, 9, 4.5):
        with pytest.raises(UserError, match=rf"quantize_cache: {bits} bits: expected .* 2 to 8"):
            quantize_cache(alike, bits, -1)


def test_nibbles():
    whole = torch.randint(16, (3, 10), dtype=torch.uint8)
    assert pack_nibbles(whole).shape == (3, 5)
    assert torch.equal(unpack_nibbles(pack_nibbles(whole)), whole)
    with pytest.raises(ShapeError, match=r"3 channels can't be packed in pairs"):
        pack_nibbles(whole[:, :3])


def expected_of(k, v, bits, folded):
    """What is left of what was appended: keys of whole groups by channel, values by token."""
    keys = k.clone()
    for start in range(0, folded, GROUP):
        part = slice(start, start + GROUP)
        keys[:, :, part] = dequantize_cache(*quantize_cache(k[:, :, part], bits, -2))
    return keys, dequantize_cache(*quantize_cache(v, bits, -1))


@settings(max_examples=30)
@given(
    pieces=st.lists(st.sampled_from([1, 5, 63, 64, 65, 130]), min_size=1, max_size=6),
    bits=st.sampled_from([8, 4]),
)
def test_in_any_pieces_old_keys_are_rounded_by_channel_and_values_by_token(pieces, bits):
    S = sum(pieces)
    k, v = drawn(L, 2, G, S, D), drawn(L, 2, G, S, D, seed=1)
    cache, n = QuantizedKVCache(TINY, 2, S, bits=bits), 0
    for T in pieces:
        for layer in range(L):
            new = (x[layer, :, :, n : n + T] for x in (k, v))
            keys, values = cache.append(layer, *new)
            seen = (x[layer, :, :, : n + T] for x in (k, v))
            kept = expected_of(*seen, bits, n // GROUP * GROUP)
            for found, expected in zip((keys, values), kept, strict=True):
                torch.testing.assert_close(found, expected)
        cache.advance(T)
        n += T
        assert cache.length == n


@pytest.mark.parametrize("bits", [8, 4])
def test_going_back_growing_and_choosing_rows(bits):
    k, v = drawn(L, 3, G, 200, D), drawn(L, 3, G, 200, D, seed=1)
    new = (drawn(3, G, 2, D, seed=3), drawn(3, G, 2, D, seed=4))
    cache = QuantizedKVCache(TINY, 3, 200, bits=bits)
    for layer in range(L):
        cache.append(layer, k[layer], v[layer])
    cache.advance(200)
    rows = [2, 0, 0]
    cache.grow(300)
    cache.select(rows)
    for n in (195, 130, 64, 40, 0):  # within the tail, into groups, at the end of one, to nothing
        cache.truncate(n)
        keys, values = cache.append(1, *new)
        expected = expected_of(k[1, rows, :, :200], v[1, rows, :, :200], bits, 192)
        own = (new[0], expected_of(*new, bits, 0)[1])
        for found, all_of_it, added in zip((keys, values), expected, own, strict=True):
            torch.testing.assert_close(found, torch.cat((all_of_it[:, :, :n], added), 2))
    assert (cache.max_length, cache.batch, cache.length) == (300, 3, 0)


def test_an_interrupted_forward_changes_nothing():
    cache = QuantizedKVCache(TINY, 1, 300, bits=4)
    k, v = drawn(1, G, 70, D), drawn(1, G, 70, D, seed=1)
    for layer in range(L):
        cache.append(layer, k, v)
    cache.advance(70)
    more = (drawn(1, G, 140, D, seed=2), drawn(1, G, 140, D, seed=3))
    expected = [cache.append(layer, *more) for layer in range(2)]  # and never advanced
    for layer in range(2):
        for found, before in zip(cache.append(layer, *more), expected[layer], strict=True):
            assert torch.equal(found, before)


@pytest.mark.parametrize(("bits", "share"), [(8, 0.29), (4, 0.17)])
def test_it_takes_a_fraction_of_the_bytes(bits, share):
    from decodeloop.model import SMOLLM2_135M

    kinds = (
        QuantizedKVCache(SMOLLM2_135M, 1, 4096, bits=bits, device="meta"),
        ContiguousKVCache(SMOLLM2_135M, 1, 4096, device="meta"),
    )
    assert kinds[0].stored_bytes < share * (kinds[1].keys.nbytes + kinds[1].values.nbytes)


def test_bad_input():
    with pytest.raises(UserError, match=r"a KV cache of 5 bits: expected 8 or 4"):
        QuantizedKVCache(TINY, 1, 8, bits=5)
    with pytest.raises(UserError, match=r"batch 0 and max_length 8"):
        QuantizedKVCache(TINY, 0, 8, bits=8)
    cache = QuantizedKVCache(TINY, 1, 8, bits=8)
    with pytest.raises(ShapeError, match=r"keys and values of shape \(1, 2, 3, 10\)"):
        cache.append(0, drawn(1, 2, 3, 8), drawn(1, 2, 3, 8))
    with pytest.raises(UserError, match=r"room for 8 positions: 0 are used and 9 more"):
        cache.append(0, drawn(1, 2, 9, D), drawn(1, 2, 9, D))
    with pytest.raises(UserError, match=r"grow\(7\)"):
        cache.grow(7)
    with pytest.raises(UserError, match=r"truncate\(1\)"):
        cache.truncate(1)
