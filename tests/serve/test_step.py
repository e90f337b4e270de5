from __future__ import annotations

import pytest
import torch

from decodeloop.cost import kv_cache_bytes
from decodeloop.errors import UserError
from decodeloop.model import TINY, causal_mask
from decodeloop.serve import BlockMemory, Span, Step


def test_the_pool_has_the_bytes_of_the_formula():
    for dtype, bytes_per_number in ((torch.float32, 4), (torch.bfloat16, 2)):
        memory = BlockMemory(TINY, 7, 16, dtype)
        held = memory.keys.nbytes + memory.values.nbytes
        assert held == kv_cache_bytes(TINY, 1, 7 * 16, bytes_per_number)


def test_where_the_tokens_of_a_step_lie():
    memory = BlockMemory(TINY, 9, size=4)
    step = Step(memory, [Span([7, 3, 5], 3, 4), Span([2], 0, 1), Span([1, 0, 4], 8, 1)])
    tables = step.tables
    assert step.last.tolist() == [3, 4, 5]
    assert step.positions(6).tolist() == tables.positions.tolist() == [3, 4, 5, 6, 0, 8]
    assert tables.texts.tolist() == [0, 0, 0, 0, 1, 2]
    assert tables.tables[0, :2].tolist() == [7, 3]
    assert tables.tables[1, :1].tolist() == [2]
    assert tables.tables[2].tolist() == [1, 0, 4]
    assert tables.size == 4
    assert tables.keys is memory.keys


def test_texts_in_one_row_are_each_text_alone(decoder):
    texts = [torch.randint(0, 97, (1, n)) for n in (5, 1, 9)]
    blocks = [[7, 3, 5], [2], [1, 0, 4, 8, 6]]
    memory = BlockMemory(decoder.config, 9, size=2)
    memory.keys.fill_(torch.nan)
    memory.values.fill_(torch.nan)
    for read in (slice(0, 1), slice(1, 4), slice(4, 9)):
        now = [(b, t[:, read]) for b, t in zip(blocks, texts, strict=True) if t[:, read].numel()]
        step = Step(memory, [Span(b, read.start, t.shape[1]) for b, t in now])
        hidden = decoder.hidden(torch.cat([t for _, t in now], 1), step)
        for text, last in zip([t for t in texts if t[:, read].numel()], step.last, strict=True):
            alone = decoder.hidden(text[:, : read.stop])
            torch.testing.assert_close(hidden[0, last], alone[0, -1])


def test_copies_are_made_one_after_another():
    memory = BlockMemory(TINY, 4, size=2)
    memory.keys[:] = torch.arange(4.0)[:, None, None, None]
    memory.copy([(0, 1), (1, 3)])
    assert memory.keys[0, :, 0, 0, 0].tolist() == [0, 0, 2, 0]
    memory.extend(2)
    assert memory.keys[0, :, 0, 0, 0].tolist() == [0, 0, 2, 0, 0, 0]


def test_what_is_plain():
    memory = BlockMemory(TINY, 4)
    spans = [Span([0], 0, 1)]
    assert Step(memory, spans).is_plain(torch.float32)
    assert not Step(memory, spans).is_plain(torch.bfloat16)
    assert not Step(memory, spans, attend_paged=lambda *a: a[0]).is_plain(torch.float32)


def test_a_step_has_its_tokens_and_no_mask():
    step = Step(BlockMemory(TINY, 4), [Span([0], 0, 2), Span([1], 3, 1)])
    q, k = torch.zeros(1, 6, 3, 10), torch.zeros(1, 2, 3, 10)
    with pytest.raises(UserError, match="a step was given a mask: expected none"):
        step.attend(0, q, k, k, causal_mask(3))
    for ask in (step.positions, step.advance):
        with pytest.raises(UserError, match=r"a step of 3 tokens was asked about 2: expected one"):
            ask(2)
    with pytest.raises(UserError, match="a step of 3 tokens was asked about 2"):
        step.attend(0, q[:, :, :2], k[:, :, :2], k[:, :, :2])


@pytest.mark.parametrize(("count", "size"), [(0, 4), (4, 0)])
def test_a_pool_has_blocks_of_a_size(count, size):
    with pytest.raises(UserError, match="is 0: expected a whole number from 1 up"):
        BlockMemory(TINY, count, size)
