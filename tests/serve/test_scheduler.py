"""Schedules without a model: who is computed when, and that nobody's blocks are another's."""

from __future__ import annotations

import random
import secrets
from dataclasses import replace

import pytest

from decodeloop.errors import UserError
from decodeloop.serve import release


def pieces(plan):
    return [(piece.request.number, piece.start, piece.count) for piece in plan.pieces]


def numbers(requests):
    return [request.number for request in requests]


def test_a_prompt_is_read_in_chunks_and_then_token_by_token(kit):
    drive = kit.drive(9, 4, chunk=3)
    drive.add([1] * 7, new=3)
    drive.run()
    assert [pieces(plan) for plan in drive.plans] == [
        [(0, 0, 3)],
        [(0, 3, 3)],
        [(0, 6, 1)],
        [(0, 7, 1)],
        [(0, 8, 1)],
    ]


def test_who_waits_for_a_token_is_not_stopped_by_a_prompt(kit):
    drive = kit.drive(20, 4, budget=4, share=False)
    drive.add([1, 2], new=5)
    drive.step()
    drive.add([3] * 9, new=2)
    drive.run()
    assert [pieces(plan) for plan in drive.plans[1:5]] == [
        [(0, 2, 1), (1, 0, 3)],
        [(0, 3, 1), (1, 3, 3)],
        [(0, 4, 1), (1, 6, 3)],
        [(0, 5, 1), (1, 9, 1)],
    ]


def test_nobody_overtakes(kit):
    drive = kit.drive(4, 2)
    drive.add([1, 2, 3], new=4)
    drive.step()
    drive.add([4, 5, 6, 7, 8], new=1)  # needs three blocks; two are free
    drive.add([9], new=1)
    assert pieces(drive.step()) == [(0, 3, 1)]
    assert numbers(drive.scheduler.waiting) == [1, 2]
    drive.run()


def test_at_most_so_many_run(kit):
    drive = kit.drive(20, 2, most=3)
    for i in range(7):
        drive.add([i, i], new=3)
    drive.run()
    assert max(len(plan.pieces) for plan in drive.plans) == 3


def test_who_came_last_is_sent_back_and_comes_back_first(kit):
    drive = kit.drive(4, 2, share=False)
    drive.add([1, 2, 3], new=5)
    drive.add([4, 5, 6], new=3)
    drive.add([7], new=1)
    while not (plan := drive.step()).preempted:
        pass
    assert numbers(plan.preempted) == [1]
    assert numbers(drive.scheduler.waiting) == [1, 2]
    assert numbers(drive.scheduler.running) == [0]
    drive.run()
    admitted = [number for plan in drive.plans for number in numbers(plan.admitted)]
    assert admitted == [0, 1, 1, 2]


def test_who_is_sent_back_itself_is_not_computed(kit):
    drive = kit.drive(3, 2, share=False)
    drive.add([1, 2], new=4)
    drive.add([4], new=4)
    plans = [drive.step() for _ in range(3)]
    assert numbers(plans[-1].preempted) == [1]
    assert pieces(plans[-1]) == [(0, 3, 1)]
    assert numbers(drive.scheduler.running) == [0]
    drive.run()


def test_who_was_sent_back_keeps_the_tokens_that_were_made(kit):
    drive = kit.drive(4, 2, share=False)
    drive.add([1, 2, 3], new=5)
    drive.add([4, 5, 6], new=5)
    drive.run()
    assert sum(request.preempted for request in drive.texts) > 0


def test_what_is_found_is_not_read_again(kit):
    """How many tokens a text reads is known when its blocks are: not before."""
    drive = kit.drive(9, 2)
    drive.add([1, 2, 3, 4, 5])
    drive.step()
    request = drive.add([1, 2, 3, 4, 6])
    assert pieces(drive.step()) == [(1, 4, 1)]
    assert request.shared == 4
    drive.run()


