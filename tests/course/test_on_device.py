"""An answer that makes its tensors on the CPU is right there, and wrong where the model lies.

Most of it needs a GPU, which may be the pretended one (`test_pretend_gpu.py`).
"""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from answer_tables import answers
from stand_ins import Letters

from decodeloop.course.checking import check, failed_inputs
from decodeloop.course.judge import judge
from decodeloop.course.linking import assemble, part_names
from decodeloop.course.on_device import LOOPS, Border, judge_here, where_models_lie
from decodeloop.course.trying import outcome
from decodeloop.exercises.edits import edited
from decodeloop.exercises.finding import find
from decodeloop.loading import LanguageModel

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
FORGOTTEN = {  # (exercise, its right answer): how a device is forgotten in it
    ("attention", "attention_in_loops"): "- , device=v.device",
    ("rope", "rope_by_rotate_half"): "- speeds.to(x.device) → speeds",
    (
        "rope",
        "rope_by_matrices",
    ): (
        "- pair.new_tensor([[c, s], [-s, c]])\n+ torch.tensor([[c, s], [-s, c]], dtype=pair.dtype)"
    ),
    ("hidden_states", "hidden_states_with_partial"): "- .to(x.device)",
    ("hidden_states", "hidden_states_text_by_text"): "- , device=x.device",
    ("hidden_states", "hidden_states_from_one"): "- .to(x.device)",
    ("ContiguousKVCache", "OneBuffer"): "- .to(q.device)",
    ("ContiguousKVCache", "PlaceByPlace"): "- , device=device) → )",
    ("hidden_with_cache", "with_partials"): "- .to(x.device)",
    ("hidden_with_cache", "by_the_place"): "- , device=token_ids.device",
    ("sample", "sample_by_inverse"): "- .cpu()",
    ("sample", "sample_by_race"): "- logits.cpu() → logits",
    ("beam_search", "beams_in_tensors"): "- logits.new_full → torch.full",
    ("beam_search", "beams_in_tuples"): "- logits.new_tensor → torch.tensor",
}
RIGHT = {
    name: [find(name).library, *answers(find(name).lesson).RIGHT[name]] for name in part_names()
}


@pytest.fixture(autouse=True)
def the_best_device(monkeypatch):
    monkeypatch.setenv("DECODELOOP_DEVICE", "auto")


def forgetful(name, form):
    """A right answer without its `device=`."""
    (right,) = (answer for answer in RIGHT[name] if answer.__name__ == form)
    return edited(right, f"## no device\n{FORGOTTEN[name, form]}")["no device"].compiled


@needs_gpu
@pytest.mark.parametrize(("name", "form"), FORGOTTEN)
def test_a_forgotten_device_is_wrong_with_a_hint_of_its_own(name, form):
    answer = forgetful(name, form)
    assert judge(answer, find(name)).state == "right"
    verdict = judge_here(answer, find(name))
    assert verdict.state == "wrong"
    assert verdict.failed[0].endswith(", on the GPU")
    assert "device" in verdict.what or "CPU" in verdict.what
    assert "On a GPU it fails" in verdict.mistake.hint
    assert (".cpu()" if form == "sample_by_race" else "device=x.device") in verdict.mistake.hint


@needs_gpu
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_stays_right(name):
    for answer in RIGHT[name]:
        verdict = judge_here(answer, find(name))
        assert verdict.state == "right", verdict


@needs_gpu
@pytest.mark.parametrize("name", RIGHT)
def test_the_library_can_be_tried_there(name):
    """Where it fails behind the border, a case tells nothing of an answer."""
    exercise = find(name)
    borders = [Border(where_models_lie(), name in LOOPS) for _ in exercise.cases]
    errors = [
        outcome(border.around(exercise.library), case).error
        for border, case in zip(borders, exercise.cases, strict=True)
    ]
    assert errors.count(None) >= len(errors) - 1, errors


