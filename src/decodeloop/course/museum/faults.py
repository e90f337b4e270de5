"""Faults that real engines shipped, each put back into ours by an edit, and the steps that show it.

A fault is cited by the threads in which it was reported: read there what it did to people. Seven
live in what a learner writes; the others in the block manager and the scheduler around it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from decodeloop.course.museum import probes
from decodeloop.course.museum.rig import Kit
from decodeloop.exercises.edits import edits
from decodeloop.serve import BlockManager, Scheduler, attend_paged
from decodeloop.serve import blocks as decisions

REPOSITORIES = {
    "aibrix": "vllm-project/aibrix",
    "ATOM": "ROCm/ATOM",
    "Megatron-LM": "NVIDIA/Megatron-LM",
    "mini-sglang": "sgl-project/mini-sglang",
    "MinivLLM": "Wenyueh/MinivLLM",
    "nano-vllm": "GeeeekExplorer/nano-vllm",
    "Rapid-MLX": "raullenchai/Rapid-MLX",
    "tt-inference-server": "tenstorrent/tt-inference-server",
    "vllm": "vllm-project/vllm",
    "vllm-ascend": "vllm-project/vllm-ascend",
    "vllm-gaudi": "vllm-project/vllm-gaudi",
    "vllm-mlx": "waybarrios/vllm-mlx",
    "xllm": "xLLM-AI/xllm",
}


@dataclass(frozen=True)
class Fault:
    """One exhibit.

    `lives_in` names the part, or the class, that has the fault; `mutant` is that part with it, and
    `probe` shows it on any kit: it raises, or nothing happens.
    """

    name: str
    threads: tuple[str, ...]
    lives_in: str
    what: str
    mutant: Callable[..., Any]
    probe: Callable[[Kit], None]

    @property
    def kit(self) -> Kit:
        """An engine that has it."""
        kit = Kit()
        changed: dict[str, Any] = {self.lives_in: self.mutant}
        if hasattr(kit.block_parts, self.lives_in):
            return replace(kit, block_parts=replace(kit.block_parts, **changed))
        return replace(kit, **changed)

    @property
    def links(self) -> tuple[str, ...]:
        """Where it was reported."""
        found = [thread.split("#") for thread in self.threads]
        return tuple(f"https://github.com/{REPOSITORIES[r]}/issues/{n}" for r, n in found)


# name → where it was reported, and the steps that show it
EXHIBITS: dict[str, tuple[str, Callable[[Kit], None]]] = {
    "a text that fills its blocks gets one more": ("MinivLLM#87", probes.just_full),
    "the hash of a block alone": ("aibrix#2329", probes.another_beginning),
    "a hash that anybody can construct": ("vllm#12621 Megatron-LM#4158", probes.made_to_collide),
    "tenants share one domain": ("vllm#17045", probes.two_tenants),
    "a wholly cached prompt leaves nothing to read": (
        "nano-vllm#144 nano-vllm#199",
        probes.the_same_again,
    ),
    "given away while another reads it": ("mini-sglang#52", probes.still_read),
    "a block that two share is written to": ("vllm-ascend#10440", probes.half_a_block_shared),
    "a chunk attends to its new keys alone": ("xllm#2161", probes.after_a_beginning),
    "the tail behind the end is read": ("vllm-mlx#385", probes.behind_the_end),
    "used again, still found by its old hash": ("nano-vllm#163 vllm#4761", probes.taken_again),
    "the second of two twins takes the entry over": ("nano-vllm#219", probes.twins),
    "published before it is computed": ("ATOM#902", probes.still_empty),
    "found blocks are touched before there is room": ("vllm#11565", probes.refused),
    "found blocks that are free are not charged": ("ATOM#902", probes.known_blocks_cost_too),
    "what is found is locked but for the last of it": ("mini-sglang#52", probes.evicted_in_use),
    "a new block has no user": ("MinivLLM#87", probes.given_back),
    "given back twice": ("vllm#33377", probes.given_back_twice),
    "a block that is overwritten keeps its hash": ("vllm#49125", probes.rewound),
    "how many to read is counted before blocks are found": (
        "nano-vllm#233",
        probes.counted_too_early,
    ),
    "what was found is kept while a text waits": ("vllm#17305", probes.found_long_ago),
    "sent back, and read again without the tokens that were made": (
        "vllm-gaudi#524",
        probes.sent_back,
    ),
    "what never fits waits for ever": ("vllm#35570", probes.never_fits),
    "freed while its step is computed": ("vllm#45357", probes.aborted_in_flight),
    "sent back itself, and computed all the same": ("tt-inference-server#2042", probes.sent_back),
    "the client has gone, its place has not": ("Rapid-MLX#1759", probes.client_gone),
}


def faults(right: Callable[..., Any], text: str) -> tuple[Fault, ...]:
    """The faults that a text of edits describes; what follows an edit says what comes of it."""
    found = []
    for mistake in edits(right, text):
        threads, probe = EXHIBITS[mistake.name]
        found.append(
            Fault(
                mistake.name,
                tuple(threads.split()),
                right.__name__,
                mistake.hint,
                mistake.wrong,
                probe,
            )
        )
    return tuple(found)


def rolling_hash(parent: bytes, tokens: Any, key: bytes = b"") -> bytes:
    """Nearly that of Megatron-LM before its #4158: fast, and anybody can find two that agree."""
    number = int.from_bytes(parent, "big")
    for token in tokens:
        number = (31 * number + token) % 2**61
    return number.to_bytes(32, "big")


