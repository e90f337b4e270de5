"""Steps of many texts over block tables: against the plain path, which gathers."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_steps import GatheringStep, copied, gathered, pool_with

from decodeloop.decode import generate
from decodeloop.errors import ShapeError, UserError
from decodeloop.kernels import Int8Linear, batched, fast, paged, tiny_decoder
from decodeloop.kernels.batched import check_tables, jobs_of, pieces_of, places_of
from decodeloop.kernels.decoder import FastDecoder
from decodeloop.loading import load
from decodeloop.model import TINY, BlockTables, Decoder

CLOSE = {"rtol": 1e-4, "atol": 1e-4}
IN_8_BITS = pytest.mark.parametrize("dtype", ["w8a8", "int4"])
DTYPES = ("fp32", "int8", "w8a8", "int4")


def pair_of(dtype):
    """A plain decoder and the compiled one over its weights, whose inputs are as exact."""
    plain = tiny_decoder(dtype).eval()
    for module in plain.modules():
        if isinstance(module, Int8Linear) and dtype == "int8":
            module.products = torch.float32
    return plain, FastDecoder(plain)


PAIRS = {dtype: pair_of(dtype) for dtype in DTYPES}


def ids_for(tables, vocabulary=TINY.vocabulary):
    g = torch.Generator().manual_seed(len(tables.texts))
    return torch.randint(vocabulary, (1, len(tables.texts)), generator=g)


@st.composite
def batches(draw):
    """Cached and new positions of 1 to 17 texts: single tokens, and pieces of prompts."""
    pieces = st.one_of(st.just(1), st.integers(1, 40))
    cached = st.one_of(st.just(0), st.integers(1, 40), st.sampled_from([127, 128, 129, 300]))
    texts = draw(st.lists(st.tuples(cached, pieces), min_size=1, max_size=17))
    return [old for old, _ in texts], [new for _, new in texts], draw(st.sampled_from([1, 5, 16]))


@settings(max_examples=25)
@given(batch=batches(), dtype=st.sampled_from(["fp32", "int8"]))
def test_a_step_is_that_of_the_plain_path(batch, dtype):
    plain, quick = PAIRS[dtype]
    tables = pool_with(TINY, *batch)
    other, ids = copied(tables), ids_for(tables)
    with torch.inference_mode():
        step = GatheringStep(other)
        expected = plain(ids, GatheringStep(tables))
        found = quick.head(quick.hidden(ids, step, positions=step.positions(ids.shape[1])))
    torch.testing.assert_close(found, expected, **CLOSE)
    assert step.advanced == ids.shape[1]
    for mine, theirs in ((other.keys, tables.keys), (other.values, tables.values)):
        torch.testing.assert_close(mine, theirs, **CLOSE, equal_nan=True)  # and no other is written


@settings(max_examples=15)
@given(batch=batches(), dtype=st.sampled_from(["w8a8", "int4"]))
def test_with_inputs_in_8_bits_it_stays_near_the_plain_path(batch, dtype):
    """A rounding may fall to the other side where the order of additions differs."""
    plain, quick = PAIRS[dtype]
    tables = pool_with(TINY, *batch)
    other, ids = copied(tables), ids_for(tables)
    with torch.inference_mode():
        expected = plain(ids, GatheringStep(tables))
        found = quick(ids, GatheringStep(other))
    assert float((found - expected).norm() / expected.norm()) < 0.02


@settings(max_examples=15)
@given(batch=batches(), seed=st.integers(0, 99), dtype=st.sampled_from(["w8a8", "int4"]))
def test_inputs_in_8_bits_give_a_text_the_same_bits_alone_and_in_company(batch, seed, dtype):
    quick = PAIRS[dtype][1]
    cached, new, size = batch
    tables = pool_with(TINY, cached, new, size, seed)
    other, ids = copied(tables), ids_for(tables)
    with torch.inference_mode():
        together = quick(ids, GatheringStep(tables))[0]
        for text in range(len(new)):
            own = other.texts == text
            alone = BlockTables(
                other.keys, other.values, torch.zeros(new[text], dtype=torch.long),
                other.positions[own], other.tables[text : text + 1],
            )  # fmt: skip
            logits = quick(ids[:, own], GatheringStep(alone))[0]
            assert torch.equal(logits, together[own])


@IN_8_BITS
def test_inputs_in_8_bits_give_the_same_bits_in_any_pieces_and_from_any_cache(dtype):
    quick = PAIRS[dtype][1]
    ids = torch.randint(TINY.vocabulary, (1, 150), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        cache = quick.new_cache(1, 150)
        whole = quick(ids, cache)
        singly, cache = [], quick.new_cache(1, 150)
        for some in ids.split([1, 64, 7, 1, 1, 76], 1):
            singly.append(quick(some, cache))
        pieces, pool = [], pool_with(TINY, [0], [150], 16)
        for some in torch.arange(150).split([40, 1, 100, 9]):
            tables = replace(pool, texts=pool.texts[some], positions=some)
            pieces.append(quick(ids[:, some], GatheringStep(tables)))
    assert torch.equal(torch.cat(singly, 1), whole)
    assert torch.equal(torch.cat(pieces, 1), whole)


@IN_8_BITS
def test_the_number_of_threads_changes_no_bit(dtype):
    quick, threads = PAIRS[dtype][1], torch.get_num_threads()
    tables, found = pool_with(TINY, [300, 0, 5], [1, 30, 1], 16), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            with torch.inference_mode():
                found.append(quick(ids_for(tables), GatheringStep(copied(tables))))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


def test_few_tokens_go_through_loops_and_many_through_pytorch(monkeypatch):
    taken = []
    for name, module in (("layer_of_few", "decoder"), ("layer_of_many", "decoder")):
        own = getattr(__import__(f"decodeloop.kernels.{module}", fromlist=[name]), name)
        monkeypatch.setattr(
            f"decodeloop.kernels.{module}.{name}",
            lambda *args, own=own, name=name: (taken.append(name), own(*args))[1],
        )
    quick = PAIRS["fp32"][1]
    for count in (8, 9):
        tables = pool_with(TINY, [3] * count, [1] * count, 4)
        with torch.inference_mode():
            quick(ids_for(tables), GatheringStep(tables))
    assert taken == ["layer_of_few"] * TINY.layers + ["layer_of_many"] * TINY.layers


def test_with_int8_weights_a_text_that_decodes_does_not_feel_who_reads_a_prompt_in_16_bits():
    """Alone it goes through the loops, whose inputs are fp32; a prompt's are bf16 where the
    processor multiplies that. 32 texts and the prompt, then more texts than loops are made for."""
    plain, exact = copy.deepcopy(PAIRS["int8"][0]), PAIRS["int8"][1]
    for module in plain.modules():
        if isinstance(module, Int8Linear):
            module.products = torch.bfloat16
    quick = FastDecoder(plain)
    for count in (32, 33):
        tables = pool_with(TINY, [5] * count + [0], [1] * count + [20], 16)
        with torch.inference_mode():
            found = quick.hidden(ids_for(tables), GatheringStep(copied(tables)))
            expected = exact.hidden(ids_for(tables), GatheringStep(tables))
            torch.testing.assert_close(found[:, :count], expected[:, :count], **CLOSE)
            apart = (found[:, count:] - expected[:, count:]).norm() / expected[:, count:].norm()
            assert 1e-4 < float(apart) < 0.02
            logits = quick.head(found[:, :32])
            torch.testing.assert_close(logits, exact.head(expected[:, :32]), **CLOSE)


@pytest.mark.parametrize("how", ["not plain", "positions of its own", "a mask", "gradients"])
def test_other_steps_take_the_plain_path(how, monkeypatch):
    monkeypatch.setattr(FastDecoder, "packed", lambda *_: pytest.fail("taken"))
    quick = PAIRS["fp32"][1]
    tables = pool_with(TINY, [0, 0], [3, 2], 4)
    step, options = GatheringStep(tables, plain=how != "not plain"), {}
    if how == "positions of its own":
        options["positions"] = tables.positions + 1
    if how == "a mask":
        options["mask"] = torch.ones(5, 5, dtype=torch.bool)
    with torch.set_grad_enabled(how == "gradients"):
        quick.hidden(ids_for(tables), step, **options)
    assert step.advanced == 5


def test_what_is_replaced_counts_from_the_next_text_on():
    plain = tiny_decoder("fp32").eval()
    quick = FastDecoder(plain)
    tables = pool_with(TINY, [0, 4], [2, 1], 4)
    plain.layers[1].attention.output = torch.nn.Linear(TINY.heads * TINY.head_dim, TINY.width)
    quick.layers[1].attention.output = plain.layers[1].attention.output
    with torch.inference_mode():
        expected = plain(ids_for(tables), GatheringStep(copied(tables)))
        torch.testing.assert_close(quick(ids_for(tables), GatheringStep(tables)), expected)


# the parts


def test_pieces_and_jobs():
    assert pieces_of(np.array([2])) == [(0, 1)]
    texts, positions = np.repeat([0, 1, 2], [1, 10, 1]), np.r_[300, 120:130, 0]
    jobs, slabs = jobs_of(texts, positions)
    first = [[0, 1, 0], [0, 1, 1], [0, 1, 2]]
    assert jobs.tolist() == [*first, [1, 9, 0], [9, 11, 0], [9, 11, 1], [11, 12, 0]]
    assert slabs.tolist() == [[0, 0], [12, 7]]


def test_a_slab_ends_inside_of_a_text_and_its_jobs_count_from_it(monkeypatch):
    monkeypatch.setattr(batched, "SLAB", 4)
    jobs, slabs = jobs_of(np.zeros(6, int), np.arange(6))
    assert jobs.tolist() == [[0, 4, 0], [0, 2, 0]]
    assert slabs.tolist() == [[0, 0], [4, 1], [6, 2]]


@pytest.mark.parametrize("size", [1, 16, 200])
def test_attention_against_pytorch_on_what_the_tables_name(size):
    config = replace(TINY, layers=1, heads=9, kv_heads=3, head_dim=64)
    tables = pool_with(config, [0, 130, 255, 700, 3], [40, 1, 1, 17, 300], size)
    N = len(tables.texts)
    g = torch.Generator().manual_seed(1)
    heads = torch.randn(N, 15, 64, generator=g)
    places = places_of(tables, np.zeros(32, np.float32))  # nothing turns
    out = torch.empty(N, 9, 64)
    keys, values = tables.keys[0], tables.values[0]
    cos, sin, blocks, offsets, *who = places
    paged.turn_and_store(heads.numpy(), cos, sin, blocks, offsets, keys.numpy(), values.numpy())
    paged.attend(heads.numpy(), keys.numpy(), values.numpy(), *who, out.numpy())
    for n in range(N):
        text, length = int(tables.texts[n]), int(tables.positions[n]) + 1
        expected = torch.nn.functional.scaled_dot_product_attention(
            heads[n, :9, None],
            gathered(keys, tables, text, length).repeat_interleave(3, 0),
            gathered(values, tables, text, length).repeat_interleave(3, 0),
        )[:, 0]
        torch.testing.assert_close(out[n], expected, rtol=1e-5, atol=1e-5)


def tables_like(**changes):
    return replace(pool_with(TINY, [5, 0], [1, 2], 4), **changes)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"keys": torch.zeros(3, 9, 2, 4, 11)}, ShapeError, "make the pool for this model"),
        ({"positions": torch.tensor([5, 0])}, ShapeError, "for 3 tokens"),
        ({"positions": torch.tensor([5, 0, 2])}, UserError, "one position after the one before"),
        ({"texts": torch.tensor([1, 0, 1])}, UserError, "must be neighbours"),
        ({"texts": torch.tensor([0, 2, 2])}, UserError, "texts 0 to 2 with 2 tables"),
        ({"positions": torch.tensor([5, -1, 0])}, UserError, "positions from -1"),
        ({"positions": torch.tensor([12, 0, 1])}, UserError, "needs 4 blocks of 4 positions"),
        ({"tables": torch.tensor([[0, 99], [1, 1]])}, UserError, "block 99: the pool has"),
        ({"tables": torch.tensor([[0, -1], [1, 1]])}, UserError, "block -1: the pool has"),
    ],
)  # fmt: skip
def test_tables_that_lead_outside_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        check_tables(tables_like(**changes), TINY, 3)
    check_tables(tables_like(), TINY, 3)


def test_a_batch_of_rows_has_no_block_tables():
    tables = tables_like()
    with torch.inference_mode(), pytest.raises(ShapeError, match=r"expected one row \(1, N\)"):
        PAIRS["fp32"][1](torch.zeros(3, 1, dtype=torch.long), GatheringStep(tables))


# the real model


@pytest.mark.parametrize("dtype", ["fp32", "w8a8"])
def test_the_real_model_says_the_same_in_a_batch(dtype):
    llm = load("smollm2-135m", "cpu", dtype, True)
    texts = ("The capital of France is", "Water boils at", "One two three")
    prompts = [llm.tokenizer.encode(text) for text in texts]
    alone = [list(generate(llm.model, torch.tensor([p]), 4, eos_ids=())) for p in prompts]
    pool = pool_with(llm.config, [0] * 3, [len(p) + 4 for p in prompts], 16)
    known, read = [list(p) for p in prompts], [0] * 3
    for _ in range(4):
        new = [ids[n:] for ids, n in zip(known, read, strict=True)]
        places = [range(n, len(ids)) for ids, n in zip(known, read, strict=True)]
        tables = replace(
            pool,
            texts=torch.tensor([i for i, some in enumerate(new) for _ in some]),
            positions=torch.tensor([p for some in places for p in some]),
        )
        ids = torch.tensor([[token for some in new for token in some]])
        with torch.inference_mode():
            hidden = llm.model.hidden(ids, GatheringStep(tables))[0]
            last = torch.tensor([len(some) for some in new]).cumsum(0) - 1
            chosen = llm.model.head(hidden[last]).argmax(-1).tolist()
        read = [len(ids) for ids in known]
        for token, ids in zip(chosen, known, strict=True):
            ids.append(token)
    assert [ids[-4:] for ids in known] == alone


def test_a_copy_of_the_decoder_is_still_compiled():
    assert isinstance(fast(copy.deepcopy(PAIRS["w8a8"][0])), FastDecoder)
    assert isinstance(PAIRS["w8a8"][0], Decoder)
