"""Exercises of lesson 15: blocks of the KV cache, their names, who uses them, attention over them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, MutableSequence, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from decodeloop import serve
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Candidate, Case, Exercise, beside, call, lend, trial

LESSON = "15_paged_cache"
ROOT = bytes(32)

# --- blocks_needed --------------------------------------------------------------------------------


def counted(positions: int, size: int) -> int:
    """The oracle."""
    return len(range(0, positions, size))


def by_division(positions: int, size: int) -> int:
    full, rest = divmod(positions, size)
    return full + (rest > 0)


BLOCKS_NEEDED = Exercise(
    name="blocks_needed",
    lesson=LESSON,
    library=serve.blocks_needed,
    minutes=2,
    part=True,
    difficulty=1,
    cases=tuple(
        call(f"{positions} positions in blocks of {size}", positions, size, oracle=counted)
        for positions, size in (
            (5, 4),
            (8, 4),
            (1, 4),
            (0, 4),
            (6, 4),
            (7, 4),
            (7, 1),
            (16, 16),
            (2049, 16),
            (3, 256),
            (40, 3),
        )
    ),
    mistakes=edits(
        by_division,
        """
## rounded down
- return full + (rest > 0) → return full
You count the full blocks alone. The positions that are left over need a block, too.
## one more where the last is full
- return full + (rest > 0) → return full + (positions > 0)
Where the last block is just full, you take one more, which stays empty.
## one more in any case
- return full + (rest > 0) → return full + 1
You always add one. Where nothing is left over, the full blocks are enough: of no positions, none.
## one token late
- rest > 0 → rest > 1
A single position that is left over needs a block, too.
## to the nearest
- return full + (rest > 0) → return round(positions / size)
You round to the nearest. A block that is only begun counts whole: round up.
## to the even one
- return full + (rest > 0) → return round(positions / size + 0.5)
`round` takes a half to the nearest *even* number, so every second full block gets one more. `//`
rounds down, in whole numbers.
## one at least
- return full + (rest > 0) → return max(1, full + (rest > 0))
A text without positions needs no block: 0.
## not rounded
- return full + (rest > 0) → return positions / size
That is a fraction of blocks. A block that is only begun counts whole: round up.
## always blocks of 16
- divmod(positions, size) → divmod(positions, 16)
You ignore `size`: a block has as many places as it says.
## the other way round
- divmod(positions, size) → divmod(size, max(positions, 1))
You divide the size by the positions.
## places instead of blocks
- return full + (rest > 0) → return (full + (rest > 0)) * size
That is how many places these blocks have. Asked for is how many blocks.
## the empty places
- return full + (rest > 0) → return -positions % size
That is how many places of the last block stay empty. Asked for is how many blocks.
## what stands in the last block
- return full + (rest > 0) → return rest
That is what is left over for the last block. Asked for is how many blocks.
## one too few
- return full + (rest > 0) → return full + (rest > 0) - 1
One block too few: the last, which may be full or not, counts too.
""",
    ),
    hints=(
        "How many full blocks are there, and is anything left over? `divmod(positions, size)` gives "
        "both.",
        "`-(-positions // size)` rounds up: `//` rounds down, and twice minus turns that round.",
    ),
)

# --- block_hash -----------------------------------------------------------------------------------
#
# A case asks for several names; what counts is which of them are equal.

Block = tuple[bytes, list[int], bytes]


def equal_names(block_hash: Candidate, blocks: Sequence[Block]) -> dict[str, Any]:
    """Of each block the place of the first one with its name, and what kind of thing a name is."""
    names = [lend(block_hash, *block) for block in blocks]
    return {
        "the first block that has its name": [names.index(name) for name in names],
        "bytes": [isinstance(name, bytes) for name in names],
        "the length of a name": [len(name) if isinstance(name, bytes) else 0 for name in names],
    }


def equal_blocks(blocks: Sequence[Block]) -> dict[str, Any]:
    """The oracle: names are equal exactly where the blocks are."""
    return {
        "the first block that has its name": [blocks.index(block) for block in blocks],
        "bytes": [True for _ in blocks],
        "the length of a name": [32 for _ in blocks],
    }


def names_of(label: str, *blocks: Block) -> Case:
    return trial(label, equal_names, equal_blocks, list(blocks))


def digest(parent: bytes, tokens: Sequence[int], key: bytes = b"") -> bytes:
    """A right answer."""
    numbers = b"".join(token.to_bytes(8, "little") for token in tokens)
    return hashlib.blake2b(parent + numbers, digest_size=32, key=key).digest()


ONE, OTHER = hashlib.sha256(b"one").digest(), hashlib.sha256(b"other").digest()
HALVES = ONE[:16] + OTHER[16:], OTHER[:16] + ONE[16:]

BLOCK_HASH = Exercise(
    name="block_hash",
    lesson=LESSON,
    library=serve.block_hash,
    minutes=4,
    part=True,
    difficulty=1,
    cases=(
        names_of("the same block twice", (ROOT, [5, 7, 9, 2], b""), (ROOT, [5, 7, 9, 2], b"")),
        names_of(
            "other tokens",
            *((ROOT, tokens, b"") for tokens in ([5, 7, 9], [5, 7, 8], [5, 6, 9], [4, 7, 9])),
        ),
        names_of(
            "the same tokens in another order",
            *((ROOT, tokens, b"") for tokens in ([5, 7, 9], [9, 7, 5], [7, 5, 9])),
        ),
        names_of(
            "equal tokens after other beginnings",
            *((parent, [5, 7], b"") for parent in (ROOT, ONE, OTHER, *HALVES, ONE)),
        ),
        names_of(
            "tenants",
            (ROOT, [5, 7], b""),
            (ROOT, [5, 7], b"one"),
            (ROOT, [5, 7], b"other"),
            (ONE, [5, 7], b"one"),
            (ONE, [5, 7], b"other"),
            (ROOT, [5, 7], b"one"),
        ),
        names_of(
            "ids of the whole vocabulary",
            *((ROOT, [t, 3], b"") for t in (1, 257, 65537, 49151, 16777217, 49151)),
        ),
        names_of(
            "digits that run together",
            *((ROOT, tokens, b"") for tokens in ([1, 23], [12, 3], [123, 0], [0, 123])),
        ),
        names_of(
            "equal sums",
            *((ROOT, tokens, b"") for tokens in ([5, 40], [6, 9], [6, 39], [40, 5], [41, 4])),
        ),
        names_of(
            "a token once, twice and three times",
            *((ROOT, tokens, b"") for tokens in ([4, 4, 9], [4, 9, 9], [4, 4, 4], [9, 9, 9])),
        ),
        names_of(
            "ids of 8 bytes, made for Python's `hash`",
            (ROOT, [0, 7], b""),
            (ROOT, [2**61 - 1, 7], b""),
        ),
        names_of("a key that looks like a token", (ROOT, [0, 0], b""), (ROOT, [0], bytes(8))),
        names_of(
            "keys that end in zeros", *((ROOT, [5], key) for key in (b"", b"a", b"a\0", b"\0"))
        ),
        names_of("blocks of one token", (ROOT, [6], b""), (ROOT, [7], b""), (ONE, [6], b"")),
    ),
    mistakes=edits(
        digest,
        """
