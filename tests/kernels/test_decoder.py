"""The fast decoder against the plain one, and against `transformers` through it."""

import copy
import os
import subprocess
import sys
import threading
import warnings
from dataclasses import replace

import numba
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decodeloop import kernels
from decodeloop.decode import beam_search, decode_step, generate, generate_batch, prefill
from decodeloop.errors import ShapeError, UserError
from decodeloop.kernels import Int8Embedding, Int8Linear, Int8Matrix, dequantize, fast
from decodeloop.kernels.decoder import FastDecoder
from decodeloop.kernels.pace import Pace
from decodeloop.kernels.threads import pytorch_at_pace
from decodeloop.model import TINY, ContiguousKVCache, Decoder, Parts
from decodeloop.model.block import Linear

CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def quantized(decoder, products=torch.float32):
    """The same decoder with its matrices in int8."""
    twin = copy.deepcopy(decoder)
    for layer in twin.layers:
        for part in (layer.attention, layer.feed_forward):
            for name, linear in list(part.named_children()):
                setattr(part, name, Int8Linear(Int8Matrix(linear.weight), products))
    table = Int8Matrix(twin.embedding.weight)
    head = table if decoder.config.tied else Int8Matrix(twin.output.weight)
    twin.embedding, twin.output = Int8Embedding(table), Int8Linear(head, products)
    return twin


def dequantized(decoder):
    """A plain decoder with the weights that the int8 ones stand for."""
    twin = copy.deepcopy(decoder)
    with torch.no_grad():
        for parameter in twin.parameters():
            if parameter.ndim == 2:
                matrix = Int8Matrix(parameter)
                parameter.copy_(dequantize(matrix.quantized, matrix.scale))
    return twin


@st.composite
def configs(draw):
    kv_heads, share = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return replace(
        TINY,
        vocabulary=draw(st.sampled_from([5, 64, 97])),
        width=2 * draw(st.integers(1, 40)),
        layers=draw(st.integers(1, 3)),
        heads=kv_heads * share,
        kv_heads=kv_heads,
        head_dim=2 * draw(st.integers(1, 20)),
        feed_forward=draw(st.integers(1, 70)),
        tied=draw(st.booleans()),
    )


@settings(max_examples=30)
@given(config=configs(), prompt=st.integers(1, 140), steps=st.integers(1, 4))
def test_steps_are_those_of_the_plain_decoder(config, prompt, steps):
    torch.manual_seed(prompt)
    plain = Decoder(config).eval()
    for decoder, other in (
        (plain, FastDecoder(plain)),
        (dequantized(plain), FastDecoder(quantized(plain))),
    ):
        ids = torch.randint(config.vocabulary, (1, prompt + steps))
        cache, quick = (d.new_cache(1, prompt + steps) for d in (decoder, other))
        with torch.inference_mode():
            expected = prefill(decoder, ids[:, :prompt], cache)
            torch.testing.assert_close(prefill(other, ids[:, :prompt], quick), expected, **CLOSE)
            for t in range(prompt, prompt + steps):
                token = ids[:, t : t + 1]
                expected = decode_step(decoder, token, cache)
                torch.testing.assert_close(decode_step(other, token, quick), expected, **CLOSE)
        assert cache.length == quick.length
        torch.testing.assert_close(quick.keys, cache.keys, **CLOSE)
        torch.testing.assert_close(quick.values, cache.values, **CLOSE)


@settings(max_examples=15)
@given(config=configs(), pieces=st.lists(st.integers(1, 140), min_size=1, max_size=3))
def test_a_prompt_in_pieces_and_without_a_cache(config, pieces):
    torch.manual_seed(len(pieces))
    plain = Decoder(config).eval()
    quick = FastDecoder(plain)
    ids = torch.randint(config.vocabulary, (1, sum(pieces)))
    with torch.inference_mode():
        expected = plain.hidden(ids)
        torch.testing.assert_close(quick.hidden(ids), expected, **CLOSE)
        cache = quick.new_cache(1, sum(pieces))
        found = [quick.hidden(piece, cache) for piece in ids.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(found, dim=1), expected, **CLOSE)


