"""Exercises of lesson 05: the loop without a cache, and what it computes again and again."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Candidate, Case, Exercise, Mistake, call
from decodeloop.model import TINY, Decoder

LESSON = "05_generating_without_a_cache"
Forward = Callable[[Tensor], Tensor]  # token_ids (B, T) → logits (B, T, V)

# --- generate_without_cache -----------------------------------------------------------------------


def generate_without_cache(model: Forward, token_ids: Tensor, max_new_tokens: int) -> Iterator[int]:
    """Continue a prompt greedily; every step reads the whole sequence again.

    Shapes: `model` maps token_ids (B, T) to logits (B, T, V); token_ids (1, T) → an iterator of
    `max_new_tokens` new ids. (`decodeloop.decode.generate(..., use_cache=False)` does the same,
    and also stops at the end of a text.)
    """
    sequence = token_ids
    for _ in range(max_new_tokens):
        token = int(model(sequence)[0, -1].argmax())
        yield token
        sequence = torch.cat((sequence, token_ids.new_tensor([[token]])), dim=1)


LONGEST = 200  # positions: but for one case none needs more than 20


def not_too_long(token_ids: Tensor, longest: int = LONGEST) -> None:
    """A sequence that grows too fast is told so, and does not run into the time limit.

    Raises:
        ValueError: it is longer than any right answer, or one that never ends, could make it.
    """
    if token_ids.shape[1] > longest:
        raise ValueError(
            f"the model was given a sequence of {token_ids.shape[1]} positions, far more than "
            f"this text will ever have: by how many does yours grow in each step?"
        )


class Sums:
    """A model that one can follow on paper, and that depends on every token and its place.

    After T tokens it is sure of token (Σ position · id + T) mod V, positions counted from 1. It
    notes the lengths that it was given to read.
    """

    def __init__(self, V: int) -> None:
        self.V = V
        self.read: list[int] = []

    def __call__(self, token_ids: Tensor) -> Tensor:
        not_too_long(token_ids)
        self.read.append(token_ids.shape[1])
        positions = torch.arange(1, token_ids.shape[1] + 1)
        following = ((positions * token_ids).cumsum(-1) + positions) % self.V  # (B, T)
        return F.one_hot(following, self.V).float()  # (B, T, V)


def first_again(token_ids: Tensor) -> Tensor:
    """A model that says the first token of its text, however long ago that was."""
    B, T = token_ids.shape
    not_too_long(token_ids, 2_000)
    return F.one_hot(token_ids[:, :1].expand(B, T), 10).float()


def sums_by_hand(V: int, prompt: Sequence[int], n: int) -> list[int]:
    """What `Sums` goes on to say, in whole numbers alone."""
    ids = list(prompt)
    for _ in range(n):
        ids.append((sum(i * token for i, token in enumerate(ids, start=1)) + len(ids)) % V)
    return ids[len(prompt) :]


def varied_decoder() -> Forward:
    """A tiny random decoder whose greedy text does not merely repeat one token."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        decoder = Decoder(replace(TINY, layers=2, tied=False))
        for name, weight in decoder.named_parameters():
            if "norm" not in name and weight.ndim == 2:
                torch.nn.init.normal_(weight, std=0.6)
    decoder.requires_grad_(False).eval()

    def forward(token_ids: Tensor) -> Tensor:
        not_too_long(token_ids)
        return decoder(token_ids)

    return forward


DECODER = varied_decoder()


def best_by_sorting(model: Forward, prompt: Sequence[int], n: int) -> list[int]:
    """The greedy text, one list of ids at a time."""
    ids = list(prompt)
    for _ in range(n):
        ids.append(int(model(torch.tensor([ids]))[0, -1].sort(descending=True).indices[0]))
    return ids[len(prompt) :]


def plainly(yielded: Any) -> Any:
    """A yielded value to be compared: an int as it is, of anything else what it is."""
    if type(yielded) is int:
        return yielded
    if isinstance(yielded, Tensor | list | tuple) and torch.as_tensor(yielded).numel() > 1:
        return "several ids at once"
    return f"a {type(yielded).__name__}"


def at_most(made: Any, n: int) -> list[Any]:
    """The first n things that come out; of what nothing comes out of, what it is."""
    try:
        return [plainly(token) for token in itertools.islice(made, n)]
    except TypeError:
        if hasattr(made, "__iter__"):
            raise
        return [f"nothing to loop over, but a value of type {type(made).__name__}"]


