from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from decodeloop.errors import ShapeError, UserError
from decodeloop.model import TINY, ContiguousKVCache, Decoder, NoCache, Parts

V, C = TINY.vocabulary, TINY.width
groups = st.sampled_from([1, 2, 3, 6])
seeds = st.integers(0, 2**16)
chunkings = st.lists(st.integers(1, 5), min_size=1, max_size=5)


def random_ids(B: int, T: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(V, (B, T), generator=torch.Generator().manual_seed(seed))


def assert_same_logits(ours: torch.Tensor, expected: torch.Tensor) -> None:
    assert_close(ours, expected, rtol=1e-4, atol=1e-4)


# without a cache


@pytest.fixture(scope="session")
def llamas(decoders, llama_like):
    return {G: llama_like(decoder) for G, decoder in decoders.items()}


@settings(max_examples=15)
@given(groups, st.integers(1, 3), st.integers(1, 20), seeds)
def test_the_logits_equal_those_of_transformers(decoders, llamas, G, B, T, seed):
    ids = random_ids(B, T, seed)
    assert_same_logits(decoders[G](ids), llamas[G](ids).logits)


def test_positions_equal_those_of_transformers(decoders, llamas):
    ids, positions = random_ids(2, 4), torch.tensor([[0, 1, 2, 3], [9, 11, 15, 30]])
    expected = llamas[2](ids, position_ids=positions).logits
    assert_same_logits(decoders[2](ids, positions=positions), expected)
    assert_same_logits(decoders[2](ids[1:], positions=positions[1]), expected[1:])


def test_a_mask_replaces_the_causal_one(decoders, llamas):
    ids, mask = random_ids(1, 4), torch.rand(1, 1, 4, 4) < 0.5
    mask |= torch.eye(4, dtype=torch.bool)
    added = torch.zeros(mask.shape).masked_fill(~mask, -1e9)
    expected = llamas[2](ids, attention_mask=added).logits
    assert_same_logits(decoders[2](ids, mask=mask), expected)


def test_the_call_is_hidden_and_head(decoders, llamas):
    decoder, ids = decoders[3], random_ids(2, 5)
    hidden = decoder.hidden(ids)
    assert hidden.shape == (2, 5, C)
    assert_same_logits(hidden, llamas[3].model(ids).last_hidden_state)
    assert torch.equal(decoder.head(hidden), decoder(ids))
    assert decoder.head(hidden[:, -1]).shape == (2, V)


def test_the_head_is_the_embedding_where_they_are_tied():
    tied, untied = Decoder(TINY), Decoder(replace(TINY, tied=False))
    assert tied.output.weight is tied.embedding.weight
    assert untied.output.weight is not untied.embedding.weight


def test_projections_can_be_replaced_by_other_modules(decoders):
    """Quantized and sharded ones will take their place."""

    class Twice(torch.nn.Module):
        def __init__(self, linear):
            super().__init__()
            self.linear = linear

        def forward(self, x):
            return 2 * self.linear(x)

    def linears(module):
        return [n for n, m in module.named_modules() if isinstance(m, torch.nn.Linear)]

    ids = random_ids(1, 3)
    for name in linears(decoders[2]):
        decoder = Decoder(decoders[2].config).requires_grad_(False)
        decoder.load_state_dict(decoders[2].state_dict())
        before = decoder(ids)
        decoder.set_submodule(name, Twice(decoder.get_submodule(name)))
        after = decoder(ids)
        assert not torch.allclose(before, after), f"{name} is not called as a module"


# with a cache


@settings(max_examples=15)
@given(groups, st.integers(1, 3), chunkings, st.integers(0, 3), seeds)
def test_cached_in_any_chunks_equals_uncached(decoders, G, B, chunks, spare, seed):
    ids = random_ids(B, sum(chunks), seed)
    decoder = decoders[G]
    cache = decoder.new_cache(B, ids.shape[1] + spare)
    parts = [decoder(part, cache) for part in ids.split(chunks, dim=1)]
    assert cache.length == ids.shape[1]
    assert_same_logits(torch.cat(parts, dim=1), decoder(ids))


@settings(max_examples=15)
@given(groups, st.lists(st.integers(1, 6), min_size=1, max_size=4), chunkings, seeds)
def test_left_padded_rows_equal_each_row_by_itself(decoders, G, lengths, steps, seed):
    """Prefill padded on the left, then further chunks; against neither padding nor cache."""
    decoder, B, T = decoders[G], len(lengths), max(lengths)
    ids = random_ids(B, T + sum(steps), seed)
    padding = torch.tensor([T - length for length in lengths])
    columns = torch.arange(ids.shape[1])
    real = columns >= padding[:, None]  # (B, columns)
    positions = (columns - padding[:, None]).clamp(min=0)
    mask = real[:, None, None, :] & (columns <= columns[:, None])

    cache, parts, start = decoder.new_cache(B, ids.shape[1]), [], 0
    for chunk in (T, *steps):
        end = start + chunk
        chunk_mask = mask[:, :, start:end, :end]
        parts.append(decoder(ids[:, start:end], cache, positions[:, start:end], chunk_mask))
        start = end
    together = torch.cat(parts, dim=1)
    assert torch.isfinite(together).all()
    for row, pad in enumerate(padding.tolist()):
        assert_same_logits(together[row : row + 1, pad:], decoder(ids[row : row + 1, pad:]))


@settings(max_examples=15)
@given(st.integers(1, 8), st.integers(1, 3), st.data())
def test_truncating_and_going_on_equals_a_fresh_start(decoders, T, more, data):
    kept = data.draw(st.integers(0, T))
    decoder, wrong, right = decoders[2], random_ids(2, T), random_ids(2, more, seed=1)
    cache = decoder.new_cache(2, T + more)
    decoder(wrong, cache)
    cache.truncate(kept)
    expected = decoder(torch.cat((wrong[:, :kept], right), dim=1))[:, kept:]
    assert_same_logits(decoder(right, cache), expected)


@settings(max_examples=15)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=4))
def test_selected_rows_go_on_as_what_they_were(decoders, rows):
    decoder, prompt = decoders[2], random_ids(3, 4)
    more = random_ids(len(rows), 2, seed=1)
    cache = decoder.new_cache(3, 6)
    decoder(prompt, cache)
    cache.select(rows)
    expected = decoder(torch.cat((prompt[rows], more), dim=1))[:, 4:]
    assert_same_logits(decoder(more, cache), expected)