@settings(max_examples=30)
@given(
    config=configs(),
    B=st.integers(1, 9),
    before=st.sampled_from([1, 5, 127, 128, 140]),
    pieces=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    int8=st.booleans(),
)
def test_a_few_tokens_of_one_text_or_of_several(config, B, before, pieces, int8):
    """After a prompt, pieces of 1 to 9 tokens; some are taken back, and rows change places."""
    torch.manual_seed(before)
    plain = Decoder(config).eval()
    decoders = (dequantized(plain), FastDecoder(quantized(plain))) if int8 else (
        plain, FastDecoder(plain)
    )  # fmt: skip
    ids = torch.randint(config.vocabulary, (B, before + sum(pieces)))
    rows = torch.randint(B, (max(1, B - 1),))
    found = []
    for decoder in decoders:
        cache, logits = decoder.new_cache(B, before + sum(pieces)), []
        with torch.inference_mode():
            logits += [decoder(ids[:, :before], cache)]
            for piece in ids[:, before:].split(pieces, dim=1):
                logits += [decoder(piece, cache)]
            cache.truncate(before + 1)
            cache.select(rows)
            if sum(pieces) > 1:
                logits += [decoder(ids[rows, before + 1 :][:, : pieces[0]], cache)]
        found.append((logits, cache))
    (expected, kept), (logits, cache) = found
    for one, other in zip(logits, expected, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)
    assert cache.length == kept.length
    torch.testing.assert_close(cache.keys, kept.keys, **CLOSE)
    torch.testing.assert_close(cache.values, kept.values, **CLOSE)


@pytest.fixture
def taken(monkeypatch):
    """Which ways a fast decoder goes, in turn."""
    ways = []
    for name in ("step", "prefill"):
        own = getattr(FastDecoder, name)

        def noted(self, *args, own=own, name=name):
            ways.append(name)
            return own(self, *args)

        monkeypatch.setattr(FastDecoder, name, noted)
    return ways


@pytest.mark.parametrize(
    ("B", "T", "way"),
    [
        (1, 1, ["step"]), (1, 2, ["step"]), (1, 8, ["step"]), (1, 9, ["prefill"]),
        (2, 1, ["step"]), (8, 1, ["step"]), (2, 4, ["step"]), (9, 1, []), (3, 3, []),
    ],
)  # fmt: skip
@pytest.mark.parametrize("before", [0, 3])
def test_up_to_eight_tokens_are_one_step(pair, taken, B, T, way, before):
    plain, quick = pair
    ids = torch.arange(B * (before + T)).view(B, -1)
    mine, theirs = quick.new_cache(B, 21), plain.new_cache(B, 21)
    with torch.inference_mode():
        if before:
            plain(ids[:, :before], theirs), quick(ids[:, :before], mine)
        taken.clear()
        torch.testing.assert_close(quick(ids[:, before:], mine), plain(ids[:, before:], theirs))
        assert taken == way
        own = quick.hidden(ids[:, before:], theirs, positions=torch.arange(T))
        assert own.shape == (B, T, TINY.width) and taken == way  # positions of their own: plain


def test_a_head_takes_up_to_eight_rows(pair):
    plain, quick = pair
    for shape in ((1, 1), (8,), (2, 4), (9,), (0,), ()):
        x = torch.randn(*shape, TINY.width, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            torch.testing.assert_close(quick.head(x), plain.head(x), **CLOSE)


def test_a_few_tokens_of_int8_are_multiplied_as_one_is(pair):
    """Also where a prefill rounds its inputs to bf16: the tokens must be those of single steps."""
    quick = FastDecoder(quantized(pair[0], torch.bfloat16))
    ids = torch.randint(TINY.vocabulary, (1, 30), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        singly, together = quick.new_cache(1, 30), quick.new_cache(1, 30)
        one = torch.cat([quick(token, singly) for token in ids.split(1, dim=1)], dim=1)
        few = torch.cat([quick(piece, together) for piece in ids.split(8, dim=1)], dim=1)
    torch.testing.assert_close(few, one, rtol=1e-4, atol=1e-4)
    assert torch.equal(few.argmax(-1), one.argmax(-1))


def test_a_batch_that_does_not_fit_the_cache_is_refused(pair):
    quick = pair[1]
    with torch.inference_mode(), pytest.raises(ShapeError, match="make it for this batch"):
        quick(torch.tensor([[3], [4]]), quick.new_cache(3, 4))


def test_what_is_changed_counts_from_the_next_prompt_of_a_batch_on(pair):
    plain, _ = pair
    prompts, more = torch.arange(24).view(2, 12), torch.tensor([[3], [4]])
    with_other_numbers(plain)
    found = []
    for decoder in pair:
        cache = decoder.new_cache(2, 13)
        with torch.inference_mode():
            decoder(prompts, cache)
            found.append(decoder(more, cache))
    torch.testing.assert_close(found[1], found[0], **CLOSE)


def test_the_number_of_threads_changes_no_token(pair):
    quick, threads = pair[1], torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            cache = quick.new_cache(1, 40)
            with torch.inference_mode():
                ids = torch.arange(30)[None]
                found.append(
                    torch.cat([quick(p, cache) for p in ids.split([1, 5, 1, 8, 15], 1)], 1)
                )
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0].argmax(-1), found[1].argmax(-1))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-5)


