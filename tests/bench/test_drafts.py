"""Speculative decoding beside decoding as it is: what is run, and what comes of it."""

import io
import json
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from decodeloop.bench import DraftSettings, bench_drafts
from decodeloop.bench.drafts import DraftRun, speaking
from decodeloop.bench.show import show_drafts
from decodeloop.bench.tasks import TASKS
from decodeloop.decode import PromptLookup, Speculation, generate
from decodeloop.errors import UserError

ASKED = {"copy": "say it again", "invent": "say something"}


class Fake:
    """A way that takes as many seconds as one knows; its first round is slow."""

    def __init__(self, seconds, tokens=(1, 2, 3, 4, 5), accepted=None):
        self.seconds, self.tokens, self.accepted, self.asked = seconds, tokens, accepted, []

    def __call__(self, prompt, new_tokens):
        self.asked.append((prompt, new_tokens))
        slow = 50 if len(self.asked) <= len(ASKED) else 1
        return DraftRun(list(self.tokens), slow * self.seconds, 2.5, self.accepted)


def report_of(**ways):
    speakers = {tuple([*name.split("_"), None][:2]): fake for name, fake in ways.items()}
    settings = DraftSettings(new_tokens=5, runs=3, threads=1)
    return bench_drafts(settings, tasks=ASKED, ways=lambda settings, progress: speakers)


def test_each_way_at_each_task_in_turn_after_a_round_that_does_not_count():
    plain, quick, int8 = Fake(0.8), Fake(0.2, accepted=0.5), Fake(0.4)
    report = report_of(fp32=plain, fp32_lookup=quick, int8=int8)
    assert plain.asked == quick.asked == 4 * [(prompt, 5) for prompt in ASKED.values()]
    assert [(row.task, row.way) for row in report.rows] == [
        (task, way) for task in ASKED for way in ("fp32", "fp32 + lookup", "int8")
    ]
    row = report.rows[1]
    assert row.tokens_per_s.median == pytest.approx(20)
    assert row.over == pytest.approx(4)
    assert report.rows[0].over == report.rows[2].over == 1.0
    assert (row.made, row.accepted, row.same) == (5, 0.5, True)
    assert json.loads(json.dumps(report.as_dict()))["rows"][1]["way"] == "fp32 + lookup"


@pytest.mark.parametrize("same", [True, False])
def test_what_a_person_reads(same):
    quick = Fake(0.4, (1, 2, 3, 4, 5 if same else 6), accepted=0.5)
    report = report_of(fp32=Fake(0.8), fp32_lookup=quick)
    out = io.StringIO()
    show_drafts(report, Console(file=out, width=100))
    shown = out.getvalue()
    assert "as many as pay drafted a step" in shown
    assert "2.00" in shown and "2.50, 50% stayed" in shown and "…" not in shown
    assert ("token for token" in shown) == same
    assert ("Not the same tokens" in shown) != same


def test_a_model_is_timed_from_its_first_token_to_its_last(decoders):
    model = decoders[3]
    llm = SimpleNamespace(model=model, eos_ids=(), prompt_ids=lambda prompt: [1, 2, 1, 2])
    plain = speaking(llm, None)("", 9)
    drafted = speaking(llm, Speculation(PromptLookup(), 2))("", 9)
    assert plain.tokens == drafted.tokens
    assert plain.tokens == list(generate(model, torch.tensor([[1, 2, 1, 2]]), 9))
    assert plain.seconds > 0 and plain.accepted is None and plain.tokens_per_step == 1.0
    assert drafted.tokens_per_step >= 1.0
    first = plain.tokens[1]
    llm.eos_ids = (first,)
    with pytest.raises(UserError, match="made 1 tokens"):
        speaking(llm, None)("", 9)


def test_there_are_tasks_that_copy_and_tasks_that_do_not():
    assert list(TASKS) == ["code edit", "list", "extraction", "summary", "chat", "story"]
    assert all(len(prompt) > 10 for prompt in TASKS.values())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"new_tokens": 2}, "--new-tokens is 2"),
        ({"runs": 0}, "--runs is 0"),
        ({"threads": -1}, "--threads is -1"),
        ({"threads": 10_000}, "--threads is 10000"),
        ({"k": 0}, "--draft-tokens is 0"),
    ],
)
def test_bad_settings_are_named(options, said):
    with pytest.raises(UserError, match=said):
        DraftSettings(**options)
