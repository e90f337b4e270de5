"""Lesson 23b: right answers, named mistakes in other words, and wrong answers nobody named."""

import math

import numpy as np
import torch

from decodeloop.exercises.lesson_23 import bare


def filling(make):
    """A function that copies into `out` what `make` gives for all other arguments."""

    def fill(*arguments):
        with np.errstate(all="ignore"):
            *inputs, out = map(bare, arguments)
            np.copyto(out, make(*inputs))

    return fill


def on_top(make):
    def fill(*arguments):
        *inputs, out = map(bare, arguments)
        out[:] = out + make(*inputs)

    return fill


def renamed(make):
    """`out = …` binds a name, and writes nothing."""

    def fill(*arguments):
        *inputs, out = map(bare, arguments)
        out = make(*inputs)
        assert out is not None

    return fill


# --- quantize -------------------------------------------------------------------------------------


def row_by_row(weight):
    rows, scale = [], []
    for row in weight.tolist():
        peak = max(abs(v) for v in row)
        scale.append(peak / 127 if peak else 1.0)
        rows.append([round(v / scale[-1]) for v in row])
    return torch.tensor(rows, dtype=torch.int8), torch.tensor(scale)


def with_where_at_the_end(weight):
    peak = weight.abs().max(dim=1, keepdim=True).values
    scale = peak / 127
    numbers = torch.where(peak > 0, torch.round(weight / scale), torch.zeros_like(weight))
    return numbers.char(), torch.where(peak > 0, scale, torch.ones_like(scale)).squeeze(1)


def quantized_with(scale, rounded=lambda x: x.round(), given=None):
    """Quantize by scales (R, 1), or what broadcasts; `given` is what is given back for them."""

    def wrong(weight):
        s = scale(weight)
        s = torch.where(s == 0, torch.ones_like(s), s)
        return rounded(torch.div(weight, s)).char(), (given or (lambda s: s.flatten()))(s)

    return wrong


def magnitudes(weight):
    return torch.linalg.vector_norm(weight, ord=math.inf, dim=1, keepdim=True)


def not_lined_up(weight):
    scale = weight.abs().amax(dim=1) / 127
    scale = torch.where(scale == 0, 1.0, scale)
    return torch.round(weight / scale).char(), scale


def unguarded_range(weight):
    span = weight.max(dim=1).values - weight.min(dim=1).values
    scale = torch.where(span > 0, span / 255, 1.0)
    return torch.round(weight / scale[:, None]).char(), scale


def unguarded(weight):
    scale = magnitudes(weight) / 127
    return torch.round(weight / scale).char(), scale.squeeze(1)


# --- attend ---------------------------------------------------------------------------------------


def score_of(q, keys, h, g, s):
    D = q.shape[1]
    return sum(float(q[h, d]) * float(keys[g, s, d]) for d in range(D)) / D**0.5


def two_passes(q, keys, values, length, out):
    (H, D), G = q.shape, len(keys)
    for h in range(H):
        g = h // (H // G)
        scores = [score_of(q, keys, h, g, s) for s in range(length)]
        top = max(scores)
        powers = [math.exp(score - top) for score in scores]
        for d in range(D):
            out[h, d] = sum(p * values[g, s, d] for s, p in enumerate(powers)) / sum(powers)


def kept_normalised(q, keys, values, length, out):
    """A running mean: what `out` holds is right after each position."""
    (H, D), G = q.shape, len(keys)
    for h in range(H):
        g = h * G // H
        peak, total = score_of(q, keys, h, g, 0), 1.0
        for d in range(D):
            out[h, d] = values[g, 0, d]
        for s in range(1, length):
            score = score_of(q, keys, h, g, s)
            higher = max(peak, score)
            total, weight = total * math.exp(peak - higher), math.exp(score - higher)
            total, peak = total + weight, higher
            for d in range(D):
                out[h, d] += weight / total * (values[g, s, d] - out[h, d])


