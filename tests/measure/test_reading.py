import pytest
import torch

from decodeloop.cost import linear_shapes
from decodeloop.measure import reading
from decodeloop.model import TINY, causal_mask


@pytest.fixture
def each_once(monkeypatch):
    """In the place of the clock: every job runs once, and takes as long as its place says."""

    def run(jobs, repeats, device):
        for job in jobs:
            job()
        return [1.0 + place for place in range(len(jobs))]

    monkeypatch.setattr(reading, "median_seconds", run)


class Watched:
    """A decoder that notes how many tokens it is sent, and how many it has read before."""

    def __init__(self, model):
        self.model, self.seen = model, []
        self.embedding, self.new_cache, self.head = model.embedding, model.new_cache, model.head

    def hidden(self, ids, cache, *places):
        self.seen.append((cache.length, ids.shape[1]))
        return self.model.hidden(ids, cache, *places)


def test_a_text_is_read_at_once_and_in_steps_of_its_middle(tiny_decoder, each_once):
    watched = Watched(tiny_decoder)
    at_once, by_token = reading.reading_times(watched, 20)
    assert watched.seen == [(0, 20), *((t, 1) for t in range(6, 14))]
    assert (at_once, by_token) == (1.0, 2.0 * 20 / 8)


def test_a_text_of_few_tokens_is_read_step_by_step_as_a_whole(tiny_decoder, each_once):
    watched = Watched(tiny_decoder)
    assert reading.reading_times(watched, 3) == (1.0, 2.0)
    assert watched.seen == [(0, 3), (0, 1), (1, 1), (2, 1)]


def test_there_is_one_time_for_each_way_and_length(tiny_decoder, each_once):
    seconds = reading.attention_times(tiny_decoder, [4, 8])
    assert list(seconds) == [
        "attention, plain", "its two products", "scale, mask, softmax", "attention, fused",
        "linear layers",
    ]  # fmt: skip
    assert [time for row in zip(*seconds.values(), strict=True) for time in row] == list(
        map(float, range(1, 11))
    )


def test_plain_and_fused_attention_are_the_same():
    torch.manual_seed(0)
    jobs = reading.attention_jobs(TINY, 7, torch.device("cpu"))
    torch.testing.assert_close(jobs["attention, plain"](), jobs["attention, fused"]())
    products, shares = jobs["its two products"](), jobs["scale, mask, softmax"]()
    assert products[0].shape == shares.shape == (1, TINY.heads, 7, 7)
    torch.testing.assert_close(shares.sum(-1), torch.ones(1, TINY.heads, 7))
    assert not shares[..., ~causal_mask(7)].any()


def test_positions_go_through_every_matrix_of_the_layer(tiny_decoder):
    layer = tiny_decoder.layers[0]
    matrices = [*layer.attention.children(), *layer.feed_forward.children()]
    results = reading.linear_job(matrices, 5, torch.device("cpu"))()
    rows = sorted(rows for rows, _ in linear_shapes(TINY).values())
    assert sorted(result.shape[-1] for result in results) == rows
    assert all(result.shape[:2] == (1, 5) for result in results)


def test_real_times_are_positive(tiny_decoder):
    assert all(time > 0 for time in reading.reading_times(tiny_decoder, 9, repeats=1))
    seconds = reading.attention_times(tiny_decoder, [3], repeats=1)
    assert all(time > 0 for (time,) in seconds.values())
