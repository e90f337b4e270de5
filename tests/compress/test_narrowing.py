"""Smaller shapes: equal to the original with zeros in these places, compiled, and saved."""

from __future__ import annotations

import math

import pytest
import torch

from decodeloop import load
from decodeloop.compress import (
    channel_scores,
    decoder_over,
    drop_heads,
    drop_layers,
    head_scores,
    inputs_of,
    layer_angles,
    narrow_feed_forward,
    plain_weights,
)
from decodeloop.errors import UserError
from decodeloop.exporting import hub_weights, write_folder
from decodeloop.kernels import fast
from decodeloop.model import TINY, Parts, parameter_count

IDS = torch.randint(97, (2, 11), generator=torch.Generator().manual_seed(2))
TEXTS = [torch.randint(97, (n,), generator=torch.Generator().manual_seed(n)) for n in (40, 31)]
F = TINY.feed_forward


def with_zeros(decoder, places):
    """The same decoder with zeros: `places` are names of weights and an axis, and what goes."""
    weights = plain_weights(decoder, "a test")
    for name, axis, gone in places:
        weights[name] = weights[name].index_fill(axis, torch.tensor(gone), 0)
    return decoder_over(decoder.config, weights)


def alike(smaller, original, ids=IDS):
    torch.testing.assert_close(smaller(ids), original(ids), rtol=1e-4, atol=1e-4)
    with torch.inference_mode():
        quick, cache = fast(smaller), smaller.new_cache(1, ids.shape[1])
        pieces = [quick(piece, cache) for piece in ids[:1].split([8, 1, 1, 1], 1)]
        torch.testing.assert_close(torch.cat(pieces, 1), original(ids[:1]), rtol=1e-4, atol=1e-4)


def test_a_narrower_layer_is_one_whose_other_channels_are_never_written(decoders):
    kept = [sorted({3 * n % F for n in range(20)}), list(range(5, 25))]
    gone = [[n for n in range(F) if n not in some] for some in kept]
    for decoder in decoders.values():
        smaller = narrow_feed_forward(decoder, [torch.tensor(some) for some in kept])
        assert smaller.config.feed_forward == 20
        assert sum(w.numel() for w in smaller.parameters()) == parameter_count(smaller.config)
        zeros = [(f"layers.{n}.feed_forward.down.weight", 1, gone[n]) for n in range(2)]
        alike(smaller, with_zeros(decoder, zeros))


def test_a_dropped_layer_is_one_that_adds_nothing(decoders):
    for decoder in decoders.values():
        smaller = drop_layers(decoder, [0])
        assert smaller.config.layers == 1
        outputs = ("attention.output.weight", "feed_forward.down.weight")
        zeros = [(f"layers.0.{name}", 0, list(range(TINY.width))) for name in outputs]
        alike(smaller, with_zeros(decoder, zeros))


HEADS = [  # KV heads, the query heads that go in each layer, heads and KV heads that are left
    (2, [[0, 1, 2], [3, 4, 5]], (3, 1)),  # all readers of one KV head
    (2, [[0, 4], [2, 5]], (4, 2)),  # one of each three
    (2, [[1, 0, 4, 5], [0, 2, 3, 4]], (2, 2)),
    (6, [[0, 3], [5, 1]], (4, 4)),  # each has a KV head of its own
    (1, [[2], [0]], (5, 1)),
    (3, [[0, 1, 2, 3], [2, 3, 4, 5]], (2, 1)),
    (2, [[], []], (6, 2)),
]


@pytest.mark.parametrize(("G", "gone", "left"), HEADS)
def test_dropped_heads_are_heads_that_nobody_listens_to(decoders, G, gone, left):
    smaller, D = drop_heads(decoders[G], gone), TINY.head_dim
    assert (smaller.config.heads, smaller.config.kv_heads) == left
    assert smaller.new_cache(1, 4).keys.shape[2] == left[1]
    zeros = [
        (f"layers.{n}.attention.output.weight", 1, [h * D + d for h in some for d in range(D)])
        for n, some in enumerate(gone)
        if some
    ]
    alike(smaller, with_zeros(decoders[G], zeros))


def small_cut():
    """The course's small model with less of everything, and its tokenizer."""
    llm = load("small", device="cpu", compiled=False)
    model = drop_heads(drop_layers(llm.model, [1]), [[0, 2], [1, 3]])
    return llm, narrow_feed_forward(model, [range(0, 192, 2), range(96)])


