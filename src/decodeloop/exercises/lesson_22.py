"""Exercises of lesson 22: guess, check in one step, and keep what the model would have said."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop import decode
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Candidate, Case, Exercise, call, trial
from decodeloop.model import TINY

LESSON = "22_speculative_decoding"

# --- lookup ---------------------------------------------------------------------------------------


def by_positions(tokens: Sequence[int], k: int, longest: int = 3) -> list[int]:
    """Of all earlier places the one with the longest common end, then the latest; token by token."""
    ids = list(tokens)

    def common(place: int) -> int:  # how many tokens before `place` are those before the end
        n = 0
        while n < min(longest, place) and ids[place - 1 - n] == ids[-1 - n]:
            n += 1
        return n

    places = [(common(place), place) for place in range(1, len(ids))]
    if not places or max(places)[0] == 0:
        return []
    _, place = max(places)
    for i in range(k):
        ids.append(ids[place + i])
    return ids[len(ids) - k :]


def search(tokens: Sequence[int], k: int, longest: int = 3) -> list[int]:
    """A right one."""
    for n in range(min(longest, len(tokens) - 1), 0, -1):
        last = tokens[-n:]
        for start in range(len(tokens) - n - 1, -1, -1):
            if tokens[start : start + n] == last:
                text = list(tokens)
                for i in range(k):
                    text.append(text[start + n + i])
                return text[len(tokens) :]
    return []


def listed(made: Any) -> list[int]:
    """The tokens of an answer: a list, a generator, a tensor."""
    if isinstance(made, Tensor):
        made = made.flatten().tolist()
    return [int(token) for token in itertools.islice(made, 300)]


def guessed(candidate: Candidate, tokens: list[int], k: int, longest: int | None) -> Any:
    """What is guessed for a text; and, since that may be nothing, for one that ends in 0 0, too."""
    more = () if longest is None else (longest,)
    return {
        "after the text": listed(candidate(tokens, k, *more)),
        "after the text and 0 0": listed(candidate([*tokens, 0, 0], k + 1, *more)),
    }


def looking(label: str, tokens: list[int], k: int, longest: int | None = None) -> Case:
    def expected(*inputs: Any) -> Any:
        return guessed(by_positions, *inputs)

    return trial(label, guessed, expected, tokens, k, longest)


LOOKUP = Exercise(
    name="lookup",
    lesson=LESSON,
    library=decode.lookup,
    minutes=9,
    difficulty=2,
    cases=(
        looking("by hand", [1, 2, 3, 9, 1, 2], 3),
        looking("three tokens, and a later place of two", [7, 8, 9, 4, 8, 9, 5, 7, 8, 9], 2),
        looking("the latest of three places", [4, 1, 4, 2, 4, 3, 4], 1),
        looking("the latest place of two tokens", [1, 2, 5, 1, 2, 6, 8, 1, 2], 4),
        looking("nothing occurred before", [1, 2, 3], 3),
        looking("a text of one token", [6], 3),
        looking("no token asked for", [1, 2, 1, 2], 0),
        looking("past the end", [6, 7, 6, 7], 5),
        looking("past the end, by hand", [1, 2, 1, 2], 4),
        looking("one token again and again", [3, 5, 5], 4),
        looking("overlapping places", [2, 2, 2, 2], 3),
        looking("the last two alone", [1, 2, 3, 8, 9, 2, 3, 7, 1, 2, 3], 2, 2),
        looking("the last token alone", [1, 3, 6, 8, 3, 7, 1, 3], 2, 1),
        looking("five tokens", [1, 2, 3, 4, 5, 6, 0, 2, 3, 4, 5, 7, 1, 2, 3, 4, 5], 2, 5),
        looking("a place that overlaps the end", [1, 2, 1, 7, 1, 2, 1, 2, 1], 3),
        looking("the same start, another end", [1, 2, 3, 1, 2, 4, 9, 1, 2], 2),
    ),
    mistakes=edits(
        search,
        """
