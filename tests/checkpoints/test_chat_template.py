"""Chat templates: what transformers renders is rendered so, and no template takes more than its
share of time and memory."""

from __future__ import annotations

import datetime
import os
import signal
import sys
import time

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from decodeloop.checkpoints import chat_template
from decodeloop.checkpoints.chat_template import render, the_worker
from decodeloop.errors import UserError

MESSAGES = [
    {"role": "system", "content": "Be <b>brief</b> & 'kind'."},
    {"role": "user", "content": 'Grüß Gott, "you" 🎉'},
    {"role": "assistant", "content": "x" * 50},
    {"role": "user", "content": " again \n"},
]
VARIABLES = {"messages": MESSAGES, "tools": None, "documents": None, "add_generation_prompt": True}


def theirs(template: str, **special: str) -> str:
    (text,), _ = render_jinja_template(
        [MESSAGES], chat_template=template, add_generation_prompt=True, **special
    )
    return text


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{% if loop.index0 == 2 %}{% break %}{% endif %}{{ m.role }}"
        "{% endfor %}",
        "{% for m in messages %}{% if m.role == 'user' %}{% continue %}{% endif %}{{ m.content }}"
        "{% endfor %}",
        "{% for m in messages %}{% generation %}\n{{ m['content'] }}{% endgeneration %}\n"
        "{% endfor %}",
        "a\n  {%- generation -%}  b {{ messages[0].content }} {%- endgeneration %}\nc",
        "{% set ns = namespace(n=0) %}{% for m in messages %}{% generation %}"
        "{% set ns.n = ns.n + 1 %}{{ ns.n }}{% endgeneration %}{% endfor %}{{ ns.n }}",
        "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}",
        "{{ messages | tojson }} {{ messages[0] | tojson(indent=2) }}",
        "{{ messages[1].content | tojson(ensure_ascii=true) }}",
        "{% if tools %}tools{% elif tools is none %}none{% endif %}{% if documents %}d{% endif %}",
        "{% if tools is defined %}defined{% endif %}{% if date is not defined %}none{% endif %}",
        "{% if sep_token is not defined %}no sep{% endif %}{{ bos_token }}{{ pad_token }}",
        "{{ strftime_now('%Y') }} {{ strftime_now('literal') }}",
        "  {% for m in messages %}\n{{ m.content | trim }}\n  {% endfor %}\nend",
        "{% macro turn(m) %}[{{ m.role }}]{% endmacro %}{% for m in messages[1:] %}{{ turn(m) }}"
        "{% endfor %}",
        "{% if add_generation_prompt %}{{ messages | length }}{% endif %}{{ dict(a=1) | tojson }}",
        "{{ messages[0].content.split(' ')[-1].strip('.') ~ messages[-1].content.strip() }}",
        "",
    ],
)
def test_what_transformers_renders_is_rendered_so(template):
    special = {"bos_token": "<s>", "eos_token": "</s>"}
    assert render(template, VARIABLES | special) == theirs(template, **special)


def test_today_is_today():
    assert render("{{ strftime_now('%d %b %Y') }}", {}) in {
        datetime.datetime.now().strftime("%d %b %Y"),
        (datetime.datetime.now() - datetime.timedelta(minutes=5)).strftime("%d %b %Y"),
    }


def test_half_a_character_and_what_is_no_json_come_through():
    assert render("{{ messages }}", {"messages": "\ud83d"}) == "\ud83d"
    assert render("{{ x }}", {"x": object()}) == "<object>"


HOSTILE = {
    "division": ("{{ 1/0 }}", "ZeroDivisionError"),
    "types": ("{{ 'a' + 1 }}", "TypeError"),
    "recursion": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
    "include": ("{% include 'x' %}", "chat template"),
    "import": ("{% import 'x' as y %}", "chat template"),
    "range": ("{% for i in range(10**9) %}{% endfor %}", "Overflow"),
    "format": ("{{ '%1000000000d' % 1 }}", "MemoryError"),
    "star format": ("{{ '%*d' % (2000000000, 1) }}", "MemoryError"),
    "method": ("{{ '{:1000000000d}'.format(1) }}", "MemoryError"),
    "product": ("{{ 'a' * 10**10 }}", "MemoryError"),
    "center": ("{{ 'a' | center(1000000000) }}", "MemoryError"),
    "doubling": ("{% set x = 'a' %}" + "{% set x = x ~ x %}" * 40 + "{{ x }}", "MemoryError"),
    "output": ("{% for i in range(9999) %}{{ 'abcdefghij' * 99 }}{% endfor %}", "4,194,304"),
    "lists": ("{% set x = [1] %}" + "{% set x = [x, x] %}" * 40 + "{{ x }}", "chat template"),
    "depth": ("{{ " + "(" * 50_000 + "1" + ")" * 50_000 + " }}", "chat template"),
    "long error": ("{{ raise_exception('ab\n' * 100000) }}", "rejects"),
    "strftime": ("{{ strftime_now('\x00') }}", None),
    "power": ("{{ 7 ** (7 ** 12) % 3 }}", "more than"),
    "loops": (
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "more than",
    ),
}


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited where the system can")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_template_that_takes_too_much_is_one_sentence(tiny, monkeypatch, name):
    monkeypatch.setattr(chat_template, "SECONDS", 2.0)
    template, part = HOSTILE[name]
    clock = time.monotonic()
    message = tiny.refusal(lambda: render(template, VARIABLES))
    assert time.monotonic() - clock < 30
    if part is not None:
        assert message is not None
        assert part in message
    assert render("{{ messages | length }}", VARIABLES) == "4"  # the next one is none the worse


def test_a_template_is_kept_from_python_and_its_objects():
    for template in ("{{ ''.__class__.__mro__ }}", "{{ messages.append(1) }}"):
        with pytest.raises(UserError, match="chat template"):
            render(template, VARIABLES)


def test_one_process_renders_all():
    first = the_worker().process.pid
    render("a", {})
    with pytest.raises(UserError):
        render("{{ 1/0 }}", {})
    assert the_worker().process.pid == first


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_an_ended_process_is_replaced():
    first = the_worker()
    os.kill(first.process.pid, signal.SIGKILL)
    with pytest.raises(UserError, match="was ended"):
        render("a", {})
    assert render("a", {}) == "a"
    assert the_worker() is not first


def test_an_interrupted_answer_is_given_to_nobody(monkeypatch):
    first = the_worker()

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(first, "_line", interrupt)
    with pytest.raises(KeyboardInterrupt):
        render("a", {})
    assert render("b", {}) == "b"


def test_a_process_that_cannot_be_started_is_a_sentence(tiny, monkeypatch):
    monkeypatch.setattr(chat_template, "_workers", [])
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    message = tiny.refusal(lambda: render("a", {}))
    assert "can't be started" in message
