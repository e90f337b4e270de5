"""Each exhibit of the museum shows its fault, and a sound engine shows none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from decodeloop.course.museum import FAULTS, Kit, shipped_by, visit, walk
from decodeloop.course.museum.faults import EXHIBITS, REPOSITORIES
from decodeloop.serve import BlockParts, copy_on_write

each_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


@each_fault
def test_a_fault_shows_on_an_engine_that_has_it(fault):
    symptom = shipped_by(fault, fault.kit)
    assert symptom
    for word in ("BadEdit", "SyntaxError", "NameError", "AttributeError", "TypeError"):
        assert word not in symptom


def test_a_sound_engine_shows_none():
    assert [finding.fault.name for finding in visit(Kit()) if finding.shipped] == []


def test_each_is_told_from_the_others_by_where_it_lives_and_cited():
    assert {fault.name for fault in FAULTS} == {*EXHIBITS}
    assert len(FAULTS) >= 15
    for fault in FAULTS:
        assert fault.threads
        assert all(thread.split("#")[0] in REPOSITORIES for thread in fault.threads)
        assert all(link.startswith("https://github.com/") for link in fault.links)
        assert fault.what.endswith((".", ")"))


def test_a_walk_says_which_faults_parts_would_have_shipped(capsys):
    [whole] = (fault for fault in FAULTS if fault.lives_in == "match_prefix")
    findings = walk(replace(BlockParts(), match_prefix=whole.mutant))
    said = capsys.readouterr().out
    shipped = {finding.fault.name for finding in findings if finding.shipped}
    assert whole.name in shipped
    assert f"✗ {whole.name}" in said
    assert f"\n{len(shipped)} of " in said
    walk()
    assert "\n0 of " in capsys.readouterr().out


def by_pythons_hash(parent, tokens, key=b""):
    return hash((parent, tuple(tokens), key)).to_bytes(16, "little", signed=True)


def numbers_of_blocks(blocks, *rest):
    return [blocks[i] for i in copy_on_write(blocks, *rest)]


def the_first_alone(*asked):
    return copy_on_write(*asked)[:1]


def whatever_is_shared(blocks, references, start, count, size):
    return [i for i, block in enumerate(blocks) if references[block] > 1]


def read_with_weight_0(q, keys, values, blocks, start, mask=None):
    (H, T, _), (_, G, size, _) = q.shape, keys.shape
    whole = blocks[: -(-(start + T) // size)]
    k, v = (
        x[whole].transpose(0, 1).flatten(1, 2).repeat_interleave(H // G, 0) for x in (keys, values)
    )
    seen = torch.arange(len(whole) * size)[None] <= torch.arange(start, start + T)[:, None]
    return F.scaled_dot_product_attention(q, k, v, seen)


@pytest.mark.parametrize(
    "wrong, name",
    [
        (
            Kit(block_parts=BlockParts(block_hash=by_pythons_hash)),
            "a hash that anybody can construct",
        ),
        *(
            (Kit(block_parts=BlockParts(copy_on_write=f)), "a block that two share is written to")
            for f in (numbers_of_blocks, the_first_alone, whatever_is_shared)
        ),
        (Kit(attend_paged=read_with_weight_0), "the tail behind the end is read"),
    ],
)
def test_what_an_exercise_rejects_is_found_in_the_museum_too(wrong, name):
    assert [finding.fault.name for finding in visit(wrong) if finding.shipped] == [name]


def test_a_part_that_raises_is_told_in_a_sentence(capsys):
    def release(blocks, references):
        raise ZeroDivisionError("no")

    findings = walk(BlockParts(release=release))
    assert any(f.shipped and f.shipped.startswith("it stopped with") for f in findings)
    assert "Traceback" not in capsys.readouterr().out
