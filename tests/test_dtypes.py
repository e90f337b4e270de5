import pytest
import torch

from decodeloop.dtypes import TORCH_NAMES, dtype_name, torch_dtype
from decodeloop.errors import UserError

KNOWN = ("fp32", "bf16", "fp16", "fp8", "int8")


@pytest.mark.parametrize("name", TORCH_NAMES)
def test_pytorchs_names_are_those_of_its_types(name):
    kind = getattr(torch, name)
    assert dtype_name(kind, KNOWN) == dtype_name(name, KNOWN) == dtype_name(f"torch.{name}", KNOWN)
    assert kind.is_floating_point
    assert f"{8 * kind.itemsize}" == dtype_name(kind, KNOWN)[2:]


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
def test_a_name_and_its_type_go_together(name):
    assert dtype_name(torch_dtype(name), KNOWN) == name


@pytest.mark.parametrize("asked", ["int3", "", None, 16, torch.complex64])
def test_what_is_no_type_is_refused_with_those_that_there_are(asked):
    with pytest.raises(UserError, match=r"--dtype is .*: expected one of fp32, bf16; PyTorch's"):
        dtype_name(asked, ("fp32", "bf16"), "--dtype")
