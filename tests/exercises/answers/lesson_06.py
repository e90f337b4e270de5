"""Lesson 06: right answers, named mistakes in other words, and wrong answers nobody named."""

from functools import partial

import torch
from hypothesis import strategies as st
from random_inputs import Driven, random_ids, seeds, shaped
from torch.nn import functional as F

from decodeloop.exercises.lesson_06 import (
    DEEPER,
    LLAMA_2_7B,
    SMALL,
    chunked,
    decoded,
    drive,
    fed,
    prefilled,
    random_decoder,
)
from decodeloop.model import (
    SMOLLM2_135M,
    TINY,
    block,
    causal_mask,
    grouped_query_attention,
    rms_norm,
)

# --- ContiguousKVCache ----------------------------------------------------------------------------


class OneBuffer:
    """Keys and values in one tensor: (2, L, B, G, max_length, D)."""

    def __init__(self, config, batch, max_length, dtype=torch.float32, device=None):
        shape = (2, config.layers, batch, config.kv_heads, max_length, config.head_dim)
        self.both = torch.zeros(shape, dtype=dtype, device=device)
        self.length = 0

    def append(self, layer, k, v):
        end = self.length + k.shape[2]
        self.both[:, layer, :, :, self.length : end] = torch.stack((k, v))
        keys, values = self.both[:, layer, :, :, :end]
        return keys, values

    def attend(self, layer, q, k, v, mask=None):
        keys, values = self.append(layer, k, v)
        if mask is None and q.shape[2] > 1:
            mask = causal_mask(q.shape[2], keys.shape[2])
        return grouped_query_attention(q, keys, values, mask)

    def advance(self, T):
        self.length = self.length + T

    def truncate(self, n):
        self.length = n

    def select(self, rows):
        self.both = self.both.index_select(2, torch.as_tensor(rows))


class PlaceByPlace:
    """A list of buffers, one for each layer, written one position at a time."""

    def __init__(self, config, batch, max_length, dtype=torch.float32, device=None):
        shape = (batch, config.kv_heads, max_length, config.head_dim)
        self.layers = [[torch.zeros(shape), torch.zeros(shape)] for _ in range(config.layers)]
        self.used = 0

    @property
    def length(self):
        return self.used

    def append(self, layer, k, v):
        end = self.used + k.size(2)
        for buffer, new in zip(self.layers[layer], (k, v), strict=True):
            for t in range(k.size(2)):
                buffer[:, :, self.used + t] = new[:, :, t]
        return [buffer[:, :, :end] for buffer in self.layers[layer]]

    def attend(self, layer, q, k, v, mask=None):
        keys, values = self.append(layer, k, v)
        T, S, groups = q.shape[2], keys.shape[2], q.shape[1] // k.shape[1]
        if mask is None:
            mask = torch.ones(S, S).tril()[S - T :].bool()
        keys, values = (x.repeat_interleave(groups, dim=1) for x in (keys, values))
        scores = torch.einsum("bhtd,bhsd->bhts", q, keys) * q.shape[-1] ** -0.5
        return torch.where(mask, scores, -torch.inf).softmax(-1).nan_to_num(0.0) @ values

    def advance(self, T):
        self.used += T

    def truncate(self, n):
        self.used = n

    def select(self, rows):
        taken = [int(row) for row in rows]
        self.layers = [
            [torch.stack([buffer[row] for row in taken]) for buffer in pair] for pair in self.layers
        ]


class Gaps(OneBuffer):
    def advance(self, T):
        for _ in range(2):
            self.length += T


class MovesOnInAppend(OneBuffer):
    def append(self, layer, k, v):
        T = k.shape[2]
        start, self.length = self.length, self.length + T
        self.both[0, layer, :, :, start : self.length] = k
        self.both[1, layer, :, :, start : self.length] = v
        return self.both[0, layer, :, :, : self.length], self.both[1, layer, :, :, : self.length]

    def attend(self, layer, q, k, v, mask=None):
        keys, values = self.append(layer, k, v)
        if mask is None:
            mask = causal_mask(q.shape[2], keys.shape[2])
        return grouped_query_attention(q, keys, values, mask)


class MovesOnInAppendOnly(MovesOnInAppend):
    def advance(self, T):
        return None


