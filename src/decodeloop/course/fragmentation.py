"""What a cache holds, step by step, by how its places are given out: numbers only (lesson 15)."""

from __future__ import annotations

from collections.abc import Sequence

from decodeloop.serve import BlockManager, Scheduler

Asked = tuple[int, int]  # tokens of the prompt, tokens of the answer
Span = tuple[int, int, int]  # where it begins, how many places hold a token, how many are taken


def first_gap(taken: Sequence[Span], size: int, places: int) -> int | None:
    """Where so many places in a row are free, or None."""
    at = 0
    for start, _, length in sorted(taken):
        if start - at >= size:
            break
        at = start + length
    return at if at + size <= places else None


def in_one_piece(
    requests: Sequence[Asked], reserved: Sequence[int], places: int
) -> list[list[Span]]:
    """Each text gets `reserved` places in a row, the first that are free; who came first is served
    first. Each makes one token a step. → for each step the texts that run."""
    waiting = list(zip(requests, reserved, strict=True))
    running: list[tuple[Span, int]] = []  # and how many tokens each has still to make
    steps = []
    while waiting or running:
        while (
            waiting
            and (at := first_gap([r[0] for r in running], waiting[0][1], places)) is not None
        ):
            (prompt, answer), length = waiting.pop(0)
            running.append(((at, prompt, length), answer))
        steps.append([span for span, _ in running])
        running = [((at, n + 1, length), left - 1) for (at, n, length), left in running if left > 1]
    return steps


def in_blocks(requests: Sequence[Asked], limit: int, places: int, size: int) -> list[list[Span]]:
    """The same through lesson 14's scheduler over blocks; no answer is longer than `limit`. → for
    each step the blocks that are in use."""
    blocks = BlockManager(places // size, size, share=False)
    scheduler = Scheduler(blocks, most=len(requests), budget=sum(n for n, _ in requests))
    left = {scheduler.add([0] * prompt, prompt + limit): answer for prompt, answer in requests}
    steps = []
    while scheduler.waiting or scheduler.running:
        plan = scheduler.schedule()
        steps.append(
            [
                (block * size, min(size, len(request.table.tokens) - i * size), size)
                for request in scheduler.running
                for i, block in enumerate(request.table.blocks)
            ]
        )
        for piece in plan.pieces:
            left[piece.request] -= 1
            scheduler.update(piece, 0, ended=left[piece.request] == 0)
    return steps


def share_held(steps: Sequence[Sequence[Span]], places: int) -> float:
    """Which share of all places holds a token: the mean over steps."""
    return sum(held for step in steps for _, held, _ in step) / (places * len(steps))


__all__ = ["Asked", "Span", "in_blocks", "in_one_piece", "share_held"]
