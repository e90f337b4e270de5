"""The failure museum: what block managers and schedulers of real engines got wrong, each put back
into ours by an edit, and the test that finds it.

Each is cited by the thread in which it was reported: nano-vllm is GeeeekExplorer/nano-vllm, vllm is
vllm-project/vllm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from serve_kit import Kit

from decodeloop.exercises.edits import edited
from decodeloop.serve import BlockManager, Scheduler, attend_paged, policy
from decodeloop.serve import blocks as decisions


@dataclass(frozen=True)
class Fault:
    name: str
    threads: tuple[str, ...]
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
    found = []
    for name, wrong in edited(right, text).items():
        threads, test = FOUND_BY[name]
        found.append(Fault(name, tuple(threads.split()), kit_with(right, wrong), test))
    return found


# What is put back → the threads in which it was reported (none: a fault of our own making), and the
# test that finds it.
FOUND_BY = {
    "used again, still found by its old hash": (
        "nano-vllm#163 vllm#4761",
        "test_block_manager.test_a_block_that_is_used_again_is_not_found_by_its_old_hash",
    ),
    "the second of two twins takes the entry over": (
        "nano-vllm#219",
        "test_block_manager.test_of_two_that_were_computed_at_once_one_is_found",
    ),
    "published before it is computed": (
        "ATOM#902",
        "test_block_manager.test_what_is_not_yet_computed_is_not_found",
    ),
    "found blocks that are free are not charged": (
        "vllm#11565",
        "test_block_manager.test_free_blocks_that_are_found_count_as_taken",
    ),
    "found blocks are touched before there is room": (
        "vllm#11565",
        "test_block_manager.test_a_refused_text_has_stored_nothing",
    ),
    "the cached count stays when there was no room": (
        "vllm#18957",
        "test_block_manager.test_a_refused_text_has_stored_nothing",
    ),
    "what is found is locked but for the last of it": (
        "mini-sglang#52",
        "test_block_manager.test_what_is_found_cannot_be_taken_by_others",
    ),
    "given back twice": (
        "vllm#33377",
        "test_block_manager.test_a_text_is_given_back_once",
    ),
    "going back leaves what is known of the tail": (
        "vllm-mlx#385",
        "test_block_manager.test_a_text_that_went_back_is_known_by_its_new_tokens",
    ),
    "a block that is overwritten keeps its hash": (
        "",
        "test_block_manager.test_a_text_that_went_back_is_known_by_its_new_tokens",
    ),
    "a wholly cached prompt leaves nothing to read": (
        "nano-vllm#144 nano-vllm#199",
        "test_block_manager.test_a_text_that_is_wholly_known_still_reads_its_last_token",
    ),
    "a new block one token late": (
        "MinivLLM#85",
        "test_blocks.test_every_position_has_a_block_and_no_block_is_empty",
    ),
    "a hash that anybody can construct": (
        "vllm#12621",
        "test_blocks.test_a_hash_is_no_accident",
    ),
    "tenants share one domain": (
        "vllm#44701",
        "test_block_manager.test_tenants_share_nothing_with_each_other",
    ),
    "the hash of a block alone": (
        "",
        "test_block_manager.test_equal_tokens_after_another_beginning_are_another_block",
    ),
    "the beginning is forgotten first": (
        "",
        "test_block_manager.test_a_beginning_outlives_what_followed_it",
    ),
    "written to while another reads it": (
        "",
        "test_block_manager.test_two_that_share_part_when_one_writes",
    ),
    "a chunk attends to its new keys alone": (
        "MinivLLM#98",
        "test_paged_attention.test_a_chunk_sees_what_is_cached",
    ),
    "how many to read is counted before blocks are found": (
        "nano-vllm#207 nano-vllm#211 nano-vllm#233",
        "test_scheduler.test_what_is_found_is_not_read_again",
    ),
    "sent back, and read again without the tokens that were made": (
        "nano-vllm#103 nano-vllm#145",
        "test_scheduler.test_who_was_sent_back_keeps_the_tokens_that_were_made",
    ),
    "what never fits waits for ever": (
        "vllm#1534 vllm#35570",
        "test_scheduler.test_what_can_never_fit_is_refused_and_stops_nobody",
    ),
    "freed while its step is computed": (
        "vllm#45357",
        "test_scheduler.test_an_abort_while_a_step_is_computed_waits_for_its_end",
    ),
    "sent back itself, and computed all the same": (
        "tt-inference-server#2042",
        "test_scheduler.test_who_is_sent_back_itself_is_not_computed",
    ),
    "the client has gone, its blocks have not": (
        "Rapid-MLX#1759",
        "test_scheduler.test_an_abort_gives_all_blocks_back",
    ),
    "a smaller text overtakes": (
        "",
        "test_scheduler.test_nobody_overtakes",
    ),
    "who came first gives way": (
        "",
        "test_scheduler.test_who_came_last_is_sent_back_and_comes_back_first",
    ),
    "a prompt stops the others' tokens": (
        "",
        "test_scheduler.test_who_waits_for_a_token_is_not_stopped_by_a_prompt",
    ),
}

FAULTS = [
    *faults(
        BlockManager,
        """
