"""The model through the learner's answers: all of them, some of them, and one that is broken."""

from __future__ import annotations

import os
from functools import partial

import pytest
import torch
from stand_ins import Letters, served

from decodeloop.course.guarding import Part, PartFailed, guarded
from decodeloop.course.linking import assemble, part_names
from decodeloop.course.own import mine
from decodeloop.course.own_engine import engine_parts
from decodeloop.course.progress import Progress
from decodeloop.course.session import KEY, Session
from decodeloop.decode import Sampling, search, stream
from decodeloop.loading import LanguageModel
from decodeloop.serve import Engine

PARTS = part_names()
ENGINE = [name for name in PARTS if name in engine_parts(lambda name, part: part).by_name()]
SAMPLINGS = {
    "greedy": Sampling(),
    "all at once": Sampling(0.9, top_k=30, top_p=0.95, min_p=0.01, repetition_penalty=1.2),
    "temperature": Sampling(1.3),
}


@pytest.fixture(scope="module")
def llm(decoders):
    decoder = decoders[2]
    return LanguageModel("tiny", decoder.config, Letters(), decoder, (5, 17))


def sources(solutions, *names):
    return {name: (solutions[name][0], f"mine/{name}.py") for name in names or PARTS}


@pytest.fixture(scope="module")
def whole(llm, solutions):
    return assemble(llm, sources(solutions))


def same_answers(own, llm, prompt, **options):
    seeds = [torch.Generator().manual_seed(3) for _ in range(2)]
    theirs = stream(llm, prompt, 12, generator=seeds[0], **options)
    ours = own.stream(prompt, 12, generator=seeds[1], **options)
    assert list(ours) == list(theirs)
    assert ours.tokens == theirs.tokens
    assert ours.finish_reason == theirs.finish_reason


# all of them


def test_every_solution_is_kept_whole(solutions):
    assert set(solutions) == set(PARTS)
    assert not {name: lost for name, (_, lost) in solutions.items() if lost}


def test_every_part_is_named_as_the_learners(whole):
    assert {part.name: (part.whose, part.failed) for part in whole.parts} == dict.fromkeys(
        PARTS, ("yours", "")
    )
    assert f"{len(PARTS)} of {len(PARTS)} parts are yours" in whole.report()


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS.keys())
@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("prompt", ["a", "tell me more"])
def test_it_says_what_the_library_says(whole, llm, sampling, use_cache, prompt):
    if use_cache or sampling == Sampling():
        same_answers(whole, llm, prompt, sampling=sampling, use_cache=use_cache)


def test_it_stops_where_the_library_stops(whole, llm):
    text = "".join(stream(llm, "tell me more", 12))
    same_answers(whole, llm, "tell me more", stop=(text[3:5],))


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_beams_find_what_the_librarys_find(whole, llm, penalty):
    theirs = search(llm, "tell me more", 6, beams=3, length_penalty=penalty)
    ours = whole.search("tell me more", 6, beams=3, length_penalty=penalty)
    assert (ours.tokens, ours.text) == (theirs.tokens, theirs.text)


def test_every_part_of_the_learners_runs(llm, solutions):
    own = assemble(llm, sources(solutions))
    assert "yours that ran: none" in own.used()
    list(own.stream("hello", 6, sampling=SAMPLINGS["all at once"]))
    list(own.stream("hello", 6))
    list(own.stream("hello", 6, use_cache=False))
    own.search("hello", 4, beams=2)
    assert set(own.used().split(": ")[-1].split(", ")) == set(ENGINE), "without an engine"
    assert served(own.engine) == served(partial(Engine, llm.model))
    assert "not needed" not in own.used(), own.used()


# some of them


