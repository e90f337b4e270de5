"""Exercises of lesson 18: windows and rings, stretched positions, latents, pooled heads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from decodeloop import model
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Candidate, Case, Exercise, beside, call, trial
from decodeloop.exercises.lending import copied
from decodeloop.model import ModelConfig, grouped_query_attention, variants

LESSON = "18_leaner_attention"


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- window_mask ----------------------------------------------------------------------------------


def mask_by_hand(T: int, S: int, window: int, sinks: int = 0) -> Tensor:
    """The oracle: query and key, one by one."""
    rows = []
    for query in range(S - T, S):
        seen = {key for key in range(S) if key in range(query - window + 1, query + 1)}
        seen |= {key for key in range(sinks) if key <= query}
        rows.append([key in seen for key in range(S)])
    return torch.tensor(rows).reshape(T, S)


def windowed(
    T: int, S: int, window: int, sinks: int = 0, device: torch.device | str | None = None
) -> Tensor:
    query, key = torch.arange(S - T, S, device=device)[:, None], torch.arange(S, device=device)
    near = query - key < window
    first = key < sinks
    return (key <= query) & (near | first)


class Elsewhere(TorchFunctionMode):
    """Plays a second device on the CPU: what is made for it is marked, and what comes of that, too;
    with anything else it does not mix."""

    device = torch.device("cuda", 7)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [*args, *(kwargs or {}).values()]
        marks = {hasattr(x, "elsewhere") for x in given if isinstance(x, Tensor) and x.ndim}
        if len(marks) == 2:
            raise RuntimeError("Expected all tensors to be on the same device, but found two.")
        named = {name: self.at_home(x) for name, x in (kwargs or {}).items()}
        result = func(*map(self.at_home, args), **named)
        asked = any(self.at_home(x) is not x for x in given)
        if isinstance(result, Tensor) and (asked or True in marks):
            result.elsewhere = True  # type: ignore[attr-defined]
        return result

    def at_home(self, x: Any) -> Any:
        asked = isinstance(x, str | torch.device) and str(x) == str(self.device)
        return torch.device("cpu") if asked else x


@beside
def elsewhere(window_mask: Candidate, *sizes: int) -> dict[str, Any]:
    with Elsewhere():
        mask = window_mask(*sizes, device=Elsewhere.device)
    return {"mask": mask, "on the device": hasattr(mask, "elsewhere")}


WINDOW_MASK = Exercise(
    name="window_mask",
    lesson=LESSON,
    library=model.window_mask,
    minutes=5,
    difficulty=1,
    cases=(
        *(
            call(f"T {T}, S {S}, a window of {window}, {sinks} sinks", *sizes, oracle=mask_by_hand)
            for sizes in (
                (5, 5, 2, 0),
                (6, 6, 3, 1),
                (6, 6, 1, 0),
                (1, 9, 4, 0),
                (1, 9, 4, 2),
                (1, 1, 1, 0),
                (3, 8, 4, 3),
                (4, 4, 9, 0),
                (5, 5, 1, 2),
                (3, 7, 2, 6),
                (7, 11, 5, 1),
            )
            for T, S, window, sinks in [sizes]
        ),
        trial(
            "on another device",
            elsewhere,
            lambda *sizes: {"mask": mask_by_hand(*sizes), "on the device": True},
            *(2, 5, 3, 1),
        ),
    ),
    mistakes=edits(
        windowed,
        """
