"""Lesson 08: right answers, named mistakes in other words, and wrong answers nobody named."""

import heapq
import itertools
import math

import torch
from torch.nn.utils.rnn import pad_sequence

from decodeloop.decode import decode_step, prefill
from decodeloop.exercises.edits import edited
from decodeloop.exercises.lesson_08 import plain_beam_search

# --- decoding_loop --------------------------------------------------------------------------------


def loop_while_true(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    """The token is read at the top of the round, so that the last one never is."""
    cache = model.new_cache(1, token_ids.shape[1] + max_new_tokens)
    sequence, unread, made = token_ids, token_ids, 0
    while True:
        read = prefill if made == 0 else decode_step
        new = choose(read(model, unread, cache), sequence)
        token = new.item()
        if token in eos_ids:
            return "eos"
        made += 1
        last = bool(stop(token)) if stop else False
        yield token
        if last or made >= max_new_tokens:
            return "stop" if last else "length"
        unread = new.view(1, 1)
        sequence = torch.hstack((sequence, unread))


def loop_by_hidden(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    """Without prefill and decode_step: by the model's two halves."""
    tokens = token_ids[0].tolist()
    end = len(tokens) + max_new_tokens
    cache = model.new_cache(1, end - 1)
    with torch.inference_mode():
        while len(tokens) < end:
            new = torch.tensor([tokens[cache.length :]])
            logits = model.head(model.hidden(new, cache)[:, -1])
            token = int(choose(logits, torch.tensor([tokens])))
            if token in set(eos_ids):
                return "eos"
            tokens.append(token)
            enough = stop is not None and stop(token)
            yield token
            if enough:
                return "stop"
    return "length"


def collected(*inputs, **options):
    found = []
    for token in loop_while_true(*inputs, **options):
        found.append(token)
    return found


LOOPS = {
    **edited(
        loop_while_true,
        """
## yields the end of sequence
- return "eos"
+ yield token
+ return "eos"
## one token too many
- made >= max_new_tokens → made > max_new_tokens
## one token too few
- made += 1
+ if max_new_tokens == 1:
+     return "length"
+ made += 1
- made >= max_new_tokens → made >= max_new_tokens - 1
## the model runs once more
- token = new.item()
+ if made == max_new_tokens:
+     return "length"
+ token = new.item()
- if last or made >= max_new_tokens:
-     return "stop" if last else "length"
+ if last:
+     return "stop"
## the stopping token is swallowed
- yield token
+ if not last:
+     yield token
## the end is seen in the first step only
- if token in eos_ids: → if made == 0 and token in eos_ids:
## the end is not seen in the first step
- if token in eos_ids: → if made > 0 and token in eos_ids:
## the end is ignored
- if token in eos_ids: → if token in ():
## the cache is filled again and again
- read = prefill if made == 0 else decode_step → read, unread = prefill, sequence
## a prefill at each step
- read = prefill if made == 0 else decode_step
+ read, unread, cache = prefill, sequence, None
## choose sees the new token alone
- cache), sequence) → cache), unread)
## choose sees the new tokens without the prompt
- unread = new.view(1, 1)
+ unread = new.view(1, 1)
+ sequence = sequence if made > 1 else torch.zeros(1, 0, dtype=torch.long)
## new tokens in front
- torch.hstack((sequence, unread)) → torch.hstack((unread, sequence))
## steps without the cache
- unread = new.view(1, 1)
+ unread, cache = new.view(1, 1), None
## one token too few, but for a single one
- if last or made >= max_new_tokens:
-     return "stop" if last else "length"
+ if last:
+     return "stop"
+ if made == max_new_tokens - 1:
+     return "length"
+ if made == max_new_tokens:
+     decode_step(model, new.view(1, 1), cache)
+     return
## stop is not asked about the last token
- bool(stop(token)) if stop else False → made < max_new_tokens and bool(stop and stop(token))
## choose is not asked
- choose(read(model, unread, cache), sequence) → read(model, unread, cache).max(-1)[1]
## the logits are not renewed
- new = choose(read(model, unread, cache), sequence)
+ old = logits = read(model, unread, cache) if made == 0 else logits
+ if made > 0:
+     read(model, unread, cache)
+ new = choose(old, sequence)
## only one kind of end
- if token in eos_ids: → if eos_ids and token == eos_ids[0]:
## the prompt is given out
- sequence, unread, made = token_ids, token_ids, 0
+ for number in token_ids[0]:
+     yield int(number)
+ sequence, unread, made = token_ids, token_ids, 0
## tensors instead of numbers
- yield token → yield new
## no reason at the limit
- return "stop" if last else "length" → return "stop" if last else None
## the end is called a stop
- return "eos" → return "stop"
## stop is asked after the yield
- last = bool(stop(token)) if stop else False
- yield token
+ yield token
+ last = stop is not None and stop(token)
## stop is asked twice
- yield token
+ yield token
+ last = stop is not None and bool(stop(token))
## stop is never asked
- bool(stop(token)) if stop else False → False
## choose sees the prompt alone
- cache), sequence) → cache), token_ids)
## no finish reason
- return "eos" → return
- return "stop" if last else "length" → return
## the reason is yielded
- return "eos" → return (yield "eos")
- return "stop" if last else "length" → return (yield "stop" if last else "length")
## always the same reason
- return "eos" → return "length"
- return "stop" if last else "length" → return "length"
## the length before the stop
- "stop" if last else "length" → "length" if made >= max_new_tokens else "stop"
## stop is asked too late
- last = bool(stop(token)) if stop else False
- yield token
- if last or made >= max_new_tokens:
+ yield token
+ last = made < max_new_tokens and stop is not None and stop(token)
+ if last or made >= max_new_tokens:
## the cache is one place short
- token_ids.shape[1] + max_new_tokens) → token_ids.shape[1] - 2 + max_new_tokens)
## stop is asked about the end of sequence
- if token in eos_ids:
+ last = stop(token) if stop else False
+ if token in eos_ids:
- last = bool(stop(token)) if stop else False
""",
    ),
    "all at once": collected,
}

UNNAMED_LOOPS = edited(
    loop_while_true,
    """
## tensors of two axes
- yield token → yield torch.tensor([[token]])
## the worst
- choose(read(model, unread, cache), sequence) → choose(-read(model, unread, cache), sequence)
## ends early, and says it was the end
- if last or made >= max_new_tokens:
-     return "stop" if last else "length"
+ if last or made >= max_new_tokens - (max_new_tokens > 2):
+     return "eos"
## the cache too short
- token_ids.shape[1] + max_new_tokens → token_ids.shape[1]
""",
)


# --- TextStream -----------------------------------------------------------------------------------


class ByDifference:
    """Compares what may be shown now with what has been shown: two whole texts."""

    def __init__(self, tokenizer, stop=()):
        self.tokenizer, self.stop, self.stopped = tokenizer, list(stop), False
        self.ids, self.shown = [], ""

    def push(self, token):
        if self.stopped:
            return ""
        self.ids += [token]
        text = self.tokenizer.decode(self.ids)
        if text[-1:] == "\ufffd":
            return ""
        for cut in range(len(text) + 1):
            if any(text[cut:].startswith(s) for s in self.stop):
                self.stopped = True
                break
            if any(s.startswith(text[cut:]) for s in self.stop):
                break
        return self._show(text[:cut])

    def finish(self):
        return "" if self.stopped else self._show(self.tokenizer.decode(self.ids))

    def _show(self, text):
        new, self.shown = text[len(self.shown) :], text
        return new


class CharacterByCharacter:
    """Feeds whole characters one by one through a buffer."""

    def __init__(self, tokenizer, stop=()):
        self.tokenizer, self.stops = tokenizer, stop
        self.tokens, self.seen, self.buffer, self.stopped = [], 0, "", False

    def push(self, token):
        self.tokens.append(token)
        text = self.tokenizer.decode(self.tokens)
        return "" if text.endswith("\ufffd") else self.feed(text)

    def feed(self, text):
        out = ""
        for character in text[self.seen :]:
            if self.stopped:
                break
            self.seen += 1
            self.buffer += character
            if any(self.buffer.endswith(s) for s in self.stops):
                length = max(len(s) for s in self.stops if self.buffer.endswith(s))
                out += self.buffer[: len(self.buffer) - length]
                self.buffer, self.stopped = "", True
                break
            while self.buffer and not any(s.startswith(self.buffer) for s in self.stops):
                out, self.buffer = out + self.buffer[0], self.buffer[1:]
        return out

    def finish(self):
        if self.stopped:
            return ""
        out = self.feed(self.tokenizer.decode(self.tokens))
        rest, self.buffer = self.buffer, ""
        return out + rest


class Plain:
    """A right stream in other words."""

    def __init__(self, tokenizer, stop=()):
        self.t, self.stop, self.n, self.all, self.stopped = tokenizer, stop, 0, [], False

    def push(self, token):
        if self.stopped:
            return ""
        self.all = [*self.all, token]
        whole = self.decoded()
        if whole[-1:] == chr(0xFFFD):
            return ""
        where = self.first_stop(whole)
        if where >= 0:
            self.stopped = True
            return self.upto(whole, where)
        return self.upto(whole, len(whole) - self.kept(whole))

    def finish(self):
        return "" if self.stopped else self.upto(self.decoded(), None)

    def decoded(self):
        return self.t.decode(self.all)

    def first_stop(self, whole):
        return min((whole.index(s) for s in self.stop if s in whole), default=-1)

    def kept(self, whole):
        best = 0
        for s in self.stop:
            for n in range(1, len(s)):
                if whole[-n:] == s[:n]:
                    best = max(best, n)
        return best

    def upto(self, whole, end):
        end = len(whole) if end is None else end
        out = whole[self.n : end]
        self.n = max(self.n, end)
        return out


STREAMS = edited(
    Plain,
    """
## a stop string over two tokens is missed
- whole.index(s) for s in self.stop if s in whole
+ whole.index(s, self.n) for s in self.stop if s in whole[self.n :]
- len(whole) - self.kept(whole) → len(whole)
## a stop string is looked for in the new token alone
- whole.index(s) for s in self.stop if s in whole
+ whole.index(s) for s in self.stop if self.t.decode(self.all[-1:]).count(s)
## half a character is printed
- if whole[-1:] == chr(0xFFFD): → if not whole:
## tokens are decoded one by one
- self.t.decode(self.all) → "".join(self.t.decode([token]) for token in self.all)
- if whole[-1:] == chr(0xFFFD): → if not whole:
## half a character is looked for in the new token
- if whole[-1:] == chr(0xFFFD): → if self.t.decode([token])[-1:] == chr(0xFFFD):
## a stop string at the beginning is not seen
- if where >= 0: → if where > 0:
- min((whole.index(s) for s in self.stop if s in whole), default=-1)
+ min((whole.index(s) for s in self.stop if whole.find(s) > 0), default=-1)
## cut at the last string of the list
- min((whole.index(s) for s in self.stop if s in whole), default=-1)
+ ([-1] + [whole.index(s) for s in self.stop if s in whole])[-1]
## cut at the last of several
- return min((whole → return max((whole
## cut at the last
- whole.index(s) for → whole.rindex(s) for
## what stands before the stop string is lost
- return self.upto(whole, where) → return self.upto("", where)
## a stop string is looked for at the end alone
- whole.index(s) for s in self.stop if s in whole
+ whole.rindex(s) for s in self.stop if whole[-len(s) :] == s
## beginnings of stop strings are printed
- self.upto(whole, len(whole) - self.kept(whole)) → self.upto(whole, None)
## finish drops half a character
- self.upto(self.decoded(), None) → self.upto(self.decoded().replace(chr(0xFFFD), ""), None)
## finish gives nothing where half a character stands
- return "" if self.stopped
+ return "" if self.stopped or self.decoded()[-1:] == chr(0xFFFD)
## finish keeps back the uncertain end
- return "" if self.stopped else self.upto(self.decoded(), None)
+ whole = self.decoded()
+ return "" if self.stopped else self.upto(whole, len(whole) - self.kept(whole))
## finish gives the whole text
- self.upto(self.decoded(), None) → self.decoded()
## half characters are thrown away
- self.all = [*self.all, token]
+ if chr(0xFFFD) == self.t.decode([token])[-1:]:
+     return ""
+ self.all = [*self.all, token]
- self.t.decode(self.all) → "".join(self.t.decode([token]) for token in self.all)
## everything is held back until the end
- return self.upto(whole, len(whole) - self.kept(whole))
+ return "" if self.stop else self.upto(whole, None)
## always as much is held back as a stop string is long
- self.kept(whole)) → max([len(s) for s in self.stop] or [1]) + 1)
## the stop string is printed
- where) → where + next(len(s) for s in self.stop if whole[where:].startswith(s)))
## what stands behind the stop string is printed
- self.upto(whole, where) → self.upto(whole, None)
## it goes on after the stop string
- if where >= 0:
-     self.stopped = True
-     return self.upto(whole, where)
+ self.stopped = self.stopped or where >= 0
+ for s in self.stop:
+     whole = "".join(whole.split(s))
- if self.stopped:
-     return ""
## finish forgets what was held back
- return "" if self.stopped else self.upto(self.decoded(), None) → return ""
## finish gives what the stop string cut off
- "" if self.stopped else self.upto(self.decoded(), None) → self.upto(self.decoded(), None)
## stopped is never set
- self.stopped = True → self.stop = None
- if self.stopped: → if self.stop is None:
- "" if self.stopped → "" if self.stop is None
## only the first stop string is looked for
- (whole.index(s) for s in self.stop if s in whole)
+ (whole.index(s) for s in self.stop[:1] if s in whole)
## all is held back where something is uncertain
- return self.upto(whole, len(whole) - self.kept(whole))
+ return "" if self.kept(whole) else self.upto(whole, None)
## half characters are not kept
- whole = self.decoded()
- if whole[-1:] == chr(0xFFFD):
-     return ""
+ whole = self.decoded()
+ if whole[-1:] == chr(0xFFFD):
+     self.all.pop()
+     return ""
## only the first stop string counts
- tokenizer, stop, 0 → tokenizer, stop[:1], 0
## cut at the first string of the list
- min((whole.index(s) for s in self.stop if s in whole), default=-1)
+ next((whole.index(s) for s in self.stop if s in whole), -1)
## it waits for ever after a broken byte
- whole[-1:] == chr(0xFFFD) → chr(0xFFFD) in whole
## cut at minus nought
- return self.upto(whole, len(whole) - self.kept(whole))
+ out, self.n = whole[self.n : -self.kept(whole)], len(whole) - self.kept(whole)
+ return out
## cut at minus nought, counted by pieces
- return self.upto(whole, len(whole) - self.kept(whole))
+ out = whole[self.n : -self.kept(whole)]
+ self.n = self.n + len(out)
+ return out
## the text of the new token alone
- whole = self.decoded() → whole = self.t.decode([token])
- max(self.n, end) → end
## given never moves
- out = whole[self.n : end] → out = whole[:end]
## what was held back counts as given
- max(self.n, end) → len(whole)
## it waits for whole words
- self.kept(whole)) → max(self.kept(whole), len(whole.split(" ")[-1])))
""",
)

UNNAMED_STREAMS = edited(
    Plain,
    """
## halves as question marks
- self.t.decode(self.all) → self.t.decode(self.all).replace(chr(0xFFFD), "?")
## spaces are stripped
- return out → return out.strip(" ")
## the longest stop string alone
- tokenizer, stop, 0 → tokenizer, sorted(stop, key=len)[-1:], 0
""",
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
    "decoding_loop": [loop_while_true, loop_by_hidden],
    "TextStream": [ByDifference, CharacterByCharacter, Plain],
    "pad_left": [pad_by_flipping, pad_into_full],
    "beam_search": [beams_in_tensors, beams_with_a_heap, beams_in_tuples],
    "greedy_batch": [batch_that_shrinks, batch_with_positions, batch_cut_at_the_end],
}

SECOND_FORMS = {
    "decoding_loop": LOOPS,
    "TextStream": STREAMS,
    "pad_left": PADS,
    "beam_search": SEARCHES,
    "greedy_batch": BATCHES,
}

UNNAMED = {
    "decoding_loop": list(UNNAMED_LOOPS.values()),
    "TextStream": list(UNNAMED_STREAMS.values()),
    "pad_left": list(UNNAMED_PADS.values()),
    "beam_search": list(UNNAMED_SEARCHES.values()),
    "greedy_batch": list(UNNAMED_BATCHES.values()),
}
