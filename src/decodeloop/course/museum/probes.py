"""For each fault the few steps that show it. On a sound engine nothing happens."""

from __future__ import annotations

import contextlib
import math
from copy import deepcopy

import torch
from torch.nn import functional as F

from decodeloop.course.museum.rig import Engine, Kit, Pool, demand
from decodeloop.errors import UserError
from decodeloop.serve import NoRoom, Table

# parts


def just_full(kit: Kit) -> None:
    engine = Engine(kit, 2)
    try:
        engine.add([1, 2, 3, 4])
    except UserError:
        demand(False, "a text that just fits was refused")
    engine.run()


def another_beginning(kit: Kit) -> None:
    pool = Pool(kit, 8)
    pool.admit([1, 1, 2, 2, 3])
    pool.admit([2, 2, 1, 1, 3])


def made_to_collide(kit: Kit) -> None:
    pool = Pool(kit, 8)
    pool.admit([5, 40, 1])
    pool.admit([6, 9, 1])  # 31 · 5 + 40 = 31 · 6 + 9
    pool.admit([0, 7, 1])
    pool.admit([2**61 - 1, 7, 1])  # one and the same for Python's `hash`
    name = kit.block_parts.block_hash(bytes(32), [5, 40], b"")
    demand(len(name) >= 16, "texts that are taken for each other could be found by trying")


def two_tenants(kit: Kit) -> None:
    pool = Pool(kit, 8)
    pool.admit([1, 2, 3], "one")
    pool.admit([1, 2, 3], "the other")


def the_same_again(kit: Kit) -> None:
    engine = Engine(kit, 4)
    for _ in range(2):
        engine.add([1, 2, 3, 4])
        engine.run()


def still_read(kit: Kit) -> None:
    pool = Pool(kit, 4)
    first = pool.admit([1, 2, 3])
    second = pool.admit([1, 2, 4])
    pool.release(second)
    pool.check()
    pool.admit([5, 6, 7])
    pool.read(first, 3)


def half_a_block_shared(kit: Kit) -> None:
    pool = Pool(kit, 8)
    pool.admit([9])  # takes block 0, so that no block has the number of its entry
    first = pool.admit([1, 2, 3])
    pool.blocks.grow(first, 3)  # room for three more, which both will write into
    second = pool.fork(first)
    pool.grow(second, 4, 5, 6)
    demand(second.blocks[0] == first.blocks[0], "a block that is only read was copied")
    pool.grow(first, 7)
    for table in pool.texts:
        pool.read(table, len(table.tokens))