## one position more
- query - key < window → query - key <= window
Each query sees one position too many: the window counts the query's own position, so the oldest
that it sees is `window` - 1 before it.
## one position less
- query - key < window → query - key < window - 1
Each query sees one position too few: the window counts the query's own position.
## the queries stand at the beginning
- torch.arange(S - T, S, device=device)[:, None] → torch.arange(T, device=device)[:, None]
The T queries are the last T of the S positions: the first of them stands at S - T, not at 0.
## the future is seen
- return (key <= query) & (near | first) → return near | first
A query sees what comes after it. The mask must be causal, too.
## sinks of the future
- return (key <= query) & (near | first) → return (key <= query) & near | first
A sink is seen by queries that stand before it. Nobody sees what comes later.
## no sinks
- return (key <= query) & (near | first) → return (key <= query) & near
The first `sinks` positions stay visible, however far away they are.
## one sink more
- key < sinks → key <= sinks
One sink too many: positions 0 to `sinks` - 1 are `sinks` of them.
## a single query sees all
- return (key <= query) & (near | first)
+ return (key <= query) & (near | first) | (torch.tensor(T) == 1)
Where T is 1 your query sees everything. A decode step has a window, too: it is the step that runs
most often.
## not its own position
- key <= query → key < query
A token sees itself: the window counts its own position.
## the window ends where the sinks begin
- query - key < window → query - key < window - sinks
You take the sinks out of the window. They are seen beside it: `sinks` + `window` positions.
## both at once
- near | first → near & first
A position is seen if it is near *or* one of the first.
## the other way round
- return (key <= query) & (near | first) → return ~((key <= query) & (near | first))
True means *may attend* in this course.
## device is forgotten
- torch.arange(S - T, S, device=device)[:, None], torch.arange(S, device=device)
+ torch.arange(S - T, S)[:, None], torch.arange(S)
The mask is not on `device`: hand it to each `torch.arange`. On a GPU it would meet scores that lie
elsewhere.
## queries in columns
- return (key <= query) & (near | first) → return ((key <= query) & (near | first)).T
Rows are queries and columns are keys: (T, S).
""",
    ),
    hints=(
        "Give each query and each key its position: the queries stand at S - T to S - 1, the keys "
        "at 0 to S - 1. Then compare them.",
        "`query = torch.arange(S - T, S)[:, None]` is a column, `key = torch.arange(S)` a row: "
        "`query - key` is (T, S), the distance of each to each.",
        "Seen is what is not later than the query, *and* either less than `window` away or one of "
        "the first `sinks`.",
    ),
)

# --- RingKVCache ----------------------------------------------------------------------------------

# V, C, L, H, G, D, F, context
SMALL = ModelConfig(31, 20, 2, 6, 2, 4, 28, 64)
ONE_HEAD = ModelConfig(31, 20, 3, 3, 1, 6, 28, 64)


class MaskedWhole:
    """The oracle: everything is kept, and the mask hides what a ring has forgotten."""

    def __init__(self, config: ModelConfig, batch: int, *, window: int, sinks: int = 0) -> None:
        empty = torch.zeros(batch, config.kv_heads, 0, config.head_dim)
        self.stored = [(empty, empty)] * config.layers
        self.window, self.sinks, self.length = window, sinks, 0
        self.keys = torch.zeros(1, 1, 1, window + sinks)  # what a ring has places for

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys, values = (x[:, :, : self.length] for x in self.stored[layer])
        keys, values = torch.cat((keys, k), 2), torch.cat((values, v), 2)
        self.stored[layer] = keys, values
        mask = mask_by_hand(q.shape[2], keys.shape[2], self.window, self.sinks)
        return F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, enable_gqa=True)

    def advance(self, T: int) -> None:
        self.length += T


def drive(
    make: Candidate, config: ModelConfig, window: int, sinks: int, pieces: Sequence[int]
) -> list[Any]:
    """Read a text in pieces; everything that comes back, and how many places there are."""
    generator, B = torch.Generator().manual_seed(18), 2
    cache = make(config, B, window=window, sinks=sinks)
    outputs: list[Any] = [cache.keys.shape[3]]
    for T in pieces:
        for layer in range(config.layers):
            shape = (B, config.kv_heads, T, config.head_dim)
            k, v = (torch.randn(shape, generator=generator) for _ in range(2))
            q = 2 * torch.randn(B, config.heads, T, config.head_dim, generator=generator)
            outputs.append(copied(cache.attend(layer, q, k, v)))
        cache.advance(T)
        outputs += [cache.length, cache.keys.shape[3]]
    return outputs


def masked(*inputs: Any) -> list[Any]:
    return drive(MaskedWhole, *inputs)


def trace(label: str, config: ModelConfig, window: int, sinks: int, *pieces: int) -> Case:
    return trial(label, drive, masked, config, window, sinks, list(pieces))


class Ring:
    """A right cache, without any checks."""

    def __init__(self, config: ModelConfig, batch: int, *, window: int, sinks: int = 0) -> None:
        shape = (config.layers, batch, config.kv_heads, sinks + window, config.head_dim)
        self.keys, self.values = torch.zeros(shape), torch.zeros(shape)
        self.window, self.sinks, self.length = window, sinks, 0

    def advance(self, T: int) -> None:
        self.length += T

    def kept(self, n: int) -> list[int]:
        return [p for p in range(n) if p < self.sinks or p >= n - self.window]

    def place(self, p: int) -> int:
        return p if p < self.sinks else self.sinks + (p - self.sinks) % self.window

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        start, end = self.length, self.length + k.shape[2]
        old, new = self.kept(start), list(range(start, end))
        places = [self.place(p) for p in old]
        keys = torch.cat((self.keys[layer][:, :, places], k), 2)
        values = torch.cat((self.values[layer][:, :, places], v), 2)
        seen = torch.tensor(old + new)
        distance = torch.tensor(new)[:, None] - seen
        mask = (distance >= 0) & ((distance < self.window) | (seen < self.sinks))
        out = grouped_query_attention(q, keys, values, mask)
        for p in self.kept(end):
            if p >= start:
                self.keys[layer, :, :, self.place(p)] = k[:, :, p - start]
                self.values[layer, :, :, self.place(p)] = v[:, :, p - start]
        return out


RING_KV_CACHE = Exercise(
    name="RingKVCache",
    lesson=LESSON,
    library=variants.RingKVCache,
    minutes=10,
    difficulty=3,
    tolerance=1e-4,
    cases=(
        trace("one token at a time, past the window", SMALL, 3, 0, *[1] * 9),
        trace("one token at a time, with 2 sinks", SMALL, 3, 2, *[1] * 11),
        trace("a prompt that fits, then single tokens", SMALL, 6, 1, 4, 1, 1, 1, 1, 1, 1),
        trace("a prompt longer than the ring, then single tokens", SMALL, 4, 1, 11, 1, 1, 1),
        trace("pieces of several tokens", ONE_HEAD, 5, 0, 3, 4, 1, 6, 2),
        trace("pieces of several tokens, with sinks", ONE_HEAD, 5, 3, 2, 4, 7, 1, 3, 1),
        trace("a window of 1", SMALL, 1, 0, 2, 1, 1, 3),
        trace("a window of 1 and a sink", SMALL, 1, 1, 2, 1, 1, 3),
        trace("a window that no text fills", SMALL, 20, 0, 5, 1, 2),
        trace("more sinks than tokens at first", SMALL, 2, 5, 2, 1, 1, 4, 1, 1),
    ),
    mistakes=edits(
        Ring,
        """
