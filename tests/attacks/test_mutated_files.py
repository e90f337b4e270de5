"""A small part of the attack on the loader, and that the attack would find what is bad."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tiny_models import random_llama, save_folder

sys.path.insert(0, str(Path(__file__).parent))
from mutated_files import (
    Attack,
    Loader,
    Outcome,
    attack,
    verdict,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits are set as Linux has them")


def test_changed_models_are_refused_or_what_they_are():
    assert list(attack(range(70), seed=1)) == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_folder(tmp_path_factory.mktemp("attacked") / "m", random_llama())


@pytest.fixture(scope="module")
def told(folder):
    loader = Loader()
    outcome = loader.load(folder)
    loader.close()
    assert outcome.end == "loaded"
    return outcome.told


@pytest.mark.parametrize(
    "changed",
    [
        {"logits": [0.0] * 266},
        {"ids": [1]},
        {"raw": [1]},
        {"chat": "hello"},
        {"eos": [7]},
        {"context": 64},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_another_model_is_found_out(folder, told, changed):
    one = Attack(0, folder, "nothing")
    assert verdict(one, Outcome("loaded", told), told) == ""
    assert verdict(one, Outcome("loaded", told), told | changed) == ""  # the reader agrees with it
    assert "another model" in verdict(one, Outcome("loaded", told | changed), told)


@pytest.mark.parametrize("end", ["traceback", "hang", "died"])
def test_every_other_end_is_bad(folder, end):
    assert verdict(Attack(0, folder, "nothing"), Outcome(end, "x"), {}) == f"{end}: x"
    assert verdict(Attack(0, folder, "nothing"), Outcome("refused", "x"), {}) == ""
