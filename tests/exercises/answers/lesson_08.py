"""Lesson 08: right answers, named mistakes in other words, and wrong answers nobody named."""

import torch

from decodeloop.decode import decode_step, prefill
from decodeloop.exercises.edits import edited

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


def collected_and_yielded(*inputs, **options):
    loop, found = loop_by_hidden(*inputs, **options), []
    try:
        while True:
            found += [next(loop)]
    except StopIteration as end:
        reason = end.value
    yield from found
    return reason


LOOPS = {
    **edited(
        loop_while_true,
        """
## yields the end of sequence
- return "eos"
+ yield token
+ return "eos"
## yields the end of sequence, like any token
- if token in eos_ids:
-     return "eos"
- made += 1
+ made += 1
- yield token
+ yield token
+ if token in eos_ids:
+     return "eos"
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
    "collected, then yielded": collected_and_yielded,
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
        for cut in range(len(text) + 1):
            if any(text[cut:].startswith(s) for s in self.stop):
                self.stopped = True
                break
            if any(s.startswith(text[cut:]) for s in self.stop):
                break
        if text[-1:] == "\ufffd" and not self.stopped:
            return ""
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
        where = self.first_stop(whole)
        if where >= 0:
            self.stopped = True
            return self.upto(whole, where)
        if whole[-1:] == chr(0xFFFD):
            return ""
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
- if whole[-1:] == chr(0xFFFD):
-     return ""
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


# --- the tables -----------------------------------------------------------------------------------

RIGHT = {
    "decoding_loop": [loop_while_true, loop_by_hidden],
    "TextStream": [ByDifference, CharacterByCharacter, Plain],
}

SECOND_FORMS = {
    "decoding_loop": LOOPS,
    "TextStream": STREAMS,
}

UNNAMED = {
    "decoding_loop": list(UNNAMED_LOOPS.values()),
    "TextStream": list(UNNAMED_STREAMS.values()),
}
