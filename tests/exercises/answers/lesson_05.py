"""Lesson 05: right answers, named mistakes in other words, and wrong answers nobody named."""

import torch

from decodeloop.exercises.edits import edited

# --- generate_without_cache -----------------------------------------------------------------------


def best_last(logits):
    return logits[:, -1, :].argmax(dim=-1).item()


def by_a_list_of_ids(model, token_ids, max_new_tokens):
    prompt = token_ids[0].tolist()
    ids = prompt
    for _ in range(max_new_tokens):
        token = best_last(model(torch.tensor([ids])))
        yield token
        ids = [*ids, token]


def into_a_tensor_of_full_length(model, token_ids, max_new_tokens):
    P = token_ids.shape[1]
    whole = torch.zeros(1, P + max_new_tokens, dtype=token_ids.dtype)
    whole[:, :P] = token_ids
    for end in range(P, P + max_new_tokens):
        whole[0, end] = model(whole[:, :end])[0, end - 1].topk(1).indices[0]
        yield int(whole[0, end])


def passes_the_rest_on(model, token_ids, max_new_tokens):
    """The same by recursion."""
    if max_new_tokens:
        token = best_last(model(token_ids))
        yield token
        longer = torch.hstack((token_ids, torch.tensor(token).view(1, 1)))
        yield from passes_the_rest_on(model, longer, max_new_tokens - 1)


def whole_text(model, token_ids, max_new_tokens):
    ids = token_ids[0].tolist()
    for _ in range(max_new_tokens):
        ids.append(best_last(model(torch.tensor([ids]))))
    return ids


def resized(model, token_ids, max_new_tokens):
    for token in by_a_list_of_ids(model, token_ids, max_new_tokens):
        yield token
        token_ids.resize_(1, token_ids.shape[1] + 1)[0, -1] = token


def collected(model, token_ids, max_new_tokens):
    made = []
    for _ in range(max_new_tokens):
        made.append(best_last(model(torch.tensor([token_ids[0].tolist() + made]))))
    return made


def checks_afterwards(model, token_ids, max_new_tokens):
    made, ids = 0, token_ids[0].tolist()
    while made == 0 or made < max_new_tokens:
        ids.append(best_last(model(torch.tensor([ids]))))
        made += 1
        yield ids[-1]


def argmax_as_it_is(model, token_ids, max_new_tokens):
    sequence = token_ids
    for _ in range(max_new_tokens):
        token = torch.argmax(model(sequence)[0, -1])
        yield token
        sequence = torch.cat([sequence, token.view(1, 1)], dim=-1)


LOOPS = edited(
    by_a_list_of_ids,
    """
## forgets the past
- [*ids, token] → [token]
## forgets all but the prompt and the newest token
- [*ids, token] → [*prompt, token]
## appends to the front
- [*ids, token] → [token, *ids]
## never appends
- [*ids, token] → ids
## keeps only a window
- [*ids, token] → [*ids, token][-len(prompt) :]
## the last token overwritten
- ids = [*ids, token]
+ ids = [*ids[:-1], token]
+ token_ids[0, -1] = token
## the first position
- best_last(model(torch.tensor([ids]))) → model(torch.tensor([ids])).argmax(-1)[0, 0].item()
## the second last position
- best_last(model(torch.tensor([ids]))) → model(torch.tensor([ids])).argmax(-1)[0].tolist()[-2]
## the best of all positions
- token = best_last(model(torch.tensor([ids])))
+ logits = model(torch.tensor([ids]))
+ token = int((logits.flatten() == logits.max()).nonzero()[0])
## argmax over the wrong axis
- best_last(model(torch.tensor([ids]))) → int(model(torch.tensor([ids]))[0, :, -1].argmax())
## max in place of argmax
- best_last(model(torch.tensor([ids]))) → int(model(torch.tensor([ids]))[0, -1].sort().values[-1])
## appends a token for every position
- token = best_last(model(torch.tensor([ids])))
- yield token
- ids = [*ids, token]
+ best = model(torch.tensor([ids]))[0].argmax(-1).tolist()
+ yield best[-1]
+ ids = [*ids, *best]
## the prompt is counted
- range(max_new_tokens) → range(max_new_tokens - len(prompt))
## return in the loop
- yield token → return token
## yields the whole sequence
- yield token
- ids = [*ids, token]
+ ids = [*ids, token]
+ yield ids
## yields the sequence before it has grown
- token = best_last
+ yield torch.tensor([ids])
+ token = best_last
- yield token
## one token too many
- range(max_new_tokens) → range(max_new_tokens + 1)
## one token too few
- range(max_new_tokens) → range(max_new_tokens - 1)
## the prompt is yielded too
- ids = prompt
+ yield from prompt
+ ids = prompt
## reads once more at the end
- ids = prompt → ids, logits = prompt, model(token_ids)
- best_last(model(torch.tensor([ids]))) → best_last(logits)
- ids = [*ids, token]
+ ids = [*ids, token]
+ logits = model(torch.tensor([ids]))
## only the last tokens are read
- model(torch.tensor([ids])) → model(torch.tensor([ids[-64:]]))
## the token appended twice
- [*ids, token] → [*ids, token, token]
## stops at token 0
- yield token
+ yield token
+ if not token:
+     break
## stops before token 0
- yield token
+ if not token:
+     break
+ yield token
## the worst token
- best_last(model(torch.tensor([ids]))) → best_last(-model(torch.tensor([ids])))
## the second best token
- best_last(model(torch.tensor([ids]))) → int(model(torch.tensor([ids]))[0, -1].topk(2).indices[-1])
## the model called twice
- yield token
+ model(torch.tensor([ids]))
+ yield token
## the prompt read token by token
- ids = prompt
+ ids = prompt
+ for n in range(len(prompt) - 1):
+     model(token_ids[:, : n + 1])
## each id in a list
- yield token → yield [token]
## floats
- yield token → yield token + 0.0
## the best of all positions together
- best_last(model(torch.tensor([ids]))) → int(model(torch.tensor([ids]))[0].max(0).values.argmax())
## all positions added up
- best_last(model(torch.tensor([ids]))) → int(model(torch.tensor([ids])).mean((0, 1)).argmax())
## without the first token
- model(torch.tensor([ids])) → model(torch.tensor([ids[1:] or ids]))
## reads ahead
- ids = prompt → ids, logits = prompt, model(token_ids)
- token = best_last(model(torch.tensor([ids])))
- yield token
+ token = best_last(logits)
- ids = [*ids, token]
+ ids = [*ids, token]
+ logits = model(torch.tensor([ids]))
+ yield token
""",
)

