"""Lesson 15: right answers, named mistakes in other words, and wrong answers nobody named."""

import hashlib
import math
import struct

import torch

from decodeloop.exercises.edits import edited
from decodeloop.exercises.fresh.lesson_15 import ROOT
from decodeloop.exercises.lesson_15 import digest, spelled  # noqa: F401 (`digest` is in an edit)
from decodeloop.model import causal_mask, softmax

# --- blocks_needed --------------------------------------------------------------------------------


def needed_by_rounding_up(positions, size):
    return math.ceil(positions / size)


def needed_by_filling(positions, size):
    blocks = 0
    while blocks * size < positions:
        blocks += 1
    return blocks


NEEDED = edited(
    needed_by_filling,
    """
## rounded down
- blocks * size < positions → (blocks + 1) * size <= positions
## one more where the last is full
- return blocks → return blocks + (positions > 0 and positions % size == 0)
## one more in any case
- blocks * size < positions → blocks * size <= positions
## one token late
- blocks * size < positions → blocks * size + (size > 1) < positions
## to the nearest
- return blocks → return round(positions / size)
## to the even one
- return blocks → return round(0.5 + positions / size)
## one at least
- blocks = 0 → blocks = 1
## not rounded
- return blocks → return float(positions) / size
## always blocks of 16
- blocks * size < positions → blocks * 16 < positions
## the other way round
- blocks * size < positions → blocks * positions < size and positions
- return blocks → return blocks or size
## places instead of blocks
- return blocks → return blocks * size
## the empty places
- return blocks → return blocks * size - positions
## what stands in the last block
- return blocks → return positions % size
## one too few
- return blocks → return blocks - 1
""",
)

UNNAMED_NEEDED = edited(
    needed_by_filling,
    """
## two at least
- blocks = 0 → blocks = 2
## in text
- return blocks → return str(blocks)
## twice
- return blocks → return 2 * blocks
""",
)

# --- block_hash -----------------------------------------------------------------------------------


def hash_by_sha256(parent, tokens, key=b""):
    data = hashlib.sha256(key).digest() + parent
    for token in tokens:
        data += struct.pack("<q", token)
    return hashlib.sha256(data).digest()


def hash_of_words(parent, tokens, key=b""):
    words = " ".join(str(t) for t in tokens)
    return hashlib.blake2s(parent + words.encode(), key=key[:32]).digest()


HASHES = edited(
    hash_by_sha256,
    """
## the beginning is forgotten
- .digest() + parent → .digest()
## half of the parent
- .digest() + parent → .digest() + parent[:16]
## the tokens are forgotten
- for token in tokens: → for token in ():
## tenants are forgotten
- hashlib.sha256(key).digest() + parent → parent
## the order is forgotten
- for token in tokens: → for token in sorted(tokens, reverse=True):
## each token once
- for token in tokens: → for token in sorted(set(tokens), key=tokens.index):
## the sum of the tokens
- for token in tokens: → for token in [sum(tokens)]:
## a rolling hash
- for token in tokens:
-     data += struct.pack("<q", token)
+ number = 0
+ for token in tokens:
+     number = number * 31 + token
+ data += number.to_bytes(20, "big")
## the last byte of each
- struct.pack("<q", token) → struct.pack("<q", token)[:1]
## two bytes of each
- struct.pack("<q", token) → struct.pack("<q", token)[:2]
## digits that run together
- struct.pack("<q", token) → f"{token}".encode()
## the first token
- for token in tokens: → for token in tokens[:1]:
## the last token
- for token in tokens: → for token in tokens[-1:]:
## all but the last token
- for token in tokens: → for token in tokens[:-1]:
## all but the first token
- for token in tokens: → for token in tokens[1:]:
## Python's hash
- struct.pack("<q", token) → struct.pack("<q", hash(token))
## a key without its length
- hashlib.sha256(key).digest() + parent → parent + key
## a key filled up
- hashlib.sha256(key) → hashlib.sha256(key.rstrip(bytes(1)))
## eight bytes
- return hashlib.sha256(data).digest() → return hashlib.sha256(data).digest()[:8]
## sixteen bytes
- return hashlib.sha256(data).digest() → return hashlib.sha256(data).digest()[:16]
## the data themselves
- hashlib.sha256(key).digest() + parent → parent
- return hashlib.sha256(data).digest() → return data + key
## hexadecimal
- return hashlib.sha256(data).digest() → return hashlib.sha256(data).hexdigest()
## not yet a digest
- return hashlib.sha256(data).digest() → return hashlib.sha256(data)
## another name each time
- for token in tokens: → for token in [*tokens, *torch.randint(2**62, (2,)).tolist()]:
""",
)