class MovesOnInAttend(OneBuffer):
    def attend(self, layer, q, k, v, mask=None):
        output = OneBuffer.attend(self, layer, q, k, v, mask)
        self.advance(k.shape[2])
        return output


class StandsStill(OneBuffer):
    def advance(self, T):
        length = self.length
        length += T  # a local name, soon forgotten


class OneStep(OneBuffer):
    def advance(self, T):
        self.length += T > 0


class OnlyTheLastT(OneBuffer):
    def advance(self, T):
        self.length = T


class FirstPlaces(OneBuffer):
    def append(self, layer, k, v):
        T = k.shape[2]
        self.both[0, layer, :, :, :T] = k
        self.both[1, layer, :, :, :T] = v
        end = T + self.length
        return self.both[0, layer, :, :, :end], self.both[1, layer, :, :, :end]


class ReturnsWhatIsNew(OneBuffer):
    def append(self, layer, k, v):
        keys, values = super().append(layer, k, v)
        return keys[:, :, self.length :], values[:, :, self.length :]


class ReturnsWhatWas(OneBuffer):
    def append(self, layer, k, v):
        keys, values = super().append(layer, k, v)
        return keys[:, :, : -k.shape[2]], values[:, :, : -k.shape[2]]


class ReturnsAllPlaces(OneBuffer):
    def append(self, layer, k, v):
        super().append(layer, k, v)
        return self.both[0, layer], self.both[1, layer]


class StoredTheWrongWayRound(OneBuffer):
    def append(self, layer, k, v):
        return super().append(layer, v, k)


class KeysTwice(PlaceByPlace):
    def append(self, layer, k, v):
        keys, _ = super().append(layer, k, v)
        return keys, keys


class LastLayerForAll(OneBuffer):
    def append(self, layer, k, v):
        return super().append(self.both.shape[1] - 1, k, v)


class Wiped(OneBuffer):
    def truncate(self, n):
        self.both[..., n:, :].zero_()


class KeepsOneFewer(PlaceByPlace):
    def truncate(self, n):
        self.used = n - 1 if n > 0 else 0


class GoesBackByN(OneBuffer):
    def truncate(self, n):
        self.length = self.length - n if n <= self.length else 0


class OwnCounter(OneBuffer):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.written = 0

    def append(self, layer, k, v):
        T = k.shape[2]
        self.both[0, layer, :, :, self.written : self.written + T] = k
        self.both[1, layer, :, :, self.written : self.written + T] = v
        end = self.length + T
        return self.both[0, layer, :, :, :end], self.both[1, layer, :, :, :end]

    def advance(self, T):
        self.written += T
        self.length += T


class KeysSelectedAlone(PlaceByPlace):
    def select(self, rows):
        self.layers = [[keys[list(rows)], values] for keys, values in self.layers]


class LayersSelected(PlaceByPlace):
    def select(self, rows):
        self.layers = [
            [self.layers[row][0].clone(), self.layers[row][1].clone()] for row in list(rows)
        ]


class SelectsIntoNothing(OneBuffer):
    def select(self, rows):
        both = self.both[:, :, list(rows)]
        del both


class RowByRowInPlace(OneBuffer):
    def select(self, rows):
        for i in range(len(rows)):
            self.both.select(2, i).copy_(self.both.select(2, rows[i]).clone())


class BufferOfTheLayer(OneBuffer):
    def attend(self, layer, q, k, v, mask=None):
        self.append(layer, k, v)
        keys, values = self.both[:, layer]
        if mask is None:
            mask = torch.ones(keys.shape[2], keys.shape[2], dtype=torch.bool).tril()[-q.shape[2] :]
        return grouped_query_attention(q, keys, values, mask)


class SeesTheFuture(PlaceByPlace):
    def attend(self, layer, q, k, v, mask=None):
        if mask is None:
            mask = torch.ones(q.shape[2], self.used + q.shape[2], dtype=torch.bool)
        return super().attend(layer, q, k, v, mask)


class TopOfTheTriangle(OneBuffer):
    def attend(self, layer, q, k, v, mask=None):
        T, S = q.shape[2], self.length + q.shape[2]
        if mask is None and T > 1:
            mask = torch.arange(S)[None] <= torch.arange(T)[:, None]
        return super().attend(layer, q, k, v, mask)


