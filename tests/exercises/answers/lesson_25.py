"""Lesson 25: right answers, named mistakes in other words, and wrong answers nobody named."""

import functools  # noqa: F401

import torch

from decodeloop.exercises.edits import edited

# --- step_automaton -------------------------------------------------------------------------------


def as_lists(table, state, text):
    rows = [*table.tolist(), [-1] * 256]  # the last row is where -1 looks
    for byte in text:
        state = rows[state][byte]
    return state


def by_recursion(table, state, text):
    if state < 0 or len(text) == 0:
        return state
    first, rest = text[0], text[1:]
    return by_recursion(table, table[state, first], rest)


STEP_FORMS = edited(
    by_recursion,
    """
## the last row
- if state < 0 or len(text) == 0: → if len(text) == 0:
## what leads nowhere is skipped
- table[state, first], rest → state if table[state, first] < 0 else table[state, first], rest
## from the start
- return by_recursion(table, table[state, first], rest) → return by_recursion(table, to, rest)
- if state < 0 or len(text) == 0:
+ if isinstance(state, int):
+     import numpy
+     state = numpy.int32(0)
+ if state < 0 or len(text) == 0:
- first, rest = text[0], text[1:] → first, rest, to = text[0], text[1:], table[state, text[0]]
## nowhere from the start
- return by_recursion(table, table[state, first], rest)
+ to = table[state, first]
+ return to if to < 0 or not rest else by_recursion(table, to, rest)
- if state < 0 or len(text) == 0: → if len(text) == 0:
## the first byte alone
- first, rest = text[0], text[1:] → first, rest = text[0], b""
## the last byte is missing
- if state < 0 or len(text) == 0: → if state < 0 or len(text) <= 1:
## stopped where it was
- return by_recursion(table, table[state, first], rest)
+ return state if table[state, first] < 0 else by_recursion(table, table[state, first], rest)
- if state < 0 or len(text) == 0: → if len(text) == 0:
## whether, not where
- return state → return bool(state >= 0)
## None for nowhere
- return state → return state if state >= 0 else None
""",
)
STEP_FORMS |= edited(
    as_lists,
    """
## begun again
- state = rows[state][byte] → state = rows[max(state, 0)][byte]
## all states on the way
- for byte in text: → way = [state]
+ for byte in text:
- state = rows[state][byte]
+ if state >= 0:
+     state = rows[state][byte]
+     way += [state]
- return state → return way
""",
)

UNNAMED_STEP = edited(
    as_lists,
    """
## the wrong axis
- rows[state][byte] → rows[byte % len(rows)][state]
## backwards
- in text: → in reversed(text):
## one state too many
- return state → return state + 1
""",
)

# --- allowed_tokens -------------------------------------------------------------------------------


def in_a_list(table, state, tokens):
    return torch.tensor([t != b"" and as_lists(table, state, t) >= 0 for t in tokens])


def by_numbers(table, state, tokens):
    kept = [n for n, t in enumerate(tokens) if len(t) and by_recursion(table, state, t) >= 0]
    mask = torch.full((len(tokens),), False)
    mask[kept] = True
    return mask


ALLOWED_FORMS = edited(
    in_a_list,
    """
## tokens without text
- t != b"" and as_lists → as_lists
## the first byte decides
- as_lists(table, state, t) → as_lists(table, state, t[:1])
## from the start
- as_lists(table, state, t) → as_lists(table, 0, t)
## the last row
- as_lists(table, state, t) → functools.reduce(lambda s, b: table[s][b], t, state)
## each byte by itself
- as_lists(table, state, t) >= 0 → min([as_lists(table, state, bytes([b])) for b in t]) >= 0
## the other way round
- torch.tensor([t != b"" and as_lists(table, state, t) >= 0 for t in tokens])
+ torch.tensor([not t or as_lists(table, state, t) < 0 for t in tokens])
## their numbers
- torch.tensor([t != b"" and as_lists(table, state, t) >= 0 for t in tokens])
+ torch.tensor(
+     [n for n, t in enumerate(tokens) if t and as_lists(table, state, t) >= 0], dtype=torch.long
+ )
## 1 and 0
- t != b"" and as_lists(table, state, t) >= 0 → int(t != b"" and as_lists(table, state, t) >= 0)
## a number where there is no text
- t != b"" and as_lists → len(t) and as_lists
## a list
- torch.tensor([t != b"" and as_lists(table, state, t) >= 0 for t in tokens])
+ [t != b"" and as_lists(table, state, t) >= 0 for t in tokens]
## state 0 taken for nowhere
- t) >= 0 → t) >= 1
""",
)

UNNAMED_ALLOWED = edited(
    by_numbers,
    """
## one place further
- mask[kept] = True → mask[[n - 1 for n in kept]] = True
## the last byte decides
- by_recursion(table, state, t) → by_recursion(table, state, t[-1:])
## short ones alone
- if len(t) and → if len(t) == 1 and
""",
)

# --- token_index ----------------------------------------------------------------------------------


