"""What is put back into the engine, and the test that finds it.

Every exhibit of the course's failure museum, and faults of our own making.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from serve_kit import Kit

from decodeloop.course import museum
from decodeloop.exercises.edits import edited
from decodeloop.serve import BlockManager, Scheduler, policy
from decodeloop.serve import blocks as decisions


@dataclass(frozen=True)
class Fault:
    name: str
    kit: Kit
    found_by: str  # module.test


def kit_with(right: Callable[..., Any], wrong: Any) -> Kit:
    """The kit with one part in the place of another."""
    kit, name = Kit(), right.__name__
    if hasattr(decisions.LIBRARY_PARTS, name):
        return replace(kit, block_parts=replace(kit.block_parts, **{name: wrong}))
    if hasattr(policy.LIBRARY_PARTS, name):
        return replace(kit, parts=replace(kit.parts, **{name: wrong}))
    return replace(kit, **{name: wrong})


def faults(right: Callable[..., Any], text: str) -> list[Fault]:
    """The faults that a text of edits describes."""
    return [
        Fault(name, kit_with(right, wrong), FOUND_BY[name])
        for name, wrong in edited(right, text).items()
    ]


FOUND_BY = {
    # shipped by real engines
    "the hash of a block alone": (
        "test_block_manager.test_equal_tokens_after_another_beginning_are_another_block"
    ),
    "a hash that anybody can construct": "test_blocks.test_a_hash_is_no_accident",
    "tenants share one domain": "test_block_manager.test_tenants_share_nothing_with_each_other",
    "a wholly cached prompt leaves nothing to read": (
        "test_block_manager.test_a_text_that_is_wholly_known_still_reads_its_last_token"
    ),
    "a chunk attends to its new keys alone": (
        "test_paged_attention.test_a_chunk_sees_what_is_cached"
    ),
    "used again, still found by its old hash": (
        "test_block_manager.test_a_block_that_is_used_again_is_not_found_by_its_old_hash"
    ),
    "the second of two twins takes the entry over": (
        "test_block_manager.test_of_two_that_were_computed_at_once_one_is_found"
    ),
    "published before it is computed": (
        "test_block_manager.test_what_is_not_yet_computed_is_not_found"
    ),
    "found blocks are touched before there is room": (
        "test_block_manager.test_a_refused_text_has_stored_nothing"
    ),
    "found blocks that are free are not charged": (
        "test_block_manager.test_free_blocks_that_are_found_count_as_taken"
    ),
    "what is found is locked but for the last of it": (
        "test_block_manager.test_what_is_found_cannot_be_taken_by_others"
    ),
    "given back twice": "test_block_manager.test_a_text_is_given_back_once",
    "a block that is overwritten keeps its hash": (
        "test_block_manager.test_a_text_that_went_back_is_known_by_its_new_tokens"
    ),
    "how many to read is counted before blocks are found": (
        "test_scheduler.test_what_is_found_is_not_read_again"
    ),
    "sent back, and read again without the tokens that were made": (
        "test_scheduler.test_who_was_sent_back_keeps_the_tokens_that_were_made"
    ),
    "what never fits waits for ever": (
        "test_scheduler.test_what_can_never_fit_is_refused_and_stops_nobody"
    ),
    "freed while its step is computed": (
        "test_scheduler.test_an_abort_while_a_step_is_computed_waits_for_its_end"
    ),
    "sent back itself, and computed all the same": (
        "test_scheduler.test_who_is_sent_back_itself_is_not_computed"
    ),
    "a text that fills its blocks gets one more": (
        "test_blocks.test_every_position_has_a_block_and_no_block_is_empty"
    ),
    "given away while another reads it": "test_block_manager.test_a_text_is_given_back_once",
    "a block that two share is written to": (
        "test_block_manager.test_two_that_share_part_when_one_writes"
    ),
    "the tail behind the end is read": "test_paged_attention.test_a_chunk_sees_what_is_cached",
    "a new block has no user": "test_block_manager.test_a_text_is_given_back_once",
    "what was found is kept while a text waits": (
        "test_scheduler.test_who_was_sent_back_finds_its_own_blocks"
    ),
    "the client has gone, its place has not": "test_scheduler.test_an_abort_gives_all_blocks_back",
    # of our own making
    "the cached count stays when there was no room": (
        "test_block_manager.test_a_refused_text_has_stored_nothing"
    ),
    "going back leaves what is known of the tail": (
        "test_block_manager.test_a_text_that_went_back_is_known_by_its_new_tokens"
    ),
    "the beginning is forgotten first": (
        "test_block_manager.test_a_beginning_outlives_what_followed_it"
    ),
    "the client has gone, its blocks have not": (
        "test_scheduler.test_an_abort_gives_all_blocks_back"
    ),
    "a smaller text overtakes": "test_scheduler.test_nobody_overtakes",
    "who came first gives way": (
        "test_scheduler.test_who_came_last_is_sent_back_and_comes_back_first"
    ),
    "a prompt stops the others' tokens": (
        "test_scheduler.test_who_waits_for_a_token_is_not_stopped_by_a_prompt"
    ),
    "a new block one token late": (
        "test_blocks.test_every_position_has_a_block_and_no_block_is_empty"
    ),
}

FAULTS = [
    *(Fault(each.name, Kit(**vars(each.kit)), FOUND_BY[each.name]) for each in museum.FAULTS),
    *faults(
        BlockManager,
        """
## the cached count stays when there was no room
- self._check_room(self.price(table, found))
+ table.stored = len(found) * self.size
+ self._check_room(self.price(table, found))

## going back leaves what is known of the tail
- del table.blocks[keep:], table.hashes[n // self.size :]
+ del table.blocks[keep:]
""",
    ),
    *faults(
        decisions.blocks_needed,
        """
## a new block one token late
- return -(-positions // size) → return positions // size + (positions % size > 1)
""",
    ),
    *faults(
        decisions.release,
        """
## the beginning is forgotten first
- reversed(blocks) → blocks
""",
    ),
    *faults(
        Scheduler,
        """
## the client has gone, its blocks have not
- if request not in self._in_flight:
-     self.blocks.release(request.table)

## a smaller text overtakes
- break  # nobody overtakes
+ if len(self.waiting) < 2 or not self._admit(self.waiting[1], budget, plan):
+     break
""",
    ),
    *faults(
        policy.preempt,
        """
## who came first gives way
- max → min
""",
    ),
    *faults(
        policy.take_tokens,
        """
## a prompt stops the others' tokens
- key=lambda i: left[i] > 1 → key=lambda i: left[i] < 2
""",
    ),
]