def test_too_long_an_input_is_refused_and_a_shorter_one_goes_on_as_if_nothing_was(decoders):
    decoder, ids = decoders[2], random_ids(1, 5)
    cache = decoder.new_cache(1, 5)
    decoder(ids[:, :3], cache)
    with pytest.raises(UserError, match="room for 5 positions: 3 are used and 4 more were given"):
        decoder(random_ids(1, 4, seed=9), cache)
    assert cache.length == 3
    assert_same_logits(decoder(ids[:, 3:], cache), decoder(ids)[:, 3:])


def test_a_cache_of_another_batch_is_named(decoders):
    with pytest.raises(ShapeError, match=r"\(3, 2, 4, 10\).*it was given \(2, 2, 4, 10\)"):
        decoders[2](random_ids(2, 4), decoders[2].new_cache(3, 8))


def test_a_new_cache_has_the_type_and_the_device_of_the_weights():
    with torch.device("meta"):
        decoder = Decoder(TINY).to(torch.bfloat16)
    cache = decoder.new_cache(2, 7)
    assert cache.keys.shape == (TINY.layers, 2, TINY.kv_heads, 7, TINY.head_dim)
    assert cache.keys.dtype == torch.bfloat16
    assert cache.keys.is_meta
    assert cache.length == 0


# what it attends to says where tokens stand


class AsInLesson06:
    """What lesson 06 asks of a cache, and no more: its tokens are counted from its length."""

    def __init__(self, decoder, batch, max_length):
        self.inner = ContiguousKVCache(decoder.config, batch, max_length)
        self.attend, self.advance = self.inner.attend, self.inner.advance

    @property
    def length(self):
        return self.inner.length


@settings(max_examples=15)
@given(chunkings, st.integers(1, 2), seeds)
def test_a_cache_without_positions_is_counted_from_its_length(decoders, chunks, B, seed):
    decoder, ids = decoders[2], random_ids(B, sum(chunks), seed)
    cache = AsInLesson06(decoder, B, ids.shape[1])
    parts = [decoder(part, cache) for part in ids.split(chunks, dim=1)]
    assert_same_logits(torch.cat(parts, dim=1), decoder(ids))


def test_positions_that_are_no_method_say_nothing(decoders):
    """A learner's own attribute may have the name."""
    decoder, ids = decoders[2], random_ids(1, 4)
    cache = AsInLesson06(decoder, 1, 4)
    cache.positions = [0, 1]
    assert_same_logits(decoder(ids, cache), decoder(ids))


class Window(ContiguousKVCache):
    """Keeps at most `kept` tokens; new ones stand where they stand in the text, not in it."""

    def __init__(self, decoder, kept):
        super().__init__(decoder.config, 1, 2 * kept)
        self.kept, self.read = kept, 0

    def positions(self, T):
        return torch.arange(self.read, self.read + T)

    def advance(self, T):
        super().advance(T)
        self.read += T
        gone = max(0, self.length - self.kept)
        for buffer in (self.keys, self.values):
            buffer[..., : self.kept, :] = buffer[..., gone : gone + self.kept, :].clone()
        self.truncate(self.length - gone)


