"""What CUDA refuses and what it accepts, which is what the pretend GPU must know of it.

Without a GPU they run on the pretended one (`test_pretend_gpu.py`), and hold it to its word; on a
machine with a GPU they hold CUDA to it.
"""

import copy
import math

import numpy as np
import pytest
import torch
from einops import rearrange
from torch.nn import functional as F

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")

SAME = "Expected all tensors to be on the same device"
REFUSED = {  # x, ids, on and mask are on the CPU; X and IDS are x and ids on the GPU
    "x + X": SAME,
    "X + x": SAME,
    "X * on": SAME,
    "x @ X.T": SAME,
    "x * torch.tensor(2.0, device='cuda')": SAME,
    "x.clone().add_(X)": SAME,
    "torch.cat([x, X])": SAME,
    "torch.stack([X, x])": SAME,
    "torch.mv(X, on)": SAME,
    "F.linear(X, x)": SAME,
    "F.embedding(ids, X)": SAME,
    "F.embedding(IDS, x)": SAME,
    "X.gather(1, ids[:, None])": SAME,
    "X.index_select(0, ids)": SAME,
    "X.masked_fill(mask, 0.0)": SAME,
    "torch.where(mask, X, 0.0)": SAME,
    "torch.allclose(x, X)": SAME,
    "torch.equal(X, x)": SAME,
    "F.scaled_dot_product_attention(X[None], X[None], x[None])": "device|dtype",
    "x[IDS]": "indices should be either on cpu or on the same device",
    "X.numpy()": "can't convert cuda:0",
    "np.asarray(X)": "can't convert cuda:0",
    "torch.rand(3, device='cuda', generator=torch.Generator())": "generator",
    "torch.multinomial(X.abs(), 1, generator=torch.Generator())": "generator",
    "X.normal_(generator=torch.Generator())": "generator",
    "IDS[:, None] @ IDS[None]": "not implemented for 'Long'",
    "torch.histogram(X, 3)": "histogram",
}
WORDS = {"torch": torch, "F": F, "np": np, "math": math, "rearrange": rearrange}
MADE = [
    "empty(2, 3)",
    "zeros(2, 3)",
    "ones(2)",
    "full((2,), 7)",
    "arange(5)",
    "arange(2, 5, dtype=torch.float64)",
    "linspace(0, 1, 5)",
    "logspace(0, 1, 4)",
    "eye(3)",
    "rand(3)",
    "randn(3)",
    "randint(0, 5, (3,))",
    "randperm(7)",
    "tril_indices(3, 3)",
    "tensor([1, 2])",
    "tensor(3.0)",
    "as_tensor([[1.5]])",
]
SAME_AS_ON_THE_CPU = [  # of each, the same expression of x on the CPU
    "x * torch.tensor(2.0)",
    "x[torch.tensor([0])]",
    "x[:, None].expand(2, 2, 3).reshape(4, 3)",
    "x.softmax(-1)",
    "x.masked_fill(x > 0, 0.0)",
    "torch.where(x > 0, x, -math.inf)",
    "torch.where(x > 0, x, torch.tensor(0.5))",
    "x.topk(2).indices",
    "x.max(1).values",
    "x.sort(descending=True).values.cumsum(-1)",
    "x.to(torch.bfloat16).float()",
    "x.T.contiguous()",
    "x @ x.T",
    "torch.einsum('ij,kj->ik', x, x)",
    "rearrange(x, 'a (b c) -> b a c', c=1)",
    "torch.stack(x.split(1))",
    "torch.cat([x, x]).unique()",
    "F.scaled_dot_product_attention(x[None, None], x[None, None], x[None, None], is_causal=True)",
    "x.new_zeros(3)",
    "torch.full_like(x, 2.0)",
    "x.triu(1)",
]


@pytest.fixture(params=[False, True], ids=["with gradients", "in inference mode"])
def names(request):
    with torch.inference_mode(request.param):
        x, ids = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 0])
        given = {"x": x, "ids": ids, "on": torch.ones(3), "mask": x > 0}
        yield {**given, "X": x.cuda(), "IDS": ids.cuda(), **WORDS}