FAULTS: tuple[Fault, ...] = (
    *faults(
        decisions.blocks_needed,
        """
## a text that fills its blocks gets one more
- -(-positions // size) → positions // size + (positions > 0)
Texts that would just fit are refused, and a block is wasted wherever one is full.
""",
    ),
    *faults(
        decisions.block_hash,
        """
## the hash of a block alone
- parent + numbers → numbers
Equal tokens behind another beginning are taken for the same, and their keys are not.

## tenants share one domain
- key=key → key=b""
How fast the first token comes tells one tenant what another has asked (CVE-2025-46570).
""",
    ),
    Fault(
        "a hash that anybody can construct",
        ("vllm#12621", "Megatron-LM#4158"),
        "block_hash",
        "Whoever can compute two texts with one hash is shown another's text, or poisons it.",
        rolling_hash,
        probes.made_to_collide,
    ),
    *faults(
        decisions.match_prefix,
        """
## a wholly cached prompt leaves nothing to read
- range(size, len(tokens), size) → range(size, len(tokens) + 1, size)
A prompt of whole blocks that was asked before has no query left: the engine crashes.
""",
    ),
    *faults(
        decisions.release,
        """
## given away while another reads it
- if references[block] == 0: → if True:
When one of two texts ends, the other's beginning is overwritten.
""",
    ),
    *faults(
        decisions.copy_on_write,
        """
## a block that two share is written to
- references[blocks[i]] > 1 → references[blocks[i]] > 2
Two answers to one prompt write their next tokens into the same place.
""",
    ),
    *faults(
        attend_paged,
        """
## a chunk attends to its new keys alone
- mask = causal_mask(T, S, device=q.device)
+ mask = causal_mask(T, S, device=q.device) & (torch.arange(S) >= start)
After a hit the prompt's end never sees its beginning; the answers are fluent, and worse.

## the tail behind the end is read
- S = start + T
- scores_of
+ T, S = T, -(-(start + T) // size) * size
+ scores_of
- mask = causal_mask(T, S, device=q.device)
+ mask = causal_mask(T, start + T)
+ mask = torch.nn.functional.pad(mask, (0, S - start - T), value=True)
A text goes on with what an earlier one, of somebody else, has left in the block.
""",
    ),
    *faults(
        BlockManager,
        """
## used again, still found by its old hash
- del self.block_of[self.hash_of.pop(block)]
+ self.hash_of.pop(block)
A text is answered from blocks that hold another by now.

## the second of two twins takes the entry over
- if name not in self.block_of:
+ if True:
One name for two blocks: when either is forgotten, the other can't be.

## published before it is computed
- self._append(table, len(table.tokens))
+ self._append(table, len(table.tokens))
+ self.complete(table, table.left)
+ table.stored = len(found) * self.size
A second text finds blocks that are still empty, and attends to them.

## found blocks are touched before there is room
- self._check_room(self.price(table, found))
+ for block in found:
+     self.references[block] += 1
+ self._check_room(self.price(table, found))
Each refusal leaves references behind that nobody will ever give back: the pool shrinks.

## found blocks that are free are not charged
- return new + sum(self.references[block] == 0 for block in found)
+ return new
There seems to be room, and in the middle of the admission the blocks run out.

## what is found is locked but for the last of it
- self.free.pop(block, None)
- self.references[block] += 1
+ if block != found[-1]:
+     self.free.pop(block, None)
+     self.references[block] += 1
A block in use is evicted, and the text that uses it reads another's.

## a new block has no user
- self.references[block] = 1 → self.references[block] = 0
Given back, it counts -1 users, which is never 0: no block comes back.

## given back twice
- self.truncate(table, 0)
+ self._give_back(table.blocks)
+ table.stored, table.hashes = 0, []
An abort that meets the end of the same text takes a reference that was another's.

## a block that is overwritten keeps its hash
- self._forget(block)  # a text
+ pass  # a text
After a text went back and on, its old beginning is still found, and is no longer there.
""",
    ),
    *faults(
        Scheduler,
        """
## how many to read is counted before blocks are found
- found = self.blocks.match(table)
+ found = self.blocks.match(table)
+ count = parts.chunk(table.left, budget, self.chunk)
- if count := parts.chunk(table.left, budget, self.chunk): → if count:
With a hit, more tokens are to be read than are left: an index out of range.

## what was found is kept while a text waits
- found = self.blocks.match(table)
+ found = vars(request).setdefault("found", self.blocks.match(table))
When its turn comes, the blocks that it had found hold something else.

## sent back, and read again without the tokens that were made
- request = Request(self._arrived, Table([*tokens], key))
+ request = Request(self._arrived, Table([*tokens], key))
+ request.prompt = len(tokens)
- self.blocks.release(victim.table)
+ self.blocks.release(victim.table)
+ del victim.table.tokens[victim.prompt :]
Whoever was preempted goes on without having seen what it had said.

## what never fits waits for ever
- if needed > blocks.count: → if False:
One text that is too long, and everybody behind it waits with it.

## freed while its step is computed
- if request not in self._in_flight: → if True:
The next text gets blocks into which the last step still writes.

## sent back itself, and computed all the same
- while request in self.running: → while True:
A text runs and waits at once: it is read twice, or its blocks are lost.

## the client has gone, its place has not
- queue.remove(request)
+ if queue is self.waiting:
+     queue.remove(request)
Each reader who hangs up takes a place for ever, until none is left.
""",
    ),
)