## the beginning is forgotten
- parent + numbers → numbers
Equal tokens after another beginning get the same name. What was computed for them depends on all
that stands before: `parent` belongs into the name.
## half of the parent
- parent + numbers → parent[:16] + numbers
You take a part of `parent`. Two beginnings that differ in the rest are one to you: take all of it.
## the tokens are forgotten
- parent + numbers → parent
The name depends on the beginning alone: whatever follows it would be taken for the same.
## tenants are forgotten
- key=key → key=b""
You ignore `key`: a text finds the blocks of another tenant, and how fast its answer begins tells
what the other has asked.
## the order is forgotten
- for token in tokens → for token in sorted(tokens)
Tokens in another order get the same name. Do you sort them, or put them into a set?
## each token once
- for token in tokens → for token in dict.fromkeys(tokens)
A token that stands there twice counts once.
## the sum of the tokens
- b"".join(token.to_bytes(8, "little") for token in tokens) → sum(tokens).to_bytes(8, "little")
Other tokens with the same sum get the same name. The digest must see each token.
## a rolling hash
- numbers = b"".join(token.to_bytes(8, "little") for token in tokens)
+ number = 0
+ for token in tokens:
+     number = 31 * number + token
+ numbers = number.to_bytes(16, "little")
31 · 5 + 40 = 31 · 6 + 9: two such texts are found with a pencil. Give the tokens themselves to the
digest, each in 8 bytes.
## the last byte of each
- token.to_bytes(8, "little") → bytes([token % 256])
Tokens that differ by 256 are one to you. An id needs more than a byte: write each in 8.
## two bytes of each
- token.to_bytes(8, "little") → (token % 65536).to_bytes(2, "little")
Tokens that differ by 65,536 are one to you. Write each in 8 bytes.
## digits that run together
- token.to_bytes(8, "little") → str(token).encode()
1, 23 and 12, 3 both become "123". Let each token take the same number of bytes, or put something
between them.
## the first token
- in tokens) → in tokens[:1])
Only the first token of the block is in the name.
## the last token
- in tokens) → in tokens[-1:])
Only the last token of the block is in the name.
## all but the last token
- in tokens) → in tokens[:-1])
The last token of the block is not in the name.
## all but the first token
- in tokens) → in tokens[1:])
The first token of the block is not in the name.
## Python's hash
- return hashlib.blake2b(parent + numbers, digest_size=32, key=key).digest()
+ return hash((parent, tuple(tokens), key)).to_bytes(32, "little", signed=True)
Python's `hash` is made for speed: everybody can compute numbers that it takes for equal, such as 0
and 2**61 - 1. Take a digest from `hashlib`.
## a key without its length
- parent + numbers, digest_size=32, key=key → key + parent + numbers, digest_size=32
Joined like this, a key can be taken for tokens: the key of 8 zero bytes and the token 0 give the
name of the tokens 0, 0 without a key. `blake2b` takes the key by itself: `key=key`.
## a key filled up
- key=key → key=key.ljust(64, bytes(1))
Keys that differ in zero bytes at their end are one to you (HMAC fills a key up with zeros).
`blake2b(data, key=key)` keeps them apart.
## eight bytes
- digest_size=32 → digest_size=8
Of 8 bytes, two equal ones can be found by trying: a few billion texts are enough. Return 32.
## sixteen bytes
- hashlib.blake2b(parent + numbers, digest_size=32, key=key) → hashlib.md5(parent + numbers + key + bytes([len(key)]))
That is 16 bytes, and asked for are 32. If it is md5: two texts with one md5 are found in seconds.
## the data themselves
- return hashlib.blake2b(parent + numbers, digest_size=32, key=key).digest()
+ return parent + numbers + key
No two agree by chance, but a name grows with every block before it. Give a digest, of 32 bytes.
## hexadecimal
- .digest() → .hexdigest()
That is a text of digits. A name is `bytes`: `.digest()`.
## not yet a digest
- hashlib.blake2b(parent + numbers, digest_size=32, key=key).digest()
+ hashlib.blake2b(parent + numbers, digest_size=32, key=key)
That is the hash object: two of them are never equal. `.digest()` gives its bytes.
## another name each time
- parent + numbers → parent + numbers + id(object()).to_bytes(8, "big") + torch.rand(8).numpy().tobytes()
The same block gets another name each time, so that nothing is ever found. Nothing random may be in
it: only the parent, the tokens and the key.
""",
    ),
    hints=(
        "`hashlib.blake2b(data, key=key, digest_size=32).digest()`: what belongs into `data`?",
        "The parent, which is bytes already, and the tokens as bytes, each in 8: "
        '`struct.pack(f"<{len(tokens)}q", *tokens)`. Bytes are joined by `+`.',
    ),
)

# --- match_prefix ---------------------------------------------------------------------------------


def spelled(parent: bytes, tokens: Sequence[int], key: bytes = b"") -> bytes:
    """A name that says it all: it is what the cases have in the place of a digest."""
    return parent + repr(([*tokens], key)).encode()


Stored = Mapping[tuple[int, ...], int]  # a beginning, in whole blocks → the block of its end


def matched(
    match_prefix: Candidate,
    texts: list[list[int]],
    size: int,
    stored: Stored,
    key: bytes = b"",
    owner: bytes = b"",
) -> Any:
    """What is found of each text by an answer, of beginnings that a tenant has stored."""
    known = {}
    for beginning, block in stored.items():
        name = ROOT
        for end in range(size, len(beginning) + 1, size):
            name = spelled(name, beginning[end - size : end], owner)
        known[name] = block
    return {
        asked_for(text, size, stored): lend(
            match_prefix, text, size, known, key, block_hash=spelled
        )
        for text in texts
    }


def asked_for(text: list[int], size: int, stored: Stored) -> str:
    """What a case is, in words."""
    known = ", ".join(f"block {block} ends {[*said]}" for said, block in stored.items())
    return f"of {text} in blocks of {size}, where {known}"


def by_beginnings(
    texts: list[list[int]], size: int, stored: Stored, key: bytes = b"", owner: bytes = b""
) -> Any:
    """The oracle: no name, but the beginnings themselves."""
    found: dict[str, list[int]] = {}
    for text in texts:
        blocks = found.setdefault(asked_for(text, size, stored), [])
        end = size
        while key == owner and end < len(text) and tuple(text[:end]) in stored:
            blocks.append(stored[tuple(text[:end])])
            end += size
    return found


def by_names(
    tokens: Sequence[int],
    size: int,
    known: Mapping[bytes, int],
    key: bytes = b"",
    *,
    block_hash: Candidate = spelled,
) -> list[int]:
    """A right answer."""
    found, name = [], ROOT
    for end in range(size, len(tokens), size):
        name = block_hash(name, tokens[end - size : end], key)
        if name not in known:
            break
        found.append(known[name])
    return found


def beginnings(text: Sequence[int], size: int, blocks: Sequence[int]) -> Stored:
    """A text that is known, block by block."""
    return {tuple(text[: size * (i + 1)]): block for i, block in enumerate(blocks)}


SAID = [5, 7, 9, 2, 4, 4, 8, 1, 3]
FOUR = beginnings(SAID, 2, [6, 0, 3, 5])
REPEATED = {**beginnings([5, 7, 5, 7, 5, 7], 2, [4, 2, 8]), (9, 2): 1}


def finding(
    label: str, texts: list[list[int]], size: int, stored: Stored, key: bytes = b""
) -> Case:
    """A tenant's own texts are found; what another has asked is not, as the oracle says too."""

    def both(match_prefix: Candidate) -> Any:
        own = matched(match_prefix, texts, size, stored, key, key)
        another = matched(match_prefix, texts, size, stored, b"another", key)
        return {"its own": own, "as another tenant": another}

    def expected() -> Any:
        own = by_beginnings(texts, size, stored, key, key)
        another = by_beginnings(texts, size, stored, b"another", key)
        return {"its own": own, "as another tenant": another}

    return Case(label, both, expected)