## the earliest place
- range(len(tokens) - n - 1, -1, -1) → range(len(tokens) - n)
You take the first place in the text. The latest counts: what was said last is the likeliest guess.
## the shortest end first
- range(min(longest, len(tokens) - 1), 0, -1) → range(1, min(longest, len(tokens) - 1) + 1)
You begin with the last token alone. Begin with the longest end, and shorten it only where it does
not occur before.
## it finds itself
- range(len(tokens) - n - 1, -1, -1) → range(len(tokens) - n, -1, -1)
- text.append(text[start + n + i])
+ text += text[start + n + i : start + n + i + 1]
Your search finds the end of the text itself, which nothing follows. Begin one place earlier.
## only the longest end
- range(min(longest, len(tokens) - 1), 0, -1) → [min(longest, len(tokens) - 1)][: len(tokens) > 1]
You look for the longest end alone. Where it does not occur before, try one token fewer.
## only the longest end, however short the text
- in range(min(longest, len(tokens) - 1), 0, -1): → in [min(longest, len(tokens) - 1)]:
- tokens[-n:] → tokens[len(tokens) - n :]
You look for the longest end alone. Where it does not occur before, try one token fewer; and an end
of no token at all stands everywhere.
## three whatever is asked for
- min(longest, → min(3,
You look for three tokens at most whatever `longest` says.
## the last token is never looked for alone
- len(tokens) - 1), 0, -1) → len(tokens) - 1), 1, -1)
You stop at two tokens. The last token alone is tried, too.
## one token shorter
- range(min(longest, len(tokens) - 1), 0, -1) → range(min(longest - 1, len(tokens) - 1), 0, -1)
You never look for `longest` tokens: `range(longest, 0, -1)` begins with it.
## the place itself is copied
- text[start + n + i] → text[start + i]
You copy the tokens that were found. What *followed* them begins n places later.
## one place too far
- text.append(text[start + n + i])
+ text.append(text[min(start + n + i + 1, len(text) - 1)])
You leave out the first token that followed.
## no further than the text
- text = list(tokens)
- for i in range(k):
-     text.append(text[start + n + i])
- return text[len(tokens) :]
+ return list(tokens[start + n : start + n + k])
You stop where the text ends. What was copied is text too: go on with it, until there are k tokens.
## the last one again and again
- text = list(tokens)
- for i in range(k):
-     text.append(text[start + n + i])
- return text[len(tokens) :]
+ found = list(tokens[start + n : start + n + k])
+ return found + found[-1:] * (k - len(found))
Where the text ends you repeat its last token. What was copied is text too: after `1 2` come `1 2` and
then `1 2` again. Copy token by token onto a longer text.
## one token
- for i in range(k): → for i in range(min(k, 1)):
You copy one token: k of them are asked for.
## all that followed
- for i in range(k):
+ for i in range(max(k, len(tokens) - start - n)):
You copy all that followed: at most k tokens are asked for.
## one too many
- for i in range(k): → for i in range(k + 1):
You copy one token too many.
## the text comes too
- return text[len(tokens) :] → return text
You return the text as well. The k drafted tokens are asked for.
## a place that overlaps the end is left out
- range(len(tokens) - n - 1, -1, -1) → range(len(tokens) - 2 * n, -1, -1)
You leave out places that overlap the end of the text. In "5 5 5" the last two stood one place
earlier, and 5 followed.
""",
    ),
    hints=(
        "Two loops: over the length n of the end, from `longest` down to 1; and over the places "
        "where it may stand, from the latest to the first. The end itself does not count.",
        "`tokens[-n:]` is the end; it stands at `start` if `tokens[start : start + n]` is the "
        "same, for `start` from `len(tokens) - n - 1` down to 0. What followed begins at "
        "`start + n`.",
        "Copy token by token onto a copy of the text: `text.append(text[start + n + i])`, k times. "
        "So what was copied can be copied again.",
    ),
)

# --- count_accepted -------------------------------------------------------------------------------


def by_cumulated_product(drafted: Sequence[int], best: Sequence[int]) -> int:
    same = torch.tensor(list(drafted)).eq(torch.tensor(list(best)[: len(drafted)]))
    return int(same.long().cumprod(0).sum())


def counted(drafted: Sequence[int], best: Sequence[int]) -> int:
    """A right one."""
    count = 0
    while count < len(drafted) and drafted[count] == best[count]:
        count += 1
    return count


def counting(label: str, drafted: list[int], best: list[int]) -> Case:
    return call(label, drafted, best, oracle=by_cumulated_product)


COUNT_ACCEPTED = Exercise(
    name="count_accepted",
    lesson=LESSON,
    library=decode.count_accepted,
    minutes=3,
    difficulty=1,
    cases=(
        counting("by hand", [5, 7, 9], [5, 7, 8, 1]),
        counting("all", [5, 7, 9], [5, 7, 9, 1]),
        counting("none", [5, 7], [4, 6, 1]),
        counting("right again behind a wrong one", [5, 7, 9, 2], [5, 6, 9, 2, 3]),
        counting("the first is wrong", [4, 7, 9], [5, 7, 9, 1]),
        counting("no draft", [], [3]),
        counting("one, right", [0], [0, 0]),
        counting("one, wrong", [3], [0, 3]),
        counting("a place later it would fit", [7, 9, 1], [5, 7, 9, 1]),
    ),
    mistakes=edits(
        counted,
        """
