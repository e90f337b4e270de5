"""What a model expects next, and who looks at whom, on the real one and its own numbers."""

import pytest
import torch

from decodeloop.course.looking import forecast, look
from decodeloop.model import causal_mask

TEXT = "The Eiffel Tower is in the city of"


def test_a_forecast_is_the_softmax_of_the_last_logits(smollm2):
    ids = torch.tensor([smollm2.tokenizer.encode(TEXT)])
    shares = smollm2.model(ids)[0, -1].softmax(-1)
    found = forecast(smollm2, TEXT, best=4)
    assert len(found) == 4
    assert list(found.values()) == sorted(found.values(), reverse=True)
    for token, p in found.items():
        (one,) = smollm2.tokenizer.encode(token)
        assert p == pytest.approx(float(shares[one]), abs=0.0051)


def test_no_mask_is_a_causal_one_and_a_hidden_name_is_forgotten(smollm2):
    mask = causal_mask(9)
    assert forecast(smollm2, TEXT, mask) == forecast(smollm2, TEXT)
    mask[4:, 1:4] = False
    assert (
        forecast(smollm2, TEXT, mask).get(" Paris", 0.0) < 0.1 < forecast(smollm2, TEXT)[" Paris"]
    )


def test_every_head_looks_back_alone(smollm2):
    tokens, maps = look(smollm2, TEXT)
    assert tokens == ["The", "␣E", "iffel", "␣Tower", "␣is", "␣in", "␣the", "␣city", "␣of"]
    assert maps.shape == (smollm2.config.layers, smollm2.config.heads, 9, 9)
    assert torch.allclose(maps.sum(-1), torch.ones(maps.shape[:3]), atol=1e-5)
    assert not maps.masked_select(~causal_mask(9)).any()