def attended(kit: Kit, start: int, wrong: str, T: int = 2) -> None:
    """`T` new tokens from `start` on; what lies behind them in their block is another's."""
    size, blocks = 4, [3, 0, 2]
    generator = torch.Generator().manual_seed(15)
    q = torch.randn(4, T, 8, generator=generator)
    keys, values = (torch.randn(4, 2, size, 8, generator=generator) for _ in range(2))
    S = start + T
    if S % size:
        last = blocks[S // size]
        keys[last, :, S % size :] = values[last, :, S % size :] = math.nan
    k, v = (x[blocks].transpose(0, 1).flatten(1, 2)[:, :S] for x in (keys, values))
    mask = torch.arange(S)[None] <= torch.arange(start, S)[:, None]
    right = F.scaled_dot_product_attention(q[None], k[None], v[None], mask, enable_gqa=True)[0]
    got = kit.attend_paged(q, keys, values, blocks, start)
    demand(torch.allclose(got, right, atol=1e-5), wrong)


def after_a_beginning(kit: Kit) -> None:
    attended(kit, 6, "a text forgot its cached beginning")


def behind_the_end(kit: Kit) -> None:
    attended(kit, 0, "a text read what an earlier one had left behind its end", T=3)


# the block manager


def taken_again(kit: Kit) -> None:
    pool = Pool(kit, 2)
    for tokens in ([1, 2, 3], [5, 6, 7, 8], [1, 2, 3]):
        pool.release(pool.admit(tokens))


def twins(kit: Kit) -> None:
    engine = Engine(kit, 8)
    engine.add([1, 2, 3])
    engine.add([1, 2, 3])
    engine.run()


def still_empty(kit: Kit) -> None:
    pool = Pool(kit, 8)
    first = Table([1, 2, 3, 4, 5])
    pool.blocks.admit(first)  # it waits for its turn
    pool.texts.append(first)
    pool.admit([1, 2, 3, 4, 5])


def known_and_too_long(pool: Pool, rest: int) -> None:
    """A known beginning of two blocks, and a text that goes on from it and finds no room."""
    pool.release(pool.admit([1, 2, 3, 4, 5]))
    pool.admit([9])  # takes one block
    table = Table([1, 2, 3, 4, *range(5, 5 + rest)])
    found = pool.blocks.match(table)

    def state() -> object:
        b = pool.blocks
        return deepcopy((b.references, [*b.free], b.block_of, b.hash_of))

    before = state()
    with contextlib.suppress(NoRoom):
        pool.blocks.admit(table, found)
        pool.texts.append(table)
    if not pool.texts[1:]:
        demand(state() == before and not table.blocks, "a refused text kept what it had taken")


def refused(kit: Kit) -> None:
    known_and_too_long(Pool(kit, 4), 5)


def known_blocks_cost_too(kit: Kit) -> None:
    known_and_too_long(Pool(kit, 3), 1)


def evicted_in_use(kit: Kit) -> None:
    pool = Pool(kit, 3)
    pool.release(pool.admit([1, 2, 3]))
    pool.admit([1, 2, 4])
    pool.check()


def given_back(kit: Kit) -> None:
    pool = Pool(kit, 2)
    for _ in range(3):
        pool.release(pool.admit([1, 2, 3]))
        pool.check()


def given_back_twice(kit: Kit) -> None:
    pool = Pool(kit, 4)
    table = pool.admit([1, 2, 3])
    pool.admit([1, 2, 4])
    pool.release(table)
    pool.blocks.release(table)  # aborted, and it had just ended
    pool.check()


def rewound(kit: Kit) -> None:
    pool = Pool(kit, 6)
    table = pool.admit([1, 2, 3])
    pool.blocks.truncate(table, 1)
    del table.tokens[1:]
    pool.grow(table, 7)
    pool.admit([1, 2, 3])


# the scheduler


def counted_too_early(kit: Kit) -> None:
    engine = Engine(kit, 8)
    for prompt in ([1, 2, 3], [1, 2, 3, 4, 5]):
        engine.add(prompt)
        engine.run()


def sent_back(kit: Kit) -> None:
    engine = Engine(kit, 4)
    engine.add([1, 2, 3], new=5)
    engine.add([4, 3, 2], new=5)
    engine.run()


def never_fits(kit: Kit) -> None:
    engine = Engine(kit, 2)
    with contextlib.suppress(UserError):  # said at once: as it should be
        engine.add([1, 2, 3, 4, 5, 6])
        engine.texts.clear()  # it is the next one that counts
    engine.add([1, 2, 3])
    engine.run()


def aborted_in_flight(kit: Kit) -> None:
    engine = Engine(kit, 4)
    request = engine.add([1, 2, 3])
    plan = engine.plan()
    engine.scheduler.abort(request)
    free = len(engine.pool.blocks.free)
    demand(free == 2, "blocks were given away while they were still written to")
    engine.update(plan)
    demand(len(engine.pool.blocks.free) == 4, "the blocks of an aborted text were lost")


def client_gone(kit: Kit) -> None:
    engine = Engine(kit, 8, most=1)
    request = engine.add([1, 2, 3], new=9)
    engine.step()
    engine.scheduler.abort(request)
    demand(not engine.scheduler.running, "a text that nobody reads kept its place")


def found_long_ago(kit: Kit) -> None:
    engine = Engine(kit, 3, most=1)
    engine.add([1, 2, 3])
    engine.run()
    engine.add([4, 3, 2], new=4)
    engine.add([1, 2, 4])
    engine.run()