## all that are right
- return count
+ return sum(a == b for a, b in zip(drafted, best))
You count all that are right. Behind the first wrong one nothing counts: those tokens were read after
a text that never came.
## one more
- return count
+ return count + 1
You count the model's own token too. Asked for is how many *drafted* tokens stay.
## from the second on
- drafted[count] == best[count] → drafted[count] == best[count + 1]
You compare with the best token one place later. `best[0]` is what comes after the text, where
`drafted[0]` would stand.
## the first wrong one stays
- return count
+ return min(count + 1, len(drafted))
The first wrong one does not stay: the model's own comes in its place.
## all or none
- return count
+ return count if count == len(drafted) else 0
You keep all or none. Those before the first wrong one stay.
## nothing where all stay
- return count
+ return count if count < len(drafted) else None
Where all of them stay your loop ends without a difference, and the function returns None: return
`len(drafted)` behind it.
## how many are refused
- return count
+ return len(drafted) - count
You return how many are refused.
## any of the best
- drafted[count] == best[count] → drafted[count] in best
You ask whether the token is among the best ones, wherever. It must be the best one at its own place.
""",
    ),
    hints=(
        "Go through both lists from the left, and stop at the first pair that differs.",
        "`for i, token in enumerate(drafted)`: where `best[i]` is another token, i have stayed. Where "
        "the loop comes to its end, all have.",
    ),
)

# --- acceptance_probability and residual ----------------------------------------------------------


def distribution(seed: int, *shape: int) -> Tensor:
    """Probabilities that are the same on every machine, none of them 0."""
    numbers = torch.empty(shape, dtype=torch.float64)
    numbers.normal_(0.0, 1.5, generator=torch.Generator().manual_seed(seed))
    return numbers.softmax(-1).float()


def accepted_in_float64(p: Tensor, q: Tensor) -> Tensor:
    """Closed form: the overlap of the two over q; none of them is 0."""
    return (torch.minimum(p.double(), q.double()) / q.double()).float()


def quotient(p: Tensor, q: Tensor) -> Tensor:
    """A right one."""
    ratio = p / q
    return ratio.clamp(max=1.0)


def comes_out(candidate: Candidate, p: Tensor, q: Tensor) -> Tensor:
    """The distribution of the token that comes, by enumeration: each drafted token stays, or what
    comes in its place is drawn from what p has more."""
    stay = q * candidate(p, q)
    more = (p - q).clamp(min=0)
    return stay + (1 - stay.sum()) * more / more.sum()


P, Q = torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.25, 0.5, 0.25])
SURE = torch.tensor([0.0, 1.0, 0.0, 0.0])

ACCEPTANCE_PROBABILITY = Exercise(
    name="acceptance_probability",
    lesson=LESSON,
    library=decode.acceptance_probability,
    minutes=3,
    difficulty=1,
    cases=(
        call("by hand", P, Q, oracle=accepted_in_float64),
        call("seven tokens", distribution(1, 7), distribution(2, 7), oracle=accepted_in_float64),
        call("rows", distribution(3, 2, 5), distribution(4, 2, 5), oracle=accepted_in_float64),
        call("two alike", distribution(5, 4), distribution(5, 4), oracle=accepted_in_float64),
        call(
            "a token that the model never says",
            torch.tensor([0.0, 0.5, 0.5]),
            torch.tensor([0.5, 0.25, 0.25]),
            oracle=accepted_in_float64,
        ),
        trial(
            "what comes out, where the draft is sure",
            comes_out,
            lambda p, q: p,
            distribution(8, 4),
            SURE,
        ),
        trial(
            "what comes out, enumerated",
            comes_out,
            lambda p, q: p,
            distribution(6, 6),
            distribution(7, 6),
        ),
    ),
    mistakes=edits(
        quotient,
        """
## exchanged
- p / q → q / p
You divide the draft's probability by the model's. A token that the *model* finds likelier than the
draft always stays: p over q.
## no limit
- ratio.clamp(max=1.0) → ratio
A probability is at most 1: the smaller one of 1 and p / q.
## the model's alone
- ratio.clamp(max=1.0) → p
You take the model's probability. But the draft proposed the token with q of its own: p over q.
## the overlap
- ratio.clamp(max=1.0) → torch.minimum(p, q)
That is the chance that a token is drafted *and* stays. Given that it was drafted, it is that over q.
## the overlap over q
- ratio.clamp(max=1.0) → torch.minimum(p, q) / q
Right but for tokens that the draft never proposes: q is 0 there, and 0 / 0 is NaN, which spoils every
sum. Divide first: p / 0 is infinite, and the smaller one of 1 and that is 1.
## one chance for all
- ratio.clamp(max=1.0) → torch.minimum(p, q).sum(-1, keepdim=True).expand_as(p)
That is the chance that a guess stays, whichever it is. Asked for is the chance of each token, if it
was drafted.
## all or nothing
- ratio.clamp(max=1.0) → (p >= q).float()
You keep those that the model finds likelier, and none of the others. Those stay with p / q.
## only the best
- ratio.clamp(max=1.0) → (p == p.amax(-1, keepdim=True)).float()
You keep the model's best token alone: that is greedy decoding.
## the largest counts as 1
- ratio.clamp(max=1.0) → ratio / ratio.amax(-1, keepdim=True)
You divide by the largest quotient. What is above 1 becomes 1, and the others stay as they are.
## the difference
- p / q → 1 + p - q
You take the difference. It is the quotient p / q that makes each token come out as often as in p.
## the complement
- ratio.clamp(max=1.0) → 1 - ratio.clamp(max=1.0)
That is the probability that a token is refused.
## they add up to 1
- ratio.clamp(max=1.0) → ratio.clamp(max=1.0) / ratio.clamp(max=1.0).sum(-1, keepdim=True)
You make them add up to 1. They are no distribution: each is the chance of one token by itself.
## the root
- p / q → (p / q).sqrt()
You take the root. It is the quotient itself.
## at least 1
- clamp(max=1.0) → clamp(min=1.0)
You take the larger one of 1 and p / q: the smaller one is asked for.
""",
    ),
    hints=(
        "A token that the model finds likelier than the draft always stays; one that it finds half "
        "as likely stays every other time.",
        "The smaller one of 1 and p / q, token by token: `.clamp(max=…)`, or `torch.minimum` with a "
        "tensor of ones.",
    ),
)


def left_over(p: Tensor, q: Tensor) -> Tensor:
    """Closed form in float64, a row at a time."""
    rows = []
    for a, b in zip(
        p.double().view(-1, p.shape[-1]), q.double().view(-1, q.shape[-1]), strict=True
    ):
        more = [max(0.0, float(x - y)) for x, y in zip(a, b, strict=True)]
        whole = math.fsum(more)
        rows.append([m / whole for m in more] if whole else a.tolist())
    return torch.tensor(rows).view(p.shape)


def what_p_has_more(p: Tensor, q: Tensor) -> Tensor:
    """A right one."""
    more = (p - q).clamp(min=0)
    total = more.sum(-1, keepdim=True)
    return torch.where(total > 0, more / total, p)


def comes_in_its_place(candidate: Candidate, p: Tensor, q: Tensor) -> Tensor:
    """The distribution of the token that comes, by enumeration."""
    stay = torch.minimum(p, q)
    return stay + (1 - stay.sum()) * candidate(p, q)


RESIDUAL = Exercise(
    name="residual",
    lesson=LESSON,
    library=decode.residual,
    minutes=5,
    difficulty=2,
    cases=(
        call("by hand", P, Q, oracle=left_over),
        call("seven tokens", distribution(11, 7), distribution(12, 7), oracle=left_over),
        call("rows", distribution(13, 2, 3, 5), distribution(14, 2, 3, 5), oracle=left_over),
        call("a draft that is sure", distribution(15, 4), SURE, oracle=left_over),
        call("two alike", distribution(16, 5), distribution(16, 5), oracle=left_over),
        call(
            "one row alike",
            torch.stack((distribution(17, 5), distribution(18, 5))),
            torch.stack((distribution(17, 5), distribution(19, 5))),
            oracle=left_over,
        ),
        trial(
            "what comes out, enumerated",
            comes_in_its_place,
            lambda p, q: p,
            distribution(20, 6),
            distribution(21, 6),
        ),
    ),
    mistakes=edits(
        what_p_has_more,
        """