def test_who_was_sent_back_finds_its_own_blocks(kit):
    drive = kit.drive(5, 2)
    drive.add([1, 2, 3], new=3)
    late = drive.add([4, 5, 6, 7, 8], new=4)
    drive.run()
    assert (late.preempted, late.shared) == (1, 4)


def test_two_equal_texts_in_one_step(kit):
    drive = kit.drive(9, 2)
    drive.add([1, 2, 3, 4, 5], new=3)
    drive.add([1, 2, 3, 4, 5], new=3)
    drive.run()
    drive.add([1, 2, 3, 4, 5], new=3)
    drive.run()


@pytest.mark.parametrize("longest", [9, 10**12])
def test_what_can_never_fit_is_refused_and_stops_nobody(kit, longest):
    drive = kit.drive(4, 2)
    with pytest.raises(UserError, match=rf"of up to {longest} positions needs .* there are 4"):
        drive.scheduler.add([1, 2], longest)
    with pytest.raises(UserError, match=r"of up to 9 positions needs 5 blocks of 2"):
        drive.scheduler.add([1] * 9, 1)
    drive.add([1, 2], new=7)
    drive.run()


def test_an_abort_gives_all_blocks_back(kit):
    drive = kit.drive(9, 2, most=2)
    gone = [drive.add([1, 2, 3], new=5), drive.add([4, 5], new=5), drive.add([6], new=5)]
    drive.step()
    free = len(drive.blocks.free)
    drive.scheduler.abort(gone[0])
    assert len(drive.blocks.free) == free + 2
    drive.scheduler.abort(gone[2])  # it waits
    for request in (gone[0], gone[2]):
        del drive.texts[request]
    drive.run()


def test_an_abort_while_a_step_is_computed_waits_for_its_end(kit):
    """Until then its blocks are written to: nobody else may have them."""
    drive = kit.drive(9, 2)
    gone, stays = drive.add([1, 2, 3], new=5), drive.add([4, 5], new=5)
    plan = drive.plan()
    drive.scheduler.abort(gone)
    del drive.texts[gone]
    assert len(drive.blocks.free) == 9 - 3
    assert [drive.blocks.references[block] for block in gone.table.blocks] == [1, 1]
    for piece in plan.pieces:
        drive.scheduler.update(piece, ended=False)
    assert len(drive.blocks.free) == 9 - 1
    del drive.texts[stays]
    drive.scheduler.abort(stays)
    drive.run()


def test_an_abort_twice_is_refused_and_gives_nothing_back_twice(kit):
    drive = kit.drive(9, 2)
    gone, twin = drive.add([1, 2, 3], new=5), drive.add([1, 2, 3], new=5)
    drive.step()
    drive.scheduler.abort(gone)
    del drive.texts[gone]
    before = [*drive.blocks.references]
    with pytest.raises(UserError, match=r"request 0 is not here: it has ended, or was aborted"):
        drive.scheduler.abort(gone)
    assert drive.blocks.references == before
    drive.run()
    with pytest.raises(UserError, match=r"request 1 is not here"):
        drive.scheduler.abort(twin)


def test_a_cancelled_step_is_computed_again(kit):
    drive = kit.drive(9, 2)
    gone, _ = drive.add([1, 2, 3], new=2), drive.add([4, 5, 6], new=2)
    plan = drive.plan()
    with pytest.raises(UserError, match=r"the last step is still computed"):
        drive.scheduler.schedule()
    drive.scheduler.abort(gone)
    del drive.texts[gone]
    drive.scheduler.cancel()
    assert not drive.blocks.block_of, "nothing was computed"
    assert pieces(plan)[1:] == pieces(drive.step())
    drive.run()