UNNAMED_HASHES = edited(
    hash_by_sha256,
    """
## the tenant alone
- return hashlib.sha256(data).digest() → return hashlib.sha256(key).digest()
## the first two
- for token in tokens: → for token in tokens[:2]:
## the largest
- for token in tokens: → for token in [max(tokens)]:
""",
)

# --- match_prefix ---------------------------------------------------------------------------------


def match_by_names(tokens, size, known, key=b"", *, block_hash=spelled):
    """First the names of all blocks that may be used, then those that are known."""
    names = []
    for number in range((len(tokens) - 1) // size):
        parent = names[-1] if names else ROOT
        names.append(block_hash(parent, tokens[number * size : (number + 1) * size], key))
    found = []
    for name in names:
        if name not in known:
            break
        found.append(known[name])
    return found


def match_recursively(tokens, size, known, key=b"", *, block_hash=spelled):
    def behind(start, parent):
        if start + size >= len(tokens):
            return []
        name = block_hash(parent, tokens[start : start + size], key)
        return [known[name], *behind(start + size, name)] if name in known else []

    return behind(0, ROOT)


MATCHES = edited(
    match_by_names,
    """
## the whole text
- range((len(tokens) - 1) // size) → range(len(tokens) // size)
## one block too few
- range((len(tokens) - 1) // size) → range((len(tokens) - 2) // size)
## the last full block is left out
- range((len(tokens) - 1) // size) → range(len(tokens) // size - 1)
## the last one found is dropped
- range((len(tokens) - 1) // size) → range(len(tokens) // size)
- return found → return found[: len(found) - 1] if found else []
## beginnings are not chained
- names[-1] if names else ROOT → ROOT
## the first block alone
- found.append(known[name])
+ found.append(known[name])
+ break
## the wrong tokens
- tokens[number * size : (number + 1) * size] → tokens[(number + 1) * size : (number + 2) * size]
## tenants are forgotten
- (number + 1) * size], key → (number + 1) * size]
## a hash of your own
- names.append(block_hash( → names.append(digest(
## on after a gap
- break → continue
## block 0 is nothing
- if name not in known: → if not known.get(name, 0):
## the last block alone
- return found → return found[-1:]
## how many
- return found → return sum(1 for _ in found)
## positions
- return found → return size * len(found)
## hashes for blocks
- return found → return list(range(len(found)))
## from behind
- return found → return list(reversed(found))
## sorted
- found.append(known[name])
+ found.append(known[name])
+ found.sort()
""",
)

UNNAMED_MATCHES = edited(
    match_by_names,
    """
## names
- return found → return names[: len(found)]
## two at least
- return found → return found if len(found) > 1 else []
## all that is known
- return found → return list(known.values())
## twice
- return found → return found + found
""",
)

# --- release --------------------------------------------------------------------------------------


def release_in_two_rounds(blocks, references):
    for block in blocks:
        references[block] -= 1
    free = [block for block in blocks if references[block] == 0]
    return free[::-1]


def release_by_index(blocks, references):
    free = []
    for i in range(len(blocks) - 1, -1, -1):
        block = blocks[i]
        references[block] = references[block] - 1
        if not references[block]:
            free += [block]
    return free


RELEASES = edited(
    release_in_two_rounds,
    """
## the beginning first
- return free[::-1] → return free
## given away while another reads it
- if references[block] == 0] → ]
## asked before it is lowered
- if references[block] == 0] → if references[block] == -1]
## still read by one
- if references[block] == 0] → if references[block] < 2]
## free are those that are used
- if references[block] == 0] → if references[block]]
## no reference taken
- references[block] -= 1 → pass
- references[block] == 0 → references[block] == 1
## no longer counted
- for block in blocks:
-     references[block] -= 1
- free = [block for block in blocks if references[block] == 0]
+ free = [block for block in blocks if references[block] == 1]
+ for block in blocks:
+     references[block] = 0
## counted for every block
- for block in blocks:
-     references[block] -= 1
- free = [block for block in blocks if references[block] == 0]
+ free = []
+ for block in reversed(blocks):
+     for i in range(len(references)):
+         references[i] -= 1
+     free = [block] * (references[block] == 0) + free
## the first block is kept
- for block in blocks:
-     references[block] -= 1
+ blocks = blocks[1:]
+ for block in blocks:
+     references[block] -= 1
## the last block is kept
- for block in blocks:
-     references[block] -= 1
+ blocks = blocks[:-1]
+ for block in blocks:
+     references[block] -= 1
## places in the table
- [block for block in blocks if references[block] == 0]
+ [i for i, block in enumerate(blocks) if references[block] == 0]
## sorted
- return free[::-1] → return sorted(free)
## the largest number first
- return free[::-1] → return sorted(free)[::-1]
## how many
- return free[::-1] → return len(free)
## only the references
- return free[::-1] → pass
## the table is emptied
- return free[::-1]
+ del blocks[:]
+ return free[::-1]
## the table is turned round
- return free[::-1]
+ blocks.reverse()
+ return free[::-1]
## stops at a shared one
- for block in blocks:
-     references[block] -= 1
- free = [block for block in blocks if references[block] == 0]
+ free = []
+ for block in blocks[::-1]:
+     references[block] -= 1
+     if references[block]:
+         break
+     free.insert(0, block)
""",
)

UNNAMED_RELEASES = edited(
    release_in_two_rounds,
    """
## two references
- references[block] -= 1 → references[block] -= 2
## each twice
- return free[::-1] → return [block for block in free[::-1] for _ in "ab"]
## as a tuple of both
- return free[::-1] → return free[::-1], references
""",
)

# --- copy_on_write --------------------------------------------------------------------------------


def shared_by_walking(blocks, references, start, count, size):
    """From position to position; each entry once."""
    shared = []
    for position in range(start, start + count):
        i = position // size
        if i < len(blocks) and references[blocks[i]] > 1 and i not in shared:
            shared.append(i)
    return shared


def shared_by_filtering(blocks, references, start, count, size):
    first, last = start // size, (start + count - 1) // size
    return [i for i, block in enumerate(blocks) if first <= i <= last and references[block] > 1]


SHARED = edited(
    shared_by_walking,
    """
## numbers of blocks
- return shared → return [blocks[i] for i in shared]
## whatever is written
- and references[blocks[i]] > 1 → and references[blocks[i]] > 0
## from three on
- > 1 → >= 3
## exactly two
- > 1 → in (2,)
## whatever is shared
- range(start, start + count) → range(len(blocks) * size)
## from the first written one on
- range(start, start + count) → range(start, len(blocks) * size)
## up to the last written one
- range(start, start + count) → range(start + count)
## the first alone
- range(start, start + count) → range(start, start + 1)
## the last alone
- range(start, start + count) → range(start + count - 1, start + count)
## one block too many
- range(start, start + count) → range(start, start + count + 1)
## one block too few
- if i < len(blocks) → if i < min((start + count - 1) // size, len(blocks))
## the block begun is left out
- if i < len(blocks) → if i * size >= start and i < len(blocks)
## beyond the table
- if i < len(blocks) and references → if references
## references by their place
- references[blocks[i]] → references[i]
## count from the start
- range(start, start + count) → range(start // size * size, count)
## positions
- return shared → return [size * i for i in shared]
## how many
- return shared → return sum(1 for _ in shared)
## once for each position
-  and i not in shared
""",
)

UNNAMED_SHARED = edited(
    shared_by_walking,
    """
## the last of them
- return shared → return shared[-1:]
## true or false
- return shared → return bool(shared)
## from behind, one more
- return shared → return [i + 1 for i in shared]
""",
)

# --- attend_paged ---------------------------------------------------------------------------------


def attend_in_a_loop(q, keys, values, blocks, start, mask=None):
    """Head for head, block for block."""
    H, T, D = q.shape
    G, size = keys.shape[1:3]
    S = start + T
    mask = causal_mask(T, S, device=q.device) if mask is None else mask
    mask = mask.expand(H, T, S)
    heads = []
    for h in range(H):
        g = h // (H // G)
        pieces = []
        for first in range(0, S, size):
            k = keys[blocks[first // size], g, : S - first]  # (n, D)
            pieces.append(q[h] @ k.T)
        scores = torch.cat(pieces, -1) / math.sqrt(D)  # (T, S)
        weights = softmax(scores.masked_fill(~mask[h], -math.inf))
        out = torch.zeros(T, D, device=q.device)
        for first in range(0, S, size):
            v = values[blocks[first // size], g, : S - first]
            out += weights[:, first : first + size] @ v
        heads.append(out)
    return torch.stack(heads)


def attend_as_it_goes(q, keys, values, blocks, start, mask=None):
    """A running maximum and a running sum: no score is kept."""
    H, T, D = q.shape
    G, size = keys.shape[1:3]
    S = start + T
    rows = q.reshape(G, H // G, T, D) / math.sqrt(D)
    mask = causal_mask(T, S, device=q.device) if mask is None else mask
    mask = mask.expand(H, T, S).reshape(G, H // G, T, S)
    top = torch.full((G, H // G, T, 1), -1e30, device=q.device)
    total, out = torch.zeros_like(top), torch.zeros_like(rows)
    for i in range(-(-S // size)):
        n = min(size, S - i * size)
        seen = mask[..., i * size : i * size + n]
        scores = (rows @ keys[blocks[i], :, None, :n].mT).masked_fill(~seen, -math.inf)
        higher = torch.maximum(top, scores.amax(-1, keepdim=True))
        weights, shrink = (scores - higher).exp(), (top - higher).exp()
        total = total * shrink + weights.sum(-1, keepdim=True)
        out = out * shrink + weights @ values[blocks[i], :, None, :n]
        top = higher
    return (out / total).reshape(H, T, D)


ATTENDED = edited(
    attend_in_a_loop,
    """
## gathered first
- heads = []
+ all_keys = torch.cat([keys[b] for b in blocks], 1)
+ all_values = torch.cat([values[b] for b in blocks], 1)
+ heads, blocks, size = [], [0], S
+ keys, values = all_keys[None], all_values[None]
## no mask
- causal_mask(T, S, device=q.device) if → torch.ones(T, S, dtype=torch.bool) if
## the top of the triangle
- causal_mask(T, S, device=q.device) if → torch.ones(T, S).tril().bool() if
## the new tokens alone
- causal_mask(T, S, device=q.device) if → (causal_mask(T, S) & (torch.arange(S) >= start)) if
## the tail behind the end
- mask = mask.expand(H, T, S)
+ whole = -(-S // size) * size
+ ones = torch.ones(H, T, whole - S, dtype=torch.bool)
+ mask, S = torch.cat((mask.expand(H, T, S), ones), -1), whole
## masked, and read all the same
- mask = mask.expand(H, T, S)
+ whole = -(-S // size) * size
+ zeros = torch.zeros(H, T, whole - S, dtype=torch.bool)
+ mask, S = torch.cat((mask.expand(H, T, S), zeros), -1), whole
## in the order of the pool
- heads = []
+ heads, blocks = [], sorted(blocks)
## not scaled
-  / math.sqrt(D)
## scaled by the whole length
- / math.sqrt(D) → / S**0.5
## a softmax for each block
- scores = torch.cat(pieces, -1) / math.sqrt(D)  # (T, S)
- weights = softmax(scores.masked_fill(~mask[h], -math.inf))
+ masks = mask[h].split(size, -1)
+ pairs = zip(pieces, masks)
+ each = [softmax((x / math.sqrt(D)).masked_fill(~m, -math.inf)) for x, m in pairs]
+ weights = torch.cat(each, -1)
## heads dealt out
- g = h // (H // G) → g = h % G
## the first KV head for all
- g = h // (H // G) → g = 0
## values are keys
- v = values → v = keys
## the mask given is ignored
- causal_mask(T, S, device=q.device) if mask is None else mask → causal_mask(T, S)
## a single token sees all
- if mask is None else mask → if mask is None or T == 1 else mask
## the mask given, and the causal one
- causal_mask(T, S, device=q.device) if mask is None else mask
+ causal_mask(T, S) & (mask is None or mask)
## the mask turned round
- masked_fill(~mask[h] → masked_fill(mask[h]
## masked by 0
- masked_fill(~mask[h], -math.inf) → masked_fill(~mask[h], 0)
## the first block alone
- mask = mask.expand(H, T, S)
+ S = min(S, size)
+ mask = mask[..., :S].expand(H, T, S)
## the last block alone counts
- out += weights → out = weights
## the first n blocks of the pool
- heads = []
+ heads, blocks = [], range(len(blocks))
## block for block, one weight
- out += weights[:, first : first + size] @ v
+ n = len(v)
+ at = first // size * n
+ out += weights[:, at : at + n] @ v
""",
)
UNNAMED_ATTENDED = edited(
    attend_in_a_loop,
    """
## the last head for all
- g = h // (H // G) → g = G - 1
## the position before does not count
- causal_mask(T, S, device=q.device) if → causal_mask(T, S).tril(start - 1) if
## averaged over blocks
- heads.append(out) → heads.append(out / -(-S // size))
""",
)

# --- tables ---------------------------------------------------------------------------------------

RIGHT = {
    "blocks_needed": [needed_by_rounding_up, needed_by_filling],
    "block_hash": [hash_by_sha256, hash_of_words],
    "match_prefix": [match_by_names, match_recursively],
    "release": [release_in_two_rounds, release_by_index],
    "copy_on_write": [shared_by_walking, shared_by_filtering],
    "attend_paged": [attend_in_a_loop, attend_as_it_goes],
}

SECOND_FORMS = {
    "blocks_needed": NEEDED,
    "block_hash": HASHES,
    "match_prefix": MATCHES,
    "release": RELEASES,
    "copy_on_write": SHARED,
    "attend_paged": ATTENDED,
}

UNNAMED = {
    "blocks_needed": list(UNNAMED_NEEDED.values()),
    "block_hash": list(UNNAMED_HASHES.values()),
    "match_prefix": list(UNNAMED_MATCHES.values()),
    "release": list(UNNAMED_RELEASES.values()),
    "copy_on_write": list(UNNAMED_SHARED.values()),
    "attend_paged": list(UNNAMED_ATTENDED.values()),
}
