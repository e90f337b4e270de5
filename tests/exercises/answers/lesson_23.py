"""Lesson 23: right answers, named mistakes in other words, and wrong answers nobody named."""

import math

import numpy as np
import torch

from decodeloop.exercises.lesson_23 import bare, prange


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


# --- matrix_vector --------------------------------------------------------------------------------


def dots(matrix, x):
    return np.array([float(np.dot(row.astype(np.float64), x)) for row in matrix])


def scaled_dots(matrix, scale, x):
    return dots(matrix, x) * scale


def columns_outside(matrix, scale, x, out):
    for r in range(len(out)):
        out[r] = 0
    for c in range(matrix.shape[1]):
        for r in range(matrix.shape[0]):
            out[r] += matrix[r, c].astype(np.float32) * x[c]
    for r in range(matrix.shape[0]):
        out[r] *= scale[r]


def scale_in_front(matrix, scale, x, out):
    for r in prange(len(matrix)):
        total = scale[r] * matrix[r, 0] * x[0]
        for c in range(1, len(x)):
            total = total + scale[r] * matrix[r, c] * x[c]
        out[r] = total


def in_steps_of_two(matrix, scale, x, out):
    R, C = matrix.shape
    for r in prange(R):
        even = odd = np.float32(0)
        for c in range(0, C - 1, 2):
            even += np.float32(matrix[r, c]) * np.float32(x[c])
            odd += np.float32(matrix[r, c + 1]) * np.float32(x[c + 1])
        if C % 2:
            even += np.float32(matrix[r, -1]) * x[-1]
        out[r] = (even + odd) * scale[r]


def from_the_end(matrix, scale, x, out):
    R, C = matrix.shape
    for r in prange(R):
        out[r] = 0
        for c in range(C - 1, -1, -1):
            out[r] += np.float32(matrix[r, c]) * x[c]
        out[r] *= scale[r]