def text_case(label: str, model: Forward, prompt: Sequence[int], n: int, oracle: Any) -> Case:
    """The new ids, and the caller's prompt as it is afterwards."""

    def run(candidate: Candidate) -> Any:
        lent = torch.tensor([list(prompt)])
        tokens = at_most(candidate(model, lent, n), 10 * n + 50)
        return {"the new ids": tokens, "the caller's prompt, afterwards": lent.tolist()}

    def expected() -> Any:
        return {"the new ids": oracle(), "the caller's prompt, afterwards": [list(prompt)]}

    return Case(label, run, expected, (model, torch.tensor([list(prompt)]), n))


def sums_case(V: int, prompt: Sequence[int], n: int) -> Case:
    label = f"a model of sums, V = {V}: prompt {list(prompt)}, {n} new"
    return text_case(label, Sums(V), prompt, n, lambda: sums_by_hand(V, prompt, n))


def decoder_case(prompt: Sequence[int], n: int) -> Case:
    label = f"a random decoder: prompt of {len(prompt)}, {n} new"
    return text_case(label, DECODER, prompt, n, lambda: best_by_sorting(DECODER, prompt, n))


def remembering(length: int, n: int) -> Case:
    prompt = [7] + [0] * (length - 1)
    label = f"a model that says the first token of its text: a prompt of {length:,}, {n} new"
    return text_case(label, first_again, prompt, n, lambda: [7] * n)


def read_in_all(candidate: Candidate) -> list[int]:
    model = Sums(11)
    at_most(candidate(model, torch.tensor([[3, 1, 4]]), 5), 50)
    return model.read


def read_for_two(candidate: Candidate) -> dict[str, Any]:
    model = Sums(11)
    tokens = at_most(candidate(model, torch.tensor([[3, 1, 4]]), 5), 2)
    return {"the first two ids": tokens, "lengths read until then": model.read}


def collected(model: Forward, token_ids: Tensor, n: int) -> list[int]:
    return list(generate_without_cache(model, token_ids, n))