@needs_gpu
def test_what_is_left_on_the_cpu_is_wrong_though_nothing_raises():
    def softmax(x, dim=-1):
        filled = torch.zeros(x.shape)
        filled[...] = torch.softmax(x.clamp(min=-1e30), dim).masked_fill(
            x.isinf().all(dim, True), 0
        )
        return filled

    assert judge(softmax, find("softmax")).state == "right"
    verdict = judge_here(softmax, find("softmax"))
    assert (verdict.state, verdict.what) == (
        "wrong",
        "its result is on the CPU, its inputs are on the GPU",
    )


@needs_gpu
def test_numpy_and_products_of_whole_numbers_have_words_of_their_own():
    def by_numpy(x, H):
        return torch.from_numpy(x.numpy()).view(*x.shape[:2], H, -1).transpose(1, 2)

    def by_a_product(logits):
        best = (logits == logits.max(-1, keepdim=True).values).long()
        first = best * (best.cumsum(-1) == 1)
        return first @ torch.arange(logits.shape[-1], device=logits.device)

    assert "NumPy" in judge_here(by_numpy, find("split_heads")).mistake.hint
    assert "does not exist" in judge_here(by_a_product, find("greedy")).mistake.hint


@needs_gpu
def test_what_never_ends_there_alone_is_not_waited_for():
    def greedy(logits):
        while not logits.is_cpu:
            pass
        return logits.argmax(-1)

    assert judge_here(greedy, replace(find("greedy"), seconds=0.3)).state == "right"


@needs_gpu
def test_where_the_library_fails_nothing_is_said():
    def fails(x, dim=-1):
        return x.softmax(dim) + torch.zeros(x.shape)

    exercise = find("softmax")
    finite = [case for case in exercise.cases if all(x.isfinite().all() for x in case.inputs[:1])]
    exercise = replace(exercise, cases=tuple(finite), library=fails)
    assert judge_here(fails, exercise).state == "right"


@needs_gpu
def test_an_exercise_that_is_no_part_is_judged_on_the_cpu_alone():
    (answer,) = (f for f in answers("01").RIGHT["padding_mask"] if "comparison" in f.__name__)
    assert judge_here(answer, find("padding_mask")).state == "right"


@needs_gpu
def test_check_says_it_and_gives_the_inputs_where_they_were(notebook, capsys):
    answer = forgetful("rope", "rope_by_rotate_half")
    answer.__name__ = "rope"
    check(answer)
    said = capsys.readouterr().out
    assert "✗ rope: wrong" in said
    assert "→ On a GPU it fails" in said
    assert failed_inputs("rope")[0].is_cuda


@needs_gpu
def test_an_answer_that_was_accepted_on_a_cpu_is_not_spoken_through(decoders):
    decoder = copy.deepcopy(decoders[2]).to("cuda")
    llm = LanguageModel("tiny", decoder.config, Letters(), decoder, (5, 17))
    source = (
        "import torch\n"
        "def rope(x, positions, base):\n"
        "    D = x.shape[-1]\n"
        "    angles = positions[..., None] * base ** (-torch.arange(0, D, 2) / D)\n"
        "    angles = angles[:, None] if positions.ndim == 2 else angles\n"
        "    a, b = x.chunk(2, -1)\n"
        "    c, s = angles.cos(), angles.sin()\n"
        "    return torch.cat((a * c - b * s, a * s + b * c), -1)\n"
    )
    own = assemble(llm, {"rope": (source, "mine/rope.py")})
    (failed,) = (part.failed for part in own.parts if part.failed)
    assert "no longer passes its check" in failed
    assert list(own.stream("hi!", 2))


def test_on_the_cpu_it_is_the_verdict_of_the_cpu(monkeypatch):
    monkeypatch.setenv("DECODELOOP_DEVICE", "cpu")
    answer = forgetful("rope", "rope_by_rotate_half")
    assert judge_here(answer, find("rope")) == judge(answer, find("rope"))


def test_a_device_that_is_none_does_not_stop_a_check(monkeypatch):
    monkeypatch.setenv("DECODELOOP_DEVICE", "abacus")
    assert where_models_lie() == torch.device("cpu")
    assert judge_here(find("rope").library, find("rope")).state == "right"