def by_masks(table, start, tokens):
    index, seen = {}, [start]
    for state in seen:
        ways = {}
        for n in in_a_list(table, state, tokens).nonzero()[:, 0].tolist():
            ways[n] = as_lists(table, state, tokens[n])
        index[state] = ways
        seen.extend(sorted(set(ways.values()) - set(seen)))
    return index


def by_depth(table, start, tokens):
    index = {}

    def visit(state):
        if state in index:
            return
        index[state] = {}
        for number in range(len(tokens)):
            to = as_lists(table, state, tokens[number])
            if tokens[number] and to >= 0:
                index[state][number] = to
                visit(to)

    visit(start)
    return index


INDEX_FORMS = edited(
    by_masks,
    """
## the start alone
- seen.extend(sorted(set(ways.values()) - set(seen)))
## from state 0
- seen = {}, [start] → seen = {}, [0]
## one round
- seen.extend(sorted(set(ways.values()) - set(seen)))
+ seen.extend(sorted(set(ways.values()) - set(seen)) if len(index) == 1 else [])
## every state
- seen = {}, [start] → seen = {}, [*range(table.shape[0])]
## states that bytes reach
- sorted(set(ways.values()) - set(seen)) → sorted(set(table[state].tolist()) - {-1, *seen})
## tokens without text
- ways = {} → ways = {n: state for n, token in enumerate(tokens) if not token}
## nowhere is kept
- in_a_list(table, state, tokens).nonzero()[:, 0].tolist() → [n for n, t in enumerate(tokens) if t]
- set(ways.values()) - set(seen) → set(ways.values()) - set(seen) - {-1}
## where one byte leads
- for n in in_a_list(table, state, tokens).nonzero()[:, 0].tolist():
+ for n in in_a_list(table, state, [t[:1] for t in tokens]).nonzero()[:, 0].tolist():
- as_lists(table, state, tokens[n]) → as_lists(table, state, tokens[n][:1])
## states without tokens are left out
- index[state] = ways → index.update({state: ways} if ways else {})
## tokens by their bytes
- ways[n] = → ways[tokens[n]] =
## the tokens alone
- index[state] = ways → index[state] = sorted(ways)
## the other way round
- ways[n] = as_lists(table, state, tokens[n])
+ ways.setdefault(as_lists(table, state, tokens[n]), n)
- set(ways.values()) - → set(ways) -
## always from the start
- in_a_list(table, state, tokens) → in_a_list(table, start, tokens)
- as_lists(table, state, tokens[n]) → as_lists(table, start, tokens[n])
""",
)

UNNAMED_INDEX = edited(
    by_depth,
    """
## two steps at most
- if state in index: → if state in index or len(index) > 1:
## counted from 1
- index[state][number] = to → index[state][number + 1] = to
## the last token is missing
- range(len(tokens)) → range(len(tokens) - 1)
""",
)

# --- push_and_pop ---------------------------------------------------------------------------------


def in_a_queue(rules, stack, byte):
    found, todo = [], [tuple(stack)]
    while todo:
        stack = todo.pop()
        top, under = stack[-1], stack[:-1]
        if rules.table[top][byte] >= 0:
            found.append((*under, rules.table[top][byte]))
        for start, back in rules.calls[top]:
            todo.append((*under, back, start))
        if rules.accepting[top] and len(under) > 0:
            todo.append(under)
    return set(found)


def in_lists(rules, stack, byte):
    result = []
    *below, state = stack
    if rules.table[state, byte] != -1:
        result += [[*below, rules.table[state, byte]]]
    for start, back in rules.calls[state]:
        result += in_lists(rules, [*below, back, start], byte)
    if rules.accepting[state] and below:
        result += in_lists(rules, below, byte)
    return result


STACK_FORMS = edited(
    in_a_queue,
    """
## nothing is ever called
- for start, back in rules.calls[top]: → for start, back in []:
## nothing ever ends
- if rules.accepting[top] and len(under) > 0: → if not under and under:
## it never comes back
- (*under, back, start) → (*under, start)
## the caller, and nothing behind it
- (*under, back, start) → (*under, top, start)
## back is left out where it may end
- todo.append((*under, back, start))
+ todo.append((*under, start) if rules.accepting[back] and under else (*under, back, start))
## called only if it can't read
- for start, back in rules.calls[top]:
+ for start, back in rules.calls[top] if rules.table[top][byte] < 0 else []:
## ended only if it can't read
- if rules.accepting[top] and len(under) > 0:
+ if rules.accepting[top] and len(under) > 0 and rules.table[top][byte] < 0:
## state 0 taken for nowhere
- if rules.table[top][byte] >= 0: → if rules.table[top][byte] > 0:
## the caller stays
- (*under, back, start) → (*stack, back, start)
## pushed, but nothing read
- todo.append((*under, back, start)) → found.append((*under, back, start))
## popped, but nothing read
- todo.append(under) → found.append(under)
## the first call alone
- in rules.calls[top]: → in list(rules.calls[top])[:1]:
## one level down
- todo.append(under)
+ to = rules.table[under[-1]][byte]
+ found += [(*under[:-1], to)] if to >= 0 else []
## on top of what read it
- (*under, rules.table[top][byte]) → (*stack, rules.table[top][byte])
## nowhere is a state
- if rules.table[top][byte] >= 0: → if len(rules.table):
""",
) | edited(
    in_lists,
    """
## a called rule only reads
- result += in_lists(rules, [*below, back, start], byte)
+ to = rules.table[start, byte]
+ result += [[*below, back, to]] if to >= 0 else []
## start below back
- [*below, back, start] → [*below, start, back]
## everything may end
- if rules.accepting[state] and below: → if below:
## one way only
- for start, back in rules.calls[state]: → for start, back in [] if result else rules.calls[state]:
- if rules.accepting[state] and below: → if rules.accepting[state] and below and not result:
""",
)

