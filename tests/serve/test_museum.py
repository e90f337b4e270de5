"""Every fault of the museum is found by the test that is named for it."""

from __future__ import annotations

import importlib
import inspect

import pytest
from serve.museum import FAULTS, FOUND_BY
from serve_kit import Kit

from decodeloop.course import museum


def ways(test):
    """Its arguments beside the kit: of a parametrized test each of its cases."""
    marks = [m for m in getattr(test, "pytestmark", ()) if m.name == "parametrize"]
    assert len(marks) <= 1, "a test of one thing has one parameter"
    if not marks:
        return [{}]
    name, values = marks[0].args
    return [{name: value} for value in values]


def run(name, kit):
    module, test = name.split(".")
    function = getattr(importlib.import_module(f"serve.{module}"), test)
    assert "kit" in inspect.signature(function).parameters
    for arguments in ways(function):
        function(kit, **arguments)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_is_found_by_its_test(fault):
    run(fault.found_by, Kit())
    with pytest.raises((Exception, pytest.fail.Exception)) as found:
        run(fault.found_by, fault.kit)
    assert not isinstance(found.value, SyntaxError | NameError | AttributeError), found.value


def test_the_museum_has_what_real_engines_shipped():
    assert len(museum.FAULTS) >= 15
    assert len({thread for fault in museum.FAULTS for thread in fault.threads}) >= 20
    assert {fault.name for fault in FAULTS} == {*FOUND_BY}