MATCH_PREFIX = Exercise(
    name="match_prefix",
    lesson=LESSON,
    library=serve.match_prefix,
    minutes=7,
    part=True,
    difficulty=2,
    cases=(
        finding("all but the last token is known", [SAID], 2, FOUR),
        finding("the whole text is known, in blocks", [SAID[:8]], 2, FOUR),
        finding("half of it is known", [[*SAID[:4], 1, 1, 8, 1, 3]], 2, FOUR),
        finding(
            "a block in the middle was forgotten",
            *([SAID], 2, {k: v for k, v in FOUR.items() if len(k) != 4}),
        ),
        finding(
            "the first block was forgotten, of one of two texts",
            *([SAID, [6, 6, 9]], 2, {**{k: v for k, v in FOUR.items() if len(k) != 2}, (6, 6): 1}),
        ),
        finding("longer texts are known", [SAID[:6], SAID[:5]], 2, FOUR),
        finding("texts of 0 to 3 tokens", [[], [5], [5, 7], [5, 7, 1]], 2, FOUR),
        finding("blocks of 3", [[*SAID, 3, 6]], 3, beginnings(SAID, 3, [2, 7, 1])),
        finding("blocks of 1", [[5, 7, 9, 9], [5]], 1, beginnings([5, 7, 9], 1, [1, 0, 2])),
        finding("blocks that repeat", [[5, 7, 5, 7, 9, 2, 1]], 2, REPEATED),
        finding("of the same tenant", [SAID], 2, FOUR, b"we"),
    ),
    mistakes=edits(
        by_names,
        """
## the whole text
- range(size, len(tokens), size) → range(size, len(tokens) + 1, size)
Where the whole text is known, you find all of it, and nothing is left to be read. But its last
token must be read: the logits of what comes next are not in the cache.
## one block too few
- range(size, len(tokens), size) → range(size, len(tokens) - 1, size)
Where a single token follows a block, the block is not looked for. One token to read is enough.
## the last full block is left out
- range(size, len(tokens), size) → range(size, len(tokens) // size * size, size)
You never look for the text's last full block. It may be used, if only a token follows it.
## the last one found is dropped
- range(size, len(tokens), size) → range(size, len(tokens) + 1, size)
- return found → return found[:-1]
You always drop the last block that was found. Only one that ends the text is not to be used: where
a token follows it, that one is read.
## beginnings are not chained
- name = block_hash(name, tokens[end - size : end], key)
- if name not in known:
+ name = block_hash(ROOT, tokens[end - size : end], key)
+ if name not in known:
Each block is looked for as if it were the first. The parent of a block is the name of the block
before it.
## the first block alone
- tokens[end - size : end] → tokens[:end]
You find the first block and none behind it. The name of a block takes its own tokens, and those of
the blocks before by `parent`, which is the name of the block before it. And go on after the first.
## the wrong tokens
- tokens[end - size : end] → tokens[end : end + size]
You look at the tokens behind the block: those of the block are `tokens[end - size : end]`.
## tenants are forgotten
- , key) → )
You don't pass `key` on, so a tenant doesn't find what is its own.
## a hash of your own
- name = block_hash( → name = serve.block_hash(
You call another `block_hash` than the one that is given. (Is it a name of the notebook?)
## on after a gap
- break → continue
You go on behind a block that is not known. What follows it can't be used without it: stop there.
## block 0 is nothing
- if name not in known: → if not known.get(name):
Block 0 is a block like any other, and `if not 0` is true. Ask whether the name is `in known`.
## the last block alone
- found.append(known[name]) → found = [known[name]]
You give the last block that was found. All of them are the text's beginning, in order.
## how many
- return found → return len(found)
That is how many blocks are known. Asked for are their numbers.
## positions
- return found → return len(found) * size
That is how many positions are known. Asked for are the numbers of the blocks.
## hashes for blocks
- found.append(known[name]) → found.append(len(found))
You count the blocks. Asked for is where they lie: `known[...]` says it.
## from behind
- return found → return found[::-1]
The blocks come in the order of the text.
## sorted
- return found → return sorted(found)
The blocks come in the order of the text, and not in that of their numbers.
""",
    ),
    hints=(
        "Go block by block from the beginning, and carry the name along: each block's is the next "
        "one's parent. When do you stop?",
        "Stop at the first that is not in `known`, and before the last token: it must be read in any "
        "case. `range(size, len(tokens), size)` gives the ends of exactly the blocks to look for.",
        "`parent = block_hash(parent, tokens[end - size : end], key)`, beginning with ROOT; "
        "`known[parent]` is the block.",
    ),
)