UNNAMED_STACK = edited(
    in_lists,
    """
## upside down
- return result → return [stack[::-1] for stack in result]
## everything below is gone
- [*below, rules.table[state, byte]] → [rules.table[state, byte]]
## it is read twice
- [*below, back, start], byte) → [*below, back, start], byte) * 1
- [[*below, rules.table[state, byte]]] → [[*below, state], [*below, rules.table[state, byte]]]
""",
)

# --- constrained_choice ---------------------------------------------------------------------------


def in_a_new_tensor(logits, allowed, complete, eos_ids, choose):
    left = torch.full_like(logits, -torch.inf)
    left[0, allowed] = logits[0, allowed]
    for token in eos_ids if complete else ():
        left[0, token] = logits[0, token]
    return choose(left).item()


def by_where(logits, allowed, complete, eos_ids, choose):
    ends = torch.tensor([token in eos_ids for token in range(logits.shape[-1])])
    keep = allowed | (ends & complete)
    return int(choose(torch.where(keep, logits, float("-inf")))[0])


CHOICE_FORMS = edited(
    by_where,
    """
## the end is always allowed
- (ends & complete) → ends
## the end is never allowed
- allowed | (ends & complete) → allowed & ~ends
## it must end
- allowed | (ends & complete) → (ends if complete else allowed)
## the first end alone
- [token in eos_ids for → [token == (eos_ids[0] if complete else -1) for
## ended at once
- ends = torch.tensor([token in eos_ids for token in range(logits.shape[-1])])
+ if complete:
+     return [*eos_ids][0]
+ ends = torch.tensor([token in eos_ids for token in range(logits.shape[-1])])
## 0 for what is out
- float("-inf") → 0.0
## a large number for infinity
- float("-inf") → -10000.0
## the other way round
- keep, logits, float("-inf") → ~keep, logits, float("-inf")
## removed after the choice
- return int(choose(torch.where(keep, logits, float("-inf")))[0])
+ first = choose(logits)[0]
+ return int(first if keep[first] else torch.where(keep, logits, -torch.inf)[0].argmax())
## removed only if it must be
- return int(choose(torch.where(keep, logits, float("-inf")))[0])
+ first = choose(logits)[0]
+ return int(first if keep[first] else choose(torch.where(keep, logits, -torch.inf))[0])
## always the best
- int(choose(torch.where(keep, logits, float("-inf")))[0])
+ int(torch.where(keep, logits, float("-inf"))[0].max(0).indices)
## its place among what is left
- torch.where(keep, logits, float("-inf")) → logits[0, keep][None]
## probabilities
- torch.where(keep, logits, float("-inf")) → torch.where(keep, logits, float("-inf")).softmax(1)
""",
)

UNNAMED_CHOICE = edited(
    in_a_new_tensor,
    """
## into what was lent
- torch.full_like(logits, -torch.inf) → logits.masked_fill_(~allowed, -torch.inf)
## likelier than it was
- left[0, token] = logits[0, token] → left[0, token] = 99.0
## only ends that are allowed
- for token in eos_ids if complete else (): → for token in [t for t in eos_ids if allowed[t]]:
""",
)

# --- the tables -----------------------------------------------------------------------------------

RIGHT = {
    "step_automaton": (as_lists, by_recursion),
    "allowed_tokens": (in_a_list, by_numbers),
    "token_index": (by_masks, by_depth),
    "push_and_pop": (in_a_queue, in_lists),
    "constrained_choice": (in_a_new_tensor, by_where),
}
SECOND_FORMS = {
    "step_automaton": STEP_FORMS,
    "allowed_tokens": ALLOWED_FORMS,
    "token_index": INDEX_FORMS,
    "push_and_pop": STACK_FORMS,
    "constrained_choice": CHOICE_FORMS,
}
UNNAMED = {
    "step_automaton": tuple(UNNAMED_STEP.values()),
    "allowed_tokens": tuple(UNNAMED_ALLOWED.values()),
    "token_index": tuple(UNNAMED_INDEX.values()),
    "push_and_pop": tuple(UNNAMED_STACK.values()),
    "constrained_choice": tuple(UNNAMED_CHOICE.values()),
}