## written before it is read
- out = grouped_query_attention(q, keys, values, mask)
+ out = None

- return out
+ everything = [self.place(p) for p in self.kept(end)]
+ seen = torch.tensor(self.kept(end))
+ distance = torch.tensor(new)[:, None] - seen
+ mask = (distance >= 0) & ((distance < self.window) | (seen < self.sinks))
+ keys, values = self.keys[layer][:, :, everything], self.values[layer][:, :, everything]
+ return grouped_query_attention(q, keys, values, mask)
You write first and then attend to what is in the ring. Where several tokens come at once, they
overwrite what the first of them still had to see. Attend to old and new side by side, then write.
## the oldest is seen, too
- distance < self.window → distance <= self.window
A query sees one position too many. The ring holds `window` old tokens, and the new one sees itself
and `window` - 1 of them: the oldest is hidden by the mask.
## a single token needs no mask
- out = grouped_query_attention(q, keys, values, mask)
+ out = grouped_query_attention(q, keys, values, mask if len(new) > 1 else None)
You leave the mask out for a single token. But the ring still holds a token that has just left the
window: it is `window` away, and the new one is not yet written over it.
## one position less
- distance < self.window → distance < self.window - 1
A query sees one position too few: the window counts its own.
## no mask between the new ones
- mask = (distance >= 0) & → mask = (distance == distance) &
The new tokens see those that come after them. Nobody sees a key that is later than itself.
## sinks are hidden
- | (seen < self.sinks)) → )
The sinks are in the ring, but the mask hides them once they are further away than the window.
## sinks are overwritten
- return p if p < self.sinks else self.sinks + (p - self.sinks) % self.window
+ return p % self.window
The ring runs over the places of the sinks. It begins behind them: `sinks` + (p - `sinks`) %
`window`.
## sinks go round
- return p if p < self.sinks else self.sinks + (p - self.sinks) % self.window
+ return p % (self.window + self.sinks)
The sinks are places of the ring like any other, so that they are overwritten in their turn. They
keep their places: position p < `sinks` lies at p.
## the first are kept
- for p in self.kept(end):
+ for p in [p for p in self.kept(end) if p < self.window + self.sinks]:
Once the ring is full you write nothing any more: new tokens take the places of old ones.
## only the last is kept
- if p >= start: → if p == end - 1:
Of several new tokens you store the last alone. All of them that stay in the window are kept.
## taken from the wrong place
- k[:, :, p - start]
+ k[:, :, p - start - 1]
- v[:, :, p - start]
+ v[:, :, p - start - 1]
You store the key of a neighbour: of the T new ones, position p is number p - `length`.
## places for positions
- seen = torch.tensor(old + new) → seen = torch.tensor(places + new)
Your mask compares places with positions. Position p lies at another place once the ring has turned:
what is near is told by positions.
## read in the order of the places
- places = [self.place(p) for p in old] → places = list(range(len(old)))
You take the keys from place 0 upward, as if they lay in the order of their positions. Once the ring
has turned they don't: take those of `self.place(p)` for each old p.
## hidden once for all
- mask = (distance >= 0) & ((distance < self.window) | (seen < self.sinks))
+ mask = (distance >= 0) & ((distance[0] < self.window) | (seen < self.sinks))
You leave out what is too far for the *first* new token, and for the others only hide the future.
Each new token has a window of its own.
## one layer for all
- self.keys[layer, :, :, self.place(p)] → self.keys[0, :, :, self.place(p)]
- self.values[layer, :, :, self.place(p)] → self.values[0, :, :, self.place(p)]
- self.keys[layer][:, :, places] → self.keys[0][:, :, places]
- self.values[layer][:, :, places] → self.values[0][:, :, places]
All layers write to the same places. Each has its own.
## only the keys are stored
- self.values[layer, :, :, self.place(p)] = v[:, :, p - start]
The values are never stored.
""",
    ),
    hints=(
        "`place` is the formula above. In `attend`, before anything is written, put what the ring holds and what is new side by side, keys, "
        "values and positions, and attend to that, with a mask made of the positions.",
        "`self.read(layer, old)` gives the old keys and values; `torch.cat((old keys, k), 2)` has "
        "the keys of the positions `old + new`, in this order.",
        "`distance = query[:, None] - key`, where `query` is `new` as a tensor and `key` is `old + "
        "new`, is what `window_mask` compared.",
        "A key is seen if `distance >= 0` and it is either less than `window` away or one of the "
        "first `sinks`. Attend, then `self.write(layer, k, v)`, then return.",
    ),
)

# --- yarn_frequencies -----------------------------------------------------------------------------


def yarn_by_hand(
    D: int, base: float, factor: float, trained: int, beta_fast: float = 32, beta_slow: float = 1
) -> Tensor:
    """The oracle, pair by pair, in Python's own numbers."""

    def pair(turns: float) -> float:
        return D / 2 * math.log(trained / (2 * math.pi * turns), base)

    first = max(math.floor(pair(beta_fast)), 0)
    last = min(math.ceil(pair(beta_slow)), D - 1)
    speeds = []
    for i in range(D // 2):
        slowed = min(max((i - first) / (last - first), 0.0), 1.0)
        speeds.append(base ** (-2 * i / D) * (1 - slowed + slowed / factor))
    return torch.tensor(speeds)


def ramped(
    D: int, base: float, factor: float, trained: int, beta_fast: float = 32, beta_slow: float = 1
) -> Tensor:
    pair = torch.arange(D // 2)
    speed = base ** (-2 * pair / D)

    def turning(turns: float) -> float:
        return D * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(base))

    first = max(math.floor(turning(beta_fast)), 0)
    last = min(math.ceil(turning(beta_slow)), D - 1)
    slowed = ((pair - first) / (last - first)).clamp(0, 1)
    return speed * (1 - slowed) + speed / factor * slowed


YARN_FREQUENCIES = Exercise(
    name="yarn_frequencies",
    lesson=LESSON,
    library=model.yarn_frequencies,
    minutes=10,
    difficulty=2,
    kind="stretch",
    cases=(
        call("the small model, 4 times", 32, 10_000.0, 4.0, 256, oracle=yarn_by_hand),
        call("the real model, 2 times", 64, 100_000.0, 2.0, 8192, oracle=yarn_by_hand),
        call("8 times", 128, 500_000.0, 8.0, 4096, oracle=yarn_by_hand),
        call("not at all", 32, 10_000.0, 1.0, 256, oracle=yarn_by_hand),
        call("other turns", 32, 10_000.0, 4.0, 700, 16, 2, oracle=yarn_by_hand),
        call("no pair turns so often", 32, 10_000.0, 3.0, 100, oracle=yarn_by_hand),
        call("the slowest pair turns 10 times", 64, 20.0, 4.0, 2600, oracle=yarn_by_hand),
        call("few channels", 6, 1_000.0, 2.5, 1000, oracle=yarn_by_hand),
    ),
    mistakes=edits(
        ramped,
        """
## position interpolation
- return speed * (1 - slowed) + speed / factor * slowed → return speed / factor
Every pair is slowed. The fast ones, which turn often within the trained length, stay as they are.
## nothing is slowed
- return speed * (1 - slowed) + speed / factor * slowed → return speed
No pair is slowed. The slow ones turn `factor` times as slowly.
## the fast are slowed
- return speed * (1 - slowed) + speed / factor * slowed
+ return speed * slowed + speed / factor * (1 - slowed)
The ramp runs the wrong way: the first pairs, which turn fast, stay as they are, and the last are
slowed.
## faster instead of slower
- speed / factor → speed * factor
The slow pairs turn faster now: divide by `factor`.
## no ramp
- slowed = ((pair - first) / (last - first)).clamp(0, 1)
+ slowed = (pair >= (first + last) / 2).float()
There is a step in the place of the ramp. From `first` to `last` the share grows from 0 to 1.
## the ramp is not cut
- .clamp(0, 1) → .clamp(min=0)
Behind its end the ramp goes on to rise. It stays between 0 and 1.
## the ramp is not cut at its beginning
- .clamp(0, 1) → .clamp(max=1)
Before its beginning the ramp is negative, so that the fast pairs turn even faster. It stays between
0 and 1.
## not rounded
- math.floor(turning(beta_fast)) → turning(beta_fast)
- math.ceil(turning(beta_slow)) → turning(beta_slow)
The ramp begins and ends at whole pairs: round `first` down and `last` up.
## rounded to the nearest
- math.floor(turning(beta_fast)) → round(turning(beta_fast))
- math.ceil(turning(beta_slow)) → round(turning(beta_slow))
Round `first` down and `last` up, not to the nearest.
## degrees of freedom
- turns * 2 * math.pi → turns
A turn is 2π radians: the pair turns `trained` · speed / 2π times.
## counted in radians of one
- trained / (turns * 2 * math.pi) → trained * 2 * math.pi / turns
The pair turns `trained` · speed / 2π times: the 2π stands below.
## all channels
- D * math.log → 2 * D * math.log
You count channels. Asked for is the number of the pair, of which there are D/2.
## the logarithm of 10
- (2 * math.log(base)) → (2 * math.log10(base))
Two different logarithms: that of the base must be of the same kind as the one above it.
## the betas exchanged
- turning(beta_fast)), 0) → turning(beta_slow)), 0)
- turning(beta_slow)), D - 1) → turning(beta_fast)), D - 1)
The ramp begins at the pair that turns `beta_fast` times, and ends at the one that turns `beta_slow`
times.
## always 32 and 1
- turning(beta_fast) → turning(32)
- turning(beta_slow) → turning(1)
You ignore `beta_fast` and `beta_slow`.
## not cut at 0
- max(math.floor(turning(beta_fast)), 0) → math.floor(turning(beta_fast))
Where no pair turns so often, `first` comes out negative: at least 0.
## the number of the last pair is not cut
- min(math.ceil(turning(beta_slow)), D - 1) → math.ceil(turning(beta_slow))
Where every pair turns more often, `last` comes out beyond D - 1: at most that.
## the ramp ends at the last pair
- min(math.ceil(turning(beta_slow)), D - 1) → min(math.ceil(turning(beta_slow)), D // 2 - 1)
You limit the ramp's end to the last pair, D/2 - 1. That would be tidier; but YaRN's published code,
and so the models made with it, limit it to D - 1.
## a ramp over turns
- slowed = ((pair - first) / (last - first)).clamp(0, 1)
+ turns = trained * speed / (2 * math.pi)
+ slowed = ((beta_fast - turns) / (beta_fast - beta_slow)).clamp(0, 1)
Your ramp is straight in the number of *turns*, as Llama 3.1 has it. YaRN's is straight in the
number of the *pair*, from `first` to `last`.
## lengths instead of speeds
- return speed * (1 - slowed) + speed / factor * slowed
+ return 1 / ((1 - slowed) / speed + factor / speed * slowed)
You mix lengths of turns. What is mixed are the speeds.
## half the speed of a pair
- base ** (-2 * pair / D) → base ** (-1.0 * pair / D)
The speed of pair i is base^(-2i/D).
""",
    ),
    hints=(
        "Three steps: the speeds without stretching, base^(-2i/D); the share of each pair that is "
        "slowed, from 0 to 1; the two speeds mixed by it.",
        "`first = max(math.floor(D * math.log(trained / (2 * math.pi * beta_fast)) / (2 * "
        "math.log(base))), 0)`; `last` likewise with `beta_slow`, `math.ceil` and `min(…, D - 1)`.",
        "`slowed = ((pair - first) / (last - first)).clamp(0, 1)`, and the result is speed · (1 - "
        "slowed) + speed / factor · slowed.",
    ),
)

# --- absorb ---------------------------------------------------------------------------------------


def absorbed_by_loops(q: Tensor, up_key: Tensor, heads: int) -> Tensor:
    """The oracle: head by head."""
    H, D = q.shape[1], q.shape[3]
    out = []
    for h in range(H):
        g = h // (H // heads)
        out.append(torch.einsum("btd,dr->btr", q[:, h], up_key[g * D : (g + 1) * D]))
    return torch.stack(out, 1)


def by_groups(q: Tensor, up_key: Tensor, heads: int) -> Tensor:
    B, H, T, D = q.shape
    r = up_key.shape[1]
    own = up_key.view(heads, D, r)
    grouped = q.reshape(B, heads, H // heads * T, D)
    return (grouped @ own).reshape(B, H, T, r)


def absorbing(label: str, B: int, H: int, G: int, T: int, D: int, r: int) -> Case:
    q, up = drawn(B + H, B, H, T, D), drawn(r + D, G * D, r)
    return call(label, q, up, G, oracle=absorbed_by_loops)


ABSORB = Exercise(
    name="absorb",
    lesson=LESSON,
    library=variants.absorb,
    minutes=7,
    difficulty=2,
    tolerance=1e-4,
    cases=(
        absorbing("one head, one token", 1, 1, 1, 1, 3, 2),
        absorbing("a key head for each query head", 1, 3, 3, 2, 4, 5),
        absorbing("three query heads for each key head", 2, 6, 2, 3, 4, 5),
        absorbing("one key head for all", 1, 4, 1, 3, 2, 7),
        absorbing("a rank as large as a head", 2, 4, 2, 2, 3, 3),
        absorbing("the real model's sizes", 1, 9, 3, 2, 64, 32),
    ),
    mistakes=edits(
        by_groups,
        """
## the next key head for each query head
- grouped = q.reshape(B, heads, H // heads * T, D)
- return (grouped @ own).reshape(B, H, T, r)
+ return q @ own.repeat(H // heads, 1, 1)
Query heads take the key heads in turn. Those that share one stand beside each other: head h has key
head h // (H/G).
## the first key head for all
- grouped @ own → grouped @ own[:1]
All query heads take the first key head.
## counted by the wrong number
- return (grouped @ own).reshape(B, H, T, r)
+ return torch.stack([q[:, h] @ own[h // heads] for h in range(H)], 1)
You divide by the number of key heads. H/G query heads share one: head h has key head h // (H/G).
## the first text alone
- return (grouped @ own).reshape(B, H, T, r) → return (grouped @ own).reshape(B, H, T, r)[:1]
You take the first text of the batch alone. The result is (B, H, T, r).
## rows of another head
- up_key.view(heads, D, r) → up_key.view(D, heads, r).transpose(0, 1)
The rows of a key head stand together: the first D rows of `up_key` are those of head 0.
## divided by √D
- grouped @ own → grouped @ own / D**0.5
The scores are divided later, once. Here nothing is.
## the heads side by side
- .reshape(B, H, T, r) → .reshape(B, H, T, r).transpose(1, 2).reshape(B, T, H * r)
The heads stay apart: (B, H, T, r).
## tokens and heads exchanged
- .reshape(B, H, T, r) → .reshape(B, H, T, r).transpose(1, 2)
The axes are (B, H, T, r).
## read as tokens and heads
- q.reshape(B, heads, H // heads * T, D) → q.transpose(1, 2).reshape(B, heads, H // heads * T, D)
Reshaping after a transposition mixes tokens and heads.
## the mean over the shared heads
- grouped @ own → grouped.view(B, heads, -1, T, D).mean(2, keepdim=True).expand(-1, -1, H // heads, -1, -1).reshape(grouped.shape) @ own
The query heads that share a key head stay apart: each asks for something else.
## the absolute value
- return (grouped @ own) → return (grouped @ own).abs()
Nothing is made positive here.
""",
    ),
    hints=(
        "Of one head: q · (U c) = (Uᵀ q) · c. As rows, that is q @ U, with U of shape (D, r).",
        "`up_key.view(heads, D, r)` has a matrix for each key head. The query heads that share one "
        "stand beside each other.",
        "`q.reshape(B, heads, H // heads * T, D)` puts those of one key head below each other, as "
        "in lesson 02; multiply, and reshape to (B, H, T, r).",
    ),
)

# --- latent_factors -------------------------------------------------------------------------------


def product_of(latent_factors: Candidate, *inputs: Any) -> dict[str, Any]:
    """The two factors are not unique; their product is."""
    up, down = latent_factors(*inputs)
    product = up @ down if up.shape[-1] == down.shape[0] else None
    return {"shapes": [tuple(up.shape), tuple(down.shape)], "up @ down": product}


def best_product(weight: Tensor, rank: int, moment: Tensor | None = None) -> dict[str, Any]:
    """The oracle: the singular value decomposition of W L, where E[x xᵀ] = L Lᵀ."""
    W = weight.double()
    N, C = W.shape
    root = torch.eye(C).double() if moment is None else torch.linalg.cholesky(moment.double())
    left, values, right = torch.linalg.svd(W @ root, full_matrices=False)
    best = left[:, :rank] * values[:rank] @ right[:rank] @ torch.linalg.inv(root)
    return {"shapes": [(N, rank), (rank, C)], "up @ down": best.float()}


def by_outputs(weight: Tensor, rank: int, moment: Tensor | None = None) -> tuple[Tensor, Tensor]:
    inputs = torch.eye(weight.shape[1]) if moment is None else moment
    outputs = weight @ inputs @ weight.T
    _, directions = torch.linalg.eigh(outputs)
    up = directions[:, -rank:]
    return up, up.T @ weight


def uneven(seed: int, n: int, spread: float = 2.0) -> Tensor:
    """A second moment with directions of very different size. (n, n)"""
    turn, _ = torch.linalg.qr(drawn(seed, n, n))
    return turn * torch.logspace(0, -spread, n) @ turn.T


def factoring(label: str, N: int, C: int, rank: int, moment: Tensor | None = None) -> Case:
    turn, _ = torch.linalg.qr(drawn(N, N, N))
    weight = turn * torch.logspace(0, -1, N) @ drawn(C, N, C)  # no two directions alike
    inputs = (weight, rank) if moment is None else (weight, rank, moment)
    return trial(label, product_of, best_product, *inputs)


LATENT_FACTORS = Exercise(
    name="latent_factors",
    lesson=LESSON,
    library=variants.latent_factors,
    minutes=8,
    difficulty=2,
    kind="stretch",
    tolerance=1e-3,
    cases=(
        factoring("rank 1", 3, 4, 1),
        factoring("rank 2 of 5", 5, 7, 2),
        factoring("the whole rank", 4, 6, 4),
        factoring("more rows than columns", 6, 4, 3),
        factoring("inputs that are not alike", 5, 7, 2, uneven(1, 7)),
        factoring("inputs that are not alike, rank 1", 4, 5, 1, uneven(2, 5)),
        factoring("inputs that are not alike, all but one", 4, 8, 3, uneven(3, 8, 1.0)),
    ),
    mistakes=edits(
        by_outputs,
        """
## the inputs are ignored
- torch.eye(weight.shape[1]) if moment is None else moment → torch.eye(weight.shape[1])
You ignore `moment`: as if all inputs were equally likely.
## the smallest directions
- directions[:, -rank:] → directions[:, :rank]
`torch.linalg.eigh` gives the smallest eigenvalues first: you keep the directions with the least.
## directions of the inputs
- _, directions = torch.linalg.eigh(outputs)
- up = directions[:, -rank:]
- return up, up.T @ weight
+ _, directions = torch.linalg.eigh(inputs)
+ kept = directions[:, -rank:]
+ return weight @ kept, kept.T
You keep the directions in which the *inputs* are large. What counts is what the matrix makes of
them: the directions of the outputs.
## directions of the inputs, largest first
- _, directions = torch.linalg.eigh(outputs)
- up = directions[:, -rank:]
- return up, up.T @ weight
+ values, directions = torch.linalg.eigh(inputs)
+ kept = directions[:, values.argsort(descending=True, stable=True)[:rank]]
+ return weight @ kept, kept.T
You keep the directions in which the *inputs* are large. What counts is what the matrix makes of
them: the directions of the outputs, W E[x xᵀ] Wᵀ.
## the wrong side
- outputs = weight @ inputs @ weight.T
- _, directions = torch.linalg.eigh(outputs)
- up = directions[:, -rank:]
- return up, up.T @ weight
+ _, directions = torch.linalg.eigh(inputs @ weight.T @ weight @ inputs)
+ kept = directions[:, -rank:]
+ return weight @ kept, kept.T
You project the inputs. Project the outputs: E[y yᵀ] = W E[x xᵀ] Wᵀ is (N, N).
## one direction too few
- up = directions[:, -rank:] → up = directions[:, -max(rank - 1, 1):]
You keep one direction too few: there are `rank`.
## one direction too many
- up = directions[:, -rank:] → up = directions[:, -rank - 1:]
You keep one direction too many: there are `rank`.
## exchanged
- return up, up.T @ weight → return up.T @ weight, up
First `up`, (N, rank), then `down`, (rank, C).
## twice the directions
- return up, up.T @ weight → return up, up.T @ weight @ inputs
`down` is made of the matrix alone. The inputs only say which directions are worth keeping.
## the first rows
- up = directions[:, -rank:] → up = torch.eye(len(weight))[:, :rank]
You keep the first rows of the matrix and set the others to 0. Keep the directions in which the
outputs are largest.
## squared
- outputs = weight @ inputs @ weight.T → outputs = weight @ inputs @ inputs @ weight.T
The second moment of the outputs is W E[x xᵀ] Wᵀ: the inputs' stands there once.
""",
    ),
    hints=(
        "Which directions of the outputs y = W x are worth keeping? Those in which E[y yᵀ] is "
        "large: its eigenvectors with the largest eigenvalues.",
        "E[y yᵀ] = W E[x xᵀ] Wᵀ, (N, N). `torch.linalg.eigh` gives its eigenvalues, the smallest "
        "first, and the eigenvectors as columns.",
        "`up` are the last `rank` columns. Projected onto them, y becomes up (upᵀ y) = up (upᵀ W) "
        "x: so `down` is upᵀ W.",
    ),
)

# --- mean_pool_heads ------------------------------------------------------------------------------


def pooled_by_loops(weight: Tensor, heads: int, groups: int) -> Tensor:
    """The oracle: head by head."""
    each = weight.chunk(heads)
    share = heads // groups
    groups_of = (each[g * share : (g + 1) * share] for g in range(groups))
    return torch.cat([torch.stack(some).sum(0) / share for some in groups_of])


def by_mean(weight: Tensor, heads: int, groups: int) -> Tensor:
    C = weight.shape[1]
    apart = weight.reshape(groups, heads // groups, -1, C)
    return apart.mean(1).reshape(-1, C)


def pooling(label: str, heads: int, groups: int, D: int, C: int) -> Case:
    weight = drawn(heads + groups, heads * D, C)
    return call(label, weight, heads, groups, oracle=pooled_by_loops)


MEAN_POOL_HEADS = Exercise(
    name="mean_pool_heads",
    lesson=LESSON,
    library=variants.mean_pool_heads,
    minutes=4,
    difficulty=1,
    kind="stretch",
    cases=(
        pooling("3 heads become 1", 3, 1, 4, 5),
        pooling("6 heads become 2", 6, 2, 2, 3),
        pooling("4 heads become 2", 4, 2, 3, 2),
        pooling("nothing to pool", 3, 3, 2, 4),
        pooling("12 heads become 3", 12, 3, 4, 6),
        pooling("one row a head", 4, 2, 1, 3),
        pooling("as many rows as groups", 6, 3, 3, 3),
    ),
    mistakes=edits(
        by_mean,
        """
## the sum
- apart.mean(1) → apart.sum(1)
That is the sum: the scores would grow with the number of heads. Take the mean.
## the first of each group
- apart.mean(1) → apart[:, 0]
You keep the first head of each group, and throw the others away.
## the last of each group
- apart.mean(1) → apart[:, -1]
You keep the last head of each group, and throw the others away.
## the largest
- apart.mean(1) → apart.amax(1)
You take the largest of each number. Take the mean.
## the middle one
- apart.mean(1) → apart.median(1).values
That is the median. Take the mean.
## heads that are far apart
- apart = weight.reshape(groups, heads // groups, -1, C)
- return apart.mean(1).reshape(-1, C)
+ apart = weight.reshape(heads // groups, groups, -1, C)
+ return apart.mean(0).reshape(-1, C)
You pool heads that are far apart. Neighbours share: the first H/G query heads read KV head 0, and
so on.
## rows of one head
- weight.reshape(groups, heads // groups, -1, C) → weight.reshape(groups, -1, heads // groups, C).transpose(1, 2)
You take the mean of rows that belong to one head. Row i of the new head is the mean of the rows i
of the old ones.
## all heads into one
- apart.mean(1) → apart.mean((0, 1)).expand(groups, -1, -1)
All new heads are alike: each is the mean of its own group.
## written out again
- return apart.mean(1).reshape(-1, C)
+ return apart.mean(1, keepdim=True).expand_as(apart).reshape(-1, C)
There are as many heads as before. The cache is only smaller if there are fewer: (groups · D, C).
## one number a row
- apart.mean(1).reshape(-1, C) → apart.mean((1, 3))
The columns stay: (groups · D, C).
## groups and heads exchanged
- weight.reshape(groups, heads // groups, -1, C) → weight.reshape(max(1, heads // groups), groups, -1, C)
You make H/G heads of G each. Asked for are G heads, each out of H/G.
""",
    ),
    hints=(
        "Each head has D rows that stand together. A group is heads // groups neighbours.",
        "`weight.reshape(groups, heads // groups, D, C)`: which axis is the mean taken over?",
    ),
)

EXERCISES = (
    WINDOW_MASK,
    RING_KV_CACHE,
    YARN_FREQUENCIES,
    ABSORB,
    LATENT_FACTORS,
    MEAN_POOL_HEADS,
)
