"""The loss of a text: torch's own cross-entropy, in fp32 whatever the logits are."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from decodeloop.decode.scoring import next_token_loss

LOGITS = 3 * torch.randn(2, 9, 50, generator=torch.Generator().manual_seed(0))
IDS = torch.arange(18).reshape(2, 9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_the_loss_of_any_type_is_that_of_its_numbers_in_fp32(dtype):
    logits = LOGITS.to(dtype)
    expected = cross_entropy(logits[:, :-1].double().reshape(-1, 50), IDS[:, 1:].reshape(-1))
    assert abs(float(next_token_loss(logits, IDS)) - float(expected)) < 1e-5
