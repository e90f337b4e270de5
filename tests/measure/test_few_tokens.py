import pytest

from decodeloop.errors import UserError
from decodeloop.measure import few_token_costs


def test_costs_are_in_steps_of_one_token_and_leave_the_context_as_it_is(tiny_decoder, monkeypatch):
    starts, hidden = [], type(tiny_decoder).hidden

    def watched(self, ids, cache=None, *rest):
        starts.append((cache.length, ids.shape[1]))
        return hidden(self, ids, cache, *rest)

    monkeypatch.setattr(type(tiny_decoder), "hidden", watched)
    costs = few_token_costs(tiny_decoder, 3, 20, repeats=2)
    assert len(costs) == 3 and costs[0] == 1.0 and min(costs) > 0
    assert starts == [(0, 20), *[(20, 1), (20, 2), (20, 3)] * 3]


@pytest.mark.parametrize(("most", "context"), [(0, 10), (3, 0), (9, 120)])
def test_what_has_no_room_is_refused(tiny_decoder, most, context):
    with pytest.raises(UserError, match=f"{most} tokens at {context} positions.*128"):
        few_token_costs(tiny_decoder, most, context)
