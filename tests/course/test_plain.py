"""Copies of what answers give: to known types, without running anything of theirs afterwards."""

import math
from collections import OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest
import torch

from decodeloop.course.comparing import alike, difference, difference_of_plain, same
from decodeloop.course.plain import MOST_DEEP, Odd, plain

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
Pair = namedtuple("Pair", "a b")


def freed():
    x = torch.ones(1000)
    x.untyped_storage().resize_(0)
    return x


def holds_itself():
    x = []
    x.append(x)
    return x


def doubled(levels):
    """A list of two, each the same list of two: little memory, 2 ** levels items."""
    x = [0]
    for _ in range(levels):
        x = [x, x]
    return x


class Liar(torch.Tensor):
    """Says whatever is liked to every function of PyTorch."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return True


class Refuses:
    def __repr__(self):
        raise ValueError("no")


class Endless:
    def __len__(self):
        return 10**9

    def __iter__(self):
        while True:
            yield 0

    def __eq__(self, other):
        return True

    __hash__ = None


ODD = {
    "a sparse tensor": (lambda: torch.ones(2, 2).to_sparse(), "a tensor of layout"),
    "a sparse tensor by rows": (lambda: torch.ones(2, 2).to_sparse_csr(), "a tensor of layout"),
    "a meta tensor": (lambda: torch.ones(2, device="meta"), "on the device 'meta'"),
    "a quantized tensor": (
        lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "a quantized tensor of shape (2,)",
    ),
    "a nested tensor": (lambda: torch.nested.nested_tensor([torch.ones(2)]), "a nested tensor"),
    "a jagged tensor": (
        lambda: torch.nested.nested_tensor([torch.ones(2)], layout=torch.jagged),
        "a tensor",
    ),
    "a tensor of 10^12": (lambda: torch.ones(1).expand(10**12), "too large to be compared"),
    "a tensor without memory": (freed, "whose memory was given back"),
    "an array of 10^12": (lambda: np.broadcast_to(1.0, 10**12), "too large to be compared"),
    "an array of objects": (lambda: np.array([object()]), "ndarray array([<object object"),
    "an array of texts": (lambda: np.array(["a"]), "ndarray array(['a']"),
    "a date": (lambda: np.datetime64("2020-01-01"), "datetime64"),
    "a list that holds itself": (holds_itself, f"nested more than {MOST_DEEP} deep"),
    "2^20 items": (lambda: doubled(20), "of more than 200,000 items"),
    "a long range": (lambda: range(10**12), "of more than 200,000 items"),
    "a long text": (lambda: "a" * 2**25, "of more than 16,777,216 characters"),
    "a generator": (lambda: (x for x in ()), "generator <generator object"),
    "a set": (lambda: {1}, "set {1}"),
    "bytes": (lambda: b"abc", "bytes b'abc'"),
    "an object": (Endless, "Endless <"),
    "an object that can't be shown": (Refuses, "a Refuses that can't be shown"),
    "a module": (lambda: math, "module <module 'math'"),
    "a class": (lambda: int, "type <class 'int'>"),
}


@pytest.mark.parametrize(("made", "text"), ODD.values(), ids=ODD)
def test_what_no_exercise_asks_for_is_odd_and_equals_nothing(made, text):
    value = made()
    copy = plain(value)
    assert isinstance(copy, Odd)
    assert text in copy.text
    assert len(copy.text) < 120
    assert not same(value, value, 1e-5)
    assert difference(value, value, 1e-5).startswith("expected ")
    for expected in (torch.ones(2), 1.0, [1.0], {"a": 1}, "a", None, copy):
        assert not alike(copy, expected, 1e-5)
        assert difference_of_plain(expected, copy, 1e-5).startswith("expected ")


@pytest.mark.parametrize(
    ("value", "copy"),
    [
        (Pair(1, 2.0), (1, 2.0)),
        (OrderedDict(a=[1]), {"a": [1]}),
        (defaultdict(int, {"a": 1}), {"a": 1}),
        (torch.finfo(torch.float32).eps, 2**-23),
        (np.longdouble(0.5), 0.5),
        (np.complex64(1j), 1j),
        (type("Int", (int,), {"__eq__": lambda *_: True, "__hash__": None})(3), 3),
        (type("Text", (str,), {"__eq__": lambda *_: True, "__hash__": None})("a"), "a"),
        (type("List", (list,), {"__iter__": lambda _: iter(())})([1, 2]), [1, 2]),
        (type("Dict", (dict,), {"items": lambda _: ()})(a=1), {"a": 1}),
    ],
)
def test_of_a_subclass_the_value_alone_counts(value, copy):
    assert plain(value) == copy
    assert type(plain(value)) is type(copy)


def test_a_copy_shares_nothing_with_what_it_is_of():
    x, row, array = torch.ones(2, 2), [1], np.ones(2)
    copies = plain({"x": x, "view": x[:1], "row": row, "array": array})
    x.zero_()
    row.clear()
    array.fill(0)
    assert copies["x"].all() and copies["view"].all() and copies["array"].all()
    assert copies["row"] == [1]


def test_a_tensor_that_lies_is_read_as_the_tensor_that_it_is():
    lie = torch.ones(2).as_subclass(Liar)
    assert type(plain(lie)) is torch.Tensor
    assert same(lie, torch.ones(2), 1e-5)
    assert not same(lie, torch.zeros(2), 1e-5)


@pytest.mark.parametrize(
    "dtype", [torch.float8_e4m3fn, torch.bfloat16, torch.float16, torch.uint8, torch.uint16]
)
def test_small_types_are_compared_by_their_values(dtype):
    x = torch.tensor([1.0, 2.0]).to(dtype)
    assert same(x, torch.tensor([1.0, 2.0]), 1e-5)
    assert not same(x, torch.tensor([1.0, 3.0]), 1e-5)


def test_a_tensor_that_is_conjugated_or_transposed_is_copied_as_it_looks():
    x = torch.tensor([[1 + 1j, 2], [3, 4]])
    assert plain(x.conj().T).tolist() == [[1 - 1j, 3], [2, 4]]
    assert plain(x.imag.neg()).tolist() == [[-1, 0], [0, 0]]