@pytest.mark.parametrize("dtype", ["fp32", "int8", "int4"])
def test_saved_and_loaded_again_it_is_the_same(tmp_path, dtype):
    llm, smaller = small_cut()
    config, folder = smaller.config, tmp_path / "smaller"
    assert (config.layers, config.heads, config.kv_heads, config.feed_forward) == (2, 2, 2, 96)
    write_folder(folder, hub_weights(smaller), config, llm.tokenizer, llm.eos_ids, dtype)
    ids = torch.tensor([llm.prompt_ids("Enter the king", raw=True)])
    again = load(folder, device="cpu", compiled=False)
    assert again.config == config
    if dtype == "fp32":
        for name, weight in smaller.state_dict().items():
            assert torch.equal(again.model.state_dict()[name], weight), name
    quick = load(folder, device="cpu", compiled=True).model
    with torch.inference_mode():
        cache, expected = quick.new_cache(1, 32), again.model(ids)
        found = torch.cat([quick(piece, cache) for piece in ids.split(1, 1)], 1)
    limit = {"fp32": 1e-4, "int8": 0.2}.get(dtype, 0.5)  # the others compute otherwise than plain
    torch.testing.assert_close(found, expected, rtol=limit, atol=limit)


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        (lambda d: drop_layers(d, [2]), r"no layer 2: the model has 2, numbered from 0 to 1"),
        (lambda d: drop_layers(d, [-1]), r"no layer -1"),
        (lambda d: drop_layers(d, [0, 1]), r"all 2 layers would go"),
        (lambda d: drop_heads(d, [[0], []]), r"layer 0 would be read by 2 \+ 3 query heads; leave"),
        (lambda d: drop_heads(d, [[], [0, 1, 2]]), r"layer 1 would be read by 3 .*0 by 3 \+ 3"),
        (lambda d: drop_heads(d, [range(6)] * 2), r"layer 0 would be read by no query heads"),
        (lambda d: drop_heads(d, [[6], []]), r"query head 6 of layer 0 is not there: .*0 to 5"),
        (lambda d: drop_heads(d, [[]]), r"1 entries for 2 layers"),
        (lambda d: narrow_feed_forward(d, [[0, 1], [0]]), r"from 1 to 2 channels: .*as many"),
        (lambda d: narrow_feed_forward(d, [[], []]), r"from 0 to 0 channels: .*at least one"),
        (
            lambda d: narrow_feed_forward(d, [[0, 0], [0, 1]]),
            r"channel 0 of layer 0 is there twice",
        ),
        (lambda d: narrow_feed_forward(d, [[0], [-1]]), r"channel -1 of layer 1 is not there"),
        (lambda d: narrow_feed_forward(d, [[0], [0], [0]]), r"3 entries for 2 layers: .*that stay"),
        (lambda d: layer_angles(d, TEXTS, 3), r"3 layers in a row: expected 1 to 2"),
        (lambda d: layer_angles(d, [TEXTS[0]]), r"40 tokens together: expected at least 64"),
    ],
)
def test_what_is_not_there_or_does_not_fit_is_one_sentence(decoders, cut, said):
    with pytest.raises(UserError, match=said):
        cut(decoders[2])


def test_channel_scores_are_what_is_lost_with_a_channel_alone(decoders):
    """Without one channel the outputs of `down` move by that score, all tokens together."""
    decoder, inputs = decoders[2], inputs_of(decoders[2], TEXTS)
    scores = channel_scores(decoder, inputs)
    name = "layers.1.feed_forward.down.weight"
    weight, x = plain_weights(decoder, "a test")[name], inputs[name]
    assert scores.shape == (2, F)
    for channel in (0, 17, F - 1):
        without = weight.index_fill(1, torch.tensor([channel]), 0)
        lost = (x @ weight.mT - x @ without.mT).norm()
        torch.testing.assert_close(scores[1, channel], lost, rtol=1e-4, atol=1e-5)


def test_head_scores_are_what_is_lost_with_a_head_alone(decoders):
    decoder, D = decoders[3], TINY.head_dim
    inputs = inputs_of(decoder, TEXTS)
    scores = head_scores(decoder, inputs)
    assert scores.shape == (2, 6)
    torch.testing.assert_close(scores.square().sum(-1), torch.ones(2))
    name = "layers.0.attention.output.weight"
    weight, x = plain_weights(decoder, "a test")[name], inputs[name]
    lost = []
    for head in range(6):
        without = weight.index_fill(1, torch.arange(head * D, (head + 1) * D), 0)
        lost.append((x @ weight.mT - x @ without.mT).norm())
    torch.testing.assert_close(scores[0] / scores[0, 0], torch.stack(lost) / lost[0])


def test_angles_are_between_the_stream_before_and_after(decoders):
    decoder = decoders[6]
    shorter = drop_layers(decoder, [1])
    found = layer_angles(decoder, TEXTS)
    assert found.shape == (2,)
    for layer, (before, after) in enumerate([(None, shorter), (shorter, decoder)]):
        turned = []
        for ids in TEXTS:
            x, y = (stream(model, decoder, ids) for model in (before, after))
            dots = (x * y).sum(-1) / x.norm(dim=-1) / y.norm(dim=-1)
            turned += [math.acos(max(-1.0, min(1.0, float(dot)))) / math.pi for dot in dots]
        assert float(found[layer]) == pytest.approx(sum(turned) / len(turned), rel=1e-3)
    whole = layer_angles(decoder, TEXTS, span=2)
    assert whole.shape == (1,)
    assert 0 < float(whole) <= float(found.sum())  # angles on a sphere: no way round is shorter


def stream(model, decoder, ids):
    """The residual stream at the end of a decoder, before its norm, first token left out."""
    if model is None:
        return decoder.embedding(ids)[1:]
    raw = model.with_parts(Parts(rms_norm=lambda x, weight, eps: x))  # the last norm alone
    return raw.hidden(ids[None])[0, 1:]