class TopOfTheTriangleAlways(OneBuffer):
    def attend(self, layer, q, k, v, mask=None):
        T, S = q.shape[2], self.length + q.shape[2]
        if mask is None:
            mask = causal_mask(S)[:T]
        return super().attend(layer, q, k, v, mask)


class AlwaysCausal(PlaceByPlace):
    def attend(self, layer, q, k, v, mask=None):
        S = self.used + q.shape[2]
        return super().attend(layer, q, k, v, causal_mask(q.shape[2], S))


class TruncateForgotten(OneBuffer):
    def truncate(self, n):
        pass


class WritesOnePlaceLate(OneBuffer):
    def append(self, layer, k, v):
        start, end = self.length + 1, self.length + 1 + k.shape[2]
        self.both[0, layer, :, :, start:end] = k
        self.both[1, layer, :, :, start:end] = v
        return self.both[0, layer, :, :, :end], self.both[1, layer, :, :, :end]


class NewestFirst(OneBuffer):
    def append(self, layer, k, v):
        keys, values = super().append(layer, k, v)
        return keys.flip(2), values.flip(2)


class AttendsWithoutStoring(OneBuffer):
    def attend(self, layer, q, k, v, mask=None):
        mask = causal_mask(q.shape[2]) if mask is None else mask[..., -q.shape[2] :]
        return grouped_query_attention(q, k, v, mask)


class SelectsBackwards(OneBuffer):
    """Row rows[i] becomes what row i was."""

    def select(self, rows):
        both = self.both.clone()
        both[:, :, list(rows)] = self.both[:, :, : len(rows)]
        self.both = both[:, :, : len(rows)]


class SelectsWithoutShrinking(OneBuffer):
    """Reads before it writes, but rows never go away."""

    def select(self, rows):
        before = self.both.clone()
        for i, row in enumerate(rows):
            self.both[:, :, i] = before[:, :, row]


# --- hidden_with_cache ----------------------------------------------------------------------------


def with_partials(model, token_ids, cache):
    config, (_, T) = model.config, token_ids.shape
    x = model.embedding(token_ids)
    positions = cache.length + torch.arange(T)
    for number in range(config.layers):
        x = block(x, model.layers[number], positions, partial(cache.attend, number))
    cache.advance(T)
    return rms_norm(x, model.norm.weight, config.norm_eps)


def stepwise(
    start=lambda cache: cache.length,
    advances=1,
    by=lambda T: T,
    inside=False,
    early=False,
    number=lambda layer: layer,
    normalised=True,
    alone=False,
):
    """`hidden_with_cache` written with a positions table for each row and PyTorch's norm."""

    def hidden(model, token_ids, cache):
        B, T = token_ids.shape
        positions = (start(cache) + torch.arange(T)).expand(B, T)
        x = F.embedding(token_ids, model.embedding.weight)
        if early:
            cache.advance(by(T))
        for place, layer in enumerate(model.layers):

            def attend(q, k, v, place=place):
                if alone:
                    cache.attend(place, q, k, v)
                    return grouped_query_attention(q, k, v, causal_mask(q.shape[2]))
                return cache.attend(number(place), q, k, v)

            x = block(x, layer, positions, attend)
            if inside:
                cache.advance(by(T))
        for _ in range(advances):
            cache.advance(by(T))
        if not normalised:
            return x
        return F.rms_norm(x, x.shape[-1:], model.norm.weight, model.config.norm_eps)

    return hidden


def all_with_the_last_number(model, token_ids, cache):
    """The functions are made first and called later: all of them see the last number."""
    T = token_ids.shape[1]
    attends = [
        lambda q, k, v: cache.attend(number, q, k, v)  # noqa: B023
        for number in range(model.config.layers)
    ]
    x = model.embedding(token_ids)
    positions = torch.arange(cache.length, cache.length + T)
    for layer, attend in zip(model.layers, attends, strict=True):
        x = block(x, layer, positions, attend)
    cache.advance(T)
    return rms_norm(x, model.norm.weight, model.config.norm_eps)