def two_rows_at_a_time(matrix, scale, x, out):
    R, C = matrix.shape
    for pair in prange((R + 1) // 2):
        first, second = 2 * pair, min(2 * pair + 1, R - 1)
        a = b = np.float32(0)
        for c in range(C):
            a += np.float32(matrix[first, c]) * x[c]
            b += np.float32(matrix[second, c]) * x[c]
        out[first] = a * scale[first]
        out[second] = b * scale[second]


def in_doubles(matrix, scale, x, out):
    R, C = matrix.shape
    for r in prange(R):
        total = 0
        for c in range(C):
            total = total + np.float32(matrix[r, c]) * x[c]
        out[r] = total * scale[r]


def in_python_floats(matrix, scale, x, out):
    for r in prange(len(matrix)):
        out[r] = float(scale[r]) * sum(float(matrix[r, c]) * float(v) for c, v in enumerate(x))


def in_numpy_doubles(matrix, scale, x, out):
    for r in prange(len(matrix)):
        total = np.float64(0)
        for c in range(len(x)):
            total += matrix[r, c] * x[c]
        out[r] = scale[r] * total


def scaled_on_the_way(matrix, scale, x, out):
    for r in range(len(matrix)):
        total = 0.0
        for c in range(len(x)):
            total = float(scale[r]) * (total + float(matrix[r, c]) * float(x[c]))
        out[r] = total


def by_rows_of_x(matrix, scale, x, out):
    R, C = matrix.shape
    for r in range(R):
        total = 0.0
        for c in range(C):
            total += float(matrix[r, c]) * float(x[r])
        out[r] = total * float(scale[r])


def one_row_short(matrix, scale, x, out):
    for r in range(len(matrix) - 1):
        total = 0.0
        for c in range(len(x)):
            total += float(matrix[r, c]) * float(x[c])
        out[r] = total * float(scale[r])


def from_the_second_column(matrix, scale, x, out):
    for r in range(len(matrix)):
        out[r] = sum(float(matrix[r, c]) * float(x[c]) for c in range(1, len(x))) * scale[r]


def whole_sums(matrix, scale, x, out):
    for r in range(len(matrix)):
        total = sum(np.float32(matrix[r, c]) * x[c] for c in range(len(x)))
        out[r] = math.trunc(float(total)) * scale[r]


def not_shared(matrix, scale, x, out):
    r = 0
    while r < len(matrix):
        out[r] = sum(float(matrix[r, c]) * float(v) for c, v in enumerate(x)) * scale[r]
        r += 1


def shared_inside(matrix, scale, x, out):
    R, C = matrix.shape
    for r in prange(R):
        out[r] = 0
        for c in prange(C):
            out[r] += np.float32(matrix[r, c]) * x[c]
        out[r] *= scale[r]


def scale_by_its_column(matrix, scale, x, out):
    R, C = matrix.shape
    for r in range(R):
        total = 0.0
        for c in range(C):
            total += scale[c] * float(matrix[r, c]) * float(x[c])
        out[r] = total


def upright(matrix, scale, x, out):
    R, C = matrix.shape
    for r in range(R):
        total = 0.0
        for c in range(C):
            total = total + float(matrix[c, r]) * float(x[c])
        out[r] = total * float(scale[r])


def one_short(matrix, scale, x, out):
    for r in range(len(matrix)):
        total = 0.0
        for c in range(len(x) - 1):
            total += float(matrix[r, c]) * float(x[c])
        out[r] = total * float(scale[r])


def overwritten(matrix, scale, x, out):
    for r in range(len(matrix)):
        for c in range(len(x)):
            total = float(matrix[r, c]) * float(x[c])
        out[r] = total * float(scale[r])


def never_reset(matrix, scale, x, out):
    total = 0.0
    for r in range(len(matrix)):
        for c in range(len(x)):
            total += float(matrix[r, c]) * float(x[c])
        out[r] = total * float(scale[r])


def eight_bit_total(matrix, scale, x, out):
    for r in range(len(matrix)):
        total = 0.0
        for c in range(len(x)):
            total += float(np.float32(matrix[r, c]) * x[c])
            if matrix.dtype == np.int8:
                cut = int(total) & 0xFF
                total = float(cut - 256 if cut > 127 else cut)
        out[r] = total * float(scale[r])


def only_where_not_zero(matrix, scale, x, out):
    for r in range(len(matrix)):
        total = 0.0
        for c in range(len(x)):
            if matrix[r, c] != 0:
                total += float(matrix[r, c]) * float(x[c])
        out[r] = total * float(scale[r])


# --- rms_norm_into --------------------------------------------------------------------------------


def rms(x, eps):
    return math.sqrt(sum(float(v) ** 2 for v in x) / len(x) + eps)


def rms_normed(x, weight, eps):
    return x / rms(x, eps) * weight


def by_reciprocal(x, weight, eps, out):
    factor = 1.0 / rms(x, eps)
    for c in range(len(x)):
        out[c] = weight[c] * (factor * x[c])


def with_the_root_of_the_count(x, weight, eps, out):
    squares = [float(v) * float(v) for v in x]
    count = len(squares)
    length = (sum(squares) + count * eps) ** 0.5
    for c, value in enumerate(x):
        out[c] = count**0.5 * value / length * weight[c]


def in_the_first_place(x, weight, eps, out):
    for value in x:
        out[0] += value**2
    factor = 1 / np.sqrt(out[0] / len(x) + np.float32(eps))
    for c in range(len(x)):
        out[c] = factor * x[c] * weight[c]


def overwriting_the_sum(x, weight, eps, out):
    out[0] = sum(float(v) ** 2 for v in x)
    for c, value in enumerate(x):
        out[c] = value * weight[c] / np.sqrt(float(out[0]) / len(x) + eps)


def about_the_mean(x, eps):
    middle = float(x.astype(np.float64).mean())
    return np.sqrt(np.mean((x.astype(np.float64) - middle) ** 2) + eps)


def while_adding(x, weight, eps, out):
    total = 0.0
    for c in range(len(x)):
        total += float(x[c]) ** 2
        out[c] = x[c] / math.sqrt(total / len(x) + eps) * weight[c] if total or eps else np.nan


def all_but_the_last(x, weight, eps, out):
    for c in range(len(x) - 1):
        out[c] = x[c] / rms(x, eps) * weight[c]


def square_sum(x):
    return np.linalg.norm(x.astype(np.float64)) ** 2


# --- quantize -------------------------------------------------------------------------------------


def magnitudes(weight):
    return torch.linalg.vector_norm(weight, ord=math.inf, dim=1, keepdim=True)


# --- gated ----------------------------------------------------------------------------------------


def silu(x):
    return torch.nn.functional.silu(torch.as_tensor(x)).numpy()


def opened(grown):
    return grown / (1 + grown)


def two_products(w_gate, s_gate, w_up, s_up, x):
    return scaled_dots(w_gate, s_gate, x), scaled_dots(w_up, s_up, x)


def of_both(combine):
    return lambda *inputs: combine(*two_products(*inputs))


def gated_in_loops(w_gate, s_gate, w_up, s_up, x, out):
    for r in range(len(out)):
        gate = sum(float(w_gate[r, c]) * float(v) for c, v in enumerate(x)) * s_gate[r]
        up = sum(float(w_up[r, c]) * float(v) for c, v in enumerate(x)) * s_up[r]
        out[r] = gate * up / (1 + math.exp(-gate))


def gated_by_tanh(w_gate, s_gate, w_up, s_up, x, out):
    F, C = w_gate.shape
    for r in range(F):
        gate, up = 0.0, 0.0
        for c in range(C):
            gate += float(w_gate[r, c]) * float(s_gate[r]) * float(x[c])
            up += float(w_up[r, c]) * float(s_up[r]) * float(x[c])
        out[r] = gate * (1 + math.tanh(gate / 2)) / 2 * up


def sums_handed_on(w_gate, s_gate, w_up, s_up, x, out):
    gate = up = 0.0
    for r in range(len(out)):
        gate += sum(float(w_gate[r, c]) * float(v) for c, v in enumerate(x))
        up += sum(float(w_up[r, c]) * float(v) for c, v in enumerate(x))
        gate *= s_gate[r]
        out[r] = silu(gate) * up * s_up[r]


def logistic(x):
    return torch.sigmoid(torch.as_tensor(x)).numpy()


RIGHT = {
    "matrix_vector": [scale_in_front, in_steps_of_two, from_the_end, two_rows_at_a_time],
    "rms_norm_into": [by_reciprocal, with_the_root_of_the_count],
    "gated": [gated_in_loops, gated_by_tanh],
}

SECOND_FORMS = {
    "matrix_vector": {
        "out not written": renamed(scaled_dots),
        "out added to": on_top(scaled_dots),
        "the scale forgotten": filling(lambda m, s, x: dots(m, x)),
        "divided by the scale": filling(lambda m, s, x: dots(m, x) / s),
        "the scale of the first row for all": filling(lambda m, s, x: dots(m, x) * s[0]),
        "scaled in each step": scaled_on_the_way,
        "the scale squared": filling(lambda m, s, x: scaled_dots(m, s, x) * s),
        "x by rows": by_rows_of_x,
        "the last row left out": one_row_short,
        "the first column left out": from_the_second_column,
        "the sum cut to a whole number": whole_sums,
        "a scale for each column": scale_by_its_column,
        "rows and columns exchanged": upright,
        "the last column left out": one_short,
        "only the last product": overwritten,
        "the total not started anew": never_reset,
        "summed in 8 bits": eight_bit_total,
        "zeros skipped": only_where_not_zero,
        "the outer loop over columns": columns_outside,
        "a sum of 64 bits": in_doubles,
        "prange left out": not_shared,
        "prange on the inner loop": shared_inside,
    },
    "rms_norm_into": {
        "out not written": renamed(rms_normed),
        "out added to": on_top(rms_normed),
        "the sum in place of the mean": filling(
            lambda x, w, eps: x / np.sqrt(square_sum(x) + eps) * w
        ),
        "eps outside of the root": filling(lambda x, w, eps: x / (rms(x, 0.0) + eps) * w),
        "eps always 1e-5": filling(lambda x, w, eps: w * x / rms(x, 1e-5)),
        "eps always 1e-6": filling(lambda x, w, eps: w * x / rms(x, 1e-6)),
        "eps squared": filling(lambda x, w, eps: w * x / rms(x, eps**2)),
        "eps as the least root": filling(
            lambda x, w, eps: w * (x / np.maximum(np.float32(rms(x, 0.0)), np.float32(eps)))
        ),
        "divided after the root": filling(
            lambda x, w, eps: w * x * len(x) / np.sqrt(square_sum(x) + eps)
        ),
        "the mean over C - 1": filling(
            lambda x, w, eps: w * x / np.sqrt(square_sum(x) / np.float32(len(x) - 1) + eps)
        ),
        "the mean of the magnitudes": filling(lambda x, w, eps: x / (np.abs(x).mean() + eps) * w),
        "multiplied by the root": filling(lambda x, w, eps: w * (rms(x, eps) * x)),
        "eps divided with the sum": filling(lambda x, w, eps: w * x / rms(x, eps / len(x))),
        "added up in out": in_the_first_place,
        "the sum overwritten": overwriting_the_sum,
        "eps forgotten": filling(lambda x, w, eps: w * (x / np.float64(rms(x, 0.0)))),
        "the root forgotten": filling(lambda x, w, eps: w * x / rms(x, eps) ** 2),
        "the weight forgotten": filling(lambda x, w, eps: x / rms(x, eps)),
        "the first weight for all": filling(lambda x, w, eps: w[0] * (x / rms(x, eps))),
        "divided by the weight": filling(lambda x, w, eps: x / rms(x, eps) / w),
        "the weight added": filling(lambda x, w, eps: w + x / rms(x, eps)),
        "the last channel left out": all_but_the_last,
        "one plus the weight": filling(lambda x, w, eps: x / rms(x, eps) + rms_normed(x, w, eps)),
        "the mean subtracted": filling(lambda x, w, eps: w * (x / about_the_mean(x, eps))),
        "only the last square": filling(
            lambda x, w, eps: w * x / np.sqrt(x[-1] ** 2 / len(x) + np.float64(eps))
        ),
        "layer norm": filling(lambda x, w, eps: rms_normed(x - np.mean(x), w, eps)),
        "one loop in place of two": while_adding,
    },
    "gated": {
        "out not written": renamed(of_both(lambda gate, up: silu(gate) * up)),
        "out added to": on_top(of_both(lambda gate, up: silu(gate) * up)),
        "the sigmoid alone": filling(of_both(lambda gate, up: logistic(gate) * up)),
        "gate and up exchanged": filling(of_both(lambda gate, up: gate * silu(up))),
        "the sign in the exponent": filling(of_both(lambda gate, up: -silu(-gate) * up)),
        "infinity over infinity": filling(
            of_both(lambda gate, up: up * gate * opened(np.exp(gate.astype(np.float32))))
        ),
        "no gate function": filling(of_both(lambda gate, up: up * gate)),
        "a minus in the denominator": filling(
            of_both(lambda gate, up: up * gate / (1 - np.exp(-gate)))
        ),
        "ReLU": filling(of_both(lambda gate, up: np.maximum(gate, 0) * up)),
        "GELU": filling(
            of_both(lambda gate, up: torch.nn.functional.gelu(torch.as_tensor(gate)).numpy() * up)
        ),
        "tanh": filling(of_both(lambda gate, up: np.tanh(gate) * up)),
        "SiLU of both": filling(of_both(lambda gate, up: silu(gate) * silu(up))),
        "the gate alone": filling(of_both(lambda gate, up: silu(gate))),
        "added": filling(of_both(lambda gate, up: silu(gate) + up)),
        "the gate's scale for both": filling(
            lambda wg, sg, wu, su, x: silu(scaled_dots(wg, sg, x)) * scaled_dots(wu, sg, x)
        ),
        "the up scale for both": filling(
            lambda wg, sg, wu, su, x: silu(scaled_dots(wg, su, x)) * scaled_dots(wu, su, x)
        ),
        "the scales exchanged": filling(
            lambda wg, sg, wu, su, x: silu(scaled_dots(wg, su, x)) * scaled_dots(wu, sg, x)
        ),
        "the first scales for all": filling(
            lambda wg, sg, wu, su, x: silu(scaled_dots(wg, sg[0], x)) * scaled_dots(wu, su[0], x)
        ),
        "the sums not started anew": sums_handed_on,
        "only the last products": filling(
            lambda wg, sg, wu, su, x: silu(wg[:, -1] * x[-1] * sg) * (wu[:, -1] * x[-1] * su)
        ),
        "the gate's matrix for both": filling(
            lambda wg, sg, wu, su, x: silu(scaled_dots(wg, sg, x)) * scaled_dots(wg, su, x)
        ),
        "SiLU of the product": filling(of_both(lambda gate, up: silu(gate * up))),
        "the gate's scale forgotten": filling(
            lambda wg, sg, wu, su, x: silu(dots(wg, x)) * scaled_dots(wu, su, x)
        ),
        "the up scale forgotten": filling(
            lambda wg, sg, wu, su, x: silu(scaled_dots(wg, sg, x)) * dots(wu, x)
        ),
        "both scales forgotten": filling(lambda wg, sg, wu, su, x: silu(dots(wg, x)) * dots(wu, x)),
        "the sign in the exponent, and no scales": filling(
            lambda wg, sg, wu, su, x: -silu(-dots(wg, x)) * dots(wu, x)
        ),
        "scaled after the SiLU": filling(
            lambda wg, sg, wu, su, x: silu(dots(wg, x)) * sg * scaled_dots(wu, su, x)
        ),
    },
}

UNNAMED = {
    "matrix_vector": [
        filling(lambda m, s, x: scaled_dots(m, s, x).max()),
        in_python_floats,
        in_numpy_doubles,
        filling(lambda m, s, x: scaled_dots(m, s, x) + s),
        filling(lambda m, s, x: scaled_dots(np.abs(m), s, x)),
        filling(lambda m, s, x: (m.astype(np.float32).sum(1)) * s),
    ],
    "rms_norm_into": [
        filling(lambda x, w, eps: x / rms(x, -eps if eps < 1e-4 else eps / 2) * w),
        filling(lambda x, w, eps: x / np.abs(x).max() * w),
        filling(lambda x, w, eps: rms_normed(x, w, eps)[::-1]),
    ],
    "gated": [
        filling(of_both(lambda gate, up: np.abs(gate) * up)),
        filling(of_both(lambda gate, up: silu(gate) - up)),
        filling(of_both(lambda gate, up: (silu(gate) * up)[::-1])),
    ],
}
