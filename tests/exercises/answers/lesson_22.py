"""Lesson 22: right answers, named mistakes in other words, and wrong answers nobody named."""

import torch
from second_forms import again

from decodeloop.exercises.edits import edited
from decodeloop.exercises.lesson_22 import (
    SPECULATE,
    counted,
)

# --- lookup ---------------------------------------------------------------------------------------


def by_windows(tokens, k, longest=3):
    T = len(tokens)
    for n in reversed(range(1, longest + 1)):
        starts = [i for i in range(T - n) if list(tokens[i : i + n]) == list(tokens[T - n :])]
        if starts:
            place, found = max(starts) + n, []
            for i in range(k):
                found.append(tokens[place + i] if place + i < T else found[place + i - T])
            return found
    return []


def by_a_period(tokens, k, longest=3):
    best, period = 0, 0
    for back in range(1, len(tokens)):
        same = 0
        while same < longest and same + back < len(tokens):
            if tokens[-1 - same] != tokens[-1 - same - back]:
                break
            same += 1
        if same > best:
            best, period = same, back
    return [tokens[len(tokens) - period + i % period] for i in range(k)] if period else []


LOOKUP_FORMS = edited(
    by_windows,
    """
## the earliest place
- max(starts) → min(starts)
## the shortest end first
- reversed(range(1, longest + 1)) → range(1, longest + 1)
## it finds itself
- range(T - n) if → range(max(0, T - n + 1)) if
- tokens[place + i] if place + i < T else found[place + i - T] → (tokens[place + i : place + i + 1])
- return found → return [x[0] for x in found if x]
## only the longest end
- reversed(range(1, longest + 1)) → [n for n in [min(longest, T - 1)] if n > 0]
## only the longest end, however short the text
- reversed(range(1, longest + 1)) → [min(longest, T - 1)]
## three whatever is asked for
- longest + 1 → 4
## the last token is never looked for alone
- range(1, longest + 1) → range(2, longest + 1)
## one token shorter
- range(1, longest + 1) → range(1, longest)
## the place itself is copied
- max(starts) + n, [] → max(starts), []
## one place too far
- tokens[place + i] if place + i < T else found[place + i - T]
+ ([*tokens, *found] + [([*tokens, *found])[-1]])[place + i + 1]
## no further than the text
- for i in range(k): → for i in range(min(k, T - place)):
## the last one again and again
- tokens[place + i] if place + i < T else found[place + i - T] → tokens[min(place + i, T - 1)]
## one token
- for i in range(k): → for i in range(k)[:1]:
## all that followed
- for i in range(k): → for i in range(max(T - place, k)):
## one too many
- for i in range(k): → for i in range(1 + k):
## the text comes too
- return found → return [*tokens, *found]
## a place that overlaps the end is left out
- range(T - n) if → range(T - 2 * n + 1) if
""",
)

UNNAMED_LOOKUP = edited(
    by_windows,
    """
## the latest but one
- max(starts) → sorted(starts)[-2:][0]
## backwards
- return found → return found[::-1]
## at least two in a row
- if starts: → if len(starts) > 1:
""",
)

# --- count_accepted -------------------------------------------------------------------------------


def first_difference(drafted, best):
    for i, token in enumerate(drafted):
        if token != best[i]:
            return i
    return len(drafted)


def by_prefixes(drafted, best):
    return max(n for n in range(len(drafted) + 1) if list(drafted[:n]) == list(best[:n]))


COUNT_FORMS = edited(
    first_difference,
    """
## all that are right
- return len(drafted)
+ return len(drafted)
- if token != best[i]:
-     return i
+ pass
- for i, token in enumerate(drafted):
+ drafted = [d for d, b in zip(drafted, best) if d == b]
+ for i, token in enumerate(drafted):
## one more
- return i
+ return i + 1
- return len(drafted)
+ return len(drafted) + 1
## from the second on
- best[i] → best[i + 1]
## the first wrong one stays
- return i
+ return i + 1
## all or none
- return i
+ return 0
## nothing where all stay
- return len(drafted)
+ return None
## how many are refused
- return i
+ return len(drafted) - i
- return len(drafted)
+ return 0
## any of the best
- token != best[i] → token not in best
""",
)

UNNAMED_COUNT = edited(
    by_prefixes,
    """
## the shortest
- max( → min(
## one at most
- range(len(drafted) + 1) → range(min(len(drafted), 1) + 1)
## backwards
- list(drafted[:n]) == list(best[:n]) → list(drafted[n:]) == list(best[n : len(drafted)])
""",
)

