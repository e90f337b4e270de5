"""A server beside a notebook: it ends with its `with`, and readers who leave are noticed."""

from __future__ import annotations

import builtins
from contextlib import suppress

import httpx
import matplotlib.pyplot as plt
import pytest

from decodeloop.course.figures_serving import waits_by_rate, work_for_nobody
from decodeloop.course.live import live_server, newcomer_after_hang_ups
from decodeloop.errors import UserError
from decodeloop.loading import load

PROMPTS = ["To be", "What light", "My lord", "Enter the king"]


@pytest.fixture(scope="module")
def llm():
    return load("small", device="cpu", compiled=False)


@pytest.fixture
def runs(llm):
    found = {}
    for title in ("notices", "careless"):
        with live_server(llm, most=4, blocks=80) as server:
            if title == "careless":
                server.service.abort = lambda answer, number: None
            found[title] = newcomer_after_hang_ups(server, PROMPTS, "Good morrow", 100)
    return found


def test_who_has_left_is_computed_only_where_nobody_notices(runs):
    assert runs["notices"].first_token < runs["careless"].first_token
    assert max(count for _, count in runs["careless"].looks) == 4
    times = [time for time, _ in runs["careless"].looks]
    assert times == sorted(times)
    assert runs["careless"].left == 93


def test_it_ends_with_its_with_also_by_an_error(llm):
    with suppress(ZeroDivisionError), live_server(llm) as server:
        assert httpx.get(f"{server.url}/health").status_code == 200
        raise ZeroDivisionError
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/health")
    assert server.service.state == "ended"


def test_without_what_it_needs_it_is_one_sentence(llm, monkeypatch):
    there = builtins.__import__

    def lacking(name, *rest):
        if name == "decodeloop.serve.asking":
            raise ModuleNotFoundError("no", name="pydantic")
        return there(name, *rest)

    monkeypatch.setattr(builtins, "__import__", lacking)
    with pytest.raises(UserError, match=r"a server needs pydantic, .* '%pip install starlette"):
        live_server(llm)


def test_the_figures_name_their_axes_and_say_what_they_show(runs, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: None)
    work_for_nobody(runs)
    axes = plt.gcf().axes
    assert [ax.get_title(loc="left") for ax in axes] == list(runs)
    assert axes[-1].get_xlabel() == "seconds since four readers left"
    assert {ax.get_ylabel() for ax in axes} == {"texts computed"}
    waits_by_rate({1.0: 0.1, 3.0: 0.9}, {1.0: 0.1, 3.0: 0.8}, {1.0: 0.2, 2.0: 5.0}, 0.5)
    (ax,) = plt.gcf().axes
    assert "(s)" in ax.get_ylabel() and "multiple of the pace" in ax.get_xlabel()
    assert 0.9 < ax.get_ylim()[1] < 5.0, "what grows for ever leaves the picture"
    assert [line.get_label() for line in ax.lines[:3]] == [
        "lesson 14's clock, 300 requests",
        "lesson 14's clock, the same 10",
        "the live server, 10 requests",
    ]
    plt.close("all")