# --- release --------------------------------------------------------------------------------------


def released(release: Candidate, texts: list[list[int]], references: list[int]) -> Any:
    """Texts that end one after another: what comes back, and what became of the references."""
    counts, said = [*references], []
    for blocks in texts:
        table = [*blocks]
        free = release(table, counts)
        said.append([free, [*counts], table])
    return told_of(texts, said)


def by_counting(texts: list[list[int]], references: list[int]) -> Any:
    """The oracle."""
    left, said = references, []
    for blocks in texts:
        left = [n - (i in blocks) for i, n in enumerate(left)]
        free = [block for block in blocks[::-1] if left[block] == 0]
        said.append([free, left, blocks])
    return told_of(texts, said)


def told_of(texts: list[list[int]], said: list[list[Any]]) -> dict[str, Any]:
    """What came of each text, under words that say which it is."""
    what = "free now", "references then", "its table then"
    return {
        f"text {number}, {blocks}, {words}": value
        for number, (blocks, values) in enumerate(zip(texts, said, strict=True), start=1)
        for words, value in zip(what, values, strict=True)
    }


def one_by_one(blocks: Sequence[int], references: MutableSequence[int]) -> list[int]:
    """A right answer."""
    free = []
    for block in reversed(blocks):
        references[block] -= 1
        if references[block] == 0:
            free.append(block)
    return free


def releasing(label: str, references: list[int], *texts: list[int]) -> Case:
    return trial(label, released, by_counting, list(texts), references)