# --- acceptance_probability, residual -------------------------------------------------------------


def by_minimum(p, q):
    return torch.minimum(p / q, torch.ones_like(p))


def where_likelier(p, q):
    found = torch.ones_like(p)
    rarer = p < q
    found[rarer] = p[rarer] / q[rarer]
    return found


ACCEPTANCE_FORMS = edited(
    by_minimum,
    """
## exchanged
- p / q → q / p
## no limit
- torch.minimum(p / q, torch.ones_like(p)) → p / q
## the model's alone
- p / q → p
## the overlap
- torch.minimum(p / q, torch.ones_like(p)) → torch.minimum(p / q, torch.ones_like(p)) * q
## the overlap over q
- torch.minimum(p / q, torch.ones_like(p)) → torch.where(p < q, p, q) / q
## one chance for all
- torch.minimum(p / q, torch.ones_like(p))
+ torch.ones_like(p) - torch.relu(p - q).sum(-1, keepdim=True)
## all or nothing
- torch.minimum(p / q, torch.ones_like(p)) → torch.where(p < q, 0.0, 1.0)
## only the best
- torch.minimum(p / q, torch.ones_like(p)) → 1.0 * (p >= p.max(-1, keepdim=True).values)
## the largest counts as 1
- torch.minimum(p / q, torch.ones_like(p)) → p / q / (p / q).max(-1, keepdim=True).values
## the difference
- p / q → torch.ones_like(p) - (q - p)
## the complement
- return torch.minimum → return 1 - torch.minimum
## they add up to 1
- return torch.minimum(p / q, torch.ones_like(p)) → x = torch.minimum(p / q, torch.ones_like(p))
+ return x / x.sum(-1).unsqueeze(-1)
## the root
- p / q → p**0.5 / q**0.5
## at least 1
- torch.minimum → torch.maximum
""",
)

UNNAMED_ACCEPTANCE = edited(
    by_minimum,
    """
## the square
- p / q → (p / q) ** 2
## half
- torch.ones_like(p) → torch.full_like(p, 0.5)
## over both
- p / q → p / (p + q)
""",
)


def less_the_overlap(p, q):
    missing = p - torch.minimum(p, q)
    whole = missing.sum(dim=-1, keepdim=True)
    found = missing / whole
    return torch.where(whole == 0, p, found)


def by_relu(p, q):
    rows = torch.relu(p - q)
    out = rows / rows.sum(-1, keepdim=True).clamp(min=1e-30)
    nothing = rows.sum(-1) == 0
    out[nothing] = p[nothing]
    return out


RESIDUAL_FORMS = edited(
    less_the_overlap,
    """
## exchanged
- p - torch.minimum(p, q) → q - torch.minimum(p, q)
- (whole == 0, p, found) → (whole == 0, q, found)
## drawn anew from the model
- (whole == 0, p, found) → (whole == 0, p, p)
## it does not add up to 1
- missing / whole → missing
## sizes of differences
- p - torch.minimum(p, q) → torch.maximum(p, q) - torch.minimum(p, q)
## a softmax
- missing / whole → torch.softmax(missing, -1)
## a softmax of the differences
- torch.where(whole == 0, p, found) → torch.softmax(p, -1) * 0 + torch.softmax(p - q, -1)
## all rows or none
- whole == 0, → (p == q).all(),
## nothing is left
- torch.where(whole == 0, p, found) → found
## zeros where nothing is left
- (whole == 0, p, found) → (whole == 0, torch.zeros_like(p), found)
## the sum of everything
- whole = missing.sum(dim=-1, keepdim=True)
+ whole = missing.sum()
## one row for all
- whole == 0, → (whole == 0).any(),
""",
)

UNNAMED_RESIDUAL = edited(
    less_the_overlap,
    """
## the quotient
- missing / whole → (missing / q) / (missing / q).sum(-1, keepdim=True)
## the largest alone
- missing / whole → (missing == missing.amax(-1, keepdim=True)).float()
## half of both
- missing / whole → (missing / whole + p) / 2
""",
)

# --- speculate ------------------------------------------------------------------------------------


