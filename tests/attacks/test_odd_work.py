"""A part of the odd work folders; `make attack` tries all of them."""

import os

import pytest
from attacks.odd_work import attack

DRAWN = 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="attacks run in forks")
def test_no_odd_work_folder_ends_badly(capsys):
    tried, bad = attack(DRAWN, 1)
    assert (tried, bad) == (DRAWN, 0), capsys.readouterr().out