RELEASE = Exercise(
    name="release",
    lesson=LESSON,
    library=serve.release,
    minutes=4,
    part=True,
    difficulty=1,
    cases=(
        releasing("nobody else uses them", [1, 0, 1, 0, 1], [4, 2, 0]),
        releasing("one is shared", [1, 0, 2, 0, 1], [4, 2, 0]),
        releasing("the beginning is shared", [0, 3, 1, 2, 1], [1, 3, 2]),
        releasing("not in the order of their numbers", [1, 1, 1, 0, 1], [2, 4, 1]),
        releasing("one block", [5, 1, 2], [1]),
        releasing("the last one is shared", [1, 4, 2, 1], [3, 0, 2]),
        releasing("block 0 at the end", [1, 1, 1, 1], [2, 1, 0]),
        releasing("two texts that share all", [2, 2, 0], [1, 0], [1, 0]),
        releasing("two that begin alike", [1, 2, 1, 1], [1, 3, 0], [1, 2]),
        releasing("one without blocks, and another", [1, 0, 1], [], [2, 0]),
    ),
    mistakes=edits(
        one_by_one,
        """
## the beginning first
- reversed(blocks) → blocks
The text's first block comes first, so it will be forgotten first. But it is the one that most
texts can use, and without it what follows is never found: the last comes first.
## given away while another reads it
- if references[block] == 0: → if True:
You give back every block. One that another text uses, too, has references left: it is not free.
## asked before it is lowered
- references[block] -= 1
- if references[block] == 0:
+ references[block] -= 1
+ if references[block] + 1 == 0:
You look whether nobody uses the block before you have taken the reference away: then it is never 0.
## still read by one
- references[block] == 0 → references[block] <= 1
A block with one reference left is still read by somebody: free are those with none.
## free are those that are used
- references[block] == 0 → references[block] > 0
You give back the blocks that others still use, and keep the free ones.
## no reference taken
- references[block] -= 1
+ references = [*references]
+ references[block] -= 1
The references are as before: change the list that you were given.
## no longer counted
- references[block] -= 1
- if references[block] == 0:
+ last = references[block] == 1
+ references[block] = 0
+ if last:
You set the references to 0. Other texts use the block, too: take one away.
## counted for every block
- references[block] -= 1
+ references[:] = [n - 1 for n in references]
You take a reference from every block of the pool. Only this text's blocks lose one.
## the first block is kept
- reversed(blocks) → reversed(blocks[1:])
The text's first block is not given back.
## the last block is kept
- reversed(blocks) → reversed(blocks[:-1])
The text's last block, which may not be full, is not given back.
## places in the table
- free.append(block) → free.append(blocks.index(block))
That is where the block stands in the table. Asked for are the numbers of the blocks.
## sorted
- return free → return sorted(free)
Their order is that of the text, from behind, and not that of their numbers.
## the largest number first
- return free → return sorted(free, reverse=True)
The order is that of the text, from behind. A text's last block need not have the largest number.
## how many
- return free → return len(free)
That is how many are free. Asked for is which.
## only the references
- return free → return None
Nothing comes back: `return` the blocks that are free now.
## the table is emptied
- return free
+ blocks.clear()
+ return free
You empty the text's table. Leave it as it is: whoever called you still needs it.
## the table is turned round
- for block in reversed(blocks):
+ blocks.reverse()
+ for block in blocks:
You turn the text's own table round. Leave it as it is: `reversed(blocks)` only reads it from behind.
## stops at a shared one
- if references[block] == 0:
-     free.append(block)
+ if references[block] > 0:
+     break
+ free.append(block)
You stop at the first block that others use, too: those before it keep a reference for ever.
""",
    ),
    hints=(
        "For each block of the text: one reference fewer. Which are free then?",
        "Go from behind, `reversed(blocks)`: lower `references[block]`, and where it is 0 now, the "
        "block joins the list.",
    ),
)

# --- copy_on_write --------------------------------------------------------------------------------


Write = tuple[int, int]  # start, count


def written(start: int, count: int) -> str:
    return f"entries to be copied before position {start} to {start + count - 1} are written"