def from_the_last_of_the_prompt(model, token_ids, max_new_tokens, propose, k=3):
    """The prompt without its last token is read first; then all rounds are alike."""
    ids = token_ids[0].tolist()
    end = len(ids) + max_new_tokens
    cache = model.new_cache(1, end)
    if len(ids) > 1:
        model.hidden(token_ids[:, :-1], cache)
    while len(ids) < end:
        guess = propose(ids[:], min(k, end - len(ids) - 1))
        logits = model(torch.tensor([ids[-1:] + guess]), cache)[0]
        for i, own in enumerate(logits.argmax(-1).tolist()):
            ids.append(own)
            if i == len(guess) or own != guess[i]:
                break
        cache.truncate(len(ids) - 1)
    return ids[token_ids.shape[1] :]


def told_by_count(model, token_ids, max_new_tokens, propose, k=3):
    T, tokens = token_ids.shape[1], token_ids[0].tolist()
    cache = model.new_cache(1, T + max_new_tokens)
    tokens.append(int(model(token_ids, cache)[0, -1].argmax()))
    while len(tokens) < T + max_new_tokens:
        most = min(k, T + max_new_tokens - len(tokens) - 1)
        drafted = propose(list(tokens), most)
        new = torch.tensor([[tokens[-1], *drafted]])
        best = model.head(model.hidden(new, cache))[0].max(-1).indices.tolist()
        stay = counted(drafted, best)
        tokens += [*drafted[:stay], best[stay]]
        cache.truncate(len(tokens) - 1)
    return tokens[T:]


def one_by_one(model, token_ids, max_new_tokens, propose, k=3):
    made, cache = [], model.new_cache(1, token_ids.shape[1] + max_new_tokens + k)
    new, drafted = token_ids, []
    while len(made) < max_new_tokens:
        forecasts = model.head(model.hidden(new, cache)[0, -1 - len(drafted) :])
        for place in range(len(drafted) + 1):
            token = int(forecasts[place].argmax())
            made.append(token)
            if drafted[place : place + 1] != [token] or len(made) == max_new_tokens:
                break
        text = token_ids[0].tolist() + made
        cache.truncate(len(text) - 1)
        most = min(k, max_new_tokens - len(made) - 1)
        drafted = propose(text, most) if most > 0 else []
        new = torch.tensor([made[-1:] + drafted])
    return made


STEP_BY_STEP = edited(
    told_by_count,
    """
## each guess in a step of its own
- best = model.head(model.hidden(new, cache))[0].max(-1).indices.tolist()
+ best = []
+ for token, guess in zip(new[0], [*drafted, None]):
+     best.append(int(model(token[None, None], cache).argmax()))
+     if best[-1] != guess:
+         break
""",
)

SPECULATE_FORMS = (
    again(SPECULATE.mistakes, told_by_count)
    | STEP_BY_STEP
    | edited(
        from_the_last_of_the_prompt,
        """
## one token at a time
- propose(ids[:], min(k, end - len(ids) - 1)) → []
## one drafted token
- min(k, end → min(1, k, end
## the prompt comes too
- ids[token_ids.shape[1] :] → ids
## without the first
- token_ids.shape[1] :] → token_ids.shape[1] + 1 :]
""",
    )
)

UNNAMED_SPECULATE = edited(
    one_by_one,
    """
## the second best
- int(forecasts[place].argmax()) → int(forecasts[place].argsort()[-2])
## the first forecast for all
- forecasts[place] → forecasts[0]
## the last forecast for all
- forecasts[place] → forecasts[-1]
""",
)

# --- expected_tokens, best_k ----------------------------------------------------------------------


def by_powers(alpha, k):
    return sum(alpha**i for i in range(k + 1))


def by_horner(alpha, k):
    total = 1.0
    for _ in range(k):
        total = 1 + alpha * total
    return total


EXPECTED_FORMS = edited(
    by_powers,
    """
## without the model's own
- range(k + 1) → range(1, k + 1)
## one power too few
- range(k + 1) → range(k)
## one power too few in the formula
- range(k + 1) → range(k + int(alpha == 1))
## every token by itself
- sum(alpha**i for i in range(k + 1)) → sum(alpha for _ in range(k)) + 1
## divided by zero
- return sum → return (1 if alpha < 1 else float("nan")) * sum
## at one, k
- range(k + 1)) → range(k + 1)) - (alpha >= 1)
## all or none
- sum(alpha**i for i in range(k + 1)) → 1 + alpha**k * k
## the refused share
- alpha**i → (1 - alpha) ** i
## the first refusal
- return sum(alpha**i for i in range(k + 1)) → return 1 / (1 - alpha) if alpha < 1 else float("inf")
## the power of one
- return sum(alpha**i for i in range(k + 1)) → return 1 + alpha**k if alpha < 1 else k + 1
""",
)

