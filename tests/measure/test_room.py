"""What a machine can't compute is refused, before it is tried."""

import pytest

from decodeloop.cost.memory import activation_bytes, kv_cache_bytes, weight_bytes
from decodeloop.errors import UserError
from decodeloop.measure.room import check_room
from decodeloop.model import SMOLLM2_135M

GB = 1e9


def test_what_fits_is_let_through():
    check_room(SMOLLM2_135M, 1, 1, SMOLLM2_135M.context, 8 * GB)
    check_room(SMOLLM2_135M, 1, 1, SMOLLM2_135M.context, None)


def test_more_positions_than_the_model_has_are_refused():
    with pytest.raises(UserError, match=r"999,999,999 positions .* made for 8,192"):
        check_room(SMOLLM2_135M, 1, 1, 999_999_999, None)


def test_more_than_the_memory_holds_is_refused_to_the_byte():
    held = weight_bytes(SMOLLM2_135M, 4) + kv_cache_bytes(SMOLLM2_135M, 2, 512, 4)
    for table in (False, True):
        needed = held + activation_bytes(SMOLLM2_135M, 2, 256, 512, 4, table=table)
        check_room(SMOLLM2_135M, 2, 256, 512, needed, table=table)
        with pytest.raises(UserError, match=r"2 × 256 new tokens at 512 positions take .* GB"):
            check_room(SMOLLM2_135M, 2, 256, 512, needed - 1, table=table)