def test_positions_are_those_of_the_cache_and_not_its_length(decoders):
    """Token by token, and each sees itself and the last 3: a band, with the positions of the
    text."""
    decoder, ids = decoders[2], random_ids(1, 12)
    cache = Window(decoder, 3)
    parts = [decoder(ids[:, [t]], cache) for t in range(12)]
    assert (cache.length, cache.read) == (3, 12)
    ages = torch.arange(12)[:, None] - torch.arange(12)
    band = (ages >= 0) & (ages <= 3)
    assert_same_logits(torch.cat(parts, dim=1), decoder(ids, mask=band))


def test_rows_of_a_cache_may_stand_at_positions_of_their_own(decoders, monkeypatch):
    decoder, ids = decoders[2], random_ids(2, 3)
    places = torch.tensor([[0, 1, 2], [4, 7, 9]])
    cache = decoder.new_cache(2, 3)
    monkeypatch.setattr(cache, "positions", lambda T: places)
    assert_same_logits(decoder(ids, cache), decoder(ids, positions=places))


def test_positions_and_mask_that_are_given_win(decoders, monkeypatch):
    decoder, ids = decoders[2], random_ids(1, 3)
    places, mask = torch.tensor([3, 5, 9]), torch.eye(3, dtype=torch.bool)
    cache = decoder.new_cache(1, 3)
    monkeypatch.setattr(cache, "positions", lambda T: pytest.fail("they were given"))
    expected = decoder(ids, positions=places, mask=mask)
    assert_same_logits(decoder(ids, cache, places, mask), expected)


def test_what_stands_for_no_cache_is_made_anew_for_each_forward(decoders):
    made = []

    def counted(device):
        made.append(NoCache(device))
        return made[-1]

    decoder, ids = decoders[2], random_ids(2, 5)
    own = decoder.with_parts(Parts(no_cache=counted))
    assert torch.equal(own(ids), decoder(ids))
    assert torch.equal(own(ids[:, :2]), decoder(ids[:, :2]))
    assert len(made) == 2


# bad input


@pytest.mark.parametrize("bad", [-1, V, V + 1000])
def test_an_id_outside_the_vocabulary_is_named_with_the_range(tiny_decoder, bad):
    with pytest.raises(UserError) as error:
        tiny_decoder(torch.tensor([[0, bad, 1]]))
    assert f"token id {bad} is outside the vocabulary: expected 0 to {V - 1}" in str(error.value)
    assert "tokenizer" in str(error.value)


@pytest.mark.parametrize("shape", [(3,), (1, 0), (0, 3), (1, 2, 3), ()])
def test_ids_that_are_no_batch_are_named(tiny_decoder, shape):
    with pytest.raises(ShapeError) as error:
        tiny_decoder(torch.zeros(shape, dtype=torch.long))
    assert f"token_ids {shape}: expected two axes (B, T)" in str(error.value)
    assert "torch.tensor([ids])" in str(error.value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_ids_that_are_no_whole_numbers_are_refused(tiny_decoder, dtype):
    with pytest.raises(ShapeError, match=f"token_ids have type {dtype}: expected whole numbers"):
        tiny_decoder(torch.zeros(1, 3, dtype=dtype))


@pytest.mark.parametrize("shape", [(2,), (3, 3), (1, 2, 3)])
def test_positions_that_do_not_fit_are_named(tiny_decoder, shape):
    with pytest.raises(ShapeError) as error:
        tiny_decoder(random_ids(2, 3), positions=torch.zeros(shape, dtype=torch.long))
    assert f"positions {shape} don't fit 2 rows of 3 tokens" in str(error.value)
    assert "expected (3,) or (2, 3)" in str(error.value)


def test_a_mask_that_does_not_cover_the_cache_is_named(tiny_decoder):
    cache = tiny_decoder.new_cache(1, 5)
    tiny_decoder(random_ids(1, 3), cache)
    mask = torch.ones(2, 2, dtype=torch.bool)
    with pytest.raises(ShapeError, match=r"mask of shape \(2, 2\).*\(1, 6, 2, 5\)"):
        tiny_decoder(random_ids(1, 2), cache, mask=mask)
    assert cache.length == 3


def test_on_the_meta_device_no_embedding_is_drawn(monkeypatch):
    drawn = []
    monkeypatch.setattr(torch.nn.Embedding, "reset_parameters", lambda table: drawn.append(table))
    with torch.device("meta"):
        Decoder(TINY)
    assert not drawn
    on_cpu = Decoder(TINY)
    assert drawn == [on_cpu.embedding]
