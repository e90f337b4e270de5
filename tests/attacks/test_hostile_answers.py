"""A part of the hostile answers, drawn anew never: `make attack` runs all of them."""

import os

import pytest
from attacks.hostile_answers import attack

DRAWN = 12


@pytest.mark.skipif(not hasattr(os, "fork"), reason="attacks run in forks")
def test_no_hostile_answer_ends_badly(capsys):
    tried, bad = attack(DRAWN, 1)
    assert (tried, bad) == (DRAWN, 0), capsys.readouterr().out
