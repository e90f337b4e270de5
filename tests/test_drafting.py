from types import SimpleNamespace

import pytest

from decodeloop import drafting
from decodeloop.decode import AdaptiveLength, ModelDraft, PromptLookup
from decodeloop.drafting import check_draft, speculation_of
from decodeloop.errors import UserError


@pytest.fixture
def asked(monkeypatch, tiny_decoder):
    """What was loaded, instead of loading it."""
    asked = []

    def load(*given):
        asked.append(given)
        return SimpleNamespace(model=tiny_decoder)

    monkeypatch.setattr(drafting, "load", load)
    return asked


def test_a_draft_by_its_name(asked):
    llm = SimpleNamespace(name="smollm2-135m", device="cpu")
    copying = speculation_of(llm, "lookup")
    assert isinstance(copying.draft, PromptLookup)
    assert isinstance(copying.k, AdaptiveLength)
    assert not asked
    smaller = speculation_of(llm, "int8", 3)
    assert isinstance(smaller.draft, ModelDraft)
    assert smaller.k == 3 and 0 < smaller.draft.cost < 1
    assert asked == [("smollm2-135m", "cpu", "int8")]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("oracle", None), "'oracle': expected lookup, int8 or int4"),
        (("int8", None, "int4"), "much quicker than the model"),
        (("lookup", 0), "0 tokens are to be drafted"),
    ],
)
def test_what_is_no_draft_is_refused(given, said):
    with pytest.raises(UserError, match=said):
        check_draft(*given)


@pytest.mark.parametrize("dtype", ["fp32", "int8", "w8a8", "int4"])
def test_a_copy_is_a_draft_for_any_weights(dtype):
    check_draft("lookup", 4, dtype)