def never_cleared(q, keys, values, length, out):
    (H, D), G = q.shape, len(keys)
    for h in range(H):
        g, peak, total = h // (H // G), -math.inf, 0.0
        for s in range(length):
            score = score_of(q, keys, h, g, s)
            higher = max(peak, score)
            fade, weight = math.exp(peak - higher), math.exp(score - higher)
            total, peak = total * fade + weight, higher
            for d in range(D):
                out[h, d] = out[h, d] * fade + weight * values[g, s, d]
        for d in range(D):
            out[h, d] /= total


def from_zero(q, keys, values, length, out):
    (H, D), G = q.shape, len(keys)
    for h in range(H):
        scores = [score_of(q, keys, h, h // (H // G), s) for s in range(length)]
        peak = max(0.0, *scores)
        powers = np.exp(np.float32([score - peak for score in scores]))
        for d in range(D):
            mixed = sum(p * values[h // (H // G), s, d] for s, p in enumerate(powers))
            with np.errstate(all="ignore"):
                out[h, d] = np.float32(mixed) / powers.sum()


def cached(root=lambda D: D**0.5, last=lambda length, S: length, shared=None, normal=True):
    """Attention through torch's einsum, with a step of it made otherwise."""

    def attend(q, keys, values, length):
        (H, D), (G, S, _) = q.shape, keys.shape
        rows = torch.tensor([h // (H // G) if shared is None else shared(h, G) for h in range(H)])
        n = last(length, S)
        k, v = (torch.from_numpy(x)[rows, :n] for x in (keys, values))
        scores = torch.einsum("hd,hsd->hs", torch.from_numpy(q), k) / root(D)
        top = scores.amax(-1, keepdim=True)
        weights = torch.softmax(scores, -1) if normal else torch.exp(scores - top)
        return torch.einsum("hs,hsd->hd", weights, v).numpy()

    return attend


def bare_exponentials(q, keys, values, length):
    H, G = len(q), len(keys)
    rows = []
    for h in range(H):
        k, v = keys[h // (H // G), :length], values[h // (H // G), :length]
        powers = np.exp((k @ q[h] / np.float32(math.sqrt(q.shape[1]))).astype(np.float32))
        rows.append((powers / powers.sum()) @ v)
    return np.array(rows)


def exponentials_in_64_bits(q, keys, values, length, out):
    (H, D), G = q.shape, len(keys)
    for h in range(H):
        g, total = h // (H // G), 0.0
        for d in range(D):
            out[h, d] = 0
        for s in range(length):
            weight = math.exp(score_of(q, keys, h, g, s))
            total += weight
            for d in range(D):
                out[h, d] += np.float64(weight) * values[g, s, d]
        for d in range(D):
            out[h, d] /= np.float64(total)


def mixes_keys(q, keys, values, length):
    return cached()(q, keys, keys, length)


def one_too_many(q, keys, values, length, out):
    two_passes(q, keys, values, length + 1, out)


def one_too_few(q, keys, values, length, out):
    q, keys, values, out = map(bare, (q, keys, values, out))
    out[:] = cached()(q, keys, values, length - 1) if length > 1 else math.nan


def weighted(weigh, divide):
    """Attention with weights and a divisor of one's own, of the scores (H, length)."""

    def attend(q, keys, values, length):
        rows = torch.arange(len(q)) // (len(q) // len(keys))
        k, v = (torch.from_numpy(x)[rows, :length] for x in (keys, values))
        scores = torch.einsum("hd,hsd->hs", torch.from_numpy(q), k) / q.shape[1] ** 0.5
        weights = weigh(scores)
        return (torch.einsum("hs,hsd->hd", weights, v) / divide(weights)).numpy()

    return filling(attend)


divided_by_the_count = weighted(
    lambda scores: torch.exp(scores - scores.amax(1, keepdim=True)), lambda w: w.shape[1]
)


def scores_for_weights(*arguments):
    """Faded like the exponentials, where a new largest score comes."""
    q, keys, values, length, out = map(bare, arguments)
    for h in range(len(q)):
        g, top, mass, mixed = h // (len(q) // len(keys)), -np.inf, 0.0, 0.0
        for k, v in zip(keys[g, :length], values[g, :length], strict=True):
            score = np.dot(q[h], k) / np.float32(math.sqrt(q.shape[1]))
            fade = np.exp(min(top - score, 0.0))
            mass, mixed, top = mass * fade + score, mixed * fade + score * v, max(top, score)
        out[h] = mixed / mass


def online(fade_sum, fade_values, upside_down=False):
    def attend(*arguments):
        q, keys, values, length, out = map(bare, arguments)
        (H, D), G = q.shape, len(keys)
        for h in range(H):
            g, top, mass, mixed = h // (H // G), -np.inf, 0.0, np.zeros(D)
            for k, v in zip(keys[g, :length], values[g, :length], strict=True):
                score = float(np.dot(q[h].astype(np.float64), k)) / D**0.5
                if score > top and (fade_sum or fade_values):
                    with np.errstate(all="ignore"):
                        fade = np.exp(np.float32(score - top if upside_down else top - score))
                        mass *= fade if fade_sum else 1.0
                        mixed = mixed * (fade if fade_values else 1.0)
                top = max(top, score)
                mass += math.exp(score - top)
                mixed = mixed + math.exp(score - top) * v
            out[h] = mixed / mass

    return attend


# --- gated ----------------------------------------------------------------------------------------


RIGHT = {
    "quantize": [row_by_row, with_where_at_the_end],
    "dequantize": [
        lambda quantized, scale: scale.unsqueeze(1) * quantized,
        lambda quantized, scale: torch.einsum("rc,r->rc", quantized.float(), scale),
    ],
    "attend": [two_passes, kept_normalised],
}

SECOND_FORMS = {
    "quantize": {
        "a scale for each column": quantized_with(
            lambda w: torch.linalg.vector_norm(w, ord=math.inf, dim=0) / 127
        ),
        "one scale for the whole matrix": quantized_with(
            lambda w: torch.tensor(max(abs(v) for row in w.tolist() for v in row) / 127),
            given=lambda s: s,
        ),
        "the same scale for every row": quantized_with(
            lambda w: torch.full((len(w), 1), float(w.abs().max())) / 127
        ),
        "cut off in place of rounded": quantized_with(
            lambda w: magnitudes(w) / 127, rounded=lambda x: x
        ),
        "rounded down": quantized_with(
            lambda w: magnitudes(w) / 127, rounded=lambda x: torch.floor(x)
        ),
        "the largest without its magnitude": quantized_with(
            lambda w: w.max(dim=1, keepdim=True).values / 127
        ),
        "no small scales": quantized_with(lambda w: (magnitudes(w) / 127).clamp_min(1e-8)),
        "the magnitude of the largest": quantized_with(
            lambda w: w.max(dim=1, keepdim=True).values.abs() / 127
        ),
        "the range instead of the magnitude": unguarded_range,
        "255": quantized_with(lambda w: magnitudes(w) / 255),
        "63.5": quantized_with(lambda w: 2 * magnitudes(w) / 127),
        "the mean magnitude": quantized_with(lambda w: w.abs().sum(1, True) / w.shape[1] / 127),
        "rounded up": quantized_with(
            lambda w: magnitudes(w) / 127, rounded=lambda x: -torch.floor(-x)
        ),
        "the magnitude for the scale": lambda w: (row_by_row(w)[0], 127 * row_by_row(w)[1]),
        "the scales not given back": lambda w: row_by_row(w)[0],
        "128": quantized_with(lambda w: magnitudes(w) / 128),
        "division by zero": unguarded,
        "a row of zeros has another scale": lambda w: (
            row_by_row(w)[0],
            torch.where(row_by_row(w)[0].any(1), row_by_row(w)[1], 1 / 127),
        ),
        "the outputs exchanged": lambda w: row_by_row(w)[::-1],
        "not stored in 8 bits": lambda w: (row_by_row(w)[0].float(), row_by_row(w)[1]),
        "the scale with an axis too many": lambda w: (row_by_row(w)[0], row_by_row(w)[1][:, None]),
        "rows and scales not lined up": not_lined_up,
        "the scale upside down": lambda w: (row_by_row(w)[0], 1 / row_by_row(w)[1]),
    },
    "dequantize": {
        "a scale for each column": lambda q, s: torch.mul(q.float(), s[None]),
        "divided by the scale": lambda q, s: (q.T.float() / s).T,
        "the scale forgotten": lambda q, s: q.to(torch.float32) + 0.0,
        "cut to whole numbers": lambda q, s: torch.trunc(q * s.unsqueeze(1)),
        "the scale cut to a whole number": lambda q, s: q.float() * torch.trunc(s)[:, None],
        "the largest scale for all": lambda q, s: q.float() * max(s.tolist()),
        "the mean scale for all": lambda q, s: q.float() * (s.sum() / len(s)),
        "divided by 127, too": lambda q, s: (q.float().T * s / 127).T,
        "the scale added": lambda q, s: torch.add(q, s.unsqueeze(1)),
        "the scale of the first row for all": lambda q, s: q.float() * float(s[0]),
    },
    "attend": {
        "out not written": renamed(cached()),
        "out not started from zero": on_top(cached()),
        "out faded before it was set": never_cleared,
        "the largest begins at 0": from_zero,
        "forgot 1/√D": filling(cached(root=lambda D: 1.0)),
        "divided by D": filling(cached(root=lambda D: D)),
        "the largest not subtracted": filling(bare_exponentials),
        "the largest not subtracted, in 64 bits": exponentials_in_64_bits,
        "one position too many": one_too_many,
        "one position too few": one_too_few,
        "the whole cache": filling(cached(last=lambda length, S: S)),
        "heads shared in the wrong order": filling(cached(shared=lambda h, G: h % G)),
        "a KV head for each G heads": filling(cached(shared=lambda h, G: h // G)),
        "the last KV head for all": filling(cached(shared=lambda h, G: G - 1)),
        "the first KV head for all": filling(cached(shared=lambda h, G: 0)),
        "not divided by the sum": filling(cached(normal=False)),
        "keys in place of values": filling(mixes_keys),
        "the fade upside down": online(True, True, upside_down=True),
        "divided by the number of positions": divided_by_the_count,
        "the scores multiplied by √D": filling(cached(root=lambda D: 1 / D**0.5)),
        "the score for the weight": scores_for_weights,
        "nothing faded": online(False, False),
        "only the sum faded": online(True, False),
        "only out faded": online(False, True),
    },
}

UNNAMED = {
    "quantize": [
        quantized_with(lambda w: magnitudes(w) / 100),
        quantized_with(lambda w: (magnitudes(w) / 127).clamp(min=1e-3)),
        lambda w: row_by_row(w)[1],
        lambda w: (row_by_row(w)[0], row_by_row(w.double())[1].double()),
        lambda w: quantized_with(lambda w: magnitudes(w) / 127)(w.double()),
    ],
    "dequantize": [
        lambda q, s: q.float() * s[-1],
        lambda q, s: q.float() * s[:, None] ** 2,
        lambda q, s: (q.float() * s[:, None]).T,
        lambda q, s: q.double() * s[:, None],
    ],
    "attend": [
        filling(lambda q, k, v, length: np.stack([v[0, 0]] * len(q))),
        filling(cached(shared=lambda h, G: G - 1 - h % G)),
        filling(lambda q, k, v, length: cached()(q, k, v, 1)),
    ],
}