## exchanged
- (p - q) → (q - p)
- more / total, p) → more / total, q)
You take what the draft has more. What is missing so far is what the *model* has more: p − q.
## drawn anew from the model
- torch.where(total > 0, more / total, p) → p
Your answer is p: you draw from the model's own probabilities. What came as a guess already would
come too often. Only what p has more than q is still missing. (If you take min(1, p / q) from p,
nothing is ever left: what has come already is q times that, min(p, q).)
## it does not add up to 1
- torch.where(total > 0, more / total, p) → torch.where(total > 0, more, p)
Your rows don't add up to 1: divide by their sum.
## sizes of differences
- (p - q).clamp(min=0) → (p - q).abs()
You take the size of the difference. Where q has more, nothing is missing: that is 0.
## a softmax
- torch.where(total > 0, more / total, p) → torch.where(total > 0, more.softmax(-1), p)
A softmax gives something to tokens that have nothing. Divide by the sum.
## a softmax of the differences
- torch.where(total > 0, more / total, p) → (p - q).softmax(-1)
A softmax gives something to every token, also where q has more. Where that is so, nothing is missing:
0; then divide by the sum.
## all rows or none
- torch.where(total > 0, more / total, p) → p if torch.equal(p, q) else more / total
You look whether *all* of p and q are alike. One row may be, and others not: decide for each row.
## nothing is left
- torch.where(total > 0, more / total, p) → more / total
Where p and q are alike, that is 0 / 0 = NaN. Return p there.
## zeros where nothing is left
- torch.where(total > 0, more / total, p) → more / total.clamp(min=1e-12)
Where p and q are alike, nobody could draw from your zeros. Return p there.
## the sum of everything
- more.sum(-1, keepdim=True) → more.sum()
You divide by the sum of all rows. Each row is a distribution of its own: `sum(-1, keepdim=True)`.
## one row for all
- total > 0, → (total > 0).all(),
One row with nothing left does not make the others p: decide for each row.
""",
    ),
    hints=(
        "Of each token q · min(1, p / q) = min(p, q) has come already. What is missing is "
        "p − min(p, q).",
        "`(p - q).clamp(min=0)`, divided by its sum over the last axis; and `torch.where` for rows "
        "whose sum is 0.",
    ),
)

# --- speculate ------------------------------------------------------------------------------------
#
# A case is a trace: the model notes how often it was called and how much it read.


class Row:
    """A cache that keeps the token ids themselves."""

    def __init__(self, model: Counted, max_length: int) -> None:
        self.ids: list[int] = []
        self.model = model
        self.max_length = max_length

    @property
    def length(self) -> int:
        return len(self.ids)

    def truncate(self, n: int) -> None:
        del self.ids[max(n, 0) :]

    def advance(self, T: int) -> None:
        """The model does it while it reads."""


class Counted:
    """A model that one can follow on paper, and that depends on every token and its place.

    After n tokens it is sure of token (Σ place · id + n) mod V, places counted from 1. What it has
    read before it knows through the cache alone.
    """

    def __init__(self, V: int) -> None:
        self.config = replace(TINY, vocabulary=V)
        self.calls = self.positions = 0
        self.most = 0  # tokens that one call read, the first ones aside
        self.length = 0  # of the longest text that a cache ever held
        self.full = False  # whether a cache held more than it had room for

    def new_cache(self, batch: int, max_length: int) -> Row:
        return Row(self, max_length)

    def hidden(
        self,
        token_ids: Tensor,
        cache: Row | None = None,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """(1, T) → (1, T, 1): which token comes after each."""
        self.calls += 1
        if self.calls > MOST_CALLS:
            raise ValueError(
                f"the model was called {MOST_CALLS} times for so short a text: does each of your "
                f"rounds add at least one token?"
            )
        cache = Row(self, MOST_CALLS) if cache is None else cache
        ids = cache.ids
        following = []
        for token in token_ids[0].tolist():
            self.positions += 1
            ids.append(token)
            following.append([float(follows(ids, self.config.vocabulary))])
        self.most = max(self.most, len(following) if self.calls > 1 else 0)
        self.length = max(self.length, len(ids))
        self.full |= len(ids) > cache.max_length
        return torch.tensor([following])

    def head(self, hidden: Tensor) -> Tensor:
        """(..., 1) → (..., V)."""
        return F.one_hot(hidden[..., 0].long(), self.config.vocabulary).float()

    def __call__(self, token_ids: Tensor, cache: Row | None = None) -> Tensor:
        return self.head(self.hidden(token_ids, cache))


MOST_CALLS = 150
Propose = Callable[[list[int], int], list[int]]


def follows(ids: Sequence[int], V: int) -> int:
    return (sum(place * token for place, token in enumerate(ids, start=1)) + len(ids)) % V


def greedy_text(V: int, prompt: Sequence[int], n: int) -> list[int]:
    """The prompt and n more tokens, in whole numbers alone."""
    ids = list(prompt)
    for _ in range(n):
        ids.append(follows(ids, V))
    return ids


def draft_of(kind: str, V: int, prompt: Sequence[int], n: int) -> Propose:
    """A draft that knows the text: always right, never, or wrong at every third place."""
    full = greedy_text(V, prompt, n + 20)

    def propose(tokens: list[int], most: int) -> list[int]:
        start = len(tokens)
        if kind == "silent at times" and start % 2:
            return []
        if kind == "copying":
            return by_positions(tokens, most)
        wrong = {"never right": 1, "mostly right": 3}.get(kind, 10_000)
        places = range(start, start + most)
        return [(full[place] + (place % wrong == wrong - 1)) % V for place in places]

    return propose


def rounds_needed(propose: Propose, full: Sequence[int], T: int, n: int, k: int) -> tuple[int, int]:
    """Calls of the model and positions that it reads, by the text that must come of it."""
    length, calls, positions = T + 1, 1, T
    while length < T + n:
        drafted = propose(list(full[:length]), min(k, T + n - length - 1))
        right = [a == b for a, b in zip(drafted, full[length:], strict=False)]
        calls, positions = calls + 1, positions + 1 + len(drafted)
        length += 1 + (right.index(False) if False in right else len(right))
    return calls, positions


def steps_seen(model: Counted, calls: int, n: int, drafted: int) -> str:
    """Whether the model was called no oftener than it takes; in words."""
    if model.calls <= calls + 1:  # some read the last token of the prompt by itself
        return "few"
    if model.calls < n:
        return "more than it takes"
    return "as many as without a draft" + ("" if drafted else ", which was never asked")


def tokens_seen(model: Counted, positions: int, end: int, k: int) -> str:
    """Whether the model read no more in all, and in each step, than it takes; in words."""
    if model.most > k + 1:
        return "more than k guesses and one in a step"
    if model.length > end - 1:  # the last token is never read
        return "guesses behind the end of the text"
    if model.full:
        return "more than its cache has room for"
    return "few" if model.positions <= positions + k + 1 else "far too many"


def tracing(kind: str, V: int, prompt: list[int], n: int, k: int) -> Case:
    """The tokens, and whether the model was called no oftener, and read no more, than it takes."""
    full, T = greedy_text(V, prompt, n + 20), len(prompt)

    def run(candidate: Candidate, token_ids: Tensor) -> Any:
        model, draft, drafted = Counted(V), draft_of(kind, V, prompt, n), 0

        def propose(tokens: list[int], most: int) -> list[int]:
            nonlocal drafted
            made = draft(tokens, most)
            drafted += len(made)
            return made

        made = listed(candidate(model, token_ids, n, propose, k))
        calls, positions = rounds_needed(draft, full, T, n, k)
        read = "few"
        if made == full[T : T + n]:  # one thing at a time
            read = tokens_seen(model, positions, T + n, k)
        steps = steps_seen(model, calls, n, drafted)
        return {"the new tokens": made, "steps of the model": steps, "tokens that it reads": read}

    return trial(
        f"a draft that is {kind}: {n} tokens, k = {k}",
        run,
        lambda token_ids: {
            "the new tokens": full[T : T + n],
            "steps of the model": "few",
            "tokens that it reads": "few",
        },
        torch.tensor([prompt]),
    )


def check_in_one_step(
    model: Any, token_ids: Tensor, max_new_tokens: int, propose: Propose, k: int = 3
) -> list[int]:
    """A right one."""
    T, tokens = token_ids.shape[1], token_ids[0].tolist()
    cache = model.new_cache(1, T + max_new_tokens)
    tokens.append(int(model.head(model.hidden(token_ids, cache)[:, -1]).argmax()))
    while len(tokens) < T + max_new_tokens:
        most = min(k, T + max_new_tokens - len(tokens) - 1)
        drafted = propose(list(tokens), most)
        new = torch.tensor([[tokens[-1], *drafted]])
        best = model.head(model.hidden(new, cache))[0].argmax(-1).tolist()
        stay = counted(drafted, best)
        tokens += [*drafted[:stay], best[stay]]
        cache.truncate(len(tokens) - 1)
    return tokens[T:]


SPECULATE = Exercise(
    name="speculate",
    lesson=LESSON,
    library=decode.speculate,
    minutes=14,
    difficulty=3,
    cases=(
        tracing("always right", 13, [1, 4], 9, 3),
        tracing("never right", 13, [7, 2, 5], 6, 3),
        tracing("mostly right", 17, [6, 3, 1, 8], 20, 4),
        tracing("always right", 11, [3], 12, 1),
        tracing("mostly right", 19, [2, 9], 15, 2),
        tracing("always right", 23, [5, 8, 1], 17, 7),
        tracing("silent at times", 13, [4, 4], 11, 3),
        tracing("copying", 5, [1, 2, 1, 2, 3], 30, 3),
        tracing("never right", 7, [2, 6], 1, 3),
        tracing("always right", 7, [2, 6, 5], 2, 5),
    ),
    mistakes=edits(
        check_in_one_step,
        """