@pytest.mark.parametrize("name", PARTS)
def test_one_part_alone_speaks_among_the_librarys(llm, solutions, name):
    own = assemble(llm, sources(solutions, name))
    assert [part.name for part in own.parts if part.whose == "yours"] == [name]
    same_answers(own, llm, "hello", sampling=SAMPLINGS["all at once"])
    same_answers(own, llm, "hello", use_cache=False)
    same_answers(own, llm, "hello")
    expected = search(llm, "hello", 4, beams=2).tokens
    assert own.search("hello", 4, beams=2).tokens == expected
    assert served(own.engine) == served(partial(Engine, llm.model))
    assert name in own.used().split(";")[0], "it was there, and never called"
    assert ("preempt " in own.report()) == (name in ENGINE)


def test_without_any_it_is_the_librarys(llm):
    own = assemble(llm, {})
    assert {part.whose for part in own.parts} == {"the library's"}
    same_answers(own, llm, "hello")


# broken ones


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_was_changed_after_it_was_accepted_is_named(llm, solutions, name):
    given = sources(solutions, name)
    broken = f"def {name}(*args, **kwargs):\n    return None\n"
    own = assemble(llm, given | {name: (broken, f"mine/{name}.py")})
    (part,) = (part for part in own.parts if part.failed)
    assert part.name == name
    assert part.whose == "the library's"
    assert "no longer passes its check" in part.failed
    assert f"{name}" in own.report()
    same_answers(own, llm, "hello")


@pytest.mark.parametrize("broken", ["def rope(x:\n", "y = 1\n", "import no_such_module\n" * 2])
def test_a_file_that_is_no_answer_at_all_is_named(llm, solutions, broken):
    own = assemble(llm, sources(solutions) | {"rope": (broken, "mine/rope.py")})
    (part,) = (part for part in own.parts if part.failed)
    assert (part.name, "mine/rope.py" in part.failed) == ("rope", True)
    assert "yours failed" in own.report()


@pytest.mark.parametrize("name", ["rope", "ContiguousKVCache", "decoding_loop", "block"])
def test_a_part_that_raises_while_it_speaks_is_named_with_its_line(llm, solutions, name):
    """It passes its check, and fails on what the check has not: a long text."""
    source, _ = solutions[name]
    trap = "    raise ValueError('too long for me')\n"
    condition = {
        "rope": "    if x.shape[2] > 40:\n    " + trap,
        "block": "    if x.shape[1] > 40:\n    " + trap,
        "decoding_loop": "    if token_ids.shape[1] > 40:\n    " + trap,
        "ContiguousKVCache": "        if k.shape[2] > 40:\n        " + trap,
    }[name]
    head = "def append(" if name == "ContiguousKVCache" else f"def {name}("
    lines = source.splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if head in line)
    while not lines[at].rstrip().endswith(":"):
        at += 1
    lines.insert(at + 1, condition)
    given = sources(solutions) | {name: ("".join(lines), f"mine/{name}.py")}
    own = assemble(llm, given)
    assert not [part for part in own.parts if part.failed]
    with pytest.raises(PartFailed) as error:
        list(own.stream("x" * 50, 3))
    message = str(error.value)
    assert message.startswith(f"your part {name} failed: ValueError: too long for me at line ")
    assert f"of mine/{name}.py: raise ValueError('too long for me')" in message


def test_a_helper_of_the_same_name_in_the_cell_stays_the_learners(llm, solutions):
    """A cell may have its own softmax beside its attention; it is not exchanged for another."""
    helper = "import torch\ndef softmax(x):\n    return torch.softmax(x, -1).nan_to_num(0.0)\n"
    source = helper + "\n\n" + solutions["attention"][0]
    own = assemble(llm, {"attention": (source, "a.py"), "softmax": sources(solutions)["softmax"]})
    assert [p.whose for p in own.parts if p.name in ("softmax", "attention")] == ["yours"] * 2
    list(own.stream("hello", 3))
    assert next(p for p in own.parts if p.name == "softmax").calls == 0


# where the answers lie


def test_answers_come_from_the_work_folder(llm, solutions, notebook, tmp_path, capsys):
    Progress(tmp_path).start()
    Progress(tmp_path).exercise("rope", "right", solutions["rope"][0])
    own = mine(llm, tmp_path)
    assert [part.name for part in own.parts if part.whose == "yours"] == ["rope"]
    said = capsys.readouterr().out
    assert f"1 of {len(PARTS) - len(ENGINE)} parts are yours" in said, "none of the engine's"


