"""The path of a token that CONTRIBUTING draws is the one that a token takes."""

import inspect
import re
import sys
from pathlib import Path

import torch

from decodeloop.decode import generate
from decodeloop.model import TINY, Decoder

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "decodeloop"


def drawing():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    return re.search(r"```\n(decodeloop generate.*?)```", text, re.DOTALL)[1].splitlines()


def test_the_files_that_it_names_exist_and_it_is_short():
    lines = drawing()
    assert len(lines) <= 11
    files = {name for line in lines for name in re.findall(r"\w+/\w+\.py", line)}
    assert len(files) >= 10
    for name in files:
        assert (SOURCE / name).is_file(), name


def test_its_functions_are_entered_in_this_order_and_in_these_files():
    """The frames that are open when `attention` is called for the first time."""
    found = []

    def watch(frame, event, argument):
        if event == "call" and frame.f_code.co_name == "attention" and not found:
            while frame is not None:
                found.append((frame.f_code.co_name, Path(frame.f_code.co_filename)))
                frame = frame.f_back

    model = Decoder(TINY).eval()
    tokens = generate(model, torch.tensor([[1, 2, 3]]), 2)
    sys.setprofile(watch)
    try:
        list(tokens)
    finally:
        sys.setprofile(None)
    inside = [
        (name, path.relative_to(SOURCE).as_posix())
        for name, path in reversed(found)
        if path.is_relative_to(SOURCE)
    ]
    names = [name for name, _ in inside]
    drawn = ["with_cache", "drive", "read", "prefill", "hidden", "block", "attend"]
    drawn += ["causal_attention", "grouped_query_attention", "attention"]
    places = [names.index(name) for name in drawn]
    assert places == sorted(places), names
    lines = drawing()
    depth = 0
    for name in drawn[:-1]:
        row = next(n for n, line in enumerate(lines) if re.search(rf"\b{name}\b", line))
        assert row >= depth, f"{name} stands above what calls it"
        depth = row
        if name != "read":  # a closure of this file
            file = dict(inside)[name]
            assert file in lines[row] or file.startswith("model/"), (name, file)


def test_what_ends_a_text_is_decided_where_it_says():
    from decodeloop.decode.sequence import Sequence

    assert inspect.getsourcefile(Sequence.take).endswith("decode/sequence.py")
    elsewhere = [
        path.name
        for path in (SOURCE / "decode").glob("*.py")
        if re.search(r"finish_reason = ", path.read_text("utf-8")) and path.name != "sequence.py"
    ]
    assert not elsewhere
