"""Lesson 08b: right answers, named mistakes in other words, and wrong answers nobody named."""

import heapq
import itertools
import math

import torch
from torch.nn.utils.rnn import pad_sequence

from decodeloop.decode import decode_step, prefill
from decodeloop.exercises.edits import edited
from decodeloop.exercises.lesson_08b import (
    plain_beam_search,
)

# --- pad_left -------------------------------------------------------------------------------------


def pad_by_flipping(prompts, pad_id=0):
    rows = [torch.tensor(list(p)).flip(0) for p in prompts]
    lengths = torch.tensor([len(p) for p in prompts])
    token_ids = pad_sequence(rows, batch_first=True, padding_value=pad_id).flip(1)
    T = token_ids.shape[1]
    return token_ids, torch.arange(T) >= T - lengths[:, None]


def pad_into_full(prompts, pad_id=0):
    B, T = len(prompts), max(len(p) for p in prompts)
    token_ids = torch.full((B, T), pad_id)
    real = torch.zeros((B, T), dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        token_ids[row, T - len(prompt) :] = torch.tensor(prompt)
        real[row, T - len(prompt) :] = True
    return token_ids, real


PADS = edited(
    pad_into_full,
    """
## padded on the right
- token_ids[row, T - len(prompt) :] → token_ids[row, : len(prompt)]
- real[row, T - len(prompt) :] → real[row, : len(prompt)]
## real is the wrong way round
- return token_ids, real → return token_ids, torch.logical_not(real)
## real is read off the ids
- return token_ids, real → return token_ids, torch.ne(token_ids, pad_id)
## real is True for the padding, read off the ids
- return token_ids, real → return token_ids, torch.eq(token_ids, pad_id)
## real on the other side
- real[row, T - len(prompt) :] → real[row, : len(prompt)]
## real is not boolean
- return token_ids, real → return token_ids, real.int()
## real is everything but 0
- return token_ids, real → return token_ids, token_ids.bool()
## all is real
- torch.zeros((B, T), dtype=torch.bool) → torch.ones((B, T), dtype=torch.bool)
## real is missing
- return token_ids, real → return token_ids
## real first
- return token_ids, real → return real, token_ids
## lists instead of tensors
- return token_ids, real → return token_ids.tolist(), real.tolist()
## ids that are no whole numbers
- torch.full((B, T), pad_id) → torch.full((B, T), float(pad_id))
## real for the first prompt
- real[row, T - len(prompt) :] → real[row, T - len(prompts[0]) :]
## sorted by length
- B, T = len(prompts)
+ prompts = sorted(prompts, key=lambda p: -len(p))
+ B, T = len(prompts)
## one pad too many
- max(len(p) for p in prompts) → max(len(p) for p in prompts) + 1
## pad_id is ignored
- torch.full((B, T), pad_id) → torch.zeros((B, T), dtype=torch.long)
## cut to the shortest
- max(len(p) for p in prompts) → min(len(p) for p in prompts)
- T - len(prompt) :] = torch.tensor(prompt) → :] = torch.tensor(prompt[:T])
- T - len(prompt) :] = True → :] = True
## the tokens are turned around
- torch.tensor(prompt) → torch.tensor(prompt).flip(0)
""",
)

UNNAMED_PADS = edited(
    pad_into_full,
    """
## the prompts are changed
- return token_ids, real
+ prompts[0][:] = token_ids[0].tolist()
+ prompts[-1][:] = token_ids[-1].tolist()
+ return token_ids, real
## the last tokens of each, as many as the shortest has
- max(len(p) for p in prompts) → min(len(p) for p in prompts)
- T - len(prompt) :] = torch.tensor(prompt) → :] = torch.tensor(prompt[-T:])
- T - len(prompt) :] = True → :] = True
## T of the first
- max(len(p) for p in prompts) → len(prompts[0])
""",
)


# --- beam_search ----------------------------------------------------------------------------------


def beams_in_tensors(model, token_ids, max_new_tokens, beams, length_penalty=1.0, eos_ids=()):
    """All beams in every step, those that are not there yet at -inf; texts in a tensor."""
    T = token_ids.shape[1]
    cache = model.new_cache(beams, T + max_new_tokens)
    logits = prefill(model, token_ids.expand(beams, T).contiguous(), cache)
    sums = logits.new_full((beams,), -math.inf)
    sums[0] = 0.0
    texts = torch.empty(beams, 0, dtype=torch.long, device=logits.device)
    finished = []
    ends_at = torch.tensor(sorted(eos_ids), dtype=torch.long, device=logits.device)
    for n in range(1, max_new_tokens + 1):
        V = logits.shape[-1]
        all_sums = (sums[:, None] + torch.log_softmax(logits, -1)).view(-1)
        values, order = all_sums.sort(descending=True)
        grown = torch.cat((texts[order // V], (order % V)[:, None]), dim=1)
        over = torch.isin(order % V, ends_at) | (n == max_new_tokens)
        for i in over[:beams].nonzero()[:, 0].tolist():
            if values[i] > -math.inf:
                text = grown[i].tolist()
                finished.append((values[i].item() / n**length_penalty, text))
        finished.sort(key=lambda x: x[0], reverse=True)
        del finished[beams:]
        alive = (~over & (values > -math.inf)).nonzero()[:beams, 0]
        if not len(alive):
            break
        if len(finished) == beams and values[alive[0]] / n**length_penalty <= finished[-1][0]:
            break
        rows = (order // V)[alive].tolist()
        pad = [rows[0]] * (beams - len(rows))  # rows that count for nothing, to keep the shape
        cache.select(rows + pad)
        texts = torch.cat((grown[alive], grown[alive[:1]].expand(len(pad), -1)))
        sums = torch.cat((values[alive], sums.new_full((len(pad),), -math.inf)))
        logits = decode_step(model, texts[:, -1:], cache)
    best = finished[0][1]
    return best[:-1] if best[-1] in eos_ids else best


def beams_with_a_heap(model, token_ids, max_new_tokens, beams, length_penalty=1.0, eos_ids=()):
    """No cache: every text is read anew, and candidates are drawn from a heap."""
    prompt = token_ids[0].tolist()
    running, finished = [(0.0, [])], []
    for n in range(1, max_new_tokens + 1):
        with torch.inference_mode():
            rows = torch.tensor([prompt + text for _, text in running])
            shares = model(rows)[:, -1].log_softmax(-1).tolist()
        candidates = (
            (total + share, [*text, token])
            for (total, text), row in zip(running, shares, strict=True)
            for token, share in enumerate(row)
        )
        count = beams * (2 + len(eos_ids))
        best = heapq.nlargest(count, candidates, key=lambda x: x[0])
        running = []
        for rank, (total, text) in enumerate(best):
            if text[-1] not in eos_ids and n < max_new_tokens:
                running.append((total, text))
            elif rank < beams:
                finished.append((total / n**length_penalty, text))
        finished = heapq.nlargest(beams, finished, key=lambda x: x[0])
        running = running[:beams]
        if not running:
            break
        if len(finished) == beams and running[0][0] / n**length_penalty <= finished[-1][0]:
            break
    tokens = finished[0][1]
    return tokens[:-1] if tokens[-1] in eos_ids else tokens


def beams_in_tuples(model, token_ids, max_new_tokens, beams, length_penalty=1.0, eos_ids=()):
    """The whole table is sorted; texts are tuples."""
    cache = model.new_cache(1, token_ids.shape[1] + max_new_tokens)
    logits = prefill(model, token_ids, cache)
    texts, sums, done = [()], [0.0], []
    for n in range(1, max_new_tokens + 1):
        V = logits.shape[-1]
        table = logits.new_tensor(sums).unsqueeze(1) + (logits - logits.logsumexp(-1, keepdim=True))
        flat = table.reshape(-1)
        order = flat.argsort(descending=True, stable=True).tolist()
        going = []
        for rank, place in enumerate(order[: beams * (1 + max(1, len(eos_ids)))]):
            row, token = divmod(place, V)
            total = float(flat[place])
            if token not in eos_ids and n < max_new_tokens:
                going.append((total, row, token))
            elif rank < beams:
                text = texts[row] if token in eos_ids else (*texts[row], token)
                done.append((total * n**-length_penalty, text))
        done = sorted(done, key=lambda x: x[0], reverse=True)[:beams]
        going = going[:beams]
        if not going or (len(done) == beams and going[0][0] * n**-length_penalty <= done[-1][0]):
            break
        texts = [(*texts[row], token) for _, row, token in going]
        sums = [total for total, row, _ in going]
        cache.select([row for _, row, _ in going])
        logits = decode_step(model, torch.tensor([[t] for *_, t in going]), cache)
    return list(done[0][1])


def greedy_alone(model, token_ids, max_new_tokens, beams, length_penalty=1.0, eos_ids=()):
    cache = model.new_cache(1, token_ids.shape[1] + max_new_tokens)
    logits, text = prefill(model, token_ids, cache), []
    while len(text) < max_new_tokens:
        token = int(logits[0].argmax())
        if token in eos_ids:
            break
        text.append(token)
        logits = decode_step(model, torch.tensor([[token]]), cache)
    return text


SEARCHES = {
    **edited(
        beams_in_tuples,
        """
## the cache is not reordered
- cache.select([row for _, row, _ in going])
+ if len(going) != cache.batch:
+     cache.select([row for _, row, _ in going])
## the texts are not reordered
- texts = [(*texts[row], token) for _, row, token in going]
+ texts = [texts[i if i < len(texts) else -1] for i in range(len(going))]
+ texts = [(*text, token) for text, (*_, token) in zip(texts, going, strict=True)]
## two beams share one list
- [()] → [[]]
- texts = [(*texts[row], token) for _, row, token in going]
+ for _, row, token in going:
+     texts[row] += [token]
+ texts = [texts[row] for _, row, _ in going]
## each beam for itself
- order = flat.argsort(descending=True, stable=True).tolist()
+ order = flat.argsort(descending=True, stable=True).tolist()
+ if n > 1:
+     order = [row * V + int(token) for row, token in enumerate(table.argmax(-1))]
+     order = sorted(order, key=lambda place: -float(flat[place]))
## logits are added
- (logits - logits.logsumexp(-1, keepdim=True)) → logits
## the sums are not added up
- logits.new_tensor(sums).unsqueeze(1) + (logits → (logits
## the old sum is added twice
- [total for total, row, _ in going] → [sums[row] + total for total, row, _ in going]
## one softmax over all candidates
- logits.new_tensor(sums).unsqueeze(1) + (logits - logits.logsumexp(-1, keepdim=True))
+ logits.new_tensor(sums).unsqueeze(1) + logits
- flat = table.reshape(-1)
+ flat = table.reshape(-1) - table.logsumexp((0, 1))
## too few candidates
- order[: beams * (1 + max(1, len(eos_ids)))] → order[:beams]
## sums of the first candidates
- [total for total, row, _ in going] → [float(flat[place]) for place in order[: len(going)]]
## the cache follows the first candidates
- cache.select([row for _, row, _ in going])
+ cache.select([place // V for place in order[: len(going)]])
## Part 2 from the first candidates
- texts = [(
+ going = [(float(flat[p]), p // V, p % V) for p in order[: len(going)]]
+ texts = [(
## the cache of the first beam for all
- cache.select([row for _, row, _ in going])
+ cache.select(torch.zeros(len(going), dtype=torch.long))
## the text of the first beam for all
- [(*texts[row], token) for _, row, token in going]
+ [texts[0] + (token,) for *_, token in going]
## the best of each row, row after row
- order = flat.argsort(descending=True, stable=True).tolist()
+ each = min(beams * (1 + max(1, len(eos_ids))), V)
+ best = table.sort(descending=True, stable=True).indices[:, :each]
+ order = (best + V * torch.arange(len(texts))[:, None]).flatten().tolist()
## too few of each row
- order = flat.argsort(descending=True, stable=True).tolist()
+ tops = (row.sort(descending=True, stable=True).indices[:beams] for row in table)
+ order = [V * r + int(t) for r, top in enumerate(tops) for t in top]
+ order.sort(key=lambda place: -float(flat[place]))
## softmax without the logarithm
- (logits - logits.logsumexp(-1, keepdim=True)) → torch.softmax(logits, dim=-1)
## row and token mixed up
- divmod(place, V) → divmod(place, len(texts))[::-1]
## no length penalty
- total * n**-length_penalty → total
- going[0][0] * n**-length_penalty → going[0][0]
## multiplied by the length
- total * n**-length_penalty → total * n**length_penalty
- going[0][0] * n**-length_penalty → going[0][0] * n**length_penalty
## the first that ends wins
- done.append((total * n**-length_penalty, text)) → return list(text)
## the end of sequence is in the text
- texts[row] if token in eos_ids else (*texts[row], token) → (*texts[row], token)
""",
    ),
    **edited(
        plain_beam_search,
        """
## softmax over the beams
- logits.log_softmax(-1) → logits - logits.logsumexp(0)
""",
    ),
    "the prompt, several times": greedy_alone,
}

UNNAMED_SEARCHES = edited(
    beams_in_tuples,
    """
## the prompt is in the text
- return list(done[0][1]) → return token_ids[0].tolist() + list(done[0][1])
## all the beams
- return list(done[0][1]) → return [list(done[0][1])] * beams
## one beam too many
- texts, sums, done = [()], [0.0], [] → texts, sums, done, beams = [()], [0.0], [], beams + 1
## the worst of the candidates
- flat.argsort(descending=True, stable=True) → flat.argsort(stable=True)
""",
)


# --- greedy_batch ---------------------------------------------------------------------------------


def batch_that_shrinks(model, prompts, max_new_tokens, eos_ids=()):
    """Rows that are over leave the batch."""
    token_ids, real = pad_into_full(prompts)
    B, T = token_ids.shape
    cache = model.new_cache(B, T + max_new_tokens)
    causal = torch.ones(T, T, dtype=torch.bool).tril()
    logits = prefill(model, token_ids, cache, mask=real[:, None, None] & causal)
    found, rows = [[] for _ in prompts], list(range(B))
    while True:
        tokens = logits.argmax(-1).tolist()
        for row, token in zip(rows, tokens, strict=True):
            found[row] += [] if token in eos_ids else [token]
        stay = [
            i
            for i, (row, token) in enumerate(zip(rows, tokens, strict=True))
            if token not in eos_ids and len(found[row]) < max_new_tokens
        ]
        if not stay:
            return found
        cache.select(stay)
        rows, tokens = [rows[i] for i in stay], [[tokens[i]] for i in stay]
        real = torch.hstack((real[stay], torch.ones(len(stay), 1, dtype=torch.bool)))
        logits = decode_step(model, torch.tensor(tokens), cache, mask=real[:, None, None])


def each_alone(model, prompts, max_new_tokens, eos_ids=()):
    """No batch at all."""
    found = []
    for prompt in prompts:
        text = []
        while len(text) < max_new_tokens:
            token = int(prefill(model, torch.tensor([[*prompt, *text]]), None).argmax())
            if token in eos_ids:
                break
            text.append(token)
        found.append(text)
    return found


def batch_with_positions(model, prompts, max_new_tokens, eos_ids=()):
    """As the library's: every row has its own positions, too."""
    token_ids, real = pad_by_flipping(prompts)
    B, T = token_ids.shape
    cache = model.new_cache(B, T + max_new_tokens)
    positions = (real.long().cumsum(-1) - 1).clamp(min=0)
    causal = torch.ones(T, T, dtype=torch.bool).tril()
    logits = prefill(model, token_ids, cache, positions, real[:, None, None] & causal)
    columns = []
    for _ in range(max_new_tokens):
        columns.append(logits.argmax(-1))
        real = torch.cat((real, real.new_ones(B, 1)), 1)
        positions = positions[:, -1:] + 1
        logits = decode_step(model, columns[-1][:, None], cache, positions, real[:, None, None])
    rows = torch.stack(columns, 1).tolist()
    return [list(itertools.takewhile(lambda t: t not in eos_ids, row)) for row in rows]


def batch_cut_at_the_end(model, prompts, max_new_tokens, eos_ids=()):
    """All rows go on to the last token, and are cut afterwards."""
    token_ids, real = pad_by_flipping(prompts)
    B, T = token_ids.shape
    cache = model.new_cache(B, T + max_new_tokens + 1)
    causal = torch.ones(T, T, dtype=torch.bool).tril()
    logits = prefill(model, token_ids, cache, mask=causal & real[:, None, None])
    rows = [[] for _ in prompts]
    for _ in range(max_new_tokens):
        new = logits.argmax(-1, keepdim=True)
        for row, token in zip(rows, new[:, 0].tolist(), strict=True):
            row.append(token)
        real = torch.nn.functional.pad(real, (0, 1), value=True)
        later = real[:, None, None]
        logits = decode_step(model, new, cache, mask=later)
    ends = [next((i for i, t in enumerate(row) if t in eos_ids), len(row)) for row in rows]
    return [row[:end] for row, end in zip(rows, ends, strict=True)]


BATCHES = {"one row after the other": each_alone} | edited(
    batch_cut_at_the_end,
    """
## no mask at all
- mask=causal & real[:, None, None] → mask=causal
- later = real[:, None, None] → later = None
## no mask in the decode steps
- later = real[:, None, None] → later = None
## no mask in the prefill
- mask=causal & real[:, None, None] → mask=causal
## the prefill is not causal
- mask=causal & real[:, None, None] → mask=real[:, None, None].expand(-1, -1, T, -1)
## real is read off the ids
- causal = torch
+ real = torch.ne(token_ids, 0)
+ causal = torch
## the new column in front
- (0, 1), value=True → (1, 0), value=True
## the new column is padding
- value=True → value=False
## the end is ignored
- row[:end] → row
## the prompt is in the text
- [[] for _ in prompts] → [[*p] for p in prompts]
- [row[:end] for row, end in zip(rows, ends, strict=True)]
+ [row[: max(end, len(p))] for row, end, p in zip(rows, ends, prompts)]
- for i, t in enumerate(row) if t in eos_ids), len(row)) for row in rows]
+ for i, t in enumerate(row) if t in eos_ids and i >= len(p)), len(row))
+         for row, p in zip(rows, prompts)]
## the first token is missing
- [row[:end] for → [row[1:end] for
## the first token is missing, and one more at the end
- range(max_new_tokens) → range(max_new_tokens + 1)
- [row[:end] for → [row[1:end] for
- next((i for i, t in enumerate(row) if t in eos_ids), len(row))
+ next((i for i, t in enumerate(row) if i and t in eos_ids), len(row))
## one token too few
- range(max_new_tokens) → range(max_new_tokens - 1)
## padded on the right
- pad_by_flipping(prompts) → PADS["padded on the right"](prompts)
## goes on after the end
- [row[:end] for row → [[t for t in row if t not in eos_ids] for row
## goes on after the end, until all are over
- [row[:end] for row, end in zip(rows, ends, strict=True)]
+ [[t for t in row[: max(ends) + 1] if t not in eos_ids] for row in rows]
## all rows in one list
- [row[:end] for row, end in zip(rows, ends, strict=True)]
+ [[row[i] for i in range(max_new_tokens) for row, end in zip(rows, ends) if i < end]] * B
## the end of sequence is in the text
- row[:end] → row[: end + 1]
## all stop with the first
- row[:end] → row[: min(end, min(ends) + 1)]
## one token too many
- range(max_new_tokens) → range(max_new_tokens + 1)
""",
)

UNNAMED_BATCHES = edited(
    batch_cut_at_the_end,
    """
## the first prompt for all
- pad_by_flipping(prompts) → pad_by_flipping(prompts[:1] * len(prompts))
## the newest column alone
- later = real[:, None, None] → later = real[:, None, None].clone()
- logits = decode_step
+ later[..., :-1] = False
+ logits = decode_step
## causal, but for the diagonal
- .tril() → .tril(-1)
""",
)


# --- the tables -----------------------------------------------------------------------------------

RIGHT = {
    "pad_left": [pad_by_flipping, pad_into_full],
    "beam_search": [beams_in_tensors, beams_with_a_heap, beams_in_tuples],
    "greedy_batch": [batch_that_shrinks, batch_with_positions, batch_cut_at_the_end],
}

SECOND_FORMS = {
    "pad_left": PADS,
    "beam_search": SEARCHES,
    "greedy_batch": BATCHES,
}

UNNAMED = {
    "pad_left": list(UNNAMED_PADS.values()),
    "beam_search": list(UNNAMED_SEARCHES.values()),
    "greedy_batch": list(UNNAMED_BATCHES.values()),
}