UNNAMED_EXPECTED = edited(
    by_horner,
    """
## half a token less
- total = 1.0 → total = 0.5
## every other
- range(k) → range((k + 1) // 2)
## the root
- 1 + alpha * total → 1 + alpha**0.5 * total
""",
)


def by_ranking(alpha, step_costs, draft_cost=0.0):
    def speed(k):
        return by_powers(alpha, k) / (draft_cost * k + step_costs[k])

    return max(range(len(step_costs)), key=speed)


def by_tensors(alpha, step_costs, draft_cost=0.0):
    k = torch.arange(len(step_costs), dtype=torch.float64)
    tokens = (alpha**k).cumsum(0)
    return int((tokens / (torch.tensor(step_costs, dtype=torch.float64) + draft_cost * k)).argmax())


BEST_FORMS = edited(
    by_ranking,
    """
## a step of k tokens
- step_costs[k] → step_costs[k - 1 if k else 0]
## the draft for nothing
- draft_cost * k + step_costs[k] → step_costs[k]
## the draft once
- draft_cost * k → draft_cost * min(k, 1)
## one draft too many
- draft_cost * k → draft_cost * (1 + k)
## most tokens
- by_powers(alpha, k) / (draft_cost * k + step_costs[k]) → by_powers(alpha, k)
## the difference
- / ( → - (
## the cheapest step
- by_powers(alpha, k) / → 1 /
## most that stay
- by_powers(alpha, k) / → (by_powers(alpha, k) - 1) /
## always a draft
- max(range(len(step_costs)), key=speed) → max(range(1, len(step_costs)), key=speed)
## the last k is left out
- max(range(len(step_costs)), key=speed) → max(range(len(step_costs) - 1), key=speed)
## the largest of equals
- max(range(len(step_costs)), key=speed) → max(range(len(step_costs) - 1, -1, -1), key=speed)
## at the first that brings nothing
- return max(range(len(step_costs)), key=speed)
+ k = 0
+ while k + 1 < len(step_costs) and speed(k + 1) > speed(k):
+     k += 1
+ return k
## the speed
- max(range(len(step_costs)), key=speed) → max(speed(k) for k in range(len(step_costs)))
## tokens in the step
- max(range(len(step_costs)), key=speed) → 1 + max(range(len(step_costs)), key=speed)
## every token by itself
- by_powers(alpha, k) / → (1 + alpha * k) /
""",
)

UNNAMED_BEST = edited(
    by_ranking,
    """
## the slowest
- return max → return min
## a step half as dear
- step_costs[k]) → step_costs[k] / 2 + 0.3)
## two at most
- range(len(step_costs)) → range(min(3, len(step_costs)))
""",
)

# --- the tables -----------------------------------------------------------------------------------

RIGHT = {
    "lookup": (by_windows, by_a_period),
    "count_accepted": (first_difference, by_prefixes),
    "speculate": (from_the_last_of_the_prompt, one_by_one),
    "expected_tokens": (by_powers, by_horner),
    "best_k": (by_ranking, by_tensors),
    "acceptance_probability": (by_minimum, where_likelier),
    "residual": (less_the_overlap, by_relu),
}
SECOND_FORMS = {
    "lookup": LOOKUP_FORMS,
    "count_accepted": COUNT_FORMS,
    "speculate": SPECULATE_FORMS,
    "expected_tokens": EXPECTED_FORMS,
    "best_k": BEST_FORMS,
    "acceptance_probability": ACCEPTANCE_FORMS,
    "residual": RESIDUAL_FORMS,
}
UNNAMED = {
    "lookup": tuple(UNNAMED_LOOKUP.values()),
    "count_accepted": tuple(UNNAMED_COUNT.values()),
    "speculate": tuple(UNNAMED_SPECULATE.values()),
    "expected_tokens": tuple(UNNAMED_EXPECTED.values()),
    "best_k": tuple(UNNAMED_BEST.values()),
    "acceptance_probability": tuple(UNNAMED_ACCEPTANCE.values()),
    "residual": tuple(UNNAMED_RESIDUAL.values()),
}
