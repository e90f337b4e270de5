import dataclasses

import pytest
import torch

from decodeloop.cost import linear_shapes, parameters_by_part
from decodeloop.errors import UserError
from decodeloop.measure.machine import (
    Matrices,
    achieved,
    forward_job,
    forward_times,
    linear_bandwidth,
    matmul_job,
    matrices_job,
    measure_machine,
    narrow,
    stream_jobs,
)
from decodeloop.model import SMOLLM2_135M, TINY, Decoder
from decodeloop.model.block import Linear

CPU = torch.device("cpu")


class Recording(Decoder):
    """Notes how many positions each forward had, and after how many."""

    def hidden(self, token_ids, cache=None, positions=None, mask=None):
        self.seen.append((tuple(token_ids.shape), cache.length))
        return super().hidden(token_ids, cache, positions, mask)

    def head(self, hidden):
        self.head_rows.append(hidden.shape[:-1].numel())
        return super().head(hidden)


@pytest.fixture
def recording():
    model = Recording(TINY)
    model.seen, model.head_rows = [], []
    return model


@pytest.mark.parametrize(
    ("batch", "T", "S"), [(1, 1, 1), (1, 1, 9), (3, 1, 5), (2, 7, 7), (1, 3, 8)]
)
def test_a_forward_is_the_same_one_every_time(recording, batch, T, S):
    job = forward_job(recording, batch, T, S)
    for _ in range(3):
        job()
    assert recording.seen == [((batch, T), S - T)] * 3
    assert recording.head_rows == [batch] * 3


@pytest.mark.parametrize(("batch", "T", "S"), [(0, 1, 1), (1, 0, 4), (1, 5, 4), (1, -1, 4)])
def test_an_impossible_forward_is_refused(batch, T, S):
    with pytest.raises(UserError, match=r"expected at least one row, and 1 ≤ T ≤ S"):
        forward_job(Decoder(TINY), batch, T, S)


def test_the_matrices_are_as_many_bytes_as_the_models_own():
    stack = Matrices(TINY, torch.float32, CPU)
    parts = parameters_by_part(TINY)
    head = TINY.vocabulary * TINY.width
    assert stack.bytes == 4 * (parts["attention"] + parts["feed_forward"] + head)
    shapes = [tuple(x.weight.shape) for x in stack.layers]
    assert shapes == list(linear_shapes(TINY).values()) * TINY.layers
    places = {x.weight.data_ptr() for x in [*stack.layers, stack.head]}
    assert len(places) == len(stack.layers) + 1  # none comes out of a cache twice


def test_every_matrix_is_multiplied_once_and_by_as_many_rows_as_asked(monkeypatch):
    rows = []
    forward = Linear.forward
    monkeypatch.setattr(
        Linear, "forward", lambda self, x: rows.append((x.shape[0], self)) or forward(self, x)
    )
    stack = Matrices(TINY, torch.float32, CPU)
    matrices_job(TINY, 5, 2, torch.float32, CPU, stack)()
    assert rows == [(5, x) for x in stack.layers] + [(2, stack.head)]


def test_a_narrow_model_has_the_same_cache_and_next_to_no_weights():
    thin = narrow(SMOLLM2_135M)
    for name in ("layers", "heads", "kv_heads", "head_dim", "context"):
        assert getattr(thin, name) == getattr(SMOLLM2_135M, name)
    small, whole = (sum(parameters_by_part(c).values()) for c in (thin, SMOLLM2_135M))
    assert small < whole / 200


def test_streams_move_what_they_say():
    jobs = stream_jobs(CPU, size=4 * 1000)
    assert {name: moved for name, (_, moved) in jobs.items()} == {
        "read": 4000,
        "copy": 8000,
        "triad": 12_000,
    }
    assert jobs["read"][0]() == 1000
    assert torch.equal(jobs["copy"][0](), torch.ones(1000))
    assert torch.equal(jobs["triad"][0](), torch.full((1000,), 7.0))  # 1 + 3 · 2


def test_small_products_are_repeated_and_counted(monkeypatch):
    calls = []
    product = torch.mm
    monkeypatch.setattr(torch, "mm", lambda *x, **y: calls.append(x) or product(*x, **y))
    job, flops = matmul_job(256, torch.float32, CPU)
    job()
    assert flops == 2 * 256**3 * len(calls)
    assert len(calls) == 8


def test_forwards_are_measured_beside_their_prediction():
    config = dataclasses.replace(TINY, width=256, feed_forward=512, vocabulary=500)
    told = []
    times = forward_times(Decoder(config), [(1, 1, 4), (2, 6, 6)], repeats=2, progress=told.append)
    assert [(t.batch, t.T, t.S) for t in times] == [(1, 1, 4), (2, 6, 6)]
    for time in times:
        assert time.predicted == time.matrices + time.rest > 0
        assert 0.1 < time.predicted / time.measured < 10
        rates = achieved(config, time, 4)
        assert rates["flops_per_s"] > 0 and rates["bytes_per_s"] > 0
    assert told == [1 / 3, 2 / 3, 1.0]


def test_achieved_rates_are_work_over_time():
    config = dataclasses.replace(TINY, layers=1)
    (time,) = forward_times(Decoder(config), [(1, 1, 1)], repeats=1)
    matrices = sum(rows * columns for rows, columns in linear_shapes(config).values())
    flops = 2 * matrices + 4 * config.heads * config.head_dim + 2 * config.width * config.vocabulary
    assert achieved(config, time, 4)["flops_per_s"] == pytest.approx(flops / time.measured)


def test_a_machine_is_measured_on_every_axis():
    machine = measure_machine(TINY, sizes=(32, 64), repeats=1)
    assert machine.device == "cpu"
    assert min(machine.read, machine.copy, machine.triad, machine.linear) > 0
    assert machine.bandwidth == machine.read
    assert set(machine.matmul["fp32"]) == {32, 64}
    assert machine.flops["fp32"] == max(machine.matmul["fp32"].values())
    assert linear_bandwidth(TINY, repeats=1) > 0


def test_jobs_stay_on_their_device(fake_cuda):
    cuda = torch.device("cuda")
    for job, _ in stream_jobs(cuda, size=400).values():
        assert job().device.type == "cuda"
    matmul_job(64, torch.bfloat16, cuda)[0]()
    stack = Matrices(TINY, torch.float32, cuda)
    assert stack.head.weight.device.type == "cuda"
    matrices_job(TINY, 3, 1, torch.float32, cuda, stack)()