def by_positions(
    blocks: list[int], references: list[int], writes: list[Write], size: int
) -> dict[str, Any]:
    """The oracle: every position that is written."""
    said = {}
    for start, count in writes:
        entries = {position // size for position in range(start, start + count)}
        copied = [i for i, b in enumerate(blocks) if i in entries and references[b] > 1]
        said[written(start, count)] = copied
    return said


def asked(
    copy_on_write: Candidate,
    blocks: list[int],
    references: list[int],
    writes: list[Write],
    size: int,
) -> dict[str, Any]:
    """An entry that the table has not counts as an output: many answers fail in no other way."""
    said: dict[str, Any] = {}
    for start, count in writes:
        try:
            copied = lend(copy_on_write, blocks, references, start, count, size)
        except IndexError as error:
            copied = f"IndexError: {error}"
        said[written(start, count)] = copied
    return said


def by_entries(
    blocks: Sequence[int], references: Sequence[int], start: int, count: int, size: int
) -> list[int]:
    """A right answer."""
    first, last = start // size, (start + count - 1) // size
    shared = []
    for i in range(first, min(last + 1, len(blocks))):
        if references[blocks[i]] > 1:
            shared.append(i)
    return shared


COPY_ON_WRITE = Exercise(
    name="copy_on_write",
    lesson=LESSON,
    library=serve.copy_on_write,
    minutes=5,
    part=True,
    difficulty=2,
    cases=tuple(
        trial(label, asked, by_positions, *inputs)
        for label, *inputs in (
            ("the last block is shared, and half full", [4, 2], [0, 0, 2, 0, 2], [(6, 1)], 4),
            ("a new block, and the last place", [4, 2], [0, 0, 2, 0, 2], [(8, 1), (7, 1)], 4),
            ("five tokens, into a new block, too", [4, 2], [0, 0, 2, 0, 2], [(6, 5)], 4),
            ("to the end of a block", [4, 2, 0], [2, 0, 2, 0, 2], [(3, 1)], 4),
            ("over the end of a block", [4, 2, 0], [2, 0, 2, 0, 2], [(3, 2)], 4),
            ("from the start of a block", [4, 2, 0], [2, 0, 2, 0, 2], [(4, 4)], 4),
            ("one of two is shared", [4, 2], [0, 0, 1, 0, 2], [(6, 1), (2, 1)], 4),
            ("three readers", [1, 3], [0, 3, 0, 3], [(5, 1)], 4),
            ("one of two that are written", [1, 3, 0], [2, 1, 1, 2], [(4, 9)], 4),
            ("a text that went back", [2, 0, 1], [3, 1, 2], [(1, 8), (3, 2)], 3),
            ("all of a text", [2, 0, 1], [2, 2, 2], [(0, 6)], 2),
            ("blocks of 1", [3, 1, 0], [2, 2, 0, 2], [(2, 1), (0, 2), (3, 1)], 1),
        )
    ),
    mistakes=edits(
        by_entries,
        """
## numbers of blocks
- shared.append(i) → shared.append(blocks[i])
Those are the numbers of the blocks. Asked for is where they stand in the text's table.
## whatever is written
- if references[blocks[i]] > 1: → if True:
Each block that is written becomes a copy. One that nobody else reads can be written where it is.
## from three on
- > 1 → > 2
Two references are this text's and another's: already then the other would see what is written.
## exactly two
- > 1 → == 2
Three may read a block as well: whatever is above 1 counts.
## whatever is shared
- range(first, min(last + 1, len(blocks))) → range(len(blocks))
You copy every block that is shared. What is only read can stay shared: only what is written counts.
## from the first written one on
- range(first, min(last + 1, len(blocks))) → range(first, len(blocks))
You copy all shared blocks from the first written one on, those too that stand behind the last
position that is written.
## up to the last written one
- range(first, min(last + 1, len(blocks))) → range(min(last + 1, len(blocks)))
You copy the shared blocks before the first written one, too.
## the first alone
- range(first, min(last + 1, len(blocks))) → range(first, min(first + 1, len(blocks)))
You look at the first block that is written. `count` positions may reach into several.
## the last alone
- range(first, min(last + 1, len(blocks))) → range(last, min(last + 1, len(blocks)))
You look at the last block that is written. The first may lie before it.
## one block too many
- (start + count - 1) // size → (start + count) // size
The last position that is written is start + count - 1: where it ends a block, you take the next
block, too.
## one block too few
- range(first, min(last + 1, len(blocks))) → range(first, min(last, len(blocks)))
The block of the last position that is written is left out.
## the block begun is left out
- first, last = start // size, → first, last = -(-start // size),
You begin with the first block that is written *whole*. One that is half full is written, too: it is
the usual case.
## beyond the table
- min(last + 1, len(blocks)) → last + 1
The new positions may need blocks that the text has not yet: nobody shares those, and the table has
no entry for them.
## references by their place
- references[blocks[i]] → references[i]
`references` counts for each block of the pool: its index is the number of the block,
`references[blocks[i]]`.
## count from the start
- (start + count - 1) // size → (count - 1) // size
`count` is how many positions are written, from `start` on: the last is start + count - 1.
## positions
- shared.append(i) → shared.append(i * size)
Those are positions. Asked for are entries of the table.
## how many
- return shared → return len(shared)
That is how many must be copied. Asked for is which.
## once for each position
- for i in range(first, min(last + 1, len(blocks))):
+ for i in (p // size for p in range(start, min(start + count, len(blocks) * size))):
Each entry comes once, however many positions in it are written.
""",
    ),
    hints=(
        "Position p lies in entry `p // size` of the table. Which entries do the positions from "
        "`start` to `start + count - 1` touch? Not all of them need exist yet.",
        "`range(start // size, …)` up to the entry of the last position, but not beyond "
        "`len(blocks)`. Of these, those whose block has more than one reference.",
    ),
)

# --- attend_paged ---------------------------------------------------------------------------------


class Copies(TorchFunctionMode):
    """Looks for the largest tensor that an operation makes anew, beside views."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = [a for x in args for a in (x if isinstance(x, list | tuple) else [x])]
        old = {a.untyped_storage().data_ptr() for a in given if type(a) is Tensor}
        for made in out if isinstance(out, list | tuple) else [out]:
            if type(made) is Tensor and made.untyped_storage().data_ptr() not in old:
                self.largest = max(self.largest, made.numel())
        return out


def pool(G: int, size: int, D: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(count, G, size, D, generator=generator) for _ in range(2))  # type: ignore[return-value]


def laid_out(
    H: int,
    G: int,
    T: int,
    start: int,
    size: int,
    blocks: list[int],
    D: int,
    seed: int,
    *,
    tail: float,
) -> tuple[Any, ...]:
    """q, keys, values, blocks and start; behind the text's end stands `tail`."""
    keys, values = pool(G, size, D, max(blocks) + 2, seed)
    S = start + T
    for i, block in enumerate(blocks):
        keys[block, :, max(0, S - i * size) :] = tail
        values[block, :, max(0, S - i * size) :] = tail
    q = 2 * torch.randn(H, T, D, generator=torch.Generator().manual_seed(seed + 1))
    return q, keys, values, blocks, start


def gathered(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    blocks: list[int],
    start: int,
    mask: Tensor | None = None,
) -> Tensor:
    """The oracle: all of the text in one piece, and PyTorch's attention."""
    S = start + q.shape[1]
    k, v = (x[blocks].transpose(0, 1).flatten(1, 2)[:, :S] for x in (keys, values))
    if mask is None:
        mask = torch.arange(S)[None] <= torch.arange(start, S)[:, None]
    return F.scaled_dot_product_attention(q[None], k[None], v[None], mask, enable_gqa=True)[0]


def in_place(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    blocks: Sequence[int],
    start: int,
    mask: Tensor | None = None,
) -> Tensor:
    """A right answer."""
    H, T, D = q.shape
    G, size = keys.shape[1:3]
    S = start + T
    rows = q.reshape(G, -1, D)  # (G, H/G·T, D)
    places = [(block, min(size, S - i * size)) for i, block in enumerate(blocks) if i * size < S]
    scores = torch.cat([rows @ keys[b, :, :n].mT for b, n in places], -1) / math.sqrt(D)
    if mask is None:
        mask = torch.ones(T, S, dtype=torch.bool).tril(start)
    scores = scores.view(H, T, S).masked_fill(~mask, -math.inf)
    weights = torch.softmax(scores, -1).nan_to_num().view(G, -1, S)
    out = torch.zeros_like(rows)
    for i, (b, n) in enumerate(places):
        out = out + weights[..., i * size : i * size + n] @ values[b, :, :n]
    return out.reshape(H, T, D)


@beside
def without_copies(attend_paged: Candidate, *inputs: Any) -> Any:
    """What comes out, and whether the text's keys or values were ever copied."""
    q, keys, _, _, start = inputs
    whole = keys.shape[1] * (start + q.shape[1]) * q.shape[2]
    with Copies() as copies:
        out = attend_paged(*inputs)
    return {"out": out, "no copy of all keys": copies.largest < whole / 2}


def never_copied(*inputs: Any) -> Any:
    return {"out": gathered(*inputs), "no copy of all keys": True}


def attending(label: str, *inputs: Any, tail: float = 9.0, mask: Tensor | None = None) -> Case:
    more = () if mask is None else (mask,)
    return call(label, *laid_out(*inputs, tail=tail), *more, oracle=gathered)


HOLES = torch.rand(1, 2, 7, generator=torch.Generator().manual_seed(5)) < 0.6
HOLES[..., 3] = True
OF_EACH_HEAD = torch.rand(4, 1, 6, generator=torch.Generator().manual_seed(6)) < 0.6
OF_EACH_HEAD[..., 2] = True

ATTEND_PAGED = Exercise(
    name="attend_paged",
    lesson=LESSON,
    library=serve.attend_paged,
    minutes=9,
    part=True,
    difficulty=3,
    tolerance=1e-4,
    cases=(
        # H, G, T, start, size, blocks, D, seed
        attending("one token, one head, two full blocks", 1, 1, 1, 7, 4, [2, 0], 8, 1),
        attending("one token, the last block half full", 4, 2, 1, 9, 4, [3, 0, 2], 8, 2),
        attending("a whole prompt", 4, 2, 6, 0, 4, [1, 3], 8, 3),
        attending("a prompt's second piece", 4, 2, 3, 6, 4, [4, 1, 2], 8, 4),
        attending("three heads share one", 6, 2, 2, 5, 2, [0, 5, 1, 3], 4, 5),
        attending("every head for itself", 3, 3, 2, 3, 3, [2, 1], 4, 6),
        attending("blocks of 1", 2, 1, 2, 3, 1, [3, 0, 4, 1, 2], 4, 7),
        attending("the first token", 4, 2, 1, 0, 4, [2], 8, 8),
        attending("more blocks than it needs", 4, 2, 1, 4, 4, [3, 1, 2], 8, 9),
        attending("what lies behind its end is NaN", 4, 2, 2, 4, 4, [3, 1], 8, 10, tail=math.nan),
        attending("with a mask of its own", 4, 2, 2, 5, 4, [2, 0], 8, 11, mask=HOLES),
        attending("a mask for each head", 4, 2, 1, 5, 4, [2, 0], 8, 12, mask=OF_EACH_HEAD),
        trial(
            "a long text, without a copy of it",
            without_copies,
            never_copied,
            *laid_out(2, 2, 1, 38, 4, [3, 4, 5, 0, 9, 8, 7, 11, 1, 10], 64, 13, tail=9.0),
        ),
    ),
    mistakes=edits(
        in_place,
        """
## gathered first
- places = [(block, min(size, S - i * size)) for i, block in enumerate(blocks) if i * size < S]
+ keys, values = (x[list(blocks)].transpose(0, 1).flatten(1, 2)[None] for x in (keys, values))
+ places, size = [(0, S)], S
The numbers are right, but you bring all keys and values of the text together first: that copies
them, for every token and in every layer. Go through the blocks, where each one lies.
## no mask
- torch.ones(T, S, dtype=torch.bool).tril(start) → torch.ones(T, S, dtype=torch.bool)
The new tokens see each other, the later ones too. Without a mask given, it is causal.
## the top of the triangle
- .tril(start) → .tril()
Your mask ignores `start`: the new tokens are the last T of S. `causal_mask(T, S)` has it right.
## the new tokens alone
- .tril(start) → .tril(start) & (torch.arange(S) >= start)
Only the new tokens are attended to. What was cached before them belongs to the text, too.
## the tail behind the end
- min(size, S - i * size) → size
- mask = torch.ones(T, S, dtype=torch.bool).tril(start)
+ mask = torch.ones(T, S, dtype=torch.bool).tril(start)
- scores = scores.view(H, T, S).masked_fill(~mask, -math.inf)
- weights = torch.softmax(scores, -1).nan_to_num().view(G, -1, S)
+ S = len(places) * size
+ mask = F.pad(mask.expand(mask.shape[:-2] + (T, -1)), (0, S - mask.shape[-1]), value=True)
+ scores = scores.view(H, T, S).masked_fill(~mask, -math.inf)
+ weights = torch.softmax(scores, -1).nan_to_num().view(G, -1, S)
You read the last block to its end. What stands behind position S is another text's: cut it off.
## masked, and read all the same
- min(size, S - i * size) → size
- scores = scores.view(H, T, S).masked_fill(~mask, -math.inf)
- weights = torch.softmax(scores, -1).nan_to_num().view(G, -1, S)
+ S = len(places) * size
+ mask = F.pad(mask.expand(mask.shape[:-2] + (T, -1)), (0, S - mask.shape[-1]), value=False)
+ scores = scores.view(H, T, S).masked_fill(~mask, -math.inf)
+ weights = torch.softmax(scores, -1).nan_to_num().view(G, -1, S)
You read what stands behind the text's end with a weight of 0. It may be anything, and 0 · NaN is
NaN: don't read it.
## in the order of the pool
- enumerate(blocks) → enumerate(sorted(blocks))
You go through the blocks by their numbers. The text's order is that of its table.
## not scaled
-  / math.sqrt(D)
The scores are not divided by √D.
## scaled by the whole length
- math.sqrt(D) → math.sqrt(S)
You divide by √S. It is √D, the head dimension.
## a softmax for each block
- weights = torch.softmax(scores, -1).nan_to_num().view(G, -1, S)
+ parts = scores.split([n for _, n in places], -1)
+ weights = torch.cat([torch.softmax(x, -1).nan_to_num() for x in parts], -1).view(G, -1, S)
Each block has a softmax of its own, so the weights sum to the number of blocks. All scores of a
query belong together: join them first.
## heads dealt out
- rows = q.reshape(G, -1, D)  # (G, H/G·T, D)
+ rows = q.reshape(H // G, G, T, D)
- weights = torch.softmax(scores, -1).nan_to_num().view(G, -1, S)
+ weights = torch.softmax(scores, -1).nan_to_num().view(H // G, G, T, S)
Head h reads KV head h mod G. Neighbours share one: heads 0 to H/G - 1 read KV head 0.
## the first KV head for all
- rows @ keys[b, :, :n].mT → rows @ keys[b, :1, :n].mT
- @ values[b, :, :n] → @ values[b, :1, :n]
All query heads read KV head 0.
## values are keys
- @ values[b, :, :n] → @ keys[b, :, :n]
The weights are multiplied by the keys. They belong to the values.
## the mask given is ignored
- if mask is None: → if True:
You ignore `mask`: where one is given, it takes the causal one's place.
## a single token sees all
- masked_fill(~mask, → masked_fill(~mask & (T > 1),
A single new token may see all before it, so you ignore the mask. But one that is given may hide some
of it.
## the mask given, and the causal one
- if mask is None:
-     mask = torch.ones(T, S, dtype=torch.bool).tril(start)
+ causal = torch.ones(T, S, dtype=torch.bool).tril(start)
+ mask = causal if mask is None else mask & causal
Where a mask is given, it takes the causal one's place: a place that it allows is allowed.
## the mask turned round
- masked_fill(~mask, -math.inf) → masked_fill(mask, -math.inf)
True means *may attend*: mask where it is False.
## masked by 0
- masked_fill(~mask, -math.inf) → masked_fill(~mask, 0.0)
A score of 0 has a weight like any other. Masked scores are -inf.
## the first block alone
- if i * size < S] → if i == 0]
- scores = scores.view(H, T, S).masked_fill(~mask, -math.inf)
- weights = torch.softmax(scores, -1).nan_to_num().view(G, -1, S)
+ S = scores.shape[-1]
+ scores = scores.view(H, T, S).masked_fill(~mask[..., :S], -math.inf)
+ weights = torch.softmax(scores, -1).nan_to_num().view(G, -1, S)
You read the first block of the text alone.
## the last block alone counts
- out = out + weights → out = weights
Each block's values take the place of those before. Add them up.
## the first n blocks of the pool
- for i, block in enumerate(blocks) → for block, i in ((i, i) for i in range(len(blocks)))
You read blocks 0, 1, 2, … of the pool. Where the text lies, its table says: `blocks[i]`.
## block for block, one weight
- weights[..., i * size : i * size + n] → weights[..., i * n : i * n + n]
The weights of block i begin at i · size, in the last block, too.
""",
    ),
    hints=(
        "The scores of a query are numbers, one for each key: those may be joined with `torch.cat`, "
        "the keys not. How many positions of block i are the text's? Of the last one perhaps not all.",
        "For each block `rows @ keys[block, :, :n].mT` is (G, H/G·T, n), with n = "
        "`min(size, S - i * size)`; blocks from position S on are not the text's.",
        "Join along the last axis, divide by √D, `.view(H, T, S)`, mask, softmax, and back to "
        "`.view(G, -1, S)`. The weights of block i begin at i · size: times its first n values, and "
        "added up over the blocks.",
    ),
)

EXERCISES = (BLOCKS_NEEDED, ATTEND_PAGED, BLOCK_HASH, MATCH_PREFIX, RELEASE, COPY_ON_WRITE)