@pytest.mark.parametrize("expression", REFUSED)
def test_it_is_refused(names, expression):
    with pytest.raises((RuntimeError, TypeError), match=REFUSED[expression]):
        eval(expression, names)


@pytest.mark.parametrize("maker", MADE)
def test_it_is_made_on_the_device(maker):
    made = eval(f"torch.{maker[:-1]}, device='cuda')")
    beside = eval(f"torch.{maker}")
    assert (made.device, made.shape, made.dtype) == (
        torch.device("cuda:0"),
        beside.shape,
        beside.dtype,
    )


@pytest.mark.parametrize("expression", SAME_AS_ON_THE_CPU)
def test_it_gives_the_same_on_the_device(names, expression):
    expected, got = eval(expression, names), eval(expression, {**names, "x": names["X"]})
    assert (got.device.type, got.dtype) == ("cuda", expected.dtype)
    torch.testing.assert_close(got.cpu(), expected, atol=1e-5, rtol=1e-5)


def test_there_and_back_again(names):
    x, X = names["x"], names["X"]
    assert torch.equal(X.cpu(), x)
    assert X.tolist() == x.tolist()
    assert X.to("cuda") is X
    assert X.cuda() is X
    assert X.to("cpu", torch.float64).device.type == "cpu"
    assert torch.zeros_like(X, device="cpu").is_cpu
    assert torch.equal(torch.empty(2, 3).copy_(X), x)
    assert float(X.sum()) == pytest.approx(float(x.sum()), abs=1e-5)
    assert f"{torch.tensor(0.25, device='cuda'):.2f}" == "0.25"
    assert "device='cuda:0'" in repr(X)
    assert [int(i) for i in names["IDS"]] == [1, 0]


def test_what_is_written_stays_and_views_share_it(names):
    x, X = names["x"].clone(), names["X"].clone()
    for y in (x, X):
        y[0] = torch.ones(3)
        y[1, :2] = 5
        y[torch.tensor([1]), 2] = torch.tensor(7.0)
        y[:, 1:].mul_(2)
        y.T[0] = 9
        y[y > 13] = 0.5
        y[0, 0].fill_(torch.tensor(2.0))
    assert torch.equal(X.cpu(), x)
    assert X.add_(1) is X
    x[0] = X[0]  # a copy may cross; so may a number that fills
    x.fill_(X[0, 0])
    assert torch.equal(x, X[0, 0].cpu().expand(2, 3))


def test_modules_move_whole_and_tied_weights_stay_tied():
    module = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)).requires_grad_(False)
    module[1].weight = module[0].weight
    moved = copy.deepcopy(module).to("cuda")
    assert moved[1].weight is moved[0].weight
    assert isinstance(moved[0].weight, torch.nn.Parameter)
    again = copy.deepcopy(moved)
    assert again[0].weight is not moved[0].weight
    x = torch.randn(2, 3)
    torch.testing.assert_close(again(x.cuda()).cpu(), module(x), atol=1e-5, rtol=1e-5)
    with torch.device("meta"):
        empty = torch.nn.Linear(3, 3)
    empty.load_state_dict(moved[0].state_dict(), assign=True)
    assert empty.weight.is_cuda


def test_draws_are_of_a_stream_of_their_own():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        there, here = torch.rand(3, device="cuda"), torch.rand(3)
        torch.manual_seed(0)
        assert torch.equal(torch.rand(3), here)
        assert torch.equal(torch.rand(3, device="cuda"), there)
        assert not torch.equal(there.cpu(), here)


def test_memory_is_counted_once_for_each_storage():
    before = torch.cuda.memory_allocated()
    x = torch.zeros(256, 1024, device="cuda")
    view = x[3:]
    assert torch.cuda.memory_allocated() - before == 2**20
    del x
    assert torch.cuda.memory_allocated() - before == 2**20
    del view
    assert torch.cuda.memory_allocated() == before