def test_products_in_bf16_stay_near(pair):
    plain, _ = pair
    ids = torch.randint(TINY.vocabulary, (1, 150), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        exact = FastDecoder(quantized(plain)).hidden(ids)
        rounded = FastDecoder(quantized(plain, torch.bfloat16)).hidden(ids)
    assert float((rounded - exact).norm() / exact.norm()) < 0.02
    assert not torch.equal(rounded, exact)


def test_gradients_go_through_the_plain_path(pair):
    plain, quick = pair
    ids = torch.tensor([[3, 1, 4]])
    for decoder in (plain, quick):
        decoder.zero_grad()
        decoder(ids).square().mean().backward()
        decoder.seen = decoder.layers[0].attention.query.weight.grad.clone()
    torch.testing.assert_close(quick.seen, plain.seen)


@pytest.fixture
def pair():
    torch.manual_seed(0)
    plain = Decoder(TINY).eval()
    return plain, FastDecoder(plain)


def test_generation_is_the_same(pair):
    prompt = torch.tensor([[3, 1, 4, 1, 5]])
    plain, quick = (list(generate(d, prompt, 60)) for d in pair)
    assert plain == quick


def test_batches_and_beams_are_the_same(pair):
    prompts = [[3, 1, 4], [1, 5, 9, 2]]
    plain, quick = ([c.tokens for c in generate_batch(d, prompts, 8)] for d in pair)
    assert plain == quick
    prompt = torch.tensor([[3, 1, 4]])
    plain, quick = (beam_search(d, prompt, 6, 3).tokens for d in pair)
    assert plain == quick


@pytest.mark.parametrize("read", range(6))
def test_generation_goes_on_from_a_cache_that_has_read_something(pair, read):
    """With 4 of 5 tokens read, a single one follows a cache that is not empty."""
    prompt, texts = torch.tensor([[3, 1, 4, 1, 5]]), []
    for decoder in pair:
        cache = decoder.new_cache(1, 24)
        if read:
            prefill(decoder, prompt[:, :read], cache)
        texts += [list(generate(decoder, prompt, 20, cache=cache))]
        texts += [list(generate(decoder, prompt, 20))]
        assert cache.length == 24
    assert texts[0] == texts[1] == texts[2] == texts[3]


def test_it_holds_no_weights_of_its_own(pair):
    plain, quick = pair
    mine, theirs = (dict(d.named_parameters(remove_duplicate=False)) for d in (quick, plain))
    assert list(mine) == list(theirs)
    assert all(mine[name] is theirs[name] for name in mine)
    with torch.no_grad():
        plain.layers[0].attention.query.weight.zero_()
    assert not quick.weights[0][1].any()


class Counting(ContiguousKVCache):
    calls = 0

    def attend(self, *args, **kwargs):
        self.calls += 1
        return super().attend(*args, **kwargs)


def test_another_cache_is_asked_and_not_gone_around(pair):
    plain, quick = pair
    for ids in (torch.tensor([[3]]), torch.tensor([[3, 1]])):
        cache = Counting(TINY, 1, 4)
        with torch.inference_mode():
            expected = plain(ids, plain.new_cache(1, 4))
            torch.testing.assert_close(quick(ids, cache), expected, **CLOSE)
            assert cache.calls == TINY.layers
            own = ContiguousKVCache(TINY, 1, 4, attention=lambda q, *_: torch.zeros_like(q))
            assert not torch.allclose(quick(ids, own), expected)


class Twice(Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def hooked(decoder):
    decoder.layers[0].attention.value.register_forward_hook(lambda _, __, out: 5 * out)


def with_another_projection(decoder):
    decoder.layers[1].feed_forward.down = Twice(TINY.feed_forward, TINY.width)


def with_an_int8_head(decoder):
    decoder.output = Int8Linear(Int8Matrix(decoder.output.weight), torch.float32)


def with_other_numbers(decoder):
    decoder.norm.weight.data = torch.full((TINY.width,), 3.0)


@pytest.mark.parametrize(
    "change", [hooked, with_another_projection, with_an_int8_head, with_other_numbers]
)
def test_what_is_changed_afterwards_counts_from_the_next_prompt_on(pair, change):
    def logits(decoder):
        """After a prompt, and after one more token."""
        cache = decoder.new_cache(1, 6)
        first = prefill(decoder, torch.tensor([[3, 1, 4, 1, 5]]), cache)
        return torch.cat([first, decode_step(decoder, torch.tensor([[9]]), cache)])

    before = logits(pair[1])
    for decoder in pair:
        torch.manual_seed(1)
        change(decoder)
    plain, quick = (logits(decoder) for decoder in pair)
    torch.testing.assert_close(quick, plain, **CLOSE)
    assert not torch.allclose(quick, before, atol=1e-3, rtol=1e-3)


def test_a_second_prompt_in_the_same_cache_looks_at_the_modules_too(pair):
    caches = [decoder.new_cache(1, 30) for decoder in pair]
    ids = torch.arange(27).view(1, 27)
    with torch.inference_mode():
        for decoder, cache in zip(pair, caches, strict=True):
            prefill(decoder, ids[:, :6], cache)
        with_another_projection(pair[0])  # whose modules are those of the other, too
        for piece in (ids[:, 6:26], ids[:, 26:]):
            expected, got = (prefill(d, piece, c) for d, c in zip(pair, caches, strict=True))
            torch.testing.assert_close(got, expected, **CLOSE)


def test_on_another_device_it_goes_the_plain_way(pair):
    quick = pair[1].to("meta")
    ids = torch.zeros(1, 1, dtype=torch.long, device="meta")
    with torch.inference_mode():
        cache = quick.new_cache(1, 2)
        assert quick(ids, cache).shape == quick(ids, cache).shape == (1, 1, TINY.vocabulary)


def test_in_another_type_it_goes_the_plain_way(pair):
    _, quick = pair
    quick.bfloat16()
    assert len(list(generate(quick, torch.tensor([[3, 1, 4]]), 5, eos_ids=()))) == 5


def test_parts_of_ones_own_are_called(pair):
    _, quick = pair
    with_own = quick.with_parts(Parts(rms_norm=lambda x, weight, eps: torch.zeros_like(x)))
    assert not with_own(torch.tensor([[3]]), with_own.new_cache(1, 2)).any()
    with pytest.raises(UserError, match="can't call functions of your own"):
        FastDecoder(with_own)


def test_a_full_cache_is_refused_and_left_as_it_is(pair):
    _, quick = pair
    cache = quick.new_cache(1, 2)
    with torch.inference_mode():
        quick(torch.tensor([[3, 4]]), cache)
        before = cache.keys.clone()
        for more in ([[5]], [[5, 6, 7]], [[5] * 9]):
            said = f"room for 2 positions: 2 are used and {len(more[0])} more"
            with pytest.raises(UserError, match=said):
                quick(torch.tensor(more), cache)
    assert cache.length == 2
    assert torch.equal(cache.keys, before)
    several = quick.new_cache(2, 1)
    with torch.inference_mode(), pytest.raises(UserError, match="0 are used and 2 more"):
        quick(torch.tensor([[3, 4], [5, 6]]), several)


@pytest.mark.parametrize("other", [{"head_dim": 4}, {"kv_heads": 1, "heads": 3}])
def test_a_cache_of_another_model_is_refused_and_never_read(pair, other):
    cache = ContiguousKVCache(replace(TINY, **other), 1, 8)
    cache.advance(3)
    with torch.inference_mode(), pytest.raises(ShapeError, match="make it for this batch and this"):
        pair[1](torch.tensor([[3]]), cache)


def test_a_token_outside_the_vocabulary_is_refused(pair):
    _, quick = pair
    for ids in ([[97]], [[3, 97]]):
        with (
            torch.inference_mode(),
            pytest.raises(UserError, match="token id 97 is outside the vocabulary"),
        ):
            quick(torch.tensor(ids), quick.new_cache(1, 2))


@pytest.mark.parametrize("ids", [3, [3, 4], [[]], [[[3]]]])
def test_token_ids_of_another_shape_are_refused(pair, ids):
    with torch.inference_mode(), pytest.raises(ShapeError, match=r"expected two axes \(B, T\)"):
        pair[1](torch.tensor(ids))


def test_only_fp32_on_the_cpu_is_compiled():
    with pytest.raises(UserError, match=r"computes in torch.bfloat16 on cpu"):
        FastDecoder(Decoder(TINY).bfloat16())
    with pytest.raises(UserError, match=r"on meta"), torch.device("meta"):
        FastDecoder(Decoder(TINY))


def test_without_numba_the_plain_decoder_goes_on_and_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "decodeloop.kernels.decoder", None)
    decoder = Decoder(TINY)
    with pytest.warns(UserWarning, match=r"no compiled decode step: it needs Numba.*pip install"):
        assert fast(decoder) is decoder


def test_on_another_device_the_plain_decoder_goes_on_and_says_so():
    with torch.device("meta"):
        decoder = Decoder(TINY)
    with pytest.warns(UserWarning, match="there is none for meta; plain PyTorch computes"):
        assert fast(decoder) is decoder


def test_where_it_can_be_nothing_is_said():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(fast(Decoder(TINY)), FastDecoder)
    assert set(kernels.__all__) >= {"fast", "quantize", "dequantize"}


def decode_in_threads():
    """Two threads decode two texts at once; each must get what it gets alone."""
    torch.manual_seed(0)
    quick = FastDecoder(Decoder(TINY).eval())
    prompts = [torch.tensor([[3, 1, 4]]), torch.tensor([[1, 5, 9, 2, 6]])]
    alone = [list(generate(quick, p, 100)) for p in prompts]
    for _ in range(3):
        found = {}

        def work(i, found=found):
            found[i] = list(generate(quick, prompts[i], 100))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [found[0], found[1]] == alone


def test_two_threads_get_the_right_tokens():
    decode_in_threads()


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_two_threads_get_the_right_tokens_on_each_threading_layer(layer):
    code = (
        f"import runpy; runpy.run_path({__file__!r})['decode_in_threads']();"
        "import numba; print(numba.threading_layer())"
    )
    environment = os.environ | {"NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, encoding="utf-8"
    )
    if "No threading layer could be loaded" in done.stderr:
        pytest.skip(f"this system has no threading layer {layer!r}")
    assert (done.returncode, done.stdout) == (0, f"{layer}\n"), done.stderr


def test_a_prompt_with_fewer_threads_leaves_pytorchs_number_alone(pair):
    plain, quick = pair
    threads, ids = torch.get_num_threads(), torch.arange(20)[None]

    class One(Pace):
        def threads(self, kind, most, sparing=False):
            used.append((kind, most))
            return 1

    used, quick.pace = [], One()
    with torch.inference_mode():
        torch.testing.assert_close(quick(ids), plain(ids), **CLOSE)
        assert torch.get_num_threads() == threads
        most = min(threads, numba.config.NUMBA_NUM_THREADS)
        assert used == TINY.layers * [("prefill", most)]
    with pytest.raises(RuntimeError, match="stop"), pytorch_at_pace(quick.pace, "prefill"):
        assert torch.get_num_threads() == 1
        raise RuntimeError("stop")
    assert torch.get_num_threads() == threads


def test_pytorchs_number_of_threads_is_left_alone():
    code = (
        "import torch; torch.set_num_threads(1);"
        "from decodeloop.kernels import compile_all; compile_all();"
        "import numba; print(torch.get_num_threads(), numba.get_num_threads())"
    )
    environment = os.environ | {"NUMBA_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, encoding="utf-8"
    )
    assert (done.returncode, done.stdout) == (0, "1 1\n"), done.stderr
