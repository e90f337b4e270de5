"""Exercises of lesson 08b: prompts in one batch, and beams."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from decodeloop.decode import (
    decode_step,
    generate_batch,
    pad_left,
    prefill,
)
from decodeloop.decode.beam import beam_search as library_beam_search
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Candidate, Case, ChangedInput, Exercise
from decodeloop.exercises.lesson_08 import HashModel, Watched, forecast, plain_loop, small_decoder
from decodeloop.model import Decoder

LESSON = "08b_batches_and_beams"

# --- pad_left -------------------------------------------------------------------------------------


def padded_by_hand(prompts: Sequence[Sequence[int]], pad_id: int = 0) -> tuple[Tensor, Tensor]:
    """Closed form: column c of a row of n tokens is its token c - (T - n), if there is one."""
    T = max(len(p) for p in prompts)
    token_ids = torch.full((len(prompts), T), pad_id)
    real = torch.zeros(len(prompts), T, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        for place, token in enumerate(prompt):
            token_ids[row, T - len(prompt) + place] = token
            real[row, T - len(prompt) + place] = True
    return token_ids, real


def both(result: Any) -> Any:
    """The two tensors by name, and whether ids are whole numbers; anything else as it came."""
    if not (isinstance(result, tuple | list) and len(result) == 2):
        return result
    token_ids, real = result
    whole = isinstance(token_ids, Tensor) and not token_ids.is_floating_point()
    return {"token_ids": token_ids, "real": real, "ids are whole numbers": whole}


def padding_case(label: str, prompts: list[list[int]], *pad_id: int) -> Case:
    def run(candidate: Candidate) -> Any:
        lent = [list(p) for p in prompts]
        result = candidate(lent, *pad_id)
        if lent != prompts:
            raise ChangedInput(
                "it changed the prompts in place: the caller still needs them; make new lists"
            )
        return both(result)

    expected = both(padded_by_hand(prompts, *pad_id))
    return Case(label, run, lambda: expected, (prompts, *pad_id))


def padded(prompts: Sequence[Sequence[int]], pad_id: int = 0) -> tuple[Tensor, Tensor]:
    """A right one."""
    T = max(len(p) for p in prompts)
    rows, real = [], []
    for prompt in prompts:
        gap = T - len(prompt)
        rows.append([pad_id] * gap + list(prompt))
        real.append([False] * gap + [True] * len(prompt))
    return torch.tensor(rows), torch.tensor(real)


PAD = Exercise(
    name="pad_left",
    lesson=LESSON,
    library=pad_left,
    minutes=6,
    difficulty=1,
    cases=(
        padding_case("three lengths", [[5, 6, 7, 8], [9], [3, 4]]),
        padding_case("one prompt", [[2, 7, 1]]),
        padding_case("all of one length", [[1, 2], [3, 4], [5, 6]]),
        padding_case("pad_id 99", [[1], [2, 3, 4]], 99),
        padding_case("the pad id occurs in a prompt", [[0, 5, 0], [0], [7, 0]]),
        padding_case("the pad id occurs in a prompt, 7", [[7, 1], [7, 7, 2, 7, 7]], 7),
        padding_case("the first is the shortest", [[4], [1, 2, 3, 4, 5]]),
    ),
    mistakes=edits(
        padded,
        """
