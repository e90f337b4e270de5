"""Lesson 08: right answers, named mistakes in other words, and wrong answers nobody named."""

import heapq
import itertools
import math

import torch
from hypothesis import strategies as st
from random_inputs import Driven, random_ids, seeds, shaped
from torch.nn.utils.rnn import pad_sequence

from decodeloop.decode import decode_step, prefill
from decodeloop.exercises.lesson_08 import Bytes, HashModel, small_decoder

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


def steps(model, token_ids, max_new_tokens, choose, look=lambda sequence: sequence, extra=1):
    """Every token that would come, with the cache in use; the mistakes are made around it."""
    cache = model.new_cache(1, token_ids.shape[1] + max_new_tokens + extra)
    logits = prefill(model, token_ids, cache)
    sequence = token_ids
    while True:
        new = choose(logits, look(sequence))
        yield int(new)
        sequence = torch.cat([sequence, new.reshape(1, 1)], 1)
        logits = decode_step(model, new.reshape(1, 1), cache)


def eos_given_out(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    for made, token in enumerate(steps(model, token_ids, max_new_tokens, choose), start=1):
        ends = token in eos_ids
        enough = not ends and stop is not None and stop(token)
        yield token
        if ends:
            return "eos"
        if enough:
            return "stop"
        if made == max_new_tokens:
            return "length"


def counted(model, token_ids, limit, choose, eos_ids, stop, **options):
    for made, token in enumerate(steps(model, token_ids, limit, choose, **options)):
        if token in eos_ids:
            return "eos"
        enough = stop is not None and stop(token)
        yield token
        if enough:
            return "stop"
        if made == limit - 1:
            return "length"


def one_more(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    return (yield from counted(model, token_ids, max_new_tokens + 1, choose, eos_ids, stop))


def one_less(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    if max_new_tokens == 1:
        prefill(model, token_ids, model.new_cache(1, token_ids.shape[1]))
        return "length"
    return (yield from counted(model, token_ids, max_new_tokens - 1, choose, eos_ids, stop))


def last_one_read(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    generator = steps(model, token_ids, max_new_tokens, choose)
    for _ in range(max_new_tokens):
        token = next(generator)
        if token in eos_ids:
            return "eos"
        enough = stop is not None and stop(token)
        yield token
        if enough:
            return "stop"
    next(generator)
    return "length"


def stops_before(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    for made, token in enumerate(steps(model, token_ids, max_new_tokens, choose), start=1):
        if token in eos_ids:
            return "eos"
        if stop and stop(token):
            return "stop"
        yield token
        if made == max_new_tokens:
            return "length"


def eos_looked_for_once(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    generator = steps(model, token_ids, max_new_tokens, choose)
    first = next(generator)
    if first in eos_ids:
        return "eos"
    for made, token in enumerate(itertools.chain([first], generator), start=1):
        enough = stop is not None and stop(token)
        yield token
        if enough or made == max_new_tokens:
            return "stop" if enough else "length"


def eos_looked_for_later(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    generator = steps(model, token_ids, max_new_tokens, choose)
    token, made = next(generator), 1
    while True:
        enough = stop is not None and stop(token)
        yield token
        if enough or made == max_new_tokens:
            return "stop" if enough else "length"
        token, made = next(generator), made + 1
        if token in eos_ids:
            return "eos"


def no_end(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    return (yield from counted(model, token_ids, max_new_tokens, choose, (), stop))


def whole_sequence_again(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    cache = model.new_cache(1, token_ids.shape[1] + max_new_tokens + 1)
    sequence = token_ids
    for left in reversed(range(max_new_tokens)):
        logits = model.head(model.hidden(sequence, cache))[:, -1].clone()
        new = choose(logits, sequence)
        if int(new) in eos_ids:
            return "eos"
        enough = stop is not None and stop(int(new))
        yield int(new)
        if enough or not left:
            return "stop" if enough else "length"
        sequence = torch.cat([sequence, new.reshape(1, 1)], 1)


def no_cache_at_all(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    sequence = token_ids
    for left in reversed(range(max_new_tokens)):
        new = choose(prefill(model, sequence, None), sequence)
        if int(new) in eos_ids:
            return "eos"
        enough = stop is not None and stop(int(new))
        yield int(new)
        if enough or not left:
            return "stop" if enough else "length"
        sequence = torch.cat([sequence, new.reshape(1, 1)], 1)


def looks_at_the_newest(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    T = token_ids.shape[1]

    def newest(sequence):
        return sequence if sequence.shape[1] == T else sequence[:, -1:]

    return (
        yield from counted(model, token_ids, max_new_tokens, choose, eos_ids, stop, look=newest)
    )


def looks_at_the_prompt(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    def prompt(sequence):
        return token_ids

    return (
        yield from counted(model, token_ids, max_new_tokens, choose, eos_ids, stop, look=prompt)
    )


def without_a_word(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    yield from counted(model, token_ids, max_new_tokens, choose, eos_ids, stop)


def says_length(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    yield from counted(model, token_ids, max_new_tokens, choose, eos_ids, stop)
    return "length"


def asks_afterwards(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    generator = steps(model, token_ids, max_new_tokens, choose)
    for left in reversed(range(max_new_tokens)):
        token = next(generator)
        if token in eos_ids:
            return "eos"
        yield token
        if not left:
            return "length"
        if stop is not None and stop(token):
            return "stop"


def asks_about_everything(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    for left, token in enumerate(steps(model, token_ids, max_new_tokens, choose)):
        if (stop or (lambda t: False))(token):
            return "stop"
        if token in eos_ids:
            return "eos"
        yield token
        if left + 1 == max_new_tokens:
            return "length"


def collected(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    found = []
    for token in counted(model, token_ids, max_new_tokens, choose, eos_ids, stop):
        found.append(token)
    return found


def yields_the_reason(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    reason = yield from counted(model, token_ids, max_new_tokens, choose, eos_ids, stop)
    yield reason


def yields_tensors(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    run = counted(model, token_ids, max_new_tokens, choose, eos_ids, stop)
    while True:
        try:
            yield torch.tensor([next(run)])
        except StopIteration as end:
            return end.value


def ignores_stop(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    return (yield from counted(model, token_ids, max_new_tokens, choose, eos_ids, None))


def looks_at_the_length_first(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    """Says "length" where stop was true at the last token."""
    made = 0
    run = counted(model, token_ids, max_new_tokens, choose, eos_ids, stop)
    while True:
        try:
            yield next(run)
            made += 1
        except StopIteration as end:
            return "length" if made == max_new_tokens else end.value


def counts_from_one(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    """As the loop should be, but the count of tokens starts at one, and so ends early."""
    made = 1
    for token in counted(model, token_ids, max_new_tokens, choose, eos_ids, stop):
        if made == max_new_tokens > 2:
            return "length"
        yield token
        made += 1
    return "eos"


def cache_too_short(model, token_ids, max_new_tokens, choose, eos_ids=(), stop=None):
    return (
        yield from counted(
            model, token_ids, max_new_tokens, choose, eos_ids, stop, extra=-max_new_tokens
        )
    )


def loops():
    def build(seed, T, most, ends, stops):
        return random_ids(seed, 11, 1, T), most, tuple(ends), tuple(stops)

    few = st.lists(st.integers(0, 10), max_size=2)
    return shaped(build, seeds, st.integers(1, 5), st.integers(1, 9), few, few)


def run_loop(candidate, token_ids, most, ends, stops):
    asked = []

    def stop(token):
        asked.append(token)
        return token in stops

    def choose(logits, sequence):
        return (logits - 0.5 * (sequence == sequence[:, -1:]).sum(-1, keepdim=True)).argmax(-1)

    reasons = []

    def following():
        reasons.append((yield from candidate(model, token_ids, most, choose, ends, stop)))

    model = HashModel(11)
    return [list(following()), reasons, asked, model.computed]


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
    """A right stream in other words; the second forms change a part of it."""

    hold_halves = True

    def __init__(self, tokenizer, stop=()):
        self.t, self.stop, self.n, self.all, self.stopped = tokenizer, stop, 0, [], False

    def push(self, token):
        if self.stopped:
            return ""
        self.all = [*self.all, token]
        whole = self.decoded()
        if self.hold_halves and whole[-1:] == chr(0xFFFD):
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


class PieceByPiece(Plain):
    def first_stop(self, whole):
        piece = whole[self.n :]
        return min((self.n + piece.index(s) for s in self.stop if s in piece), default=-1)

    def kept(self, whole):
        return 0


class AnyText(Plain):
    hold_halves = False


class JoinedPieces(Plain):
    hold_halves = False

    def decoded(self):
        text = ""
        for token in self.all:
            text += self.t.decode([token])
        return text


class SkipsHalves(Plain):
    def push(self, token):
        if not self.stopped and chr(0xFFFD) == self.t.decode([token])[-1:]:
            return ""
        return super().push(token)

    def decoded(self):
        return "".join(self.t.decode([token]) for token in self.all)


class Buffered(Plain):
    def upto(self, whole, end):
        if self.stop and not self.stopped and end is not None:
            return ""
        return super().upto(whole, end)


class LongestHeld(Plain):
    def kept(self, whole):
        return max([len(s) for s in self.stop] or [1]) - 1


class StopIncluded(Plain):
    def upto(self, whole, end):
        if self.stopped:
            end += next(len(s) for s in self.stop if whole[end:].startswith(s))
        return super().upto(whole, end)


class RestIncluded(Plain):
    def upto(self, whole, end):
        return super().upto(whole, None if self.stopped else end)


class StopCutOut(Plain):
    def push(self, token):
        was, self.stopped = self.stopped, False
        self.all = [*self.all, token]
        raw = self.t.decode(self.all)
        out = ""
        if not raw.endswith(chr(0xFFFD)):
            text = self.decoded()
            out = self.upto(text, len(text) - self.kept(text))
            self.stopped = any(s in raw for s in self.stop)
        self.stopped = self.stopped or was
        return out

    def decoded(self):
        text = super().decoded()
        for s in self.stop:
            text = "".join(text.split(s))
        return text


class Forgetful(Plain):
    def finish(self):
        self.all = []
        return ""


class FinishRegardless(Plain):
    def finish(self):
        return self.upto(self.decoded(), None) if self.all else ""


class Silent(Plain):
    """`stopped` is a property that is never true; the state lies elsewhere."""

    def __init__(self, tokenizer, stop=()):
        self.over = False
        super().__init__(tokenizer, stop)

    def push(self, token):
        if self.over:
            return ""
        out = super().push(token)
        self.over = self.stopped
        self.stopped = False
        return out

    def finish(self):
        return "" if self.over else self.upto(self.decoded(), None)


class OneStop(Plain):
    def first_stop(self, whole):
        return whole.find(self.stop[0]) if self.stop else -1

    def kept(self, whole):
        kept, self.stop = self.stop, self.stop[:1]
        result = super().kept(whole)
        self.stop = kept
        return result


class WholeWords(Plain):
    def kept(self, whole):
        last_word = whole.split(" ")[-1]
        return max(super().kept(whole), len(last_word))


class HalvesAsQuestionMarks(Plain):
    hold_halves = False

    def decoded(self):
        return super().decoded().replace(chr(0xFFFD), "?")


class Rewrites(Plain):
    """Gives the whole text at each push."""

    def upto(self, whole, end):
        return whole[:end]


class LastStopCounts(Plain):
    def first_stop(self, whole):
        return max((whole.index(s) for s in self.stop if s in whole), default=-1) - (
            1 if self.stop and any(s in whole for s in self.stop) else 0
        )


class InTheOrderOfTheList(Plain):
    def first_stop(self, whole):
        for s in self.stop:
            if s in whole:
                return whole.index(s)
        return -1


class StuckAtABrokenByte(Plain):
    hold_halves = False

    def push(self, token):
        if not self.stopped and "\ufffd" in self.t.decode([*self.all, token]):
            self.all = [*self.all, token]
            return ""
        return super().push(token)


class MinusZero(Plain):
    """Written as students write it; `count` says how far `n` moves."""

    def push(self, token):
        if self.stopped:
            return ""
        self.all.append(token)
        whole = self.decoded()
        if whole.endswith("\ufffd"):
            return ""
        where = self.first_stop(whole)
        self.stopped = where >= 0
        if self.stopped:
            return whole[self.n : where]
        out = whole[self.n : -self.kept(whole)]
        self.n = self.moved(whole, out)
        return out

    def moved(self, whole, out):
        return len(whole) - self.kept(whole)

    def finish(self):
        return "" if self.stopped else self.decoded()[self.n :]


class MinusZeroByPieces(MinusZero):
    def moved(self, whole, out):
        return self.n + len(out)


class NewestDecoded(Plain):
    def push(self, token):
        if self.stopped:
            return ""
        self.all.append(token)
        text = self.t.decode([token])
        if text.endswith("\ufffd"):
            return ""
        where = self.first_stop(text)
        self.stopped = where >= 0
        end = where if self.stopped else len(text) - self.kept(text)
        out, self.n = text[self.n : end], end
        return out

    def finish(self):
        return "" if self.stopped else self.decoded()[self.n :]


class AllIsGiven(Plain):
    def upto(self, whole, end):
        out = super().upto(whole, end)
        self.n = len(whole)
        return out


class StripsSpaces(Plain):
    def upto(self, whole, end):
        return super().upto(whole, end).strip(" ")


class StopOnlyAtTheEnd(Plain):
    """Finds a stop string only where the text ends with it."""

    def first_stop(self, whole):
        return min((len(whole) - len(s) for s in self.stop if whole.endswith(s)), default=-1)


def streams():
    def build(text, cuts, stops):
        data = text.encode()
        places = sorted({min(c, len(data)) for c in cuts})
        chunks = [data[a:b] for a, b in itertools.pairwise([0, *places, len(data)])]
        kept = [s for s in stops if not any(s != other and s in other for other in stops)]
        return chunks, tuple(dict.fromkeys(kept))

    return shaped(
        build,
        st.text("ab 🎉é", max_size=14),
        st.lists(st.integers(0, 30), max_size=10),
        st.lists(st.text("ab ", min_size=1, max_size=3), max_size=2),
    )


def run_stream(candidate, chunks, stops):
    stream = candidate(Bytes(chunks), stops)
    pieces = [stream.push(token) for token in range(len(chunks))]
    return ["".join([*pieces, stream.finish()]), stream.stopped]


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


def right_side(prompts, pad_id=0):
    rows = [torch.tensor(list(p)) for p in prompts]
    ones = [torch.ones(len(p), dtype=torch.bool) for p in prompts]
    return (
        pad_sequence(rows, batch_first=True, padding_value=pad_id),
        pad_sequence(ones, batch_first=True),
    )


def pads_marked(prompts, pad_id=0):
    token_ids, real = pad_by_flipping(prompts, pad_id)
    return token_ids, torch.logical_not(real)


def compared_with_the_pad(prompts, pad_id=0):
    token_ids, _ = pad_by_flipping(prompts, pad_id)
    return token_ids, torch.ne(token_ids, pad_id)


def equal_to_the_pad(prompts, pad_id=0):
    token_ids, _ = pad_by_flipping(prompts, pad_id)
    return token_ids, torch.eq(token_ids, pad_id)


def real_by_length(prompts, pad_id=0):
    token_ids, _ = pad_by_flipping(prompts, pad_id)
    lengths = torch.tensor([len(p) for p in prompts])
    return token_ids, torch.arange(token_ids.shape[1]) < lengths[:, None]


def ones_and_zeros(prompts, pad_id=0):
    token_ids, real = pad_by_flipping(prompts, pad_id)
    return token_ids, real.int()


def zeros_in_front(prompts, pad_id=0):
    return pad_by_flipping(prompts)


def shortest(prompts, pad_id=0):
    n = min(len(p) for p in prompts)
    token_ids = torch.tensor([list(p)[:n] for p in prompts])
    return token_ids, torch.ones_like(token_ids, dtype=torch.bool)


def flipped_once(prompts, pad_id=0):
    rows = [torch.tensor(list(p)) for p in prompts]
    token_ids = pad_sequence(rows, batch_first=True, padding_value=pad_id).flip(1)
    return token_ids, pad_by_flipping(prompts)[1]


def in_place(prompts, pad_id=0):
    T = max(map(len, prompts))
    real = torch.tensor([[False] * (T - len(p)) + [True] * len(p) for p in prompts])
    for p in prompts:
        while len(p) < T:
            p.insert(0, pad_id)
    return torch.tensor(prompts), real


def ids_alone(prompts, pad_id=0):
    return pad_by_flipping(prompts, pad_id)[0]


def last_tokens_of_the_shortest(prompts, pad_id=0):
    n = min(len(p) for p in prompts)
    token_ids = torch.tensor([list(p)[-n:] for p in prompts])
    return token_ids, torch.ones_like(token_ids, dtype=torch.bool)


def one_pad_too_many(prompts, pad_id=0):
    return pad_by_flipping([[pad_id, *p] for p in prompts], pad_id)


def batches():
    rows = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=4)
    return st.tuples(rows, st.integers(0, 12))


# --- beam_search ----------------------------------------------------------------------------------


def beams_in_tensors(model, token_ids, max_new_tokens, beams, length_penalty=1.0, eos_ids=()):
    """All beams in every step, those that are not there yet at -inf; texts in a tensor."""
    T = token_ids.shape[1]
    cache = model.new_cache(beams, T + max_new_tokens)
    logits = prefill(model, token_ids.expand(beams, T).contiguous(), cache)
    sums = torch.full((beams,), -math.inf)
    sums[0] = 0.0
    texts = torch.empty(beams, 0, dtype=torch.long)
    finished = []
    ends_at = torch.tensor(sorted(eos_ids), dtype=torch.long)
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
        sums = torch.cat((values[alive], torch.full((len(pad),), -math.inf)))
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


class Beams:
    """A beam search in other words, whose parts the second forms change."""

    def __call__(self, model, token_ids, max_new_tokens, beams, length_penalty=1.0, eos_ids=()):
        self.K, self.penalty = beams, length_penalty
        self.cache = model.new_cache(1, token_ids.shape[1] + max_new_tokens)
        logits = prefill(model, token_ids, self.cache)
        logits = self.begin(logits)
        texts, sums, done = self.empty(len(logits)), [0.0] * len(logits), []
        for n in range(1, max_new_tokens + 1):
            V = logits.shape[-1]
            table = self.table(sums, logits)
            order = self.order(table, n)[: beams * (1 + max(1, len(eos_ids)))]
            going = []
            for rank, place in enumerate(order):
                row, token = self.split(place, len(texts), V)
                total = float(table.reshape(-1)[place])
                if token not in eos_ids and n < max_new_tokens:
                    going.append((total, row, token))
                elif rank < beams:
                    text = self.closed(texts[row], token, token in eos_ids)
                    if self.enough(text):
                        return list(text)
                    done.append((self.score(total, n), text))
            done = sorted(done, key=lambda x: x[0], reverse=True)[:beams]
            going = going[:beams]
            if not going or (len(done) == beams and self.score(going[0][0], n) <= done[-1][0]):
                break
            texts = self.grown(texts, going)
            sums = self.carried(sums, going)
            self.arrange([row for _, row, _ in going])
            logits = decode_step(model, torch.tensor([[t] for *_, t in going]), self.cache)
        return list(done[0][1])

    def begin(self, logits):
        return logits

    def empty(self, count):
        return [()] * count

    def carried(self, sums, going):
        return [total for total, *_ in going]

    def table(self, sums, logits):
        return torch.tensor(sums).unsqueeze(1) + (logits - logits.logsumexp(-1, keepdim=True))

    def order(self, table, n):
        return table.reshape(-1).argsort(descending=True, stable=True).tolist()

    def split(self, place, K, V):
        return divmod(place, V)

    def closed(self, text, token, ends):
        return text if ends else (*text, token)

    def enough(self, text):
        return False

    def score(self, total, n):
        return total * n**-self.penalty

    def grown(self, texts, going):
        return [(*texts[row], token) for _, row, token in going]

    def arrange(self, rows):
        self.cache.select(rows)


def variant(**parts):
    made = type("OtherBeams", (Beams,), parts)

    def beam_search(model, token_ids, max_new_tokens, beams, length_penalty=1.0, eos_ids=()):
        return made()(model, token_ids, max_new_tokens, beams, length_penalty, eos_ids)

    return beam_search


def own_best(self, table, n):
    if n == 1:
        return table.reshape(-1).argsort(descending=True, stable=True).tolist()
    K, V = table.shape
    places = [row * V + int(table[row].argmax()) for row in range(K)]
    return sorted(places, key=lambda p: -float(table.reshape(-1)[p]))


def cache_only_widened(self, rows):
    if len(rows) != self.cache.batch:
        self.cache.select(rows)


def own_place(self, texts, going):
    return [(*texts[i if i < len(texts) else -1], token) for i, (_, _, token) in enumerate(going)]


def appended(self, texts, going):
    grown = []
    for _, row, token in going:
        texts[row] += [token]
        grown.append(texts[row])
    return grown


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


def with_prompt(model, token_ids, max_new_tokens, beams, length_penalty=1.0, eos_ids=()):
    found = variant()(model, token_ids, max_new_tokens, beams, length_penalty, eos_ids)
    return token_ids[0].tolist() + found


def all_the_beams(model, token_ids, max_new_tokens, beams, length_penalty=1.0, eos_ids=()):
    found = variant()(model, token_ids, max_new_tokens, beams, length_penalty, eos_ids)
    return [found] * beams


def one_beam_too_many(model, token_ids, max_new_tokens, beams, length_penalty=1.0, eos_ids=()):
    return variant()(model, token_ids, max_new_tokens, beams + 1, length_penalty, eos_ids)


def worst_of_the_candidates(self, table, n):
    return table.reshape(-1).argsort(stable=True).tolist()


def searches():
    def build(seed, V, T, most, beams, penalty, ends):
        return (
            random_ids(seed, V, 1, T),
            V,
            most,
            min(beams, V),
            penalty,
            tuple(e % V for e in ends),
        )

    return shaped(
        build,
        seeds,
        st.integers(3, 9),
        st.integers(1, 3),
        st.integers(1, 6),
        st.integers(1, 4),
        st.sampled_from([-0.7, 0.0, 0.6, 1.0, 1.8]),
        st.lists(st.integers(0, 8), max_size=2, unique=True),
    )


def run_search(candidate, token_ids, V, most, beams, penalty, ends):
    return list(candidate(HashModel(V), token_ids, most, beams, penalty, ends))


# --- greedy_batch ---------------------------------------------------------------------------------


def batch_row_by_row(model, prompts, max_new_tokens, eos_ids=()):
    """No batch at all: right, if slow."""
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


class Batch:
    """A batch in other words, whose parts the second forms change."""

    limit = 0

    def __call__(self, model, prompts, max_new_tokens, eos_ids=()):
        token_ids, real = self.pad(prompts)
        B, T = token_ids.shape
        cache = model.new_cache(B, T + max_new_tokens + 1)
        logits = prefill(model, token_ids, cache, mask=self.first(real))
        rows = [[] for _ in prompts]
        for _ in range(max_new_tokens + self.limit):
            new = logits.argmax(-1, keepdim=True)
            for row, token in zip(rows, new[:, 0].tolist(), strict=True):
                row.append(token)
            real = torch.nn.functional.pad(real, (0, 1), value=True)
            logits = decode_step(model, new, cache, mask=self.later(real))
        return self.cut(rows, eos_ids)

    def pad(self, prompts):
        return pad_by_flipping(prompts)

    def first(self, real):
        T = real.shape[1]
        return torch.ones(T, T, dtype=torch.bool).tril() & real[:, None, None]

    def later(self, real):
        return real[:, None, None]

    def cut(self, rows, eos_ids):
        return [list(itertools.takewhile(lambda t: t not in eos_ids, row)) for row in rows]


def batch_variant(**parts):
    made = type("OtherBatch", (Batch,), parts)

    def greedy_batch(model, prompts, max_new_tokens, eos_ids=()):
        return made()(model, prompts, max_new_tokens, eos_ids)

    return greedy_batch


def no_first_mask(self, real):
    T = real.shape[1]
    return torch.ones(T, T, dtype=torch.bool).tril()


def no_later_mask(self, real):
    return None


def end_kept(self, rows, eos_ids):
    found = []
    for row in rows:
        at = next((i for i, t in enumerate(row) if t in eos_ids), len(row))
        found.append(row[: at + 1])
    return found


def ends_dropped(self, rows, eos_ids):
    return [[t for t in row if t not in eos_ids] for row in rows]


def to_the_shortest(self, rows, eos_ids):
    short = min(len(row) for row in Batch.cut(self, rows, eos_ids))
    return [row[: short + 1] for row in Batch.cut(self, rows, eos_ids)]


def uncut(self, rows, eos_ids):
    return rows


def first_prompt_alone(model, prompts, max_new_tokens, eos_ids=()):
    return batch_row_by_row(model, prompts[:1] * len(prompts), max_new_tokens, eos_ids)


def future_seen(self, real):
    return real[:, None, None]


def batch_inputs():
    rows = st.lists(st.lists(st.integers(0, 96), min_size=1, max_size=5), min_size=1, max_size=3)
    ends = st.lists(st.integers(0, 96), max_size=12).map(tuple)
    return st.tuples(rows, st.integers(1, 5), ends)


def run_batch(candidate, prompts, most, ends):
    return candidate(small_decoder(), prompts, most, ends)


# --- the tables -----------------------------------------------------------------------------------

RIGHT = {
    "decoding_loop": [loop_while_true, loop_by_hidden],
    "TextStream": [ByDifference, CharacterByCharacter, Plain],
    "pad_left": [pad_by_flipping, pad_into_full],
    "beam_search": [beams_in_tensors, beams_with_a_heap, variant()],
    "greedy_batch": [batch_row_by_row, batch_with_positions],
}

SECOND_FORMS = {
    "decoding_loop": {
        "yields the end of sequence": eos_given_out,
        "one token too many": one_more,
        "one token too few": one_less,
        "the model runs once more": last_one_read,
        "the stopping token is swallowed": stops_before,
        "the end is seen in the first step only": eos_looked_for_once,
        "the end is not seen in the first step": eos_looked_for_later,
        "the end is ignored": no_end,
        "the cache is filled again and again": whole_sequence_again,
        "a prefill at each step": no_cache_at_all,
        "choose sees the new token alone": looks_at_the_newest,
        "choose sees the prompt alone": looks_at_the_prompt,
        "no finish reason": without_a_word,
        "the reason is yielded": yields_the_reason,
        "always the same reason": says_length,
        "the length before the stop": looks_at_the_length_first,
        "stop is asked too late": asks_afterwards,
        "stop is asked about the end of sequence": asks_about_everything,
        "all at once": collected,
    },
    "TextStream": {
        "a stop string over two tokens is missed": PieceByPiece,
        "half a character is printed": AnyText,
        "tokens are decoded one by one": JoinedPieces,
        "half characters are thrown away": SkipsHalves,
        "everything is held back until the end": Buffered,
        "always as much is held back as a stop string is long": LongestHeld,
        "the stop string is printed": StopIncluded,
        "what stands behind the stop string is printed": RestIncluded,
        "it goes on after the stop string": StopCutOut,
        "finish forgets what was held back": Forgetful,
        "finish gives what the stop string cut off": FinishRegardless,
        "stopped is never set": Silent,
        "only the first stop string counts": OneStop,
        "cut at the first string of the list": InTheOrderOfTheList,
        "it waits for ever after a broken byte": StuckAtABrokenByte,
        "cut at minus nought": MinusZero,
        "cut at minus nought, counted by pieces": MinusZeroByPieces,
        "the text of the new token alone": NewestDecoded,
        "given never moves": Rewrites,
        "what was held back counts as given": AllIsGiven,
        "it waits for whole words": WholeWords,
    },
    "pad_left": {
        "padded on the right": right_side,
        "real is the wrong way round": pads_marked,
        "real is read off the ids": compared_with_the_pad,
        "real is True for the padding, read off the ids": equal_to_the_pad,
        "real on the other side": real_by_length,
        "real is not boolean": ones_and_zeros,
        "pad_id is ignored": zeros_in_front,
        "cut to the shortest": shortest,
        "the tokens are turned around": flipped_once,
    },
    "beam_search": {
        "the cache is not reordered": variant(arrange=cache_only_widened),
        "the texts are not reordered": variant(grown=own_place),
        "two beams share one list": variant(
            grown=appended, empty=lambda self, count: [[] for _ in range(count)]
        ),
        "each beam for itself": variant(order=own_best),
        "logits are added": variant(
            table=lambda self, sums, logits: logits + torch.tensor(sums).view(-1, 1)
        ),
        "the sums are not added up": variant(
            table=lambda self, sums, logits: torch.log(logits.softmax(-1))
        ),
        "the old sum is added twice": variant(
            carried=lambda self, sums, going: [sums[row] + total for total, row, _ in going]
        ),
        "softmax without the logarithm": variant(
            table=lambda self, sums, logits: (
                torch.tensor(sums).unsqueeze(1) + torch.softmax(logits, dim=-1)
            )
        ),
        "row and token mixed up": variant(split=lambda self, place, K, V: divmod(place, K)[::-1]),
        "no length penalty": variant(score=lambda self, total, n: total),
        "multiplied by the length": variant(
            score=lambda self, total, n: total * math.pow(n, self.penalty)
        ),
        "the prompt, several times": greedy_alone,
        "the first that ends wins": variant(enough=lambda self, text: True),
        "the end of sequence is in the text": variant(
            closed=lambda self, text, token, ends: (*text, token)
        ),
    },
    "greedy_batch": {
        "no mask at all": batch_variant(first=no_first_mask, later=no_later_mask),
        "no mask in the decode steps": batch_variant(later=no_later_mask),
        "no mask in the prefill": batch_variant(first=no_first_mask),
        "padded on the right": batch_variant(pad=lambda self, prompts: right_side(prompts)),
        "goes on after the end": batch_variant(cut=ends_dropped),
        "the end of sequence is in the text": batch_variant(cut=end_kept),
        "all stop with the first": batch_variant(cut=to_the_shortest),
        "one token too many": batch_variant(limit=1),
    },
}

UNNAMED = {
    "decoding_loop": [
        yields_tensors,
        ignores_stop,
        counts_from_one,
        cache_too_short,
    ],
    "TextStream": [
        HalvesAsQuestionMarks,
        LastStopCounts,
        StripsSpaces,
        StopOnlyAtTheEnd,
    ],
    "pad_left": [in_place, ids_alone, last_tokens_of_the_shortest, one_pad_too_many],
    "beam_search": [
        with_prompt,
        all_the_beams,
        one_beam_too_many,
        variant(order=worst_of_the_candidates),
    ],
    "greedy_batch": [
        batch_variant(cut=uncut),
        first_prompt_alone,
        batch_variant(first=future_seen),
    ],
}

RANDOM = {
    "decoding_loop": Driven(loops(), run_loop),
    "TextStream": Driven(streams(), run_stream),
    "pad_left": batches(),
    "beam_search": Driven(searches(), run_search),
    "greedy_batch": Driven(batch_inputs(), run_batch),
}