def test_answers_accepted_in_the_notebook_count_without_a_work_folder(llm, solutions, notebook):
    notebook[KEY] = Session("08", "worked", accepted={"rope": solutions["rope"][0]})
    own = mine(llm, quiet=True)
    assert [part.name for part in own.parts if part.whose == "yours"] == ["rope"]


ODD = {
    "no UTF-8": (b"def rope(:\xff", "is no UTF-8"),
    "no Python": (b"def rope(:", "SyntaxError"),
    "a null byte": (b"def rope(x):\n    return '\0'\n", "it can't be run"),
    "raises": (b"def rope(x=1 / 0): ...\n", "ZeroDivisionError"),
    "exits": (b"import sys\ndef rope(x=sys.exit(0)): ...\n", "SystemExit"),
    "another exception": (
        b"class E(BaseException): ...\ndef rope(x=E()): ...\n",
        "no longer passes",
    ),
    "never ends": (b"def loop():\n  while 1: pass\ndef rope(x=loop()): ...\n", "come to an end"),
    "huge": (b"#" * 2**23, "has 8,388,608 bytes"),
    "something else": (b"x = 1\n", "does not define rope"),
}


@pytest.mark.parametrize(("content", "said"), ODD.values(), ids=ODD)
def test_an_odd_file_is_named_and_the_librarys_goes_on(
    llm, solutions, notebook, tmp_path, monkeypatch, content, said
):
    monkeypatch.setattr("decodeloop.course.answers.LONGEST_S", 0.2)
    Progress(tmp_path).start()
    Progress(tmp_path).exercise("softmax", "right", solutions["softmax"][0])
    path = tmp_path / "mine" / "rope.py"
    path.write_bytes(content)
    own = mine(llm, tmp_path, quiet=True)
    (failed,) = [part for part in own.parts if part.failed]
    assert failed.name == "rope"
    assert said in failed.failed
    assert [part.name for part in own.parts if part.whose == "yours"] == ["softmax"]
    same_answers(own, llm, "a")


@pytest.mark.parametrize("kind", ["a folder", "a link that leads nowhere", "a pipe"])
def test_what_is_no_file_is_named(llm, notebook, tmp_path, kind):
    Progress(tmp_path).start()
    path = tmp_path / "mine" / "rope.py"
    path.parent.mkdir()
    if kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "nowhere")
    (failed,) = [part for part in mine(llm, tmp_path, quiet=True).parts if part.failed]
    assert failed.name == "rope"
    assert failed.failed.startswith(str(path))


def test_what_a_file_changes_when_it_is_read_is_put_back(llm, notebook, tmp_path, solutions):
    source = solutions["softmax"][0]
    spoils = "def spoilt(dim=-1):\n    torch.set_default_device('meta')\n    return dim\n"
    source = spoils + source.replace("dim: int = -1", "dim: int = spoilt()").replace(
        "dim=-1", "dim=spoilt()", 1
    )
    assert "spoilt()" in source.removeprefix(spoils)
    Progress(tmp_path).start()
    Progress(tmp_path).exercise("softmax", "right", source)
    mine(llm, tmp_path, quiet=True)
    assert torch.ones(1).device.type == "cpu"


def test_a_part_that_exits_while_the_model_speaks_is_named_too(llm):
    def greedy(logits):
        raise SystemExit(1)

    part = Part("greedy", "yours")
    with pytest.raises(PartFailed, match="your part greedy failed: SystemExit: 1 at line"):
        guarded(greedy, part)(torch.ones(2))

    def interrupted(logits):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guarded(interrupted, part)(torch.ones(2))


def test_a_generator_that_is_left_early_has_not_failed():
    def loop():
        yield 1
        yield 2

    started = guarded(loop, Part("decoding_loop", "yours"))()
    assert next(started) == 1
    started.close()