@pytest.mark.parametrize("seed", range(40))
def test_any_load_ends_as_each_text_alone(kit, seed):
    """Texts of two tenants that begin alike, come at any time, are aborted at any time."""
    draw = random.Random(seed)
    size = draw.choice([1, 2, 3, 4])
    whole = [draw.randrange(5) for _ in range(12)]
    texts = []
    for _ in range(12):
        own = [draw.randrange(5) for _ in range(draw.randrange(6))]
        texts.append((whole[: draw.randrange(1, 13)] + own, draw.randrange(1, 10)))
    smallest = max(-(-(len(prompt) + new - 1) // size) for prompt, new in texts)
    drive = kit.drive(
        smallest + draw.randrange(6),
        size,
        most=draw.choice([2, 4, 8]),
        budget=draw.choice([1, 3, 7, 64]),
    )
    while texts:
        if draw.random() < 0.4:
            prompt, new = texts.pop()
            drive.add(prompt, new, draw.choice(["a", "b"]))
        plan = drive.plan()
        if plan.pieces and draw.random() < 0.2:
            gone = draw.choice(plan.pieces).request
            drive.scheduler.abort(gone)
            del drive.texts[gone]
            for piece in plan.pieces:
                drive.texts.setdefault(piece.request, ([], 0, []))
            drive.update(plan)
            del drive.texts[gone]
        else:
            drive.update(plan)
    drive.run()


@pytest.mark.parametrize("option", ["most", "budget", "chunk"])
def test_limits_are_at_least_1(kit, option):
    with pytest.raises(UserError, match=rf"{option} is 0: expected a whole number from 1 up"):
        kit.Scheduler(kit.manager(4, 2), **{option: 0})


@pytest.mark.parametrize("tokens", [[], [1, 2]])
def test_a_text_has_tokens_and_a_length(kit, tokens):
    with pytest.raises(UserError, match=r"expected a whole number from 1 up"):
        kit.Scheduler(kit.manager(4, 2)).add(tokens, 0)


@pytest.mark.parametrize(
    ("part", "idle"),
    [
        ("admit", lambda price, free, running, most: False),
        ("chunk", lambda left, budget, size: 0),
    ],
)
def test_parts_that_let_nobody_be_computed_are_named(kit, part, idle):
    drive = replace(kit, parts=replace(kit.parts, **{part: idle})).drive(4, 2)
    drive.add([1, 2, 3])
    with pytest.raises(UserError, match="nothing is computed: look at take_tokens"):
        drive.step()


def load(kit):
    """What happens to texts that begin alike, and to blocks, in a pool that is too small."""
    drive = kit.drive(7, 2, most=3, budget=6)
    for prompt, new in [([1, 2, 3, 4, 5], 6), ([7], 4), ([1, 2, 3, 9], 5), ([4] * 9, 3)]:
        drive.add(prompt, new)
    for _ in range(30):
        if drive.scheduler.waiting or drive.scheduler.running:
            drive.step()
    return [
        (pieces(p), p.copies, numbers(p.admitted), numbers(p.preempted)) for p in drive.plans
    ], [*drive.blocks.free]


def without_order(blocks, references):
    return sorted(release(blocks, references))


POLICIES = {
    "take_tokens": lambda left, budget, size, chunk: [min(n, 1) for n in left],
    "chunk": lambda left, budget, size: min(left, budget, 2),
    "admit": lambda price, free, running, most: price <= free and running < 2,
    "preempt": lambda arrivals: 0,
}
BLOCKS = {
    "blocks_needed": lambda positions, size: -(-positions // size) + (positions > 0),
    "block_hash": lambda parent, tokens, key: secrets.token_bytes(32),
    "match_prefix": lambda tokens, size, known, key, block_hash: [],
    "release": without_order,
    "copy_on_write": lambda blocks, references, start, count, size: [start // size][: start % size],
}


@pytest.mark.parametrize("part", POLICIES)
def test_each_decision_of_the_policy_counts(kit, part):
    other = replace(kit, parts=replace(kit.parts, **{part: POLICIES[part]}))
    assert load(other) != load(kit) == load(kit)


@pytest.mark.parametrize("part", BLOCKS)
def test_each_decision_about_blocks_counts(kit, part):
    other = replace(kit, block_parts=replace(kit.block_parts, **{part: BLOCKS[part]}))
    assert load(other) != load(kit)