GENERATE_WITHOUT_CACHE = Exercise(
    name="generate_without_cache",
    lesson=LESSON,
    library=generate_without_cache,
    minutes=12,
    difficulty=2,
    part=True,
    cases=(
        sums_case(10, [1, 4], 4),
        sums_case(13, [7, 2, 5, 11, 3], 8),
        sums_case(17, [6], 6),
        sums_case(11, [1, 2, 3, 4], 1),
        sums_case(7, [2, 6, 5], 9),
        sums_case(23, [5, 8], 70),
        sums_case(11, [4, 9], 0),
        remembering(1_100, 3),
        decoder_case([17, 3, 80, 41], 6),
        decoder_case([9, 9, 60, 2, 33, 71, 5], 3),
        Case(
            "the lengths that the model reads: prompt of 3, 5 new",
            read_in_all,
            lambda: [3, 4, 5, 6, 7],
        ),
        Case(
            "two ids asked for, of 5",
            read_for_two,
            lambda: {
                "the first two ids": sums_by_hand(11, [3, 1, 4], 2),
                "lengths read until then": [3, 4],
            },
        ),
    ),
    mistakes=(
        *edits(
            generate_without_cache,
            """
## forgets the past
- torch.cat((sequence, token_ids.new_tensor([[token]])), dim=1) → token_ids.new_tensor([[token]])
After the first step you give the model the new token alone. Without a cache it has no memory: it
knows only what you pass. Append the new token to all that came before.
## forgets all but the prompt and the newest token
- torch.cat((sequence, → torch.cat((token_ids,
You append each new token to the prompt, not to the sequence so far, so the earlier new tokens are
lost. Keep the result of `torch.cat` and append to that.
## appends to the front
- (sequence, token_ids.new_tensor([[token]])) → (token_ids.new_tensor([[token]]), sequence)
Your new token stands before the text. The order in `torch.cat` is the order in the sequence: first
what came before, then the new token.
## never appends
- sequence = torch.cat((sequence, token_ids.new_tensor([[token]])), dim=1)
You give the same token for ever: the sequence never grows. Does `torch.cat` stand in the loop, and
is its result kept? It changes none of its inputs.
## keeps only a window
- torch.cat((sequence, → torch.cat((sequence[:, 1:],
You drop the first token whenever you append one, so the sequence stays as long as the prompt, and
the model forgets how it began. Nothing is to be dropped.
## only the last tokens are read
- model(sequence) → model(sequence[:, -64:])
Right while the text is short: you give the model the last so many tokens alone. It knows only what
you pass: pass the whole sequence.
## the token appended twice
- token_ids.new_tensor([[token]]) → token_ids.new_tensor([[token, token]])
You append each new token twice. Once is right: the sequence grows by one in each step.
## stops at token 0
- yield token
+ yield token
+ if token == 0:
+     return
You stop when token 0 comes. No token means the end here: go on until there are max_new_tokens.
## stops before token 0
- yield token
+ if token == 0:
+     return
+ yield token
You stop when token 0 comes. No token means the end here: go on until there are max_new_tokens.
## at least one
- range(max_new_tokens) → range(max(1, max_new_tokens))
Right but where no token is wanted: you yield one before you look at max_new_tokens. With 0, nothing
is yielded.
## the worst token
- argmax → argmin
You take the token with the smallest logit. A larger logit means a more probable token.
## the second best token
- .argmax() → .topk(2).indices[1]
You take the second best token. Greedy takes the best.
## the model called twice
- token = int(model(sequence)[0, -1].argmax())
+ best = model(sequence)[0, -1].max()
+ token = int((model(sequence)[0, -1] == best).nonzero()[0])
The ids are right, but you run the model twice in each step. Once is enough: keep its logits.
## the prompt read token by token
- sequence = token_ids
+ sequence = token_ids
+ for end in range(1, token_ids.shape[1]):
+     model(token_ids[:, :end])
The ids are right, but you run the model on the beginnings of the prompt, too. It is all there: the
first pass reads the whole of it.
## reads ahead
- sequence = token_ids → sequence, logits = token_ids, model(token_ids)
- token = int(model(sequence)[0, -1].argmax())
- yield token
+ token = int(logits[0, -1].argmax())
- sequence = torch.cat((sequence, token_ids.new_tensor([[token]])), dim=1)
+ sequence = torch.cat((sequence, token_ids.new_tensor([[token]])), dim=1)
+ logits = model(sequence)
+ yield token
The ids are right, but you run the model once more before you hand out a token: it comes a pass
later than it could, and the last pass is for nothing. n tokens need n passes.
## each id in a list
- yield token → yield [token]
The ids are right, but each comes in a list. Yield the number itself.
## floats
- yield token → yield float(token)
The ids are right, but they are floats. Make each a whole number with int(...).
## the best of all positions together
- [0, -1].argmax() → [0].amax(0).argmax()
You take for each token its largest logit at any position. Only the last position forecasts a token
that is not there yet.
## all positions added up
- [0, -1].argmax() → [0].sum(0).argmax()
You add up the logits of all positions. Only the last one forecasts a token that is not there yet.
## without the first token
- model(sequence)[0, -1] → model(sequence[:, 1:] if sequence.shape[1] > 1 else sequence)[0, -1]
You leave out the first token of what the model reads. It knows only what you pass: pass the whole
sequence.
## the last token overwritten
- sequence = torch.cat((sequence, token_ids.new_tensor([[token]])), dim=1)
+ sequence[0, -1] = token
You write each new token over the last one, and into the caller's own tensor. The sequence must get
longer by one: `torch.cat` makes a new tensor, and leaves the old alone.
## the first position
- [0, -1] → [0, 0]
You read the logits of the first position: the forecast of the second token of the prompt. The
token that is not there yet is forecast at the last position.
## the second last position
- [0, -1] → [0, -2]
You read the logits of the second last position: the forecast of the last token, which is there
already. The logits at position t are about token t + 1: read the last ones.
## the best of all positions
- [0, -1].argmax() → .argmax()
You take the largest logit of the whole table of positions and tokens, and get a place in that
table. First choose the last position, then the best token there.
## argmax over the wrong axis
- [0, -1].argmax() → [0].argmax(0)[-1]
Your argmax runs along the positions: it says where a token scores best. Asked for is, at the last
position, which token scores best: the last axis, that of the vocabulary.
## max in place of argmax
- .argmax() → .max()
You take the largest logit itself, not its place. `max` gives the value, `argmax` the index, and in
the last axis the index is the token's id.
## appends a token for every position
- token = int(model(sequence)[0, -1].argmax())
- yield token
- sequence = torch.cat((sequence, token_ids.new_tensor([[token]])), dim=1)
+ best = model(sequence).argmax(-1)
+ yield int(best[0, -1])
+ sequence = torch.cat((sequence, best), dim=1)
You append T tokens, not one: the best at every position. So the sequence doubles in each step.
Only the last position forecasts a token that is not there yet: append that one.
## the prompt is counted
- for _ in range(max_new_tokens): → while sequence.shape[1] < max_new_tokens:
You stop when the whole sequence has max_new_tokens positions, but the prompt is among those, so
too few new ones are made. Count the new tokens alone: `for _ in range(max_new_tokens)`.
## return in the loop
- yield token → return token
You `return` the first token, and that ends the function. With `yield` in its place the function
hands out the token, waits, and goes on.
## yields the whole sequence
- yield token
- sequence = torch.cat((sequence, token_ids.new_tensor([[token]])), dim=1)
+ sequence = torch.cat((sequence, token_ids.new_tensor([[token]])), dim=1)
+ yield sequence
Each of your `yield`s hands out several ids at once. Asked for is the one new id: whoever reads
along has the earlier ones.
## yields the sequence before it has grown
- token = int(
+ yield sequence
+ token = int(
- yield token
Each of your `yield`s hands out the sequence so far, without the new id, even. Asked for is that
one id: whoever reads along has the earlier ones.
## one token too many
- range(max_new_tokens) → range(max_new_tokens + 1)
You yield one token more than was asked for. `range(max_new_tokens)` counts from 0 and has
max_new_tokens numbers.
## one token too few
- range(max_new_tokens) → range(max_new_tokens - 1)
You yield one token less than was asked for. `range(max_new_tokens)` counts from 0 and has
max_new_tokens numbers.
## the prompt is yielded too
- sequence = token_ids
+ yield from token_ids[0].tolist()
+ sequence = token_ids
You also yield the tokens of the prompt. The caller has those; only the new ones are asked for.
""",
        ),
        Mistake(
            "the whole text at once",
            "You give back the whole text, when it is done. Two things. The caller has the prompt: only "
            "the new ids are asked for. And whoever reads along wants each at once: `yield` it inside "
            "the loop.",
            lambda model, ids, n: ids[0].tolist() + collected(model, ids, n),
        ),
        Mistake(
            "the whole text at once, as a tensor",
            "You give back the whole text in a tensor, when it is done. Two things. The caller has the "
            "prompt: only the new ids are asked for. And whoever reads along wants each at once, as a "
            "number: `yield` it inside the loop.",
            lambda model, ids, n: torch.cat(
                (ids, torch.tensor([collected(model, ids, n)]).long()), 1
            ),
        ),
        Mistake(
            "all at once, as a tensor",
            "The ids are right, but they come in a tensor, and the first only when the last is done. "
            "Whoever reads along wants each at once, as a number: `yield` it inside the loop.",
            lambda model, ids, n: torch.tensor(collected(model, ids, n)),
        ),
        *edits(
            generate_without_cache,
            """
## the caller's prompt grows
- sequence = torch.cat → sequence.data = torch.cat
The ids are right, but the tensor that the caller gave you has grown: whoever generates twice from
the same prompt gets two different texts. Work on a tensor of your own.
## reads once more at the end
- sequence = token_ids → sequence, logits = token_ids, model(token_ids)
- model(sequence)[0, -1] → logits[0, -1]
- sequence = torch.cat((sequence, token_ids.new_tensor([[token]])), dim=1)
+ sequence = torch.cat((sequence, token_ids.new_tensor([[token]])), dim=1)
+ logits = model(sequence)
The ids are right, but the model is run once more than needed: after the last token, for a forecast
that nobody looks at. It is the longest and dearest pass of all. n tokens need n passes.
""",
        ),
        Mistake(
            "all at once",
            "The ids are right, but the first comes only when the last is done. Whoever reads along "
            "wants each at once: `yield` it inside the loop, in place of collecting a list.",
            collected,
        ),
        *edits(
            generate_without_cache,
            """
## tensors instead of numbers
- yield token → yield torch.tensor(token)
The ids are right, but they are tensors. Make each a Python number with int(...): only then can it
be looked up, compared and printed like any other.
""",
        ),
    ),
    hints=(
        "It is the loop of lesson 00: forecast, choose, append, repeat. What are the shapes of the "
        "logits, and which of their positions speaks of a token that is not there yet?",
        "`model(sequence)` is (1, T, V). The last position is `[0, -1]`, a row of V logits; its argmax "
        "is the new token. `int(...)` turns it into a number: that is what you yield.",
        "To append: `torch.cat((sequence, torch.tensor([[token]])), dim=1)`. The two pairs of brackets "
        "make it (1, 1), so that both have two axes; dim=1 is the axis of positions.",
        "In order: a variable `sequence` that begins as the prompt; for each of max_new_tokens steps: "
        "the logits of `sequence`, the token, `yield token`, and `sequence` becomes longer by it.",
    ),
)

