import pytest

from decodeloop.cost import mbu, mfu
from decodeloop.errors import UserError


def test_utilisations():
    assert mfu(5e11, 1.0, 1e12) == 0.5
    assert mbu(5e8, 0.1, 1e10) == 0.5
    for bad in (lambda: mfu(0, 1, 1), lambda: mfu(1, 0, 1), lambda: mbu(1, 1, -1)):
        with pytest.raises(UserError, match="expected more than 0"):
            bad()
