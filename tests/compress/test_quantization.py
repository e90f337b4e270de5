"""Weights in fewer bits: held against PyTorch's own quantization and torchao's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from decodeloop.compress import (
    dequantize_asymmetric,
    dequantize_groups,
    pack_int4,
    quantize_asymmetric,
    quantize_groups,
    rounded,
    unpack_int4,
)
from decodeloop.errors import ShapeError, UserError
from decodeloop.model import TINY

all_bits = st.integers(2, 8)
groups = st.sampled_from([1, 2, 4, 8, 16])


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 99), all_bits, groups)
def test_symmetric_is_pytorchs_own(seed, bits, group):
    weight = 3 * drawn(seed, 5, 16)
    whole, step = quantize_groups(weight, bits, group)
    assert whole.dtype == torch.int8 and step.shape == (5, 16 // group)
    n = 2 ** (bits - 1) - 1
    expected = torch.fake_quantize_per_channel_affine(
        weight.view(-1, group), step.flatten(), torch.zeros(step.numel()).int(), 0, -n, n
    )
    assert torch.equal(dequantize_groups(whole, step), expected.view(5, 16))
    assert torch.equal(whole.view(-1, group).abs().amax(1), torch.full((5 * 16 // group,), n))


@given(st.integers(0, 99), all_bits, groups, st.sampled_from([-2.0, 0.0, 5.0]))
def test_asymmetric_is_pytorchs_own(seed, bits, group, shift):
    weight = drawn(seed, 5, 16) + shift
    whole, step, zero = quantize_asymmetric(weight, bits, group)
    assert whole.dtype == zero.dtype == torch.uint8 and step.shape == zero.shape
    n = 2**bits - 1
    expected = torch.fake_quantize_per_channel_affine(
        weight.view(-1, group), step.flatten(), zero.flatten().int(), 0, 0, n
    )
    assert torch.equal(dequantize_asymmetric(whole, step, zero), expected.view(5, 16))
    low = weight.view(-1, group).amin(1).clamp(max=0)
    high = weight.view(-1, group).amax(1).clamp(min=0)
    assert torch.allclose(step.flatten() * n, high - low)


@given(st.integers(0, 99), all_bits)
def test_a_whole_tensor_is_one_row(seed, bits):
    weight = drawn(seed, 6, 7)
    n = 2 ** (bits - 1) - 1
    whole, step = quantize_groups(weight.view(1, -1), bits, weight.numel())
    expected = torch.fake_quantize_per_tensor_affine(weight, float(step), 0, -n, n)
    assert torch.equal(dequantize_groups(whole, step).view(6, 7), expected)


def test_both_are_torchaos():
    """Ours is the one of torchao's two symmetric forms that clips nothing."""
    pytest.importorskip("torchao", reason="torchao is not installed: pip install torchao")
    from torchao.quantization.quant_primitives import (
        MappingType,
        choose_qparams_affine,
        dequantize_affine,
        quantize_affine,
    )

    weight, size = drawn(0, 48, 128), (1, 32)
    for bits in range(2, 9):
        n = 2 ** (bits - 1) - 1
        ends = (torch.int8, -n, n)
        kind = MappingType.SYMMETRIC_NO_CLIPPING_ERR
        theirs = choose_qparams_affine(weight, kind, size, *ends)
        whole, step = quantize_groups(weight, bits, 32)
        assert torch.equal(whole, quantize_affine(weight, size, *theirs, *ends))
        found = dequantize_affine(whole, size, *theirs, *ends)
        assert torch.equal(dequantize_groups(whole, step), found)
        ends = (torch.uint8, 0, 2**bits - 1)
        theirs = choose_qparams_affine(weight, MappingType.ASYMMETRIC, size, *ends)
        whole, step, zero = quantize_asymmetric(weight, bits, 32)
        assert torch.equal(whole, quantize_affine(weight, size, *theirs, *ends))
        found = dequantize_affine(whole, size, *theirs, *ends)
        assert torch.equal(dequantize_asymmetric(whole, step, zero), found)