# --- positions_computed ---------------------------------------------------------------------------


def positions_computed(prompt_length: int, new_tokens: int) -> int:
    """How many positions the model computes to make `new_tokens` tokens without a cache.

    Step i, counted from 0, reads prompt_length + i positions.

    >>> positions_computed(3, 4)  # 3 + 4 + 5 + 6
    18
    """
    return new_tokens * prompt_length + new_tokens * (new_tokens - 1) // 2


def added_up(P: int, n: int) -> int:
    return sum(range(P, P + n))


LENGTHS = ((3, 4), (20, 50), (1, 1), (5, 1), (1, 7), (7, 2), (100, 3), (4, 5), (250, 121))

POSITIONS_COMPUTED = Exercise(
    name="positions_computed",
    lesson=LESSON,
    library=positions_computed,
    minutes=5,
    difficulty=1,
    tolerance=1e-9,
    cases=tuple(call(f"P = {P}, n = {n}", P, n, oracle=added_up) for P, n in (*LENGTHS, (6, 0))),
    mistakes=edits(
        added_up,
        """
## forgets the growth
- sum(range(P, P + n)) → n * P
That is n · P, as if each step read the prompt alone. But the sequence grows: the second step reads
P + 1 positions, the third P + 2.
## one step too many
- range(P, P + n) → range(P, P + n + 1)
You add up n + 1 steps. The last token is chosen but never read: n tokens need n passes, of P, P +
1, …, P + n - 1 positions.
## begins at P + 1
- range(P, P + n) → range(P + 1, P + n + 1)
Your steps read P + 1, P + 2, …, P + n positions. The first reads the prompt alone, which is P; the
last token is never read, so the last step reads P + n - 1.
## one step too few
- range(P, P + n) → range(P, P + n - 1)
You add up n - 1 steps. The first new token needs a pass, too: that over the prompt.
## each position once
- sum(range(P, P + n)) → P + n - 1
P + n - 1 is the number of positions that there are: with a cache each is computed once (lesson
06). Without one, each step computes all of them again.
## each position once, and none for no tokens
- sum(range(P, P + n)) → P + n - 1 if n else 0
P + n - 1 is the number of positions that there are: with a cache each is computed once (lesson
06). Without one, each step computes all of them again.
## at least the prompt
- range(P, P + n) → range(P, P + max(1, n))
Right but where no token is wanted: then the model need not read anything.
## the length of the text
- sum(range(P, P + n)) → P + n
P + n is how long the text is in the end. Asked for is the sum over all steps of what each reads.
## every step as long as the last
- sum(range(P, P + n)) → n * (P + n - 1)
That is n · (P + n - 1), as if each step read as much as the last one; the earlier ones read less.
In a formula a half is missing: 0 + 1 + … + (n - 1) is n · (n - 1) / 2, since the numbers pair up,
and there are n / 2 pairs.
## pairs rounded down
- sum(range(P, P + n)) → n * P + n // 2 * (n - 1)
Right for even n. With an odd one there are n/2 pairs, not a whole number: multiply first, n · (n - 1),
and divide by 2 then.
## first and last, rounded down
- sum(range(P, P + n)) → n // 2 * (P + P + n - 1)
Right for even n. With an odd one there are n/2 pairs of a first and a last step, not a whole number:
multiply first, and divide by 2 then.
## the mean step rounded down
- sum(range(P, P + n)) → n * ((P + P + n - 1) // 2)
You round the mean step down before you multiply. It need not be a whole number: multiply first, and
divide by 2 then.
## n² / 2
- sum(range(P, P + n)) → n * P + n * n / 2
You add n · n / 2 on top. 0 + 1 + … + (n - 1) is n · (n - 1) / 2.
## n² // 2
- sum(range(P, P + n)) → n * P + n * n // 2
You add n · n / 2 on top. 0 + 1 + … + (n - 1) is n · (n - 1) / 2.
## the prompt once
- sum(range(P, P + n)) → P + n * (n - 1) // 2
You count the prompt once. Without a cache each of the n steps reads it again: n · P.
## the growth alone
- sum(range(P, P + n)) → n * (n - 1) // 2
That is 0 + 1 + … + (n - 1), what comes on top of the prompt. Each step reads the prompt, too: n · P.
## the growth forgotten, one step too many
- sum(range(P, P + n)) → (n + 1) * P
That is (n + 1) · P, as if each step read the prompt alone, and one step too many.
## everything halved
- sum(range(P, P + n)) → (n * P + n * (n - 1)) // 2
You halve the whole sum. It is 0 + 1 + … + (n - 1) alone that is n · (n - 1) / 2: n · P comes on top.
## the prompt token by token, one too many
- range(P, P + n) → range(1, P + n + 1)
You add up 1, 2, …, P + n, as if the prompt were read token by token, and the last token, too. The
first step reads the prompt at once; the last token is never read.
## from P to n
- range(P, P + n) → range(P, n)
Your sum goes from P to n. There are n steps, so it goes from P to P + n - 1.
## from P to n, by range
- range(P, P + n) → range(P, n + 1)
Your sum goes from P to n. There are n steps, so it goes from P to P + n - 1.
## one step too few, by a formula
- sum(range(P, P + n)) → (n - 1) * P + (n - 1) * (n - 2) // 2
You add up n - 1 steps. The first new token needs a pass, too: that over the prompt.
## the prompt once too few
- sum(range(P, P + n)) → (n - 1) * P + n * (n - 1) // 2
You count the prompt n - 1 times. Each of the n steps reads it, the first one too: n · P.
## every step as long as the text
- sum(range(P, P + n)) → n * (P + n)
That is n · (P + n), as if each step read the whole text. The first reads the prompt alone, which is P,
and each one more than the step before.
## one more each
- sum(range(P, P + n)) → n * (P + 1)
That is n · (P + 1), as if each step read one more than the prompt. The sequence goes on growing: P,
P + 1, P + 2, …
## grows from the third step on
- sum(range(P, P + n)) → n * P + (n - 1) * (n - 2) // 2
Your second step reads the prompt alone. It reads the first new token, too: P + 1 positions.
## the square of the text
- sum(range(P, P + n)) → (P + n) ** 2
That is the square of the text's length. Add up what the steps read: P, P + 1, …, P + n - 1.
## the prompt token by token
- range(P, P + n) → range(1, P + n)
You add up 1, 2, …, as if the prompt were read token by token, too. It is all there from the
beginning: the first step reads its P positions at once.
""",
    ),
    hints=(
        "Write down for P = 3, n = 4 how many positions each step reads. How many terms are there? "
        "What is the last one?",
        "P + (P + 1) + … + (P + n - 1): n times P, and 0 + 1 + … + (n - 1) on top.",
        "0 + 1 + … + (n - 1) = n · (n - 1) / 2. Or let Python add it up: `sum(range(...))`, whose end "
        "is not included.",
    ),
)

