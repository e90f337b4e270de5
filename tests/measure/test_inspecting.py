import copy
import os
import sys

import pytest
import torch
from torch.testing import assert_close

from decodeloop.errors import UserError
from decodeloop.measure.inspecting import (
    RecordingCache,
    SilencedCache,
    attention_maps,
    bytes_held,
    peak_bytes,
    quiet_stderr,
)

IDS = [3, 1, 4, 1, 5, 9, 2]


@pytest.fixture(params=[1, 2, 6], ids="{} KV heads".format)
def decoder(request, decoders):
    return decoders[request.param]


# attention_maps


def test_attention_maps_are_those_of_transformers(decoder, llama_like):
    llama = llama_like(decoder)
    llama.set_attn_implementation("eager")
    theirs = llama(torch.tensor([IDS]), output_attentions=True).attentions
    maps = attention_maps(decoder, IDS)
    assert_close(maps, torch.stack(theirs)[:, 0])
    assert maps.std() > 0.05  # they are not all alike


def test_every_row_of_a_map_sums_to_one_and_sees_no_future(decoder):
    maps = attention_maps(decoder, IDS)
    L, H, T = decoder.config.layers, decoder.config.heads, len(IDS)
    assert maps.shape == (L, H, T, T)
    assert maps.device.type == "cpu"
    assert_close(maps.sum(-1), torch.ones(L, H, T))
    assert not maps.triu(1).any()


# RecordingCache


def test_recording_changes_no_logits(decoder):
    ids = torch.tensor([IDS, IDS[::-1]])
    cache = RecordingCache(decoder, 2, len(IDS))
    assert torch.equal(decoder(ids, cache), decoder(ids, decoder.new_cache(2, len(IDS))))


def test_after_a_prefill_the_weights_of_new_queries_are_on_all_keys(decoder):
    ids = torch.tensor([IDS])
    cache = RecordingCache(decoder, 1, len(IDS))
    decoder(ids[:, :4], cache)
    decoder(ids[:, 4:], cache)
    whole = attention_maps(decoder, IDS)
    for layer in range(decoder.config.layers):
        assert_close(cache.weights[layer][0], whole[layer, :, 4:])


def test_the_weights_follow_a_mask_that_is_given(decoder):
    cache = RecordingCache(decoder, 1, len(IDS))
    mask = torch.ones(len(IDS), len(IDS), dtype=torch.bool).tril()
    mask[1:, 0] = False
    decoder(torch.tensor([IDS]), cache, mask=mask)
    for weights in cache.weights.values():
        assert not weights[:, :, 1:, 0].any()
        assert_close(weights.sum(-1), torch.ones(1, decoder.config.heads, len(IDS)))


# SilencedCache


def without_heads(decoder, places):
    """A copy of a decoder whose output projections ignore some heads."""
    D = decoder.config.head_dim
    deaf = copy.deepcopy(decoder)
    with torch.no_grad():
        for layer, head in places:
            deaf.layers[layer].attention.output.weight[:, head * D : (head + 1) * D] = 0.0
    return deaf


def test_a_silent_head_is_one_that_the_output_projection_ignores(decoder):
    silent = [[], [(1, 4)], [(0, 0), (1, 5), (1, 1)]]
    ids = torch.tensor([IDS])
    together = decoder(ids.expand(3, -1), SilencedCache(decoder, len(IDS), silent))
    for row, places in enumerate(silent):
        alone = without_heads(decoder, places)(ids)[0]
        assert_close(together[row], alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(together[0], together[1])


def test_a_silent_head_stays_silent_token_by_token_and_in_rows_that_move(decoder):
    ids = torch.tensor([IDS, IDS])
    cache = SilencedCache(decoder, len(IDS), [[(1, 4)], []])
    decoder(ids[:, :4], cache)
    cache.select([1, 0])
    last = decoder(ids[:, 4:], cache)
    expected = torch.cat((decoder(ids[:1]), without_heads(decoder, [(1, 4)])(ids[:1])))[:, 4:]
    assert_close(last, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("place", [(9, 0), (0, 6), (-1, 0), (0, -1)])
def test_a_head_that_there_is_not_is_named(decoder, place):
    with pytest.raises(UserError, match=r"no head .* in layer .*layers 0 to . and heads 0 to 5"):
        SilencedCache(decoder, 4, [[place]])


# peak_bytes

MIB = 2**20


def test_what_is_held_is_counted_to_the_byte():
    assert peak_bytes(lambda: torch.empty(MIB, dtype=torch.uint8)) == MIB
    assert peak_bytes(lambda: torch.empty(1000, 50)) == 4 * 50_000


def test_what_is_held_at_once_adds_up():
    def both():
        return torch.zeros(MIB // 4), torch.zeros(MIB // 2)

    assert peak_bytes(both) == 3 * MIB


def test_what_was_given_back_before_does_not():
    def one_after_the_other():
        a = torch.zeros(MIB // 4)
        del a
        b = torch.zeros(MIB // 2)
        del b
        return torch.zeros(MIB // 8)

    assert peak_bytes(one_after_the_other) == 2 * MIB


def test_what_was_held_before_is_not_counted():
    before = torch.zeros(MIB)
    assert peak_bytes(lambda: before.add_(1)) < MIB // 100
    assert peak_bytes(lambda: None) == 0


def test_every_change_is_told_in_its_order():
    def one_after_the_other():
        a = torch.zeros(MIB // 4)
        del a
        b = torch.zeros(MIB // 2)
        del b
        return torch.zeros(MIB // 8)

    assert bytes_held(one_after_the_other) == [0, MIB, 0, 2 * MIB, 0, MIB // 2, 0]
    assert bytes_held(lambda: None) == [0]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it")
def test_stderr_is_quiet_inside_and_back_afterwards(capfd):
    with quiet_stderr():
        os.write(2, b"noise\n")
    os.write(2, b"signal\n")
    assert capfd.readouterr().err == "signal\n"


def test_stderr_is_back_after_an_exception_too(capfd):
    with pytest.raises(ZeroDivisionError), quiet_stderr():
        1 / 0
    os.write(2, b"signal\n")
    assert capfd.readouterr().err == "signal\n"


def test_stderr_leaves_no_file_open():
    def lowest_free():
        number = os.open(os.devnull, os.O_RDONLY)
        os.close(number)
        return number

    before = lowest_free()
    with quiet_stderr():
        pass
    assert lowest_free() == before