## padded on the right
- [pad_id] * gap + list(prompt) → list(prompt) + [pad_id] * gap
- [False] * gap + [True] * len(prompt) → [True] * len(prompt) + [False] * gap
You fill up on the right. Then the last column holds no real token for the short prompts, and that
is where the next token is read off: put the padding in front.
## real is the wrong way round
- torch.tensor(real) → ~torch.tensor(real)
The tokens are right, but `real` is True where the padding is. It says which entries are real: True
for tokens, False for padding.
## real is read off the ids
- torch.tensor(real) → torch.tensor(rows) != pad_id
Right, unless the pad id occurs in a prompt: there you take a real token for padding. Make `real`
from the lengths, not from token_ids != pad_id.
## real is True for the padding, read off the ids
- torch.tensor(real) → torch.tensor(rows) == pad_id
Two things. `real` is True where the padding is: turn it around. And make it from the lengths, not
from the ids: the pad id may occur in a prompt.
## real on the other side
- [False] * gap + [True] * len(prompt) → [True] * len(prompt) + [False] * gap
The tokens are padded on the left, but `real` is False on the right: both need the padding in
front.
## real is not boolean
- torch.tensor(real) → torch.tensor(real).long()
`real` holds whole numbers. It becomes a mask, and masks are boolean here: True and False, or
.bool().
## real is everything but 0
- torch.tensor(real) → torch.tensor(rows) != 0
You take every id but 0 for a real token. 0 may occur in a prompt, and the padding may be another id:
make `real` from the lengths.
## all is real
- [False] * gap + [True] * len(prompt) → [True] * T
`real` is True everywhere. It is False where the padding stands.
## real is missing
- return torch.tensor(rows), torch.tensor(real) → return torch.tensor(rows)
You return the token ids alone. Two tensors are asked for: the ids, and `real`.
## real first
- return torch.tensor(rows), torch.tensor(real) → return torch.tensor(real), torch.tensor(rows)
The two tensors are in the wrong order: the ids first, then `real`.
## lists instead of tensors
- return torch.tensor(rows), torch.tensor(real) → return rows, real
You return lists. Two tensors are asked for: torch.tensor makes one of a list of rows.
## ids that are no whole numbers
- return torch.tensor(rows), → return torch.tensor(rows).float(),
Your token ids are floating-point numbers, which no embedding takes: ids are whole. torch.zeros and
torch.ones make floats; torch.full((B, T), pad_id) doesn't.
## real for the first prompt
- gap = T - len(prompt)
+ gap, first = T - len(prompt), T - len(prompts[0])
- [False] * gap + [True] * len(prompt) → [False] * first + [True] * len(prompts[0])
`real` is the same in every row, that of the first prompt. Each row has padding of its own.
## sorted by length
- in prompts: → in sorted(prompts, key=len, reverse=True):
Your rows are sorted by their length. They stay in the order of the prompts: who calls needs to know which
is which.
## one pad too many
- gap = T - len(prompt) → gap = T - len(prompt) + 1
Each row has one entry too many on the left: T is the length of the longest prompt, which needs no
padding.
## pad_id is ignored
- [pad_id] → [0]
You always fill up with 0: use pad_id.
## cut to the shortest
- T = max( → T = min(
- in prompts: → in [p[:T] for p in prompts]:
You cut the long prompts. Nothing may be lost: T is the length of the longest, max(len(p) for p in
prompts).
## the tokens are turned around
- list(prompt) → list(prompt)[::-1]
The padding is on the left, but the tokens of the short prompts are in reverse order: whoever turns
the rows around to pad them must turn each prompt around before.
""",
    ),
    hints=(
        "T is the length of the longest prompt. How many pads does a prompt of n tokens need?",
        "Lists can be added and multiplied: [pad_id] * 3 + [5, 6] is [pad_id, pad_id, pad_id, 5, 6].",
        "`real` is made in the same way: [False] * (T - n) + [True] * n. torch.tensor makes a tensor "
        "of a list of rows, boolean if all entries are True or False.",
    ),
)


# --- beam_search ----------------------------------------------------------------------------------


def beam_search(
    model: Any,
    token_ids: Tensor,
    max_new_tokens: int,
    beams: int,
    length_penalty: float = 1.0,
    eos_ids: Collection[int] = (),
) -> list[int]:
    """The library's, as the exercise has it: the tokens alone."""
    found = library_beam_search(model, token_ids, max_new_tokens, beams, length_penalty, eos_ids)
    return list(found.tokens)


def log_shares(logits: Sequence[float]) -> list[float]:
    total = math.log(math.fsum(math.exp(x) for x in logits))
    return [x - total for x in logits]


def beams_on_lists(
    table: Callable[[list[int]], list[float]],
    prompt: list[int],
    most: int,
    beams: int,
    length_penalty: float = 1.0,
    eos_ids: Collection[int] = (),
) -> list[int]:
    """The oracle: texts in lists, no tensors and no cache; every text is read anew at each step."""
    running: list[tuple[float, list[int]]] = [(0.0, [])]
    ended: list[tuple[float, list[int]]] = []
    for made in range(1, most + 1):
        grown = [
            (total + share, [*text, token])
            for total, text in running
            for token, share in enumerate(log_shares(table(prompt + text)))
        ]
        grown.sort(key=lambda x: -x[0])
        ends = [text[-1] in eos_ids or made == most for _, text in grown]
        for (total, text), over in list(zip(grown, ends, strict=True))[:beams]:
            if over:
                ended.append((total / made**length_penalty, text))
        ended = sorted(ended, key=lambda x: -x[0])[:beams]
        running = [x for x, over in zip(grown, ends, strict=True) if not over][:beams]
        full = len(ended) == beams
        if not running or (full and running[0][0] / made**length_penalty <= ended[-1][0]):
            break
    best_text = ended[0][1]
    return best_text[:-1] if best_text[-1] in eos_ids else best_text


def best_of_all(
    table: Callable[[list[int]], list[float]], prompt: list[int], most: int, V: int
) -> list[int]:
    """Closed form where nothing ends early: every text of `most` tokens is tried."""

    def total(text: list[int]) -> float:
        steps = range(len(text))
        return math.fsum(log_shares(table(prompt + text[:i]))[text[i]] for i in steps)

    every = [list(text) for text in itertools.product(range(V), repeat=most)]
    return max(every, key=total)


def beam_case(
    label: str,
    V: int,
    prompt: list[int],
    most: int,
    beams: int,
    length_penalty: float = 1.0,
    eos_ids: tuple[int, ...] = (),
    every: bool = False,
) -> Case:
    def run(candidate: Candidate) -> Any:
        given = torch.tensor([prompt])
        text = candidate(HashModel(V), given, most, beams, length_penalty, eos_ids)
        if given.tolist() != [prompt]:
            raise ChangedInput("it changed token_ids in place: work on a new tensor")
        return text

    def expected() -> Any:
        table = partial(forecast, V=V)
        if every:
            return best_of_all(table, prompt, most, V)
        return beams_on_lists(table, prompt, most, beams, length_penalty, eos_ids)

    return Case(label, run, expected)


def decoder_beams(candidate: Candidate) -> Any:
    return candidate(small_decoder(), torch.tensor([[8, 1, 60]]), 6, 3)


def decoder_beams_expected() -> Any:
    def table(sequence: list[int]) -> list[float]:
        with torch.inference_mode():
            logits: list[float] = small_decoder()(torch.tensor([sequence]))[0, -1].tolist()
        return logits

    return beams_on_lists(table, [8, 1, 60], 6, 3)


def plain_beam_search(
    model: Any,
    token_ids: Tensor,
    max_new_tokens: int,
    beams: int,
    length_penalty: float = 1.0,
    eos_ids: Collection[int] = (),
) -> list[int]:
    """A right one."""
    kv_cache = model.new_cache(1, token_ids.shape[1] + max_new_tokens - 1)
    logits = prefill(model, token_ids, kv_cache)
    texts: list[list[int]] = [[]]
    sums = torch.zeros(1)
    ended: list[tuple[float, list[int]]] = []
    count = beams * (1 + max(1, len(set(eos_ids))))
    for made in range(1, max_new_tokens + 1):
        table = sums[:, None] + logits.log_softmax(-1)
        K, V = table.shape
        best, places = table.flatten().topk(min(count, K * V))
        rows, tokens = places // V, places % V
        going: list[tuple[float, int, int]] = []
        candidates = zip(best.tolist(), rows.tolist(), tokens.tolist(), strict=True)
        for rank, (total, row, token) in enumerate(candidates):
            ends = token in eos_ids
            if not ends and made < max_new_tokens:
                going.append((total, row, token))
            elif rank < beams:
                text = texts[row] if ends else [*texts[row], token]
                ended.append((total / made**length_penalty, text))
        ended = sorted(ended, key=lambda x: -x[0])[:beams]
        going = going[:beams]
        if not going:
            break
        if len(ended) == beams and going[0][0] / made**length_penalty <= ended[-1][0]:
            break
        texts = [[*texts[row], token] for _, row, token in going]
        sums = torch.tensor([total for total, row, _ in going])
        kv_cache.select([row for _, row, _ in going])
        logits = decode_step(model, torch.tensor([[token] for *_, token in going]), kv_cache)
    return ended[0][1]


BEAM = Exercise(
    name="beam_search",
    lesson=LESSON,
    library=beam_search,
    minutes=15,
    difficulty=3,
    part=True,
    cases=(
        beam_case("two beams, three tokens", 7, [1, 2], 3, 2),
        beam_case("one beam is greedy", 7, [1, 2], 6, 1),
        beam_case("three beams, eight tokens", 11, [4, 0, 9], 8, 3),
        beam_case("five beams, ten tokens", 13, [2], 10, 5),
        beam_case("as many beams as tokens: nothing is lost", 8, [5, 5], 2, 8, every=True),
        beam_case("nothing is lost, another prompt", 6, [1, 3, 3], 2, 6, every=True),
        beam_case("texts that end", 7, [6, 1], 9, 3, eos_ids=(2,)),
        beam_case("texts that end, summed: penalty 0", 7, [6, 1], 9, 3, 0.0, (2,)),
        beam_case("long ones favoured: penalty 2", 7, [6, 1], 9, 3, 2.0, (2,)),
        beam_case("short ones favoured: penalty -1", 9, [0, 4], 9, 4, -1.0, (3,)),
        beam_case("two kinds of end", 9, [3, 8], 8, 3, 1.0, (0, 5)),
        beam_case("another text that ends", 5, [1, 0, 4], 10, 2, 1.0, (3,)),
        beam_case("a better one after the first", 6, [1, 3], 7, 4, 0.5, (1,)),
        beam_case("one that ends late", 10, [7], 12, 3, 0.5, (6,)),
        beam_case("beams that end are replaced", 6, [0], 8, 3, 1.5, (4,)),
        beam_case("a beam that ends takes no place", 5, [2, 4], 8, 2, 1.0, (3,)),
        Case("a small decoder", decoder_beams, decoder_beams_expected),
    ),
    mistakes=edits(
        plain_beam_search,
        """
## the cache is not reordered
- kv_cache.select([row for _, row, _ in going])
+ if kv_cache.batch != len(going):
+     kv_cache.select([row for _, row, _ in going])
The beams change places, their caches don't: a beam goes on with the keys and values of another
text. Before decode_step: cache.select(rows), with the row that each beam continues.
## the texts are not reordered
- texts = [[*texts[row], token] for _, row, token in going]
+ own = [texts[min(i, len(texts) - 1)] for i in range(len(going))]
+ texts = [[*text, token] for text, (_, _, token) in zip(own, going)]
You append each new token to the text in its own place. But beam i continues the beam rows[i]:
texts[row] + [token].
## two beams share one list
- texts = [[*texts[row], token] for _, row, token in going]
+ for _, row, token in going:
+     texts[row].append(token)
+ texts = [texts[row] for _, row, _ in going]
texts[row].append(token) changes the list that all beams from this row have in common, and those
that have ended too. Make a new list: texts[row] + [token].
## each beam for itself
- rows, tokens = places // V, places % V
+ rows, tokens = places // V, places % V
+ if made > 1:
+     own_best, own_token = table.max(-1)
+     best, rows = own_best.sort(descending=True)
+     tokens = own_token[rows]
Each beam goes on with its own best token: that is greedy decoding from several starts. The
candidates of all beams must compete: one topk over all K·V sums.
## logits are added
- logits.log_softmax(-1) → logits
You add logits. They are known up to a constant that differs from step to step and from beam to
beam, so their sums can't be compared: take log_softmax first.
## the sums are not added up
- sums[:, None] + logits.log_softmax(-1) → logits.log_softmax(-1)
You compare the last token's log-probability alone. A text's is the sum over all its tokens. Either
Part 1 does not add torch.tensor(sums)[:, None], or Part 2 does not set `sums`, and they stay 0.
## the old sum is added twice
- [total for total, row, _ in going] → [total + float(sums[row]) for total, row, _ in going]
You add the old sum in Part 2 once more. The `total` in `going` holds it already: sums = [total for
total, row, token in going].
## one softmax over all candidates
- table = sums[:, None] + logits.log_softmax(-1)
+ table = (sums[:, None] + logits).flatten().log_softmax(-1).view_as(logits)
You add the sums to the logits, and take one softmax over all beams. Each beam's forecast sums to 1 by
itself: log_softmax(-1) of each row first, then add the sums.
## the cache of the first beam for all
- kv_cache.select([row for _, row, _ in going]) → kv_cache.select([0] * len(going))
All beams go on with the cache of the first. Each continues a row of its own: cache.select(rows).
## the text of the first beam for all
- [[*texts[row], token] for _, row, token in going] → [[*texts[0], token] for _, row, token in going]
All beams go on with the text of the first. Each continues a row of its own: texts[row] + [token].
## the best of each row, row after row
- best, places = table.flatten().topk(min(count, K * V))
- rows, tokens = places // V, places % V
+ best, tokens = (x.flatten() for x in table.topk(min(count, V), dim=-1))
+ rows = torch.arange(K).repeat_interleave(min(count, V))
You take the best of each row, one row behind the other. The candidates of all beams must compete: one topk
over all K·V sums, best first.
## too few of each row
- best, places = table.flatten().topk(min(count, K * V))
- rows, tokens = places // V, places % V
+ top, own = table.topk(min(beams, V), dim=-1)
+ best, places = top.flatten().sort(descending=True)
+ best, places = best[:count], places[:count]
+ rows, tokens = places // top.shape[1], own.flatten()[places]
You take the best `beams` tokens of each row. Where one of them ends, the row's next best must take
its place: one topk of `count` over all K·V sums.
## softmax over the beams
- logits.log_softmax(-1) → logits.log_softmax(0)
Your softmax runs over the beams. Each row is a forecast, and sums to 1 along the tokens:
log_softmax(-1).
## too few candidates
- count = beams * (1 + max(1, len(set(eos_ids)))) → count = beams
You take the best `beams` candidates. Some of them may end, and others must take their places: `count`
are enough for that.
## sums of the first candidates
- [total for total, row, _ in going] → best.tolist()[: len(going)]
Your sums are those of the first candidates. Some of these may have ended: take the totals in `going`.
## the cache follows the first candidates
- kv_cache.select([row for _, row, _ in going]) → kv_cache.select(rows.tolist()[: len(going)])
You rearrange the cache by the rows of the first candidates. Some of these may have ended: take the
rows in `going`.
## Part 2 from the first candidates
- texts = [[*texts[row], token] for _, row, token in going]
+ going = list(zip(best.tolist(), rows.tolist(), tokens.tolist()))[: len(going)]
+ texts = [[*texts[row], token] for _, row, token in going]
You go on with the first candidates. Some of these may have ended: those that go on are in `going`.
## softmax without the logarithm
- logits.log_softmax(-1) → logits.softmax(-1)
You add up probabilities. A text's probability is their product, so the logarithms add up:
log_softmax in place of softmax.
## row and token mixed up
- rows, tokens = places // V, places % V → rows, tokens = places % K, places // K
In the flattened table beam r has the places r·V to r·V + V - 1. So the row is place // V and the
token place % V: divide by V, not by the number of beams.
## no length penalty
- (total / made**length_penalty, text) → (total, text)
- going[0][0] / made**length_penalty → going[0][0]
You compare the bare sums. A long text has more terms, all negative, so short ones win: the score
is sum / n**length_penalty, n counting the end of sequence.
## multiplied by the length
- total / made**length_penalty → total * made**length_penalty
- going[0][0] / made**length_penalty → going[0][0] * made**length_penalty
You multiply by n**length_penalty: the sums are negative, so that makes long texts still worse.
Divide.
## the prompt, several times
- logits = prefill(model, token_ids, kv_cache)
+ logits = prefill(model, token_ids, kv_cache).expand(beams, -1)
+ kv_cache.select([0] * beams)
- texts: list[list[int]] = [[]] → texts = [[] for _ in range(beams)]
- sums = torch.zeros(1) → sums = torch.zeros(beams)
That is what greedy decoding gives. Do all your beams start as the same text? Then each candidate
stands there several times, and the beams stay alike for ever. Start with one row, or give all rows
but the first a sum of -inf.
## the first that ends wins
- ended.append((total / made**length_penalty, text)) → return text
You return the first text that ends. Another that is still running, or ends later, may score
better: keep those that ended, and compare.
## the end of sequence is in the text
- texts[row] if ends else [*texts[row], token] → [*texts[row], token]
The end-of-sequence token counts in the score, but it does not belong to the text: leave it out.
""",
    ),
    hints=(
        "Log-probabilities add up along a text. (K, 1) + (K, V) gives, for every beam and every "
        "token, the sum of the text that the two would make.",
        "table = torch.tensor(sums)[:, None] + logits.log_softmax(-1) is (K, V). best, places = "
        "table.flatten().topk(min(count, table.numel())) are the best of all beams together.",
        "Row r of the flattened table begins at r * V. So rows = places // V and tokens = places % V, "
        'with V = logits.shape[-1]. "list index out of range" at texts[row] says that the two are '
        "swapped. The three lists: best.tolist(), and so on.",
        "Part 2: texts = [texts[row] + [token] for _, row, token in going]; sums, a list of the "
        "totals; cache.select([row for _, row, _ in going]); only then decode_step with the new "
        "tokens as (K, 1), since the cache must have as many rows as there are tokens.",
    ),
)

# --- greedy_batch ---------------------------------------------------------------------------------


def greedy_batch(
    model: Any,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    eos_ids: Collection[int] = (),
) -> list[list[int]]:
    """The library's, as the exercise has it: the tokens alone."""
    return [row.tokens for row in generate_batch(model, prompts, max_new_tokens, eos_ids=eos_ids)]


def one_after_another(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    eos_ids: Collection[int] = (),
) -> list[list[int]]:
    """The oracle: each prompt alone, no padding, no cache."""

    def table(sequence: list[int]) -> list[float]:
        with torch.inference_mode():
            logits: list[float] = model(torch.tensor([sequence]))[0, -1].tolist()
        return logits

    return [plain_loop(table, list(p), max_new_tokens, eos_ids=eos_ids)[0] for p in prompts]


def batch_case(
    label: str, prompts: list[list[int]], most: int, eos_ids: tuple[int, ...] = ()
) -> Case:
    def run(candidate: Candidate) -> Any:
        model, lent = Watched(small_decoder()), [list(p) for p in prompts]
        texts = candidate(model, lent, most, eos_ids)
        if lent != prompts:
            raise ChangedInput(
                "it changed the prompts in place: the caller still needs them; make new lists"
            )
        return {"tokens": texts, "rows in a forward": model.rows}

    def expected() -> Any:
        texts = one_after_another(small_decoder(), prompts, most, eos_ids)
        return {"tokens": texts, "rows in a forward": len(prompts)}

    return Case(label, run, expected, (prompts, most, eos_ids))


def plain_greedy_batch(
    model: Any,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    eos_ids: Collection[int] = (),
) -> list[list[int]]:
    """A right one."""
    token_ids, real = padded(prompts)
    B, T = token_ids.shape
    columns = torch.arange(T)
    causal = columns <= columns[:, None]
    kv_cache = model.new_cache(B, T + max_new_tokens + 1)
    logits = prefill(model, token_ids, kv_cache, mask=real[:, None, None, :] & causal)
    made: list[list[int]] = [[] for _ in prompts]
    over = [False] * B
    for _ in range(max_new_tokens):
        next_ids = logits.argmax(-1)
        for row, token in enumerate(next_ids.tolist()):
            over[row] |= token in eos_ids
            if not over[row]:
                made[row].append(token)
        if all(over):
            break
        real = torch.cat((real, torch.ones(B, 1, dtype=torch.bool)), dim=1)
        mask = real[:, None, None, :]
        logits = decode_step(model, next_ids[:, None], kv_cache, mask=mask)
    return made


BATCH = Exercise(
    name="greedy_batch",
    lesson=LESSON,
    library=greedy_batch,
    minutes=15,
    difficulty=3,
    kind="stretch",
    cases=(
        batch_case("two lengths", [[5, 6, 7, 8, 30], [9, 2]], 5),
        batch_case("three lengths", [[3], [40, 41, 42], [7, 7, 7, 7, 7, 7]], 6),
        batch_case("one prompt", [[11, 12, 13]], 4),
        batch_case("zeros in a prompt", [[5, 0, 0, 0], [3]], 3),
        batch_case("one token each", [[1, 2, 3, 4, 5, 6, 7], [8]], 1),
        batch_case("a row that ends", [[5, 6, 7, 8, 30], [9, 2], [60]], 12, tuple(range(0, 97, 7))),
        batch_case("all end", [[3], [40, 41, 42]], 30, tuple(range(1, 97, 7))),
    ),
    mistakes=edits(
        plain_greedy_batch,
        """
## no mask at all
- mask=real[:, None, None, :] & causal → mask=causal
- mask = real[:, None, None, :] → mask = None
The short rows attend to their padding, in the prefill and in every step: give both a mask in which
no padding may be looked at.
## no mask in the decode steps
- mask = real[:, None, None, :] → mask = None
The prefill hides the padding, but the decode steps don't, and the padding is still in the cache:
each step needs a mask (B, 1, 1, S) too, one column longer each time.
## no mask in the prefill
- mask=real[:, None, None, :] & causal → mask=causal
The decode steps hide the padding, but the prefill doesn't: there the mask is real[:, None, None,
:] & causal_mask(T).
## the prefill is not causal
- real[:, None, None, :] & causal → real[:, None, None, :]
Your prefill's mask hides the padding, but not the future: each token of a prompt sees those after it.
It is real[:, None, None, :] & causal_mask(T).
## real is read off the ids
- causal = columns
+ real = token_ids != 0
+ causal = columns
You take every 0 for padding. A prompt may hold that token: pad_left gives `real`, made from the
lengths.
## the new column in front
- torch.cat((real, torch.ones(B, 1, dtype=torch.bool)), dim=1)
+ torch.cat((torch.ones(B, 1, dtype=torch.bool), real), dim=1)
`real` grows on the wrong side: the new token stands behind all others, so its column of True comes last.
## the new column is padding
- torch.ones(B, 1 → torch.zeros(B, 1
The column by which `real` grows is False, so no new token sees itself, nor those after the prompt: the
new tokens are real.
## one row after the other
- token_ids, real = padded(prompts)
+ if len(prompts) > 1:
+     return [plain_greedy_batch(model, [p], max_new_tokens, eos_ids)[0] for p in prompts]
+ token_ids, real = padded(prompts)
The tokens are right, but you make each row by itself. All prompts belong in one batch: one prefill and
one decode step for all of them.
## the end is ignored
- over[row] |= token in eos_ids
You never look for an end of sequence: compare each token with eos_ids, and append nothing more to a
row that has met one.
## the prompt is in the text
- [[] for _ in prompts] → [list(p) for p in prompts]
The prompts stand in the result. Only the new tokens are asked for.
## the first token is missing
- next_ids = logits.argmax(-1)
- for row, token in enumerate(next_ids.tolist()):
+ next_ids = logits.argmax(-1)
+ for row, token in enumerate(next_ids.tolist() if kv_cache.length > T else []):
The first token of each row is missing: the one that the prefill gives belongs to the text.
## the first token is missing, and one more at the end
- range(max_new_tokens) → range(max_new_tokens + 1)
- next_ids = logits.argmax(-1)
- for row, token in enumerate(next_ids.tolist()):
+ next_ids = logits.argmax(-1)
+ for row, token in enumerate(next_ids.tolist() if kv_cache.length > T else []):
The first token of each row is missing: the one that the prefill gives belongs to the text. Append it before
the first decode step.
## one token too few
- range(max_new_tokens) → range(max_new_tokens - 1)
One token less than max_new_tokens: the prefill gives one, and each of max_new_tokens - 1 decode steps
one more.
## padded on the right
- token_ids, real = padded(prompts)
+ token_ids, real = (x.flip(1) for x in padded([p[::-1] for p in prompts]))
You pad on the right, and read the first token off the last column, which is padding for the short
rows. Pad on the left: pad_left.
## goes on after the end
- over[row] |= token in eos_ids
- if not over[row]:
+ if token not in eos_ids:
A row that has met its end of sequence goes on collecting tokens as long as others run: note which
rows are over, and append nothing more to them.
## goes on after the end, until all are over
- if not over[row]: → if token not in eos_ids:
A row that has met its end of sequence goes on collecting tokens as long as others run: append nothing more to
a row that is over.
## all rows in one list
- [[] for _ in prompts] → [[]] * len(prompts)
[[]] * B is the same list B times, so all rows append to one: make a list for each, [[] for _ in prompts].
## the end of sequence is in the text
- over[row] |= token in eos_ids
- if not over[row]:
-     made[row].append(token)
+ if not over[row]:
+     made[row].append(token)
+ over[row] |= token in eos_ids
The end-of-sequence token is no text: don't append it.
## all stop with the first
- if all(over): → if any(over):
The whole batch ends as soon as one row does. The others are not done: go on until all rows are
over.
## one token too many
- range(max_new_tokens) → range(max_new_tokens + 1)
One token more than max_new_tokens: the prefill already gives the first.
""",
    ),
    hints=(
        "pad_left gives token_ids and real. The prefill's mask is real[:, None, None, :] & "
        "causal_mask(T): (B, 1, T, T).",
        "Before each decode step `real` grows by a column of True, since the new tokens are real: "
        "torch.cat((real, torch.ones(B, 1, dtype=torch.bool)), dim=1). Its mask is real[:, None, "
        "None, :].",
        "A row that is over goes on with any token; only don't append it. End when all are over, or "
        "after max_new_tokens.",
    ),
)

EXERCISES = (PAD, BEAM, BATCH)