# --- repeated_share -------------------------------------------------------------------------------


def repeated_share(prompt_length: int, new_tokens: int) -> float:
    """The share of the computed positions that an earlier step had already computed.

    >>> round(repeated_share(3, 4), 3)  # 6 of 18 are new
    0.667
    """
    computed = new_tokens * prompt_length + new_tokens * (new_tokens - 1) / 2
    return 1.0 - (prompt_length + new_tokens - 1) / computed


def share_by_marking(prompt_length: int, new_tokens: int) -> float:
    """Closed form by doing it: mark each position when it is first computed."""
    marked: set[int] = set()
    again = computed = 0
    for step in range(new_tokens):
        for position in range(prompt_length + step):
            again += position in marked
            computed += 1
            marked.add(position)
    return again / computed


def not_new(P: int, n: int) -> float:
    """A right one."""
    computed = sum(range(P, P + n))
    return 1 - (P + n - 1) / computed


REPEATED_SHARE = Exercise(
    name="repeated_share",
    lesson=LESSON,
    library=repeated_share,
    minutes=6,
    difficulty=2,
    kind="stretch",
    tolerance=1e-6,
    cases=tuple(call(f"P = {P}, n = {n}", P, n, oracle=share_by_marking) for P, n in LENGTHS),
    mistakes=edits(
        not_new,
        """
## the new share
- return 1 - → return
That is the share that is computed for the first time. Asked for is the rest: 1 minus it.
## the last token counted
- (P + n - 1) → (P + n)
You take P + n positions as needed. The last token is chosen but never read: P + n - 1 positions
are computed at least once.
## only the prompt is repeated
- (P + n - 1) → P
You count only the prompt as computed for the first time. Each step but the first also computes one
new position: that of the token made before it.
## only the new tokens are new
- (P + n - 1) → n
You count one new position for each step. But the first step computes the whole prompt for the
first time: P new positions, and then one for each of the other n - 1 steps.
## the prompt alone is repeated
- return 1 - (P + n - 1) / computed → return (n - 1) * P / computed
You count the prompt alone as repeated. The new tokens are read again, too: from the third step on
there are more and more of them.
## the growth alone is repeated
- return 1 - (P + n - 1) / computed → return n * (n - 1) / 2 / computed
You count only what the sequence has grown by. The prompt is read again in every step but the first,
and each new token is new once.
## pairs rounded down
- sum(range(P, P + n)) → n * P + n // 2 * (n - 1)
Right for even n. With an odd one your number of all positions is too small: multiply n · (n - 1)
first, and divide by 2 then.
## one step too many
- range(P, P + n) → range(P, P + n + 1)
You take n + 1 steps for all that is computed. The last token is chosen but never read: n steps.
## begins at P + 1
- range(P, P + n) → range(P + 1, P + n + 1)
Your steps read P + 1, …, P + n positions. The first reads the prompt alone, which is P.
## divided by what is needed
- 1 - (P + n - 1) / computed → (computed - (P + n - 1)) / (P + n - 1)
You divide by the positions that are needed. A share of all that are computed is asked for: divide by
those.
## the last token counted, and not below 0
- 1 - (P + n - 1) / computed → max(0.0, 1 - (P + n) / computed)
You take P + n positions as needed. The last token is chosen but never read: P + n - 1 positions
are computed at least once.
## what is read without growth
- sum(range(P, P + n)) → n * P
You take n · P for all that is computed, as if each step read the prompt alone. The sequence grows: P,
P + 1, P + 2, …
## all steps but the first
- return 1 - (P + n - 1) / computed → return (n - 1) / n
That is the share of the steps that are not the first. Count positions: steps read different numbers
of them, and each but the first has one that is new.
## the last step alone
- return 1 - (P + n - 1) / computed → return (P + n - 2) / (P + n - 1)
That is the share in the last step. Count the positions of all steps.
## all but the first step
- return 1 - (P + n - 1) / computed → return (computed - (P + n - 1)) / (computed - P)
You leave the first step out of all that is computed. Its P positions belong to it.
## rounded
- 1 - (P + n - 1) / computed → round(1 - (P + n - 1) / computed, 2)
You round the share. Give it as it is.
## one position too few
- (P + n - 1) → (P + n - 2)
You take P + n - 2 positions as needed. The prompt has P, and all new tokens but the last are read: P +
n - 1.
## one step too few
- range(P, P + n) → range(P, P + n - 1)
You take n - 1 steps for all that is computed. The first new token needs a pass, too: n steps.
## cut off
- 1 - (P + n - 1) / computed → (computed - (P + n - 1)) // computed
You round down to 0, by // or int. The share is a fraction: divide with /, and leave it as it is.
## in percent
- 1 - (P + n - 1) / computed → 100 * (1 - (P + n - 1) / computed)
That is the share in percent. Asked for is a number between 0 and 1.
## how many, not which share
- 1 - (P + n - 1) / computed → computed - (P + n - 1)
That is how many positions are computed again. Divide by all that are computed.
""",
    ),
    hints=(
        "How many positions are there to compute at all, if each were computed once?",
        "The prompt has P, and all new tokens but the last are read: P + n - 1. All others that are "
        "computed are computed again.",
        "1 - (P + n - 1) / (all that are computed). The second number you have from the exercise above.",
    ),
)

EXERCISES = (GENERATE_WITHOUT_CACHE, POSITIONS_COMPUTED, REPEATED_SHARE)