## never taken back
- cache.truncate(len(tokens) - 1)
+ pass
Refused tokens stay in your cache, and everything after them is read behind a text that never came.
Truncate it to what stays.
## taken back too far
- cache.truncate(len(tokens) - 1) → cache.truncate(len(tokens) - 2)
You truncate one position too many. Only the newest token is not read yet: len(tokens) − 1.
## a wrong one is left
- cache.truncate(len(tokens) - 1) → cache.truncate(len(tokens))
You truncate to len(tokens), and so the first refused token stays in the cache. The newest token has
not been read: len(tokens) − 1.
## emptied
- cache.truncate(len(tokens) - 1) → cache.truncate(0)
You empty the cache, but read only what is new. It should keep all but what was refused.
## taken back to the prompt
- cache.truncate(len(tokens) - 1) → cache.truncate(T)
You truncate to the prompt, and what has been made since is forgotten.
## read anew each time
- cache.truncate(len(tokens) - 1)
+ cache.truncate(0)
- torch.tensor([[tokens[-1], *drafted]]) → torch.tensor([[*tokens, *drafted]])
- model.head(model.hidden(new, cache))[0] → model.head(model.hidden(new, cache))[0, len(tokens) - 1 :]
You read the whole text in each round. The cache holds it: read the newest token and the drafted ones.
## everything drafted stays
- stay = counted(drafted, best)
+ stay = len(drafted)
You take everything that was drafted, right or not. Keep those before the first that is not the best.
## all that are right stay
- stay = counted(drafted, best)
+ stay = sum(a == b for a, b in zip(drafted, best))
You count all that are right. Behind the first wrong one nothing counts.
## compared one place later
- stay = counted(drafted, best)
+ stay = counted(drafted, best[1:] + best[:1])
You compare each drafted token with what comes *after* it. `best[0]` comes after the newest token,
where `drafted[0]` would stand.
## the newest token is not read
- torch.tensor([[tokens[-1], *drafted]]) → torch.tensor([drafted or [tokens[-1]]])
- cache.truncate(len(tokens) - 1) → cache.truncate(max(T, len(tokens) - 1))
- counted(drafted, best) → counted(drafted[1:], best)
- [*drafted[:stay], best[stay]] → drafted[: stay + 1] + best[stay : stay + 1]
You read the drafted tokens alone. The newest token has not been read either, and it comes first.
## the guesses alone are read
- torch.tensor([[tokens[-1], *drafted]]) → torch.tensor([drafted or [tokens[-1]]])
- [*drafted[:stay], best[stay]] → best[: stay + 1]
You read the drafted tokens alone. The newest token has not been read either, and it comes first.
## without its own token
- tokens += [*drafted[:stay], best[stay]]
+ tokens += best[: max(stay, 1)]
You take those that stay, and leave out the model's own token behind them: it comes free with each
step, `best[: stay + 1]`.
## each guess in a step of its own
- best = model.head(model.hidden(new, cache))[0].argmax(-1).tolist()
+ best = []
+ for token in new[0].tolist():
+     best.append(int(model.head(model.hidden(torch.tensor([[token]]), cache)).argmax()))
+     if best[-1:] != drafted[len(best) - 1 :][:1]:
+         break
You check the guesses one after the other, each in a step of its own: that takes as long as without
them. Give the newest token and all guesses to *one* call of `model.hidden`.
## its own token only where one was refused
- tokens += [*drafted[:stay], best[stay]]
+ tokens += drafted[:stay] if stay == len(drafted) > 0 else [*drafted[:stay], best[stay]]
Where all drafted tokens stay you throw away the token behind them, which the model has found as
well: k + 1 for one step.
## the wrong one in its place
- [*drafted[:stay], best[stay]] → (drafted + best[-1:])[: stay + 1]
Where a token is refused you take it all the same. The model's own comes in its place: `best[stay]`.
## one token at a time
- most = min(k, T + max_new_tokens - len(tokens) - 1)
+ most = 0
You draft nothing, so each step gives one token: the text is right, and takes as long as before.
## one drafted token
- most = min(k, → most = min(1,
You draft, or keep, one token a step whatever k is.
## too long
- most = min(k, T + max_new_tokens - len(tokens) - 1)
+ most = k
Your text may become longer than `max_new_tokens`. A round brings one token more than stay: ask for at
most `T + max_new_tokens - len(tokens) - 1`.
## one too long
- most = min(k, T + max_new_tokens - len(tokens) - 1)
+ most = min(k, T + max_new_tokens - len(tokens))
Your text may become one token longer than `max_new_tokens`. The model's own comes with the guesses:
ask for one fewer.
## guesses behind the end
- most = min(k, T + max_new_tokens - len(tokens) - 1)
+ most = k
- return tokens[T:] → return tokens[T : T + max_new_tokens]
At the end you let the model read guesses that nobody needs, and cut them off. A cache of T +
max_new_tokens has no room for them: it would refuse. Ask for at most `T + max_new_tokens -
len(tokens) - 1`.
## k is not looked at
- min(k, T + max_new_tokens → min(3, T + max_new_tokens
You draft three tokens whatever k is.
## a cache for the new tokens alone
- model.new_cache(1, T + max_new_tokens) → model.new_cache(1, max_new_tokens)
Your cache is too short. It holds the prompt and the new tokens: `T + max_new_tokens`.
## the prompt comes too
- return tokens[T:] → return tokens
You return the prompt as well.
## without the first
- return tokens[T:] → return tokens[T + 1 :]
The token that came of reading the prompt is missing.
## the draft does not see the prompt
- propose(list(tokens), most) → propose(list(tokens[T:]), most)
Your draft is told the new tokens alone. It needs the whole text.
## the draft does not see the newest token
- propose(list(tokens), most) → propose(list(tokens[:-1]), most)
Your draft is not told the newest token, and so guesses that one again.
## given up where nothing is drafted
- new = torch.tensor([[tokens[-1], *drafted]])
+ if not drafted:
+     break
+ new = torch.tensor([[tokens[-1], *drafted]])
You stop where nothing was drafted. Then the step reads the newest token alone, and brings one.
## given up at the first refusal
- cache.truncate(len(tokens) - 1)
+ cache.truncate(len(tokens) - 1)
+ k = k if stay == len(drafted) else 0
After the first refused token you draft no more.
""",
    ),
    hints=(
        "Read the prompt, take its first token. Then rounds: draft; read the newest token and the "
        "drafted ones in one step; count what stays; take that and one token of the model's own; "
        "truncate.",
        "`best = model.head(model.hidden(new, cache))[0].argmax(-1).tolist()` has k + 1 tokens for "
        "`new = torch.tensor([[tokens[-1], *drafted]])`. The round's tokens are `best[: stay + 1]`.",
        "The cache must hold everything but the newest token: `cache.truncate(len(tokens) - 1)`.",
        "At most `T + max_new_tokens - len(tokens) - 1` drafted tokens can still be of use, since "
        "one more comes in any case.",
    ),
)

# --- expected_tokens and best_k -------------------------------------------------------------------


def by_outcomes(alpha: float, k: int) -> float:
    """All outcomes: i tokens stay and the next does not, or all do."""
    each = [(i + 1) * alpha**i * (1 - alpha) for i in range(k)]
    return math.fsum(each) + (k + 1) * float(alpha) ** k


def added_up(alpha: float, k: int) -> float:
    """A right one."""
    if alpha == 1:
        return k + 1
    return (1 - alpha ** (k + 1)) / (1 - alpha)


def expecting(alpha: float, k: int) -> Case:
    return call(f"alpha = {alpha}, k = {k}", alpha, k, oracle=by_outcomes)


EXPECTED_TOKENS = Exercise(
    name="expected_tokens",
    lesson=LESSON,
    library=decode.expected_tokens,
    minutes=3,
    difficulty=1,
    cases=(
        expecting(0.5, 2),
        expecting(0.8, 3),
        expecting(0.9, 7),
        expecting(0.3, 1),
        expecting(0.6, 0),
        expecting(0.0, 4),
        expecting(1.0, 3),
        expecting(1.0, 0),
        expecting(0.99, 5),
    ),
    mistakes=edits(
        added_up,
        """
## without the model's own
- return k + 1
+ return k
- (1 - alpha ** (k + 1)) / (1 - alpha) → alpha * (1 - alpha**k) / (1 - alpha)
You count the drafted tokens that stay. The model's own token comes in any case: one more.
## one power too few
- return k + 1
+ return k
- alpha ** (k + 1) → alpha**k
Your sum ends one power too early: from α⁰ up to αᵏ there are k + 1 of them, as in `range(k + 1)`.
## one power too few in the formula
- alpha ** (k + 1) → alpha**k
Your formula has αᵏ: the sum of the powers from α⁰ up to αᵏ is (1 − αᵏ⁺¹) / (1 − α).
## every token by itself
- return k + 1
+ pass
- (1 - alpha ** (k + 1)) / (1 - alpha) → 1 + k * alpha
You add α for each drafted token. The second one counts only if the first stayed too: α².
## divided by zero
- if alpha == 1:
-     return k + 1
+ if alpha == 1:
+     return float("nan")
At α = 1 the formula is 0 / 0. All k stay then, and one more comes: k + 1.
## at one, k
- return k + 1
+ return k
At α = 1 all k stay, and the model's own token comes too: k + 1.
## all or none
- return k + 1
+ pass
- (1 - alpha ** (k + 1)) / (1 - alpha) → 1 + k * alpha**k
You count the drafted tokens only if all of them stay.
## the refused share
- return k + 1
+ return 1
- (1 - alpha ** (k + 1)) / (1 - alpha)
+ sum((1 - alpha) ** i for i in range(k + 1))
You add powers of 1 − α. α is the probability that a token *stays*.
## the first refusal
- return k + 1
+ return float("inf")
- (1 - alpha ** (k + 1)) / (1 - alpha) → 1 / (1 - alpha)
That is the sum without an end. After k drafted tokens and one more the round is over.
## the power of one
- return k + 1
+ return k + 1
- (1 - alpha ** (k + 1)) / (1 - alpha) → 1 + alpha**k
You add the last power alone: 1 + α + α² + … + αᵏ.
""",
    ),
    hints=(
        "The first drafted token counts with probability α, the second with α², since the first must "
        "stay as well. And one token comes in any case.",
        "1 + α + α² + … + αᵏ. A sum over `range(k + 1)` will do, or the closed form with α = 1 apart.",
    ),
)


def by_table(alpha: float, step_costs: Sequence[float], draft_cost: float = 0.0) -> int:
    """All speeds in a table, the largest of them first, and of equal ones the smaller k."""
    table = [
        (-by_outcomes(alpha, k) / (cost + k * draft_cost), k) for k, cost in enumerate(step_costs)
    ]
    return min(table)[1]


def fastest(alpha: float, step_costs: Sequence[float], draft_cost: float = 0.0) -> int:
    """A right one."""
    best, most = 0, 0.0
    for k in range(len(step_costs)):
        tokens = by_outcomes(alpha, k)
        speed = tokens / (step_costs[k] + k * draft_cost)
        if speed > most:
            best, most = k, speed
    return best


COSTS = [1.0, 1.2, 1.5, 1.7, 2.2, 2.5, 2.8, 3.0]


def choosing(label: str, alpha: float, step_costs: list[float], *draft_cost: float) -> Case:
    return call(label, alpha, step_costs, *draft_cost, oracle=by_table)


BEST_K = Exercise(
    name="best_k",
    lesson=LESSON,
    library=decode.best_k,
    minutes=6,
    difficulty=2,
    kind="stretch",
    cases=(
        choosing("by hand", 0.5, [1.0, 1.2, 1.6]),
        choosing("mostly right", 0.85, COSTS),
        choosing("nearly always right", 0.97, COSTS),
        choosing("always right", 1.0, COSTS),
        choosing("seldom right", 0.15, COSTS),
        choosing("never right", 0.0, COSTS),
        choosing("each token costs a step", 0.9, [1.0, 2.0, 3.0, 4.0]),
        choosing("a draft that costs", 0.8, COSTS, 0.1),
        choosing("a draft that costs much", 0.9, COSTS, 0.45),
        choosing("a draft that costs too much", 0.9, COSTS, 0.8),
        choosing("a draft that costs as it may", 0.8, COSTS, 0.35),
        choosing("in milliseconds", 0.8, [20.0, 22.0, 27.0, 36.0], 2.0),
        choosing("in seconds", 0.7, [0.02, 0.025, 0.027, 0.028], 0.004),
        choosing("eight cost hardly more than seven", 0.9, [1, 1.9, 2.2, 2.6, 3, 3.3, 3.4, 3.41]),
        choosing("as fast as without", 0.5, [1.0, 1.5, 2.5]),
        choosing("a dip behind a rise", 0.9, [1.0, 2.1, 2.2, 2.3]),
    ),
    mistakes=edits(
        fastest,
        """
## a step of k tokens
- step_costs[k] + k * draft_cost → step_costs[max(k - 1, 0)] + k * draft_cost
You take the cost of a step of k tokens. With the newest one it reads k + 1: `step_costs[k]`.
## the draft for nothing
- (step_costs[k] + k * draft_cost) → step_costs[k]
You leave out what the draft costs: k times `draft_cost`.
## the draft once
- k * draft_cost → (k > 0) * draft_cost
You count the draft once. Each of the k tokens costs `draft_cost`.
## one draft too many
- k * draft_cost → (k + 1) * draft_cost
You count k + 1 drafted tokens. The last token of a round is the model's own.
## most tokens
- tokens / (step_costs[k] + k * draft_cost) → tokens
You take the k that brings the most tokens, whatever they cost. What counts is tokens per time.
## the difference
- 0, 0.0 → 0, -math.inf
- tokens / (step_costs[k] + k * draft_cost) → tokens - (step_costs[k] + k * draft_cost)
You take the cost from the tokens. They are of different units: what counts is tokens per time, a
quotient.
## the cheapest step
- tokens / (step_costs[k] + k * draft_cost) → 1 / (step_costs[k] + k * draft_cost)
You take the k that costs least, which is no draft. What counts is tokens per time.
## most that stay
- tokens / (step_costs[k] + k * draft_cost) → (tokens - 1) / (step_costs[k] + k * draft_cost)
You count the drafted tokens alone. The model's own is one of the round's tokens, too.
## always a draft
- for k in range(len(step_costs)): → for k in range(1, len(step_costs)):
You leave out k = 0. Where no draft pays, that is the answer.
## the last k is left out
- for k in range(len(step_costs)): → for k in range(len(step_costs) - 1):
You leave out the last k. With a cost for steps of up to n tokens, k goes up to n − 1.
## the largest of equals
- speed > most → speed >= most
Of equally fast ones you take the largest. Take the smallest: a draft that brings nothing is none.
## at the first that brings nothing
- if speed > most:
-     best, most = k, speed
+ if speed <= most:
+     break
+ best, most = k, speed
You stop at the first k that is no faster. A larger one may be faster again: look at all of them.
## the speed
- return best
+ return most
You return how fast it is. Asked for is which k.
## tokens in the step
- return best
+ return best + 1
You return how many tokens the step reads. Asked for is how many are drafted: one fewer.
## every token by itself
- by_outcomes(alpha, k) → 1 + k * alpha
You add α for each drafted token. The second counts only if the first stayed: use `expected_tokens`.
""",
    ),
    hints=(
        "What a round brings is `expected_tokens(alpha, k)`. What it costs: `step_costs[k]`, which is a "
        "step of k + 1 tokens, and k times `draft_cost`.",
        "Make a list of what it brings over what it costs, for k from 0 to `len(step_costs) - 1`. "
        "`index` of the list's `max` is the first of equal ones.",
    ),
)

EXERCISES = (
    LOOKUP,
    COUNT_ACCEPTED,
    SPECULATE,
    EXPECTED_TOKENS,
    BEST_K,
    ACCEPTANCE_PROBABILITY,
    RESIDUAL,
)