def positions_of_the_cache_alone(model, token_ids, cache):
    """One position for all new tokens."""
    T = token_ids.shape[1]
    x = model.embedding(token_ids)
    positions = torch.full((T,), cache.length)
    for number, layer in enumerate(model.layers):
        x = block(x, layer, positions, partial(cache.attend, number))
    cache.advance(T)
    return rms_norm(x, model.norm.weight, model.config.norm_eps)


def unmasked(model, token_ids, cache):
    T = token_ids.shape[1]
    everything = torch.ones(T, cache.length + T, dtype=torch.bool)
    x = model.embedding(token_ids)
    positions = torch.arange(cache.length, cache.length + T)
    for number, layer in enumerate(model.layers):
        attend = partial(cache.attend, number, mask=everything)
        x = block(x, layer, positions, attend)
    cache.advance(T)
    return rms_norm(x, model.norm.weight, model.config.norm_eps)


# --- prefill and decode_step ----------------------------------------------------------------------


def last_kept_then_flat(model, token_ids, cache):
    B, T = token_ids.shape
    last = model.hidden(token_ids, cache)[:, T - 1 : T]
    return model.head(last).reshape(B, -1)


def out_of_its_parts(model, token_ids, cache):
    hidden = with_partials(model, token_ids, cache)
    return model.head(hidden.select(1, -1))


def every_logit_then_the_last(model, token_ids, cache):
    logits = model(token_ids, cache)
    return logits[:, token_ids.shape[1] - 1, :]


def every_logit(model, token_ids, cache):
    return model(token_ids, cache)


def after_the_first(model, token_ids, cache):
    return model.head(model.hidden(token_ids, cache).select(1, 0))


def last_of_the_batch(model, token_ids, cache):
    *_, row = model.hidden(token_ids, cache)
    return model.head(row)


def no_cache(model, token_ids, cache):
    hidden = model.hidden(token_ids, None)
    return model.head(hidden[:, -1, :])


def advances_too(model, token_ids, cache):
    hidden = with_partials(model, token_ids, cache)
    cache.advance(token_ids.shape[1])
    return model.head(hidden[:, -1])


def chooses(model, token_ids, cache):
    logits = last_kept_then_flat(model, token_ids, cache)
    return logits.max(dim=-1).indices


def with_its_axis(model, token_ids, cache):
    hidden = with_partials(model, token_ids, cache)
    return model.head(hidden[:, -1]).unsqueeze(1)


def shares(model, token_ids, cache):
    return last_kept_then_flat(model, token_ids, cache).softmax(-1)


def mean_of_positions(model, token_ids, cache):
    return model.head(model.hidden(token_ids, cache).mean(1))


def the_vector(model, token_ids, cache):
    return model.hidden(token_ids, cache)[:, -1]


def one_short(model, token_ids, cache):
    return model.head(model.hidden(token_ids[:, :-1], cache)[:, -1])


def with_its_position_kept(model, token_ids, cache):
    return model.head(model.hidden(token_ids, cache)[:, -1:])


def fresh_each_time(model, token_ids, cache):
    cache.truncate(0)
    return out_of_its_parts(model, token_ids, cache)


def turned_as_the_first(model, token_ids, cache):
    hidden = model.hidden(token_ids, cache, positions=torch.zeros(1, dtype=torch.long))
    return model.head(hidden[:, -1])


def read_twice(model, token_ids, cache):
    model.hidden(token_ids, cache)
    return model.head(model.hidden(token_ids, cache)[:, -1])


def one_position_late(model, token_ids, cache):
    hidden = model.hidden(token_ids, cache, positions=torch.tensor([cache.length + 1]))
    return model.head(hidden[:, -1])


# --- kv_cache_bytes -------------------------------------------------------------------------------


def by_the_buffer(config, batch, length, bytes_per_number):
    shape = (2, config.layers, batch, config.kv_heads, length, config.head_dim)
    return torch.Size(shape).numel() * bytes_per_number


def by_the_layer(config, batch, length, bytes_per_number):
    total = 0
    for _ in range(config.layers):
        keys = batch * config.kv_heads * length * config.head_dim
        values = keys
        total += (keys + values) * bytes_per_number
    return total