def test_zeros_ones_and_the_very_small():
    weight = torch.tensor([[0.0, 0.0, 1e-45, -1e-45, 5.0, 5.0, -3.0, -3.0]])
    for whole, found in (
        ((x := quantize_groups(weight, 4, 2))[0], dequantize_groups(*x)),
        ((x := quantize_asymmetric(weight, 4, 2))[0], dequantize_asymmetric(*x)),
    ):
        assert whole[0, :2].unique().numel() == 1
        assert torch.allclose(found, weight, atol=1e-30)


@given(st.integers(0, 99), st.sampled_from([(2,), (3, 8), (2, 3, 4), (0, 4)]))
def test_packing_goes_there_and_back(seed, shape):
    generator = torch.Generator().manual_seed(seed)
    whole = torch.randint(-8, 8, shape, generator=generator).to(torch.int8)
    packed = pack_int4(whole)
    assert packed.dtype == torch.uint8 and packed.shape == (*shape[:-1], shape[-1] // 2)
    assert torch.equal(unpack_int4(packed), whole)
    for first, second, byte in zip(
        whole.flatten()[::2].tolist(),
        whole.flatten()[1::2].tolist(),
        packed.flatten().tolist(),
        strict=True,
    ):
        assert byte == first % 16 + 16 * (second % 16)


def test_a_rounded_decoder_has_other_matrices_and_the_same_norms(decoders):
    for decoder in decoders.values():
        before = {name: weight.clone() for name, weight in decoder.state_dict().items()}
        twin = rounded(decoder, torch.zeros_like)
        assert (twin.output.weight is twin.embedding.weight) == decoder.config.tied
        for name, weight in twin.state_dict().items():
            assert torch.equal(decoder.state_dict()[name], before[name])
            assert torch.equal(weight, before[name] * (weight.ndim == 1)), name


def test_rounding_a_decoder_finely_hardly_changes_it(decoders):
    ids, decoder = torch.randint(TINY.vocabulary, (1, 9)), decoders[2]
    apart = [
        float((rounded(decoder, lambda w, n=n: one_row(w, n))(ids) - decoder(ids)).abs().max())
        for n in (8, 4, 2)
    ]
    assert 0 < apart[0] < apart[1] < apart[2]


def one_row(weight, bits):
    return dequantize_groups(*quantize_groups(weight, bits, weight.shape[1]))


@pytest.mark.parametrize("quantize", [quantize_groups, quantize_asymmetric])
def test_bad_input(quantize):
    name, weight = quantize.__name__, torch.ones(2, 12)
    for bits in (1, 9, 0, 4.5, "4"):
        with pytest.raises(UserError, match=rf"{name}: {bits!r} bits: expected .* from 2 to 8"):
            quantize(weight, bits, 4)
    for group in (5, 0, -4, 24, 2.5):
        with pytest.raises(UserError, match=rf"groups of {group} don't .* 1, 2, 3, 4, 6, 12\."):
            quantize(weight, 4, group)
    for shape in ((12,), (1, 2, 3), (0, 12), (2, 0)):
        with pytest.raises(ShapeError, match=r"must be a matrix \(R, C\)"):
            quantize(torch.ones(shape), 4, 1)
    for bad in (torch.nan, torch.inf):
        with pytest.raises(UserError, match=r"infinite or no number"):
            quantize(weight * bad, 4, 4)


def test_bad_steps_zero_points_and_nibbles():
    whole, step = quantize_groups(torch.ones(2, 12), 4, 4)
    for wrong in (step[:1], step[:, :0], torch.ones(2, 5), step[0]):
        with pytest.raises(ShapeError, match=r"expected \(R, groups\) for \(R, C\)"):
            dequantize_groups(whole, wrong)
    with pytest.raises(UserError, match=r"a step is infinite or no number"):
        dequantize_groups(whole, step * torch.nan)
    with pytest.raises(ShapeError, match=r"zero points \(2, 2\) for steps \(2, 3\)"):
        dequantize_asymmetric(whole, step, step[:, :2])
    with pytest.raises(ShapeError, match=r"even number of columns"):
        pack_int4(whole[:, :3])
    with pytest.raises(UserError, match=r"numbers from -9 to 7: expected -8 to 7"):
        pack_int4(torch.tensor([[-9, 7]], dtype=torch.int8))