UNNAMED_LOOPS = edited(
    by_a_list_of_ids,
    """
## the worst
- best_last(model(torch.tensor([ids]))) → int(model(torch.tensor([ids]))[0, -1].argmin())
## appended twice
- [*ids, token] → [*ids, token, token]
## 0 appended
- [*ids, token] → [*ids, 0]
""",
)

# --- positions_computed ---------------------------------------------------------------------------


def counted_step_by_step(prompt_length, new_tokens):
    total, length = 0, prompt_length
    for _ in range(new_tokens):
        total += length
        length += 1
    return total


def difference_of_triangles(prompt_length, new_tokens):
    end = prompt_length + new_tokens
    return (end * (end - 1) - prompt_length * (prompt_length - 1)) // 2


# --- repeated_share -------------------------------------------------------------------------------


def old_over_all(prompt_length, new_tokens):
    P, n = prompt_length, new_tokens
    again = sum(P + i - (P if i == 0 else 1) for i in range(n))
    return again / sum(P + i for i in range(n))


def step_by_step(prompt_length, new_tokens):
    old = [prompt_length + step - 1 for step in range(1, new_tokens)]
    return sum(old) / (prompt_length + sum(step + 1 for step in old))


RIGHT = {
    "generate_without_cache": [
        by_a_list_of_ids,
        into_a_tensor_of_full_length,
        passes_the_rest_on,
    ],
    "positions_computed": [counted_step_by_step, difference_of_triangles],
    "repeated_share": [old_over_all, step_by_step],
}