def from_numbers(**changed):
    """2 · L · G · D · batch · length · bytes with some of its factors replaced."""

    def count(config, batch, length, bytes_per_number):
        factors = {
            "two": 2,
            "layers": config.layers,
            "heads": config.kv_heads,
            "dim": config.head_dim,
            "batch": batch,
            "length": length,
            "bytes": bytes_per_number,
        }
        factors |= {name: of(config) for name, of in changed.items()}
        product = 1
        for factor in factors.values():
            product *= factor
        return product

    return count


# --- chunked_prefill ------------------------------------------------------------------------------


def by_indices(model, token_ids, cache, chunk):
    T = token_ids.shape[1]
    start = 0
    while start < T:
        end = min(start + chunk, T)
        hidden = model.hidden(token_ids[:, start:end], cache)
        start = end
    return model.head(hidden[:, -1])


def recursively(model, token_ids, cache, chunk):
    logits = out_of_its_parts(model, token_ids[:, :chunk], cache)
    rest = token_ids[:, chunk:]
    return recursively(model, rest, cache, chunk) if rest.shape[1] else logits


def whole_chunks_only(model, token_ids, cache, chunk):
    count = max(token_ids.shape[1] // chunk, 1)
    for number in range(count):
        part = token_ids[:, number * chunk : (number + 1) * chunk]
        logits = out_of_its_parts(model, part, cache)
    return logits


def a_token_at_a_time(model, token_ids, cache, chunk):
    for t in range(token_ids.shape[1]):
        logits = out_of_its_parts(model, token_ids[:, t : t + 1], cache)
    return logits


def so_many_chunks(model, token_ids, cache, chunk):
    for part in torch.chunk(token_ids, chunk, dim=1):
        logits = out_of_its_parts(model, part, cache)
    return logits


def answers_after_the_first(model, token_ids, cache, chunk):
    first = out_of_its_parts(model, token_ids[:, :chunk], cache)
    for start in range(chunk, token_ids.shape[1], chunk):
        model.hidden(token_ids[:, start : start + chunk], cache)
    return first


def one_for_each_chunk(model, token_ids, cache, chunk):
    parts = token_ids.split(chunk, dim=1)
    return torch.stack([out_of_its_parts(model, part, cache) for part in parts], dim=1)


def leaves_at_once(model, token_ids, cache, chunk):
    pieces = token_ids.split(chunk, dim=1)
    return next(out_of_its_parts(model, piece, cache) for piece in pieces)


def rows_of_the_batch(model, token_ids, cache, chunk):
    for start in range(0, token_ids.shape[0], chunk):
        logits = out_of_its_parts(model, token_ids[start : start + chunk], cache)
    return logits


def all_but_the_last(model, token_ids, cache, chunk):
    starts = range(0, token_ids.shape[1], chunk)
    for number in range(len(starts) - 1):
        logits = out_of_its_parts(model, token_ids[:, starts[number] : starts[number + 1]], cache)
    return logits


def glued(model, token_ids, cache, chunk):
    logits = torch.zeros(0, model.config.vocabulary)
    for piece in token_ids.split(chunk, dim=1):
        logits = torch.cat((logits, out_of_its_parts(model, piece, cache)))
    return logits


def starts_over(model, token_ids, cache, chunk):
    for start in range(0, token_ids.shape[1], chunk):
        cache.truncate(0)
        logits = out_of_its_parts(model, token_ids[:, start : start + chunk], cache)
    return logits


def overlapping(model, token_ids, cache, chunk):
    logits = out_of_its_parts(model, token_ids[:, :chunk], cache)
    for start in range(chunk, token_ids.shape[1], chunk):
        part = token_ids[:, start - 1 : start + chunk]
        logits = out_of_its_parts(model, part, cache)
    return logits


def shorter_first(model, token_ids, cache, chunk):
    rest = token_ids.shape[1] % chunk
    parts = [token_ids[:, :rest]] if rest else []
    parts += list(token_ids[:, rest:].split(chunk, dim=1)) if token_ids.shape[1] > rest else []
    for part in parts:
        logits = out_of_its_parts(model, part, cache)
    return logits


def from_behind(model, token_ids, cache, chunk):
    for part in reversed(token_ids.split(chunk, dim=1)):
        logits = out_of_its_parts(model, part, cache)
    return logits


def the_last_chunk_alone(model, token_ids, cache, chunk):
    return out_of_its_parts(model, token_ids.split(chunk, dim=1)[-1], cache)


RIGHT = {
    "ContiguousKVCache": [OneBuffer, PlaceByPlace],
    "hidden_with_cache": [with_partials, stepwise()],
    "prefill": [last_kept_then_flat, out_of_its_parts],
    "decode_step": [last_kept_then_flat, out_of_its_parts],
    "kv_cache_bytes": [by_the_buffer, by_the_layer],
    "chunked_prefill": [by_indices, recursively],
}

SECOND_FORMS = {
    "ContiguousKVCache": {
        "advanced twice": Gaps,
        "advanced by every append": MovesOnInAppend,
        "advanced by append alone": MovesOnInAppendOnly,
        "advanced by attend": MovesOnInAttend,
        "never advanced": StandsStill,
        "advanced by one": OneStep,
        "the length of the last forward": OnlyTheLastT,
        "always at the start": FirstPlaces,
        "only the new keys": ReturnsWhatIsNew,
        "only the old keys": ReturnsWhatWas,
        "the whole buffer": ReturnsAllPlaces,
        "keys and values swapped": StoredTheWrongWayRound,
        "keys stored as values": KeysTwice,
        "one store for all layers": LastLayerForAll,
        "truncate by zeros": Wiped,
        "truncate off by one": KeepsOneFewer,
        "truncate takes n away": GoesBackByN,
        "the place is not taken back": OwnCounter,
        "select forgets the values": KeysSelectedAlone,
        "select takes layers": LayersSelected,
        "the selection is dropped": SelectsIntoNothing,
        "select overwrites before it reads": RowByRowInPlace,
        "attend uses the whole buffer": BufferOfTheLayer,
        "attend without a mask": SeesTheFuture,
        "the mask is not shifted": TopOfTheTriangle,
        "the mask is not shifted, not even for one token": TopOfTheTriangleAlways,
        "the given mask is ignored": AlwaysCausal,
    },
    "hidden_with_cache": {
        "positions start at 0": stepwise(start=lambda cache: 0),
        "not advanced": stepwise(advances=0),
        "advanced twice": stepwise(advances=2),
        "advanced in the loop": stepwise(inside=True, advances=0),
        "advanced before the layers": stepwise(early=True, advances=0),
        "advanced by one": stepwise(by=lambda T: 1),
        "all layers in one": all_with_the_last_number,
        "the final norm is missing": stepwise(normalised=False),
        "attends to the new tokens alone": stepwise(alone=True),
    },
    "prefill": {
        "the head on all positions": every_logit_then_the_last,
        "the logits of all positions": every_logit,
        "the first position": after_the_first,
        "an axis too many": with_its_axis,
        "the last row of the batch": last_of_the_batch,
        "the cache forgotten": no_cache,
        "advanced once more": advances_too,
        "the token instead of the logits": chooses,
    },
    "decode_step": {
        "without the cache": no_cache,
        "an axis too many": with_its_position_kept,
        "advanced once more": advances_too,
        "the cache emptied first": fresh_each_time,
        "at position 0": turned_as_the_first,
        "the token instead of the logits": chooses,
    },
    "kv_cache_bytes": {
        "keys alone": from_numbers(two=lambda config: 1),
        "H instead of G": from_numbers(heads=lambda config: config.heads),
        "one layer": from_numbers(layers=lambda config: 1),
        "C instead of G·D": from_numbers(heads=lambda config: 1, dim=lambda config: config.width),
        "D as C / H": from_numbers(dim=lambda config: config.width // config.heads),
        "one text": from_numbers(batch=lambda config: 1),
        "one token": from_numbers(length=lambda config: 1),
        "numbers instead of bytes": from_numbers(bytes=lambda config: 1),
        "bits": from_numbers(two=lambda config: 16),
        "always 4 bytes": from_numbers(bytes=lambda config: 4),
        "megabytes instead of bytes": lambda *sizes: by_the_buffer(*sizes) * 1e-6,
    },
    "chunked_prefill": {
        "the rest is dropped": whole_chunks_only,
        "the last piece is dropped": all_but_the_last,
        "the batch is split": rows_of_the_batch,
        "return inside the loop": leaves_at_once,
        "all at once": lambda model, token_ids, cache, chunk: out_of_its_parts(
            model, token_ids, cache
        ),
        "one by one": a_token_at_a_time,
        "chunks instead of their size": so_many_chunks,
        "the logits of the first chunk": answers_after_the_first,
        "the logits of every chunk": one_for_each_chunk,
        "the logits of all chunks, concatenated": glued,
        "forgotten between the chunks": starts_over,
        "an overlap of one": overlapping,
    },
}

UNNAMED = {
    "ContiguousKVCache": [
        TruncateForgotten,
        WritesOnePlaceLate,
        NewestFirst,
        AttendsWithoutStoring,
        SelectsBackwards,
        SelectsWithoutShrinking,
    ],
    "hidden_with_cache": [
        positions_of_the_cache_alone,
        unmasked,
        stepwise(start=lambda cache: cache.length + 1, advances=2),
        lambda model, token_ids, cache: model(token_ids, cache),
    ],
    "prefill": [shares, mean_of_positions, the_vector, one_short],
    "decode_step": [shares, the_vector, read_twice, one_position_late],
    "kv_cache_bytes": [
        from_numbers(heads=lambda config: config.heads, dim=lambda config: config.width),
        lambda config, batch, length, bytes_per_number: (
            2 * config.layers * config.feed_forward * batch * length * bytes_per_number
        ),
        lambda config, batch, length, bytes_per_number: (
            (2 * config.layers * config.kv_heads * config.head_dim * (batch + length))
            * bytes_per_number
        ),
        lambda config, batch, length, bytes_per_number: (
            by_the_buffer(config, batch, length, bytes_per_number) / 2**20
        ),
    ],
    "chunked_prefill": [shorter_first, from_behind, the_last_chunk_alone],
}

# --- random inputs --------------------------------------------------------------------------------

configs = st.sampled_from([SMALL, DEEPER])


@st.composite
def operations(draw):
    """A trace of up to six operations on a cache that has room for all of them."""
    batch, length, steps = draw(st.integers(1, 3)), 0, []
    rows = batch
    for _ in range(draw(st.integers(1, 6))):
        name = draw(st.sampled_from(["append", "attend", "attend", "truncate", "select"]))
        if name == "truncate":
            length = draw(st.integers(0, length))
            steps.append((name, length))
        elif name == "select":
            chosen = draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=3))
            rows = len(chosen)
            steps.append((name, chosen))
        else:
            T = draw(st.integers(1, 4))
            length += T
            steps.append((name, T))
    return draw(configs), batch, 24, tuple(steps)