## used again, still found by its old hash
- del self.block_of[self.hash_of.pop(block)]
+ self.hash_of.pop(block)

## the second of two twins takes the entry over
- if name not in self.block_of:
+ if True:

## published before it is computed
- self._append(table, len(table.tokens))
+ self._append(table, len(table.tokens))
+ self.complete(table, table.left)
+ table.stored = len(found) * self.size

## found blocks that are free are not charged
- return new + sum(self.references[block] == 0 for block in found)
+ return new

## found blocks are touched before there is room
- self._check_room(self.price(table, found))
+ for block in found:
+     self.references[block] += 1
+ self._check_room(self.price(table, found))

## the cached count stays when there was no room
- self._check_room(self.price(table, found))
+ table.stored = len(found) * self.size
+ self._check_room(self.price(table, found))

## what is found is locked but for the last of it
- self.free.pop(block, None)
- self.references[block] += 1
+ if block != found[-1]:
+     self.free.pop(block, None)
+ self.references[block] += 1

## given back twice
- self.truncate(table, 0)
+ self._give_back(table.blocks)
+ table.stored, table.hashes = 0, []

## going back leaves what is known of the tail
- del table.blocks[keep:], table.hashes[n // self.size :]
+ del table.blocks[keep:]

## a block that is overwritten keeps its hash
- self._forget(block)  # a text
+ pass  # a text
""",
    ),
    *faults(
        decisions.match_prefix,
        """
## a wholly cached prompt leaves nothing to read
- range(size, len(tokens), size) → range(size, len(tokens) + 1, size)
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
        decisions.block_hash,
        """
## a hash that anybody can construct
- return blake2b(parent + numbers, digest_size=32, key=key).digest()
+ return hash((parent, tuple(tokens), key)).to_bytes(32, "little", signed=True)

## tenants share one domain
- key=key → key=b""

## the hash of a block alone
- parent + numbers → numbers
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
        decisions.copy_on_write,
        """
## written to while another reads it
- references[blocks[i]] > 1 → references[blocks[i]] > 2
""",
    ),
    *faults(
        attend_paged,
        """
## a chunk attends to its new keys alone
- mask = causal_mask(T, S, device=q.device)
+ mask = causal_mask(T, S, device=q.device) & (torch.arange(S) >= start)
""",
    ),
    *faults(
        Scheduler,
        """
## how many to read is counted before blocks are found
- found = self.blocks.match(table)
+ found = self.blocks.match(table)
+ count = parts.chunk(table.left, budget, self.chunk)
- parts.chunk(table.left, budget, self.chunk), plan → count, plan

## sent back, and read again without the tokens that were made
- request = Request(self._arrived, Table([*tokens], key))
+ request = Request(self._arrived, Table([*tokens], key))
+ request.prompt = len(tokens)
- self.blocks.release(victim.table)
+ self.blocks.release(victim.table)
+ del victim.table.tokens[victim.prompt :]

## what never fits waits for ever
- if needed > blocks.count: → if False:

## freed while its step is computed
- if request not in self._in_flight: → if True:

## sent back itself, and computed all the same
- while request in self.running: → while True:

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