SECOND_FORMS = {
    "generate_without_cache": LOOPS
    | {
        "the whole text at once": whole_text,
        "the caller's prompt grows": resized,
        "all at once": collected,
        "at least one": checks_afterwards,
        "the whole text at once, as a tensor": lambda *args: torch.tensor([whole_text(*args)]),
        "all at once, as a tensor": lambda *args: torch.tensor(collected(*args)),
        "tensors instead of numbers": argmax_as_it_is,
    },
    "positions_computed": {
        "forgets the growth": lambda P, n: sum([P] * n),
        "one step too many": lambda P, n: sum(P + i for i in range(n + 1)),
        "begins at P + 1": lambda P, n: n * P + n * (n + 1) // 2,
        "one step too few": lambda P, n: sum(P + i for i in range(n - 1)),
        "each position once": lambda P, n: P + (n - 1),
        "the length of the text": lambda P, n: len(range(P)) + len(range(n)),
        "every step as long as the last": lambda P, n: n * P + n * (n - 1),
        "the prompt token by token": lambda P, n: (P + n) * (P + n - 1) // 2,
        "each position once, and none for no tokens": lambda P, n: (P + n - 1) * min(n, 1),
        "at least the prompt": lambda P, n: P + sum(P + i for i in range(1, n)),
        "pairs rounded down": lambda P, n: n * P + (n - 1) * (n // 2),
        "first and last, rounded down": lambda P, n: (2 * P + n - 1) * (n // 2),
        "the mean step rounded down": lambda P, n: (P + (n - 1) // 2) * n,
        "n² / 2": lambda P, n: n * (P + n / 2),
        "n² // 2": lambda P, n: n * P + int(n**2 / 2),
        "the prompt once": lambda P, n: P + sum(range(n)),
        "the growth alone": lambda P, n: sum(range(n)),
        "the growth forgotten, one step too many": lambda P, n: P + n * P,
        "one more each": lambda P, n: n * P + n,
        "everything halved": lambda P, n: n * (P + n - 1) // 2,
        "the prompt token by token, one too many": lambda P, n: (P + n) * (P + n + 1) // 2,
        "from P to n": lambda P, n: sum(i for i in range(n) if i >= P),
        "from P to n, by range": lambda P, n: sum(i for i in range(n + 1) if i >= P),
        "one step too few, by a formula": lambda P, n: (n - 1) * (2 * P + n - 2) // 2,
        "the prompt once too few": lambda P, n: n * P + n * (n - 1) // 2 - P,
        "every step as long as the text": lambda P, n: n * P + n**2,
        "grows from the third step on": lambda P, n: n * P + (n * n - 3 * n + 2) // 2,
        "the square of the text": lambda P, n: P**2 + 2 * P * n + n**2,
    },
    "repeated_share": {
        "the new share": lambda P, n: 1 - old_over_all(P, n),
        "the last token counted": lambda P, n: (
            (counted_step_by_step(P, n) - P - n) / counted_step_by_step(P, n)
        ),
        "only the prompt is repeated": lambda P, n: (
            (counted_step_by_step(P, n) - P) / counted_step_by_step(P, n)
        ),
        "only the new tokens are new": lambda P, n: (
            (counted_step_by_step(P, n) - n) / counted_step_by_step(P, n)
        ),
        "in percent": lambda P, n: old_over_all(P, n) * 100.0,
        "how many, not which share": lambda P, n: sum(P + i - 1 for i in range(1, n)),
        "the prompt alone is repeated": lambda P, n: P * (n - 1) / counted_step_by_step(P, n),
        "the growth alone is repeated": lambda P, n: 1 - n * P / counted_step_by_step(P, n),
        "pairs rounded down": lambda P, n: 1 - (P + n - 1) / (n * P + (n - 1) * (n // 2)),
        "one step too many": lambda P, n: 1 - (P + n - 1) / counted_step_by_step(P, n + 1),
        "begins at P + 1": lambda P, n: 1 - (P + n - 1) / counted_step_by_step(P + 1, n),
        "divided by what is needed": lambda P, n: counted_step_by_step(P, n) / (P + n - 1) - 1,
        "the last token counted, and not below 0": lambda P, n: (
            max(counted_step_by_step(P, n) - P - n, 0) / counted_step_by_step(P, n)
        ),
        "what is read without growth": lambda P, n: 1 - (P + n - 1) / (n * P),
        "all steps but the first": lambda P, n: 1 - 1 / n,
        "the last step alone": lambda P, n: 1 - 1 / (P + n - 1),
        "all but the first step": lambda P, n: (
            sum(P + i - 1 for i in range(1, n)) / sum(P + i for i in range(1, n))
        ),
        "cut off": lambda P, n: 0,
        "rounded": lambda P, n: round(old_over_all(P, n), 2),
        "one position too few": lambda P, n: 1 - (P + n - 2) / counted_step_by_step(P, n),
        "one step too few": lambda P, n: 1 - (P + n - 1) / counted_step_by_step(P, n - 1),
    },
}

UNNAMED = {
    "generate_without_cache": [
        *UNNAMED_LOOPS.values(),
        lambda model, token_ids, max_new_tokens: iter([best_last(model(token_ids))]),
        lambda model, token_ids, max_new_tokens: iter(model(token_ids)[0].argmax(-1).tolist()),
        lambda model, token_ids, max_new_tokens: None,
    ],
    "positions_computed": [
        lambda P, n: n * P + n * n // 2,
        lambda P, n: P * n * (n - 1) // 2,
        lambda P, n: (P + n) ** 2,
        lambda P, n: n * (n - 1) // 2,
    ],
    "repeated_share": [
        lambda P, n: (n - 1) / n,
        lambda P, n: 1 - 1 / n,
        lambda P, n: 1 - P / (P + n - 1),
    ],
}


# --- random inputs --------------------------------------------------------------------------------