@st.composite
def texts(draw):
    """Up to two texts, each in parts."""
    config, parts = draw(configs), []
    for _ in range(draw(st.integers(1, 2))):
        lengths = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
        B = draw(st.integers(1, 2))
        parts.append((random_ids(draw(seeds), config.vocabulary, B, sum(lengths)), lengths))
    return config, tuple(parts)


def a_text(config, seed, B, T, *more):
    return (config, random_ids(seed, config.vocabulary, B, T), *more)


rows, tokens = st.integers(1, 3), st.integers(1, 7)

RANDOM = {
    "ContiguousKVCache": Driven(operations(), drive),
    "hidden_with_cache": Driven(
        texts(), lambda candidate, config, parts: fed(candidate, random_decoder(config), parts)
    ),
    "prefill": Driven(shaped(a_text, configs, seeds, rows, tokens), prefilled),
    "decode_step": Driven(shaped(a_text, configs, seeds, rows, st.integers(3, 7)), decoded),
    "kv_cache_bytes": st.tuples(
        st.sampled_from([SMALL, DEEPER, TINY, SMOLLM2_135M, LLAMA_2_7B]),
        st.integers(1, 64),
        st.integers(0, 8_192),
        st.sampled_from([1, 2, 4, 8]),
    ),
    "chunked_prefill": Driven(
        shaped(a_text, configs, seeds, rows, tokens, st.integers(1, 8)), chunked
    ),
}
